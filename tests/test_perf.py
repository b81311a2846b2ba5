"""`perf/`: what tables say of a result follows from its numbers."""

import importlib
import json
import math
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PERF = Path(__file__).resolve().parents[1] / "perf"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    import tables

    return tables


def row(name: str, rates: list[float], **more: object) -> dict:
    return {"name": name, "title": name, "ours": name in ("zarr", "wds"), "rates": rates, "cpu_ms": [1.0] * len(rates),
            "stored_mb": 3.5, "first_batch_s": 0.1, "peak_mb": 500, "loads": [], **more}  # fmt: skip


ROWS = [
    row("zarr", [100.0, 300.0, 200.0]),
    row("wds", [400.0, 400.0, 400.0]),
    row("litdata", [50.0, 100.0, 200.0]),
    row("webdataset", [90.0, 90.0, 90.0]),
    row("zarr-python", [999.0, 999.0, 999.0]),  # not one of those whose best is the mark
]


def test_ours_is_held_against_the_best_of_the_others_round_by_round(tables: ModuleType) -> None:
    assert tables.ratio(ROWS, "zarr") == 2.0  # litdata's median is the largest: 2, 3 and 1 times
    assert tables.ratio(ROWS, "wds") == 4.0
    frugal = [
        row("zarr", [1.0], cpu_ms=[2.0]),
        row("mds", [1.0], cpu_ms=[9.0, 8.0, 7.0]),
        row("litdata", [1.0], cpu_ms=[10.0]),
    ]
    assert tables.cpu_ratio(frugal, "zarr") == 4.0


def test_a_page_shows_every_reader_and_what_was_not_cold(tables: ModuleType) -> None:
    cold = [row("zarr", [10.0], still_cached=[0.0]), row("litdata", [20.0], still_cached=[0.4])]
    document = {
        "command": "python perf/suite.py", "machine": "a machine", "load_after": 1.0,
        "native": True, "versions": {"numpy": "2", "litdata": None}, "missing": ["MosaicML streaming"],
        "peers_crop": "torch", "corpus": {"locations": 4, "batch": 2, "rounds": 3, "decoded_mb": 5.3},
        "groups": [{"name": "decode-2", "rows": ROWS}, {"name": "decode-2-cold", "rows": cold}],
        "limits_ms": {"memcpy": [1.0, 2.0, 4.0]}, "crops_cpu_ms": {"torch": [5.0]},
        "growth": [{"samples": 4, "build_s": [1.0], "build_cpu_s": [0.4], "read_s": [0.1], "read_cpu_s": [0.02]}],
    }  # fmt: skip
    text = tables.page(document)
    assert "Not installed: MosaicML streaming." in text
    assert "| **zarr** | 200 (100-300) |" in text
    assert "| litdata (not cold: the page cache kept it) | 20 (20-20) |" in text
    assert "| memcpy | 2.00 (1.00-4.00) | 500 |" in text
    assert "| 4 | 1.00 | 100.0 | 0.10 | 5.0 |" in text


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module("gpu")


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module("gpu_learning")


def test_a_gpu_is_held_against_marks_that_stand_beforehand(gpu: ModuleType) -> None:
    def step(name: str, rate: float, mfu: float):
        return gpu.Outcome(name, "ok", figures={gpu.STEP: {"locations_per_s": rate, "mfu": mfu}})

    rest = [gpu.Outcome(name, "ok", figures={"met": True}) for name in ("loader beside the step", "bf16 against fp32")]
    rest += [gpu.Outcome("nccl, one rank", gpu.NOT_MEASURED), gpu.Outcome("learning", "skipped: it needs 170 s")]
    found = [step("step, 256 places", 949.0, 0.451), step("step, 128 places", 690.0, 0.33), *rest]
    found.append(step("eager step, 256 places", 474.5, 0.22))
    said = gpu.verdicts(found, "cuda")
    assert "949 places/s, 13.8 times the paper's rate on an RTX 4090; utilisation 45.1%, mark 45%: met" in said[0]
    assert said[1].endswith("mark 45%: not met")
    assert said[2] == "compiled is 2.00 times as fast as eager: mark 1, met"
    assert said[-2:] == ["nccl, one rank: not measured: no CUDA device", "learning: skipped: it needs 170 s"]
    assert all(gpu.NOT_MEASURED in line for line in gpu.verdicts(found, "cpu")[:2])  # no figure of a CPU is a mark
    dry = gpu.Outcome("learning", "ok", figures={"criteria": {"gain": {"met": True}}})
    assert gpu.verdicts([*rest[:3], dry], "cpu")[-1] == "learning, gain: met (a dry run at a fiftieth, no evidence)"


def test_what_does_not_fit_into_the_minutes_is_skipped_and_the_experiment_keeps_its_share(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, clock = Namespace(fiftieth=False, peak_tflops=None), [0.0]
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
    asked: dict[str, float] = {}

    def run(part, seconds: float, _: Path):
        asked[part.name] = seconds
        clock[0] += seconds  # every part takes all that it may
        return gpu.Outcome(part.name, "ok", seconds)

    monkeypatch.setattr(gpu, "run", run)
    monkeypatch.setattr(gpu, "drawn_in_time", lambda *_: "")
    found = gpu.outcomes(given, tmp_path, "cuda", None, 480.0)
    assert [one.name for one in found] == [
        part.name for part in gpu.parts(tmp_path, fiftieth=False, device="cuda", peak=None)
    ]
    assert clock[0] <= 480.0
    assert asked["learning"] >= 170.0
    skipped = [one for one in found if one.status.startswith("skipped")]
    assert [one.name for one in skipped] == [one.name for one in found if one.name not in asked]
    assert all("were left" in one.status for one in skipped)


def test_a_part_that_fails_or_hangs_says_so(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    (tmp_path / "bad.py").write_text("print('so far'); raise SystemExit(3)")
    (tmp_path / "slow.py").write_text("import time; print('begun', flush=True); time.sleep(60)")
    bad = gpu.run(gpu.Part("bad", ("bad.py",), 1, 1), 30, tmp_path / "bad.json")
    assert (bad.status, bad.text) == ("failed: exit status 3", "so far\n")
    began = time.monotonic()
    slow = gpu.run(gpu.Part("slow", ("slow.py",), 1, 1), 2, tmp_path / "slow.json")
    assert (slow.status, slow.text) == ("timed out after 2 s", "begun\n")
    assert time.monotonic() - began < 20


def test_trivial_predictors_by_loops(learning: ModuleType) -> None:
    import torch

    config = learning.SeaMoConfig(
        bands={"s2": learning.S2_L2A}, size=8, patch=2, dim=8, depth=1, heads=2, strategy="unimodal", temporal=False,
        tm=learning.FusionConfig(mode="none"),
    )  # fmt: skip
    draws = torch.Generator().manual_seed(1)
    target = torch.rand(2, 1, 16, 48, generator=draws, dtype=torch.float64)
    hidden = torch.rand(2, 1, 16, generator=draws) < 0.7
    errors: list[list[float]] = [[], [], []]
    for b in range(2):
        seen = [i for i in range(16) if not hidden[b, 0, i]]
        for i in (i for i in range(16) if hidden[b, 0, i]):
            nearest = min(seen, key=lambda j, i=i: (math.dist(divmod(i, 4), divmod(j, 4)), j))
            for band in range(12):
                own = target[b, 0, i, 4 * band : 4 * band + 4]
                mean = target[b, 0, seen, 4 * band : 4 * band + 4].mean()
                near = target[b, 0, nearest, 4 * band : 4 * band + 4].mean()
                for found, guess in zip(errors, (0.0, mean, near), strict=True):
                    found += (own - guess).square().tolist()
    assert learning.trivial(target, hidden, config) == pytest.approx([np.mean(one) for one in errors], rel=1e-6)


@pytest.mark.soak
def test_all_that_a_gpu_is_asked_runs_at_a_fiftieth(tmp_path: Path) -> None:
    """On a CPU: every part but nccl; and nothing that was not measured on a GPU is called measured."""
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(PERF / "gpu.py"), "--fiftieth", "--minutes", "30", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    cuda = document["device"] != "no CUDA device"
    status = {part["name"]: part["status"] for part in document["parts"]}
    assert status.pop("nccl, one rank") == ("ok" if cuda else "not measured: no CUDA device")
    assert set(status.values()) == {"ok"}, done.stdout
    assert len(status) == 7
    marks = [line for line in document["verdicts"] if line.startswith("step, ")]
    assert len(marks) == 3
    assert cuda or all("not measured: no CUDA device" in line for line in marks)
    (learnt,) = (part["figures"] for part in document["parts"] if part["name"] == "learning")
    assert set(learnt["criteria"]) == {"gain", "below", "beyond"}
    assert 0.3 < learnt["curves"][0]["visible mean"] < learnt["curves"][0]["zero"] < 1.1
    assert document["verdicts"][-1].endswith("(a dry run at a fiftieth, no evidence)") or cuda
    if not cuda:
        command = [sys.executable, str(PERF / "gpu.py")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (1, "not measured: no CUDA device\n")
