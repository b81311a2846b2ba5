"""The benchmark is tested by a world in which the answer is known: without seasons, several dates hold nothing more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = (0, 1, 2)
# Both see 80 images of a place: 20 + 15 x 4 dates, or 80 single dates.
ARMS = {"several": ("stage1.epochs=20", "stage2.epochs=15"), "single": ("stage1.epochs=80", "stage2.epochs=0")}


def run(tool: str, *words: object) -> str:
    command = [str(Path(sys.executable).with_name(tool)), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.soak
def test_without_seasons_several_dates_gain_nothing(tmp_path: Path) -> None:
    raw, stores, results = tmp_path / "raw", tmp_path / "stores", tmp_path / "results"
    run("seamo-prep", "demo", raw, "--size", "small", "--only", "ssl4eo-s12,eurosat", "--no-seasons")
    for dataset in ("ssl4eo-s12", "eurosat"):
        run("seamo-prep", "build", dataset, "--raw", raw, "--store", stores)
    runs = []
    for arm, changes in ARMS.items():
        for seed in SEEDS:
            out = tmp_path / f"{arm}-seed{seed}"
            sets = [word for change in (*changes, f"seed={seed}") for word in ("--set", change)]
            run("seamo", "pretrain", "seamo-demo-plain", "--store", stores / "ssl4eo-s12", "--out", out, *sets)
            runs.append(f"{out}@pretrain")
    suite = tmp_path / "suite.yaml"
    suite.write_text("id: seasons\nrows:\n  - {store: eurosat, protocol: linear}\n")
    run("seamo-bench", "run", suite, "--stores", stores, "--results", results, "--backbones", ",".join(runs))
    groups = [f"{arm}-pretrain-statistics" for arm in ARMS]
    (found,) = json.loads(run("seamo-bench", "compare", results, *groups, "--json"))
    assert "over 520 samples" in found["method"]
    # What is claimed of a gain is the interval's lower end; it must not lie above zero here.
    assert found["low"] <= 0.0, found
