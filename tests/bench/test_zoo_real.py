"""Presto and Galileo-nano, published weights, real samples: build, features, probe, record, table, report."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seamo_bench.cli import main

FILES = {
    "presto": ("presto/default_model.pt", "default_model.pt"),
    "galileo-nano": ("galileo_nano/encoder.pt", "galileo_nano_encoder.pt"),
}


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs the command in this process, as its entry point does."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["seamo-bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        assert stopped.value.code == 0, done.err
        return done.out

    yield call
    torch.set_num_threads(2)


def build(dataset: str, raw: Path, root: Path, limit: int = 0) -> None:
    command = [sys.executable, "-m", "seamo_prep.cli", "build", dataset, "--raw", str(raw), "--store", str(root)]
    command += ["--workers", "1", *(["--limit", str(limit)] if limit else [])]
    subprocess.run(command, check=True, capture_output=True)


def run(bench, tmp_path: Path, rows: str, backbones: str) -> dict[str, dict]:
    (tmp_path / "real.yaml").write_text(f"id: real\nrows: [{rows}]")
    bench(
        "run", tmp_path / "real.yaml", "--stores", tmp_path / "stores", "--results", tmp_path / "out", "--weights",
        tmp_path / "weights", "--backbones", backbones, "--threads", 1, "--batch-size", 4,
    )  # fmt: skip
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*.json"))]
    assert {record["status"] for record in records} == {"ok"}
    for path in (tmp_path / "out").glob("*.json"):
        bench("verify", path)
    return {record["facts"]["backbone"]["id"]: record for record in records}


@pytest.mark.soak
def test_eurosat_subset_with_published_and_converted_weights(
    bench, golden: Path, samples: Path, tmp_path: Path
) -> None:
    build("eurosat", samples / "eurosat_ms", tmp_path / "stores", limit=20)
    weights = tmp_path / "weights"
    weights.mkdir()
    source = {name: golden / "weights" / where for name, (where, _) in FILES.items()}
    shutil.copyfile(source["presto"], weights / FILES["presto"][1])
    bench("weights", "convert", "galileo-nano", source["galileo-nano"], "--weights", weights)
    assert not (weights / FILES["galileo-nano"][1]).exists()

    rows = "{store: eurosat, protocol: linear, seeds: 1, params: {steps: 3}}"
    records = run(bench, tmp_path, rows, "presto,galileo-nano")
    for name, path in source.items():
        record = records[name]
        # The converted file counts as the published one that it was made of.
        assert record["facts"]["backbone"]["weights"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record["facts"]["adapter"]["inputs"][0]["bands"][:3] == ["B02", "B03", "B04"]
        assert 0 <= record["scores"]["top1"] <= 1
        assert not {"degenerate-features", "unverified-card"} & {flag["kind"] for flag in record["flags"]}

    table = bench("table", tmp_path / "out")
    assert "EuroSAT subset (20 of 27,000)" in table
    assert "Presto" in table
    assert "Galileo-nano" in table
    bench("report", tmp_path / "out", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Presto" in page
    assert "Galileo-nano" in page
    # Nothing is left to do: the same command finds its records, also where the published file lies beside.
    shutil.copyfile(source["galileo-nano"], weights / FILES["galileo-nano"][1])
    planned = json.loads(
        bench("plan", tmp_path / "real.yaml", "--stores", tmp_path / "stores", "--results", tmp_path / "out",
              "--weights", weights, "--backbones", "presto,galileo-nano", "--json")
    )  # fmt: skip
    assert [row["status"] for row in planned] == ["done", "done"]


@pytest.mark.soak
@pytest.mark.parametrize("name", ["galileo-nano", "presto"])
def test_bigearthnet_subset_of_both_sensors(bench, golden: Path, samples: Path, tmp_path: Path, name: str) -> None:
    """Fourteen patches: too few for a validation split, so logistic regression in five folds."""
    build("bigearthnet-v1", samples / "bigearthnet_v1", tmp_path / "stores")
    (tmp_path / "weights").mkdir()
    where, filename = FILES[name]
    shutil.copyfile(golden / "weights" / where, tmp_path / "weights" / filename)
    rows = "{store: bigearthnet-v1, protocol: logreg, split: cv5x5, label_space: bigearthnet-19}"
    record = run(bench, tmp_path, rows, name)[name]
    assert [one["sensor"] for one in record["facts"]["adapter"]["inputs"]] == ["s2", "s1"]
    assert record["facts"]["adapter"]["inputs"][1]["bands"] == ["VV", "VH"]
    assert record["scores"]["micro_ap"] > 0.4
    assert "BigEarthNet-MM v1.0 subset (14 of 590,326)" in bench("table", tmp_path / "out")
