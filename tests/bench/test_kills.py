"""Killed in the middle of a write, again and again, and started again: suites with every kind of cell, and a study."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.bench.bench_store import toy_store
from tests.bench.dense_store import dense_store
from tests.bench.test_study import RECIPE
from tests.seamo.small_store import build_small_store

pytestmark = pytest.mark.soak
ROOT = Path(__file__).resolve().parents[2]

# The child dies by SIGKILL at its n-th write or rename; half of the bytes are then in the file beside.
DYING = """
import os, signal, sys
from pathlib import Path
import seamo.identity
die_at, count = int(sys.argv[1]), 0
write, rename = seamo.identity.write_atomically, Path.rename

def dies():
    global count
    count += 1
    return count == die_at

def dying_write(path, data):
    if dies():
        path.with_name(f".{path.name}.{os.getpid()}.part").write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data)

def dying_rename(self, target):
    if dies():
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

seamo.identity.write_atomically, Path.rename = dying_write, dying_rename
import torch
torch.set_num_threads(1)
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
def quiet(done, total, what):
    pass
job, stores, results = sys.argv[2:5]
places = Places(Path(stores), Path(results), Path(results) / "weights")
"""
SUITE = """
from seamo_bench.suites.suite import load_suite
for record in run_plan(make_plan(load_suite(job), (), places), places, machine=Machine(), progress=quiet, inner=quiet):
    assert record.status == "ok", record.reason
"""
STUDY = """
from seamo.store.reader import open_store
from seamo_bench.paper.study import run_study, to_objects
from seamo_bench.paper.study_report import write_report
from seamo_bench.suites.study_file import load_study
study, store = load_study(job), open_store(sys.argv[5])
lines = run_study(
    study, store, places, budget="full", machine=Machine(), say=print, progress=quiet, inner=quiet
)
write_report(to_objects(study, lines, places, budget="full", store=store.title), places.results)
"""
FAST = "epochs: 1, warmup: 0, batch: 16, base_lrs: [0.01], layer_decay: 1.0"
ROWS = f"""
id: small
backbones: []
rows:
  - {{store: toy, protocol: knn, backbones: [image-statistics, pixel-values]}}
  - {{store: toy, protocol: linear, fraction: 0.5, params: {{steps: 3}}, backbones: [image-statistics]}}
  - {{store: toy, protocol: finetune, size: 32, seeds: 2, params: {{{FAST}}}, backbones: [resnet18]}}
  - {{store: scenes, protocol: dense, seeds: 2, backbones: [resnet18],
     params: {{head: upernet, frozen: false, {FAST}}}}}
  - {{store: scenes, protocol: dense, seeds: 1, backbones: [pixel-values],
     params: {{head: linear, frozen: true, epochs: 2, warmup: 0, batch: 8, base_lrs: [0.01]}}}}
"""


def left(folder: Path) -> dict[str, object]:
    """What a results folder holds: records without cost and environment, features row by row, all else byte for byte.

    What was half written stays under a hidden name until the next checkpoint; nothing reads it.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if any(one.endswith(".part") for one in path.parts):
            continue
        if path.suffix == ".json" and path.parent == folder:
            plain = json.loads(path.read_text())
            found[name] = {key: value for key, value in plain.items() if key not in ("cost", "environment")}
        elif path.name.endswith(".rows.npy"):  # which rows lie in one part follows from the cell that came first
            features = np.load(path.with_name(path.name.replace(".rows.npy", ".npy")))
            for row, own in zip(np.load(path).tolist(), features, strict=True):
                key = f"{path.parent.name} row {row}"
                assert key not in found
                found[key] = own.tobytes()
        elif path.suffix in (".npz", ".safetensors") or path.parent.name == "studies":
            found[name] = path.read_bytes()
    return found


def killed_until_done(command: list[str], die_at: list[int]) -> int:
    """Start again and again, each time killed at another write, until one child ends by itself; how often it died."""
    for number, moment in enumerate(die_at):
        child = subprocess.run([*command[:3], str(moment), *command[4:]], cwd=ROOT, stdout=subprocess.DEVNULL)
        if child.returncode == 0:
            return number
        assert child.returncode == -signal.SIGKILL
    raise AssertionError("it never came to an end")


def both(tmp_path: Path, code: str, job: Path, *more: str, die_at: list[int]) -> tuple[int, dict[str, object]]:
    """Number of deaths, and what is left; checked against a run that nobody kills."""
    command = [sys.executable, "-c", DYING + code, "0", str(job), str(tmp_path / "stores")]
    subprocess.run([*command, str(tmp_path / "calm"), *more], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    deaths = killed_until_done([*command, str(tmp_path / "killed"), *more], die_at)
    want = left(tmp_path / "calm")
    assert left(tmp_path / "killed") == want
    return deaths, want


def test_a_suite_killed_at_its_writes(tmp_path: Path) -> None:
    toy_store(tmp_path / "stores")
    dense_store(tmp_path / "stores")
    job = tmp_path / "small.yaml"
    job.write_text(ROWS)
    deaths, want = both(tmp_path, SUITE, job, die_at=[*range(1, 13), 10_000])
    assert deaths >= 8
    protocols = {one["facts"]["protocol"]["id"] for one in want.values() if isinstance(one, dict)}  # type: ignore[index]
    assert protocols == {"knn", "linear", "finetune", "dense"}


def test_a_study_killed_at_its_writes(tmp_path: Path) -> None:
    store = build_small_store(tmp_path / "pretrain")
    toy_store(tmp_path / "stores")
    (tmp_path / "mite.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "down.yaml").write_text(
        "id: down\nrows:\n- {store: toy, protocol: linear, inputs: [s2], seeds: 2, params: {steps: 5}}\n"
    )
    rows = [
        {"id": "default", "label": "as it is"},
        {"id": "none", "label": "no block", "set": ["model.tm={mode: none}"]},
    ]
    study = {"id": "small", "recipe": str(tmp_path / "mite.yaml"), "suite": str(tmp_path / "down.yaml"), "rows": rows}
    job = tmp_path / "small.yaml"
    job.write_text(yaml.safe_dump(study))
    deaths, want = both(tmp_path, STUDY, job, str(store.path), die_at=[1, 3, 6, 9, 12, 15, 18, 10_000])
    assert deaths >= 4
    assert "studies/small.json" in want
    assert not list((tmp_path / "killed" / "runs").glob("*/checkpoints/.*.part"))
