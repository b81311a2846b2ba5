"""What a plan finds out before anything runs: files that are not what they say, and the matrix for people."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seamo.errors import CheckpointError
from seamo.model.config import SeaMoConfig
from seamo.store.reader import open_store
from seamo_bench.cli.plan_view import every_cell, overview, totals
from seamo_bench.facts import run_key
from seamo_bench.predictions import ClassPredictions
from seamo_bench.records.reasons import Because, grouped
from seamo_bench.records.record import Cost, write_record
from seamo_bench.runs import estimate as estimating
from seamo_bench.runs.estimate import Throughput
from seamo_bench.runs.plan import Cell, Places, make_plan
from seamo_bench.suites.suite import Suite
from seamo_bench.zoo import catalogue
from seamo_bench.zoo.catalogue import Found, cards, find_card, weights_path
from tests.bench.bench_store import toy_store
from tests.seamo.small_model import model_folder

SPEED = Throughput(2e12, "of a test")


def plan(root: Path, backbone: str, **row: object) -> Cell:
    suite = Suite.model_validate({"id": "one", "rows": [{"store": "toy", "protocol": "knn", **row}]})
    (cell,) = make_plan(suite, [backbone], Places(root / "stores", root / "results", root / "weights"))
    return cell


@pytest.fixture
def root(tmp_path: Path) -> Path:
    toy_store(tmp_path / "stores", 30)
    (tmp_path / "weights").mkdir()
    return tmp_path


def with_weights(monkeypatch: pytest.MonkeyPatch, backbone: str, **facts: object) -> None:
    """The catalogue with other facts about one backbone's file."""
    known = dict(cards())
    card = known[backbone].card
    assert card.weights is not None
    known[backbone] = Found(replace(card, weights=replace(card.weights, **facts)), known[backbone].module)
    monkeypatch.setattr(catalogue, "cards", lambda: known)


BODY = b"not what was published"


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({"md5": hashlib.md5(BODY, usedforsecurity=False).hexdigest()}, ""),
        ({"md5": "0" * 32}, "its md5 is not 0000"),
        ({"md5": "", "sha256": hashlib.sha256(BODY).hexdigest()[:8]}, ""),
        ({"md5": "", "sha256": "00000000"}, "its sha256 begins with .{8}, not with 00000000"),
        ({"md5": "", "bytes": 22}, ""),
        ({"md5": "", "bytes": 23}, "it has 22 bytes instead of 23"),
    ],
)
def test_a_file_that_is_not_the_published_one_is_refused_before_it_runs(root, monkeypatch, facts, wrong):
    with_weights(monkeypatch, "seco-r50", **facts)
    weights = find_card("seco-r50").card.weights
    (root / "weights" / weights.filename).write_bytes(BODY)
    cell = plan(root, "seco-r50")
    assert cell.status == ("impossible" if wrong else "will run")
    if wrong:
        with pytest.raises(CheckpointError, match=f"{wrong}.*Remove it.*weights fetch seco-r50"):
            weights_path(find_card("seco-r50").card, root / "weights" / weights.filename)
        assert "are not the published file" in cell.reason
        assert str(root) not in cell.reason
    else:
        (own,) = cell.facts.values()
        assert own.backbone.weights == hashlib.sha256(BODY).hexdigest()
        said = any("no hash of its weights is published" in note for note in cell.checks)
        assert said == (not weights.md5 and not weights.sha256)


def test_a_file_is_read_again_when_it_changes_and_only_then(root, monkeypatch):
    path = root / "weights" / "file"
    path.write_bytes(b"one")
    first = catalogue.weights_digest(path)
    opened = []
    monkeypatch.setattr(Path, "open", lambda self, *_: opened.append(self))
    assert catalogue.weights_digest(path) == first == hashlib.sha256(b"one").hexdigest()
    assert opened == []
    monkeypatch.undo()
    path.write_bytes(b"other")
    assert catalogue.weights_digest(path) == hashlib.sha256(b"other").hexdigest()


def test_a_run_whose_file_was_changed_is_refused(root):
    """`model.safetensors` is held against the card that was written with it."""
    card = cards()["seco-r50"].card
    file = root / "run" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"changed")
    own = replace(card, id="my-run", weights=replace(card.weights, filename=str(file), md5="", sha256="1" * 64))
    with pytest.raises(CheckpointError, match=r"my-run.*model.safetensors are not the published.*The run was changed"):
        weights_path(own, None)


def test_a_run_without_its_weights_says_so(root):
    model_folder(root / "run" / "final", SeaMoConfig(size=16, patch=8, dim=16, depth=1, heads=2))
    assert plan(root, str(root / "run"), missing="zero").status == "will run"
    (root / "run" / "final" / "model.safetensors").unlink()
    cell = plan(root, str(root / "run"), missing="zero")
    assert cell.status == "impossible"
    assert "weights model.safetensors are not there. The run has a card and not its weights" in cell.reason
    assert str(root) not in cell.reason
    assert "1  weights are not there. The run has a card and not its weights: copy its folder again" in overview([cell])


@pytest.mark.parametrize("what", ["index", "shard", "file gone"])
def test_a_damaged_store_is_found_before_anything_runs(root, what):
    assert plan(root, "image-statistics").status == "will run"
    store = open_store(root / "stores" / "toy")
    shards = [name for name in json.loads((store.path / "checksums.json").read_text())["files"] if "/c/0/0/0" in name]
    if what == "index":
        path = store.path / "index.parquet"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif what == "shard":
        path = store.path / sorted(shards)[0]
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path = store.path / sorted(shards)[0]
        path.unlink()
    cell = plan(root, "image-statistics")
    assert cell.status == "impossible"
    assert cell.reason.startswith(f"the store of toy is damaged: {path.relative_to(store.path)} ")


def test_the_overview_counts_every_cell_once_and_says_each_reason_once(root):
    suite = Suite.model_validate(
        {
            "id": "three",
            "backbones": ["image-statistics", "resnet18", "seco-r50", "croma-base-s1", "dofa-base-s1"],
            "rows": [{"store": "toy", "protocol": "knn"}, {"store": "toy", "protocol": "finetune", "seeds": 2},
                     {"store": "eurosat", "protocol": "knn"}],
        }
    )  # fmt: skip
    cells = make_plan(suite, (), Places(root / "stores", root / "results", root / "weights"), speed=SPEED)
    text = overview(cells, SPEED)
    lines = text.splitlines()
    assert lines[0] == "15 cells: 0 done, 2 will run, 13 impossible; 3 runs to do, one a seed."
    # Two starts of 3 s, and two seeds of 15,775 passes of ResNet-18 at 64 pixels (0.296 GFLOPs) at 2 TFLOP/s.
    assert lines[1].startswith(f"About {6 + 2 * 15775 * 0.296e9 / 2e12:.0f} s and ")
    assert lines[1].endswith("on disk (FLOPs at 2 TFLOP/s, of a test).")
    assert "1  toy              2                 8  11 s  Toy synthetic (30 samples)" in text
    assert "2  eurosat                            5        EuroSAT" in text
    assert "image-statistics  1  -" in lines
    assert "resnet18          1  -" in lines
    assert "Nothing to run: seco-r50, croma-base-s1, dofa-base-s1" in lines

    def told(start: str) -> tuple[str, str]:
        (at,) = [n for n, line in enumerate(lines) if line.strip().startswith(start)]
        return lines[at], lines[at + 1]

    _, who = told("5  no store of ID")
    assert who.strip() == "image-statistics, resnet18, seco-r50, croma-base-s1, dofa-base-s1 | eurosat"
    assert told("2  weights are not there. `seamo-bench weights fetch BACKBONE` gets")[1].strip() == "seco-r50 | toy"
    assert told("4  needs BANDS, STORE has BANDS")[1].strip() == "croma-base-s1, dofa-base-s1 | toy"
    assert told("1  has nothing to train")[1].strip() == "image-statistics | toy"
    assert told("1  has no pretrained weights to probe")[1].strip() == "resnet18 | toy"
    at = [n for n, line in enumerate(lines) if line.startswith("Not there yet, 7 cells (about ")]
    assert at[0] < lines.index("Do not go together, 6 cells:")
    assert told("2  synthetic data")[1].strip() == "image-statistics, resnet18 | toy"
    listed = every_cell(cells).splitlines()
    assert len(listed) == 2 + 15
    assert any("croma-base-s1: needs s1, toy has s2" in line for line in listed)


def test_what_ran_before_is_done_and_says_what_the_rest_costs(root):
    """Twelve seconds for 30 samples, once; the other backbone has never run."""
    suite = Suite.model_validate({"id": "two", "rows": [{"store": "toy", "protocol": "knn"}]})
    places = Places(root / "stores", root / "results", root / "weights")
    names = ["image-statistics", "pixel-values"]
    first, _ = make_plan(suite, names, places)
    (facts,) = first.facts.values()
    assert sum(first.about.samples.values()) == 30
    labels = np.arange(3)
    predictions = ClassPredictions(("a", "b", "c"), labels, np.eye(3, dtype=np.float32))
    write_record(places.results, facts, about=first.about, predictions=predictions, cost=Cost(seconds=12.0))
    done, other = make_plan(suite, names, places)
    assert (done.status, other.status) == ("done", "will run")
    assert done.seconds is None
    assert 3.0 < other.seconds < 3.1  # by arithmetic: 30 images of 8 pixels, and what it takes to start
    assert "image-statistics  0/1" in overview([done, other], SPEED)
    halved = Suite.model_validate({"id": "x", "rows": [{"store": "toy", "protocol": "knn", "fraction": 0.5}]})
    (half,) = make_plan(halved, ["image-statistics"], places)
    fewer = sum(half.about.samples.values())
    assert 15 <= fewer < 30
    assert half.seconds == pytest.approx(12.0 * fewer / 30)
    assert half.cost.measured
    said = totals([done, other, half], SPEED)
    assert said.startswith("3 cells: 1 done, 2 will run, 0 impossible")
    assert f"About {round(12.0 * fewer / 30 + other.seconds)} s and" in said
    assert "(1 cells as earlier records took; FLOPs at 2 TFLOP/s, of a test)." in said
    (places.results / f"{run_key(facts)}.npz").unlink()
    again, _ = make_plan(suite, names, places)
    assert again.status == "will run"  # its predictions are gone


def test_statistics_that_test_folds_are_part_of_are_flagged(root):
    def flagged(backbone, split=""):
        cell = plan(root, backbone, split=split)
        assert cell.status == "will run", cell.reason
        return [flag.text for flag in cell.flags if "band statistics" in flag.text]

    store = open_store(root / "stores" / "toy")
    share = len(store.rows("train")) / 30  # every sample is tested, some of them gave the statistics
    assert flagged("timm:resnet10t@s2+random", "cv5x5") == [
        f"inputs are normalised with band statistics (no labels) that {share:.0%} of the test samples are part of"
    ]
    assert flagged("timm:resnet10t@s2+random") == []  # the store's own split
    assert flagged("image-statistics", "cv5x5") == []  # nothing is normalised


def test_a_network_that_takes_images_as_they_are_costs_what_their_pixels_do(root, monkeypatch):
    sides = []
    monkeypatch.setattr(estimating, "image_flops", lambda _card, side, **_: sides.append(side) or 1e9)
    plan(root, "tokenizer-statistics")  # no size of its own: it was taken for a network of 224 pixels
    assert sides == [8]


def test_a_policy_that_is_called_as_a_sensor_is_keeps_its_name():
    text = "needs s2:B01, s2:B10, toy has B02 and B03. Choose a missing-band policy (zero, 8-bit, rgb); it is part."
    told, _ = grouped([Because(text, "one", "toy", ("toy",), bands=True)])
    assert (
        told.strip() == "1  needs BANDS, STORE has BANDS. Choose a missing-band policy (zero, 8-bit, rgb); it is part."
    )


def test_a_single_reason_that_is_left_is_told_instead_of_counted():
    three = [Because(text, "one", "toy") for text in ("a", "a", "a", "b", "b", "c")]
    assert grouped(three, most=1) == ["      3  a", "         one | toy", "      3  for 2 other reasons"]
    assert [line.split()[-1] for line in grouped(three, most=2)[::2]] == ["a", "b", "c"]
