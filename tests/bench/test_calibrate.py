"""The calibration: its cells are published ones, and its verdicts are what differences and facts make them."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from seamo_bench.cli.program import app
from seamo_bench.facts import BackboneFacts, Facts, ProtocolFacts, SplitFacts, StoreFacts, TaskFacts
from seamo_bench.paper.calibrate import calibrate, load_calibration
from seamo_bench.paper.reproduce import to_markdown, to_objects
from seamo_bench.predictions import ClassPredictions
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import About, read_records, write_record
from seamo_bench.suites.published import FOLDER
from seamo_bench.suites.suite import load_suite

CLASSES = tuple(f"class {k}" for k in range(10))
LOGREG = find_protocol("logreg")


def write(folder, right, *, params=None, scheme="eurosat-spatial", subset=False, budget="full", samples=None, **about):
    """A record of image statistics under logreg, of 40 test images of which so many are right."""
    labels = np.arange(40) % 10
    guess = np.where(np.arange(40) < right, labels, (labels + 1) % 10)
    facts = Facts(
        stores=(StoreFacts(id="eurosat", content="c" * 64, subset=subset),),
        split=SplitFacts(scheme=scheme, lists={"test": "t"}),
        task=TaskFacts(kind="single-label", classes=CLASSES),
        backbone=BackboneFacts(id="image-statistics", card="card"),
        protocol=ProtocolFacts(
            id="logreg", version=about.pop("version", LOGREG.version), params=params or dict(LOGREG.defaults)
        ),
        budget=budget,
        inputs=about.pop("inputs", ""),
        precision=about.pop("precision", "fp32"),
    )
    told = About(
        stores=("EuroSAT",),
        backbone="Image statistics",
        samples=samples or {"train": 16200, "val": 5400, "test": 5400},
        **about,
    )
    keys = np.array([f"k{i}" for i in range(40)])
    predictions = ClassPredictions(keys, labels, np.eye(10, dtype=np.float32)[guess])
    write_record(folder, facts, about=told, predictions=predictions)


def verdict(folder):
    rows = calibrate(read_records(folder).records, folder, resamples=50)
    assert len(rows) == 10
    (row,) = [one for one in rows if (one.published.backbone, one.published.protocol) == ("image-statistics", "logreg")]
    assert all(one.verdict == "not run" for one in rows if one is not row)
    return row


def test_cells_are_what_others_published_each_with_a_tolerance_and_a_reason():
    with (FOLDER / "elsewhere.csv").open() as file:
        printed = {(line["backbone"], line["protocol"], line["variant"]): line for line in csv.DictReader(file)}
    cells = load_calibration()
    assert len(cells) == 10
    for cell in cells:
        one = cell.published
        assert one.value == float(printed[one.backbone, one.protocol, "eurosat-spatial"]["value"])
        assert "16,200 train, 5,400 test" in one.note
        assert dict(cell.samples) == {"train": 16200, "test": 5400}
        assert 0 < cell.tolerance <= 8
        assert cell.reason
    named = {(name, row.protocol) for row in load_suite("calibrate").rows for name in row.backbones}
    assert named < {(cell.published.backbone, cell.published.protocol) for cell in cells}


def test_the_verdict_follows_the_difference(tmp_path):
    assert calibrate((), tmp_path)[0].verdict == "not run"
    write(tmp_path / "near", 35)  # 87.5 against 88.37
    write(tmp_path / "far", 30)
    near, far = verdict(tmp_path / "near"), verdict(tmp_path / "far")
    assert (near.verdict, far.verdict) == ("agrees", "disagrees")
    assert near.difference == pytest.approx(87.5 - 88.37)
    assert near.why[0].startswith("tolerance 4 points: theirs are mean, std, minimum and maximum")
    assert "| agrees | tolerance 4 points" in to_markdown([near])
    assert to_objects([near])[0]["table"] == "calibrate"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"subset": True}, "a subset: EuroSAT"),
        ({"budget": "demo"}, "demo budget"),
        ({"scheme": "official"}, "split: official instead of eurosat-spatial"),
        ({"params": {**LOGREG.defaults, "C": 1.0}}, "C: 1.0 instead of"),
        ({"version": 2}, "version 2 of logreg, now"),
        ({"samples": {"train": 16200, "test": 100}}, "100 test samples instead of 5400"),
        ({"way": "select"}, "fed otherwise than it was made to be: select"),
        ({"inputs": "s2:B02+B03+B04"}, "only s2:B02+B03+B04"),
        ({"precision": "bf16"}, "precision bf16 instead of fp32"),
    ],
)
def test_another_measurement_is_not_compared(tmp_path, change, why):
    write(tmp_path, 35, **change)
    row = verdict(tmp_path)
    assert row.verdict == "not comparable"
    assert len(row.why) == 1
    assert row.why[0].startswith(why)


def test_one_command_says_so_and_fails_where_it_disagrees(tmp_path):
    write(tmp_path / "near", 35)
    write(tmp_path / "far", 30)
    said = {}
    for name in ("near", "far"):
        done = CliRunner().invoke(app, ["reproduce", str(tmp_path / name), "--table", "calibrate", "--json"])
        rows = json.loads(done.stdout)
        said[name] = (done.exit_code, [row["verdict"] for row in rows if row["verdict"] != "not run"])
        everything = CliRunner().invoke(app, ["reproduce", str(tmp_path / name), "--json"])
        assert [row["verdict"] for row in json.loads(everything.stdout) if row["table"] == "calibrate"] == said[name][1]
    assert said == {"near": (0, ["agrees"]), "far": (1, ["disagrees"])}
