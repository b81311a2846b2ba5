"""What a plan finds out before anything runs: files that are not what they say, and the matrix for people."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from seamo.errors import CheckpointError
from seamo.store.reader import open_store
from seamo_bench import catalogue
from seamo_bench.catalogue import Found, cards, find_card, weights_path
from seamo_bench.plan import Cell, Places, make_plan
from seamo_bench.suite import Suite
from tests.bench.bench_store import toy_store


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


@pytest.mark.parametrize("what", ["index", "shard", "file gone"])
def test_a_damaged_store_is_found_before_anything_runs(root, what):
    assert plan(root, "image-statistics").status == "will run"
    store = open_store(root / "stores" / "toy")
    shards = json.loads((store.path / "checksums.json").read_text())
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
