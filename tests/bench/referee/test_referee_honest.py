"""Honest records of every kind of task pass, by the stores and by a register; what the referee says of them."""

import hashlib
import json

import numpy as np
import pytest
import torch

from seamo.errors import ProtocolError
from seamo_bench.cli import main
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records.examine import HELD, NOT_HELD, examine
from seamo_bench.records.record import load_predictions
from seamo_bench.records.submit import submit
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.repository import judge
from seamo_bench.tasks.truth import digests, lines_of_predictions
from tests.bench.forging import forge, sealed
from tests.bench.referee.kinds import KINDS, found, problems

torch.set_num_threads(1)


def test_honest_records_of_every_kind_pass(results, root):
    checked = examine(results, Referee(root).problems)
    assert [one for one in checked if one.problems] == []
    assert sum(one.held and HELD in one.verdict for one in checked) == 12  # the fraction has two seeds
    assert all(one.held or "no score" in one.verdict for one in checked)
    alone = examine(results)
    assert sum(NOT_HELD in one.verdict for one in alone) == 12
    assert not any(one.held for one in alone)


def test_a_register_holds_honest_records_of_every_kind_without_the_stores(repository):
    verdicts = judge(repository)
    assert [(one.name, one.problems) for one in verdicts if one.problems] == []
    assert sum(one.state == "plausible, not rerun" for one in verdicts) == 12


def test_a_register_says_what_the_stores_say_of_themselves(repository, root):
    """Held against store.json, which the builder wrote, wherever no sample is left out."""
    compared = set()
    for path in (repository / "stores").glob("*.json"):
        entry = json.loads(path.read_text())
        if len(entry["stores"]) > 1:
            continue
        (told,) = (root / entry["stores"][0]["id"]).glob("*/store.json")
        meta = json.loads(told.read_text())
        for test in entry["tests"]:
            truth = meta["truth"].get("test", {"labels": {}})
            tiles = test["task"]["kind"] not in ("segmentation", "change") or not test["tilewise"]
            whole = test["samples"].get("test") == truth.get("rows")
            space = test["label_space"]
            if test["scheme"] == meta["split_scheme"] and whole and tiles and space in truth["labels"]:
                assert (test["rows"], test["keys"]) == (truth["rows"], truth["keys"])
                assert test["labels"] == truth["labels"][space]
                compared.add((entry["stores"][0]["id"], space))
    assert {("toy", "own"), ("sets", "own"), ("alone", "own")} <= compared


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_alone_and_written_anew_passes(results, root, tmp_path, kind):
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)
    path = forge(results, record.key, tmp_path / "copy")
    assert path.stem == record.key
    assert problems(path, root) == ()


def test_lines_are_those_of_the_documentation(results):
    record = found(results, "knn", store="toy")
    table = {f"s{i:04d}": i % 3 for i in range(90)}  # as the toy store is made
    lines = lines_of_predictions(load_predictions(record, results))
    assert lines == {key: str(table[key]) for key in lines}
    text = "\n".join(sorted(f"{key}\t{table[key]}" for key in lines))
    assert digests(lines).labels == hashlib.sha256(text.encode()).hexdigest()
    assert digests(lines).rows == record.about.samples["test"]


@pytest.mark.parametrize("kind", ["single-label", "sets", "derived sets"])
def test_store_json_tells_the_truth_of_a_record(results, root, kind):
    """Whoever has store.json alone can judge a record of a whole test split."""
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)
    told = json.loads(next((root / about["store"]).glob("*/store.json")).read_text())["truth"]["test"]
    mine = digests(lines_of_predictions(load_predictions(record, results)))
    if kind != "derived sets":  # where samples without a class are left out, its lines are fewer
        assert (mine.rows, mine.keys) == (told["rows"], told["keys"])
        assert mine.labels == told["labels"][record.facts.task.label_space]
    else:
        assert mine.rows <= told["rows"]


def test_lines_of_sets_and_masks():
    sets = ClassPredictions(np.array(["b", "a"]), np.array([[1, 0, 1], [0, 0, 0]]), np.zeros((2, 3), np.float32))
    assert lines_of_predictions(sets) == {"b": "0,2", "a": ""}
    tiles = TilePredictions(np.array(["t"]), np.array([[[3, 1], [2, 5]]]))
    assert lines_of_predictions(tiles) == {"t": "0:4,1:7"}
    folds = ClassPredictions(
        np.array(["a", "a"]), np.array([1, 1]), np.zeros((2, 2), np.float32),
        repeats=np.array([0, 1]), folds=np.array([2, 0]),
    )  # fmt: skip
    assert lines_of_predictions(folds) == {"a repeat 0 fold 2": "1", "a repeat 1 fold 0": "1"}


def test_the_command_line_says_what_was_held_and_refuses(results, root, tmp_path, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["seamo-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code or 0, said.out + said.err

    record = found(results, "knn", store="toy")
    code, said = run("verify", results / f"{record.key}.json")
    assert code == 0
    assert NOT_HELD in said
    code, said = run("verify", results, "--stores", root)
    assert code == 0
    scored = [path for path in results.glob("*.json") if json.loads(path.read_bytes())["status"] == "ok"]
    assert said.count(HELD) == len(scored) >= 10
    code, said = run("verify", results / f"{record.key}.json", "--stores", tmp_path)
    assert code == 1
    assert "has no store of content" in said
    code, said = run("verify", results, "--stores", tmp_path / "nowhere")
    assert code == 2

    def turned(arrays):
        return {**arrays, "labels": (arrays["labels"] + 1) % 3}

    path = forge(results, record.key, tmp_path / "forged", arrays=turned)
    assert run("verify", path)[0] == 0  # it agrees with itself
    for asked in (path, path.parent):
        code, said = run("verify", asked, "--stores", root)
        assert code == 1
        assert "labels are not the store's" in said
    code, said = run("submit", path.parent, tmp_path / "dest", "--stores", root)
    assert code == 1
    assert "labels are not the store's" in said
    assert [one for one in (tmp_path / "dest").rglob("*") if one.is_file()] == []
    code, said = run("submit", path.parent, tmp_path / "dest")
    assert code == 0
    assert NOT_HELD in said
    code, said = run("verify", results, "--stores", root, "--json")
    rows = json.loads(said)
    assert sum(row["held"] for row in rows) == len(scored)
    assert all(row["problems"] == [] for row in rows)


def test_submit_holds_what_only_says_another_cost(results, root, tmp_path):
    """Another machine's cost is no forgery, and no cover for one."""
    record = found(results, "knn", store="toy")

    def costly(document):
        document["cost"]["seconds"] = 999.0

    path = forge(results, record.key, tmp_path / "honest", document=costly)
    told = sealed(json.loads(path.read_text()))
    told["cost"]["seconds"] = 1.0
    path.write_text(json.dumps(told))
    (sent,) = submit(path.parent, tmp_path / "dest", Referee(root).problems)
    assert (sent.outcome, "cost or environment" in sent.reason) == ("copied", True)

    def turned(arrays):
        return {**arrays, "labels": (arrays["labels"] + 1) % 3}

    path = forge(results, record.key, tmp_path / "forged", arrays=turned)
    told = json.loads(path.read_text())
    told["cost"]["seconds"] = 1.0
    path.write_text(json.dumps(told))
    (sent,) = submit(path.parent, tmp_path / "other", Referee(root).problems)
    assert sent.outcome == "refused"
    assert "labels" in sent.reason


def test_a_record_never_writes_over_another_s_predictions(results, tmp_path):
    one, other = (found(results, "knn", store=name) for name in ("toy", "sets"))
    path = forge(results, one.key, tmp_path / "forged")
    told = json.loads(path.read_text())
    path.with_suffix(".npz").rename(path.parent / f"{other.key}.npz")
    told["predictions"]["name"] = f"{other.key}.npz"
    path.write_text(json.dumps(sealed(told)))
    (sent,) = submit(path.parent, tmp_path / "dest")
    assert sent.outcome == "refused"
    assert "not named by its key" in sent.reason


def test_nothing_to_examine(tmp_path):
    with pytest.raises(ProtocolError, match="there is no record"):
        examine(tmp_path)
    with pytest.raises(ProtocolError, match="cannot be read"):
        examine(tmp_path / "none.json")
