"""Which records have a vote on labels, whose scores are told, and what a record cannot do: written by anybody."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seamo.errors import ProtocolError
from seamo_bench.board.audit import _cells, _scores_without
from seamo_bench.board.audit_rows import KIND, VERSION, AuditRow
from seamo_bench.board.compare import cell_sampling
from seamo_bench.board.report import write_report
from seamo_bench.board.report.tabs.audit import _answers
from seamo_bench.predictions import ClassPredictions, Scoring, fold_parts, take
from seamo_bench.protocol import silent
from seamo_bench.questions.audit import audit
from seamo_bench.records import record as r
from seamo_bench.records.answers import read_answers, write_answer
from seamo_bench.scores.ballot import Ballot
from seamo_bench.scores.metrics import compute
from tests.bench.test_audit import K, N, audited, planted, predicted, put, unfolded


def test_a_record_of_other_labels_is_left_out_alone(tmp_path: Path) -> None:
    truth, labels, _ = planted(6)
    changed = labels.copy()
    changed[7] = (changed[7] + 1) % K
    for seed, name in enumerate(("b", "c")):
        put(tmp_path, name, predicted(labels, truth, seed))
    before = audited(tmp_path)
    put(tmp_path, "a", predicted(changed, truth, 2))
    judged = audited(tmp_path)
    assert judged.models == ("b", "c")
    assert [one.model for one in judged.without] == ["b", "c"]
    np.testing.assert_array_equal(judged.votes.margin, before.votes.margin)
    (said,) = judged.left_out
    assert said.startswith("a record of a (")
    assert "not tested on the samples and labels of the other models" in said


def test_who_is_right_of_as_many_nobody_says(tmp_path: Path) -> None:
    truth, labels, _ = planted(6)
    put(tmp_path, "a", predicted(labels, truth, 1))
    put(tmp_path, "b", predicted(labels[::-1].copy(), truth, 2))
    with pytest.raises(ProtocolError, match=r"2 sets of samples and labels, as many models on each \((a, b|b, a)\)"):
        audited(tmp_path)


def test_records_that_cannot_be_averaged_have_no_vote(tmp_path: Path) -> None:
    truth, labels, _ = planted(10)
    put(tmp_path, "old", predicted(labels, truth, 1), seed=0, weights="e" * 64)
    put(tmp_path, "old", predicted(labels, truth, 2), seed=1, weights="f" * 64)
    put(tmp_path, "good", predicted(labels, truth, 3), weights="e" * 64)
    judged = audited(tmp_path)
    assert judged.models == ("good",)
    assert [one.model for one in judged.without] == ["good"]
    (said,) = judged.left_out
    assert said.startswith("old with linear is left out: ")
    assert "they differ in the weights or the card of old" in said


def test_without_an_interval_nobody_votes(tmp_path: Path) -> None:
    truth, labels, _ = planted(11)
    good = unfolded(predicted(labels, truth, 1, skill=8.0))
    put(tmp_path, "one", replace(good, units=np.full(N, "one scene")))
    with pytest.raises(ProtocolError, match="one with linear has no interval, so it cannot be told from chance"):
        audited(tmp_path)


def test_all_is_the_score_of_the_leaderboard(tmp_path: Path) -> None:
    """Three pretrainings of a group, one of them with three heads: each pretraining counts alike."""
    truth, labels, _ = planted(12)
    runs = {("x", 0): 3.0, ("x", 1): 3.1, ("x", 2): 2.9, ("y", 0): 4.5, ("z", 0): 4.6}
    for (name, seed), skill in runs.items():
        put(tmp_path, name, predicted(labels, truth, seed, skill=skill), seed=seed, group="both")
    records = r.read_records(tmp_path).records
    judged = audited(tmp_path)
    (row,) = judged.without
    suspects = set(judged.keys[judged.is_suspect].tolist())
    everything: dict[str, list[float]] = {name: [] for name, _ in runs}
    rest: dict[str, list[float]] = {name: [] for name, _ in runs}
    for one in records:
        run = r.load_predictions(one, tmp_path)
        assert isinstance(run, ClassPredictions)
        parts = fold_parts(run)
        kept = [take(part, np.flatnonzero([key not in suspects for key in part.keys])) for part in parts]
        for found, chosen in ((everything, parts), (rest, kept)):
            scores = [compute("top1", part, Scoring("single-label"))[0] for part in chosen]
            found[one.facts.backbone.id].append(float(np.mean(scores)))
    assert row.all == pytest.approx(cell_sampling(records, tmp_path, "top1").value, abs=1e-12)
    assert row.all == pytest.approx(np.mean([np.mean(one) for one in everything.values()]))
    assert abs(row.all - np.mean([one for scores in everything.values() for one in scores])) > 0.01  # runs alike
    assert row.without == pytest.approx(np.mean([np.mean(one) for one in rest.values()]))


def test_a_score_that_suspects_alone_make_is_said_to_be_left_out(tmp_path: Path) -> None:
    truth, labels, _ = planted(13)
    put(tmp_path, "a", predicted(labels, truth, 1))
    judged = audited(tmp_path)
    everything, said = _scores_without(
        _cells(judged.asked.records, tmp_path, "balanced_accuracy")[0], tmp_path, judged.keys, silent
    )
    assert everything == ()
    assert said == ["a with linear has no score without the suspects"]


def test_what_is_said_of_a_sample_is_said_of_one_mark() -> None:
    """Of several labels: margin, models against and place in the list are those of the worst contradicted mark."""
    truth = np.zeros((3, 2), dtype=np.int64)
    margin = np.array([[-0.9, -0.1], [-0.5, 0.5], [0.2, 0.1]])
    against = np.array([[0, 3], [2, 0], [0, 1]])
    votes = Ballot(3, truth, np.zeros((3, 2, 2)), margin, against, 1 - truth)
    assert votes.worst.tolist() == [1, 0, 1]
    assert votes.order.tolist() == [1, 0, 2]


@pytest.mark.parametrize("bad", [{"dataset": "../../escaped"}, {"dataset": "/escaped"}, {"space": "../../escaped"}])
def test_a_name_in_a_record_is_no_path(tmp_path: Path, bad: dict[str, str]) -> None:
    truth, labels, _ = planted(9)
    put(tmp_path / "results", "a", predicted(labels, truth, 1))
    put(tmp_path / "results", "b", predicted(labels, truth, 2), **bad)
    records = r.read_records(tmp_path / "results").records
    said: list[str] = []
    out = tmp_path / "one/two/out"
    (found,) = audit(records, tmp_path / "results", out, tell=said.append)
    assert found.row.models == ("a",)
    assert any("no name of a file" in line for line in said)
    assert {path.parent for path in tmp_path.rglob("*.csv")} == {out / "fields"}
    with pytest.raises(ProtocolError, match="no name of a file"):
        audit([one for one in records if one.facts.backbone.id == "b"], tmp_path / "results", out)


def test_the_report_shows_one_audit_of_a_data_set_and_what_is_newer(tmp_path: Path) -> None:
    results = tmp_path / "results"
    truth, labels, _ = planted(15)

    def shown() -> list[tuple[int, int]]:
        page: Any = SimpleNamespace(found=r.read_records(results), results=results)
        return [(len(answer.records), newer) for answer, newer in _answers(page)]

    def make() -> None:
        audit(r.read_records(results).records, results, tmp_path / "out")

    for seed, name in enumerate(("a", "b")):
        put(results, name, predicted(labels, truth, seed))
    make()
    assert shown() == [(2, 0)]
    put(results, "c", predicted(labels, truth, 2))
    assert shown() == [(2, 1)]
    write_report(results, tmp_path / "page.html", resamples=50)
    assert "records that came later and are not in it: 1. Make it again." in (tmp_path / "page.html").read_text("utf-8")
    make()
    assert shown() == [(3, 0)]
    (answer,) = (one for one in read_answers(results, KIND, AuditRow, version=VERSION) if len(one.records) == 3)
    (row,) = answer.rows
    strange = row.model_copy(update={"without": (row.without[0].model_copy(update={"metric": "wit"}),)})
    write_answer(results, replace(answer, rows=(strange,)))
    assert shown() == [(2, 1)]  # the one with a metric that nobody knows is left out
