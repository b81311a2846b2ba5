"""Contested numbers between records and of labels drawn otherwise: planted differences, and what must not differ."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seamo.seal import seal_document
from seamo_bench.board import contested
from seamo_bench.board.contested import between_records, contests_of, from_answers, seeds_of
from seamo_bench.board.contested_text import to_objects, to_text
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import write_report
from seamo_bench.protocol import silent
from seamo_bench.questions.contested import DRAWS, can_be_drawn, drawn_otherwise
from seamo_bench.records.answers import write_answer
from seamo_bench.records.record import Record, read_records, write_record
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Row, Suite, load_suite
from seamo_bench.why.between import Bench
from tests.bench.bench_store import toy_store
from tests.bench.contested_records import many_labels, one_label, put, record_of

# Between records -----------------------------------------------------------------------------------------


def test_records_that_differ_in_their_draw_alone_are_one_contest(tmp_path: Path) -> None:
    for salt in range(3):
        put(tmp_path, salt=salt, seed=salt, fraction=0.1, right=0.4 + 0.2 * salt)
    put(tmp_path, fraction=0.1, backbone="another")
    put(tmp_path, fraction=0.1, salt=1, params={"C": 2.0})
    records = read_records(tmp_path).records
    (found,) = between_records(records, tmp_path, resamples=50)
    assert (found.question, len(found.readings), len(found.records)) == ("labels", 3, 3)
    mine = sorted((one for one in records if one.key in found.records), key=lambda one: one.facts.split.salt)
    assert [one.value for one in found.readings] == [one.scores["top1"] for one in mine]
    assert found.ends == (min(one.scores["top1"] for one in mine), max(one.scores["top1"] for one in mine))
    assert not any(one.ours for one in found.readings)  # tables print the mean of the three
    assert found.synthetic


def test_records_that_differ_in_their_split_alone_are_one_contest(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, scheme="hash-60-20-20", test="3" * 64, right=0.8)
    put(tmp_path, scheme="cv5x5", test="4" * 64, precision="bf16")  # another precision, too
    (found,) = between_records(read_records(tmp_path).records, tmp_path, resamples=50)
    assert (found.question, [one.id for one in found.readings]) == ("split", ["official", "hash-60-20-20"])


def test_whole_labels_with_several_seeds_are_no_contest(tmp_path: Path) -> None:
    put(tmp_path, seed=0)
    put(tmp_path, seed=1, right=0.9)
    assert between_records(read_records(tmp_path).records, tmp_path, resamples=50) == ()


def test_a_star_is_what_the_table_prints(tmp_path: Path) -> None:
    """One record a cell: its number. Several: their mean, which no reading of one of them is."""
    put(tmp_path, backbone="lone")
    for seed in range(2):
        put(tmp_path, backbone="several", seed=seed, right=0.5 + 0.2 * seed)
    found = read_records(tmp_path)
    cells = {row: cell for (row, _), cell in build_table(found, tmp_path, resamples=50).cells.items()}
    seeds = seeds_of(found.records)
    for record in found.records:
        name = record.facts.backbone.id
        made = contested.of_record(record, tmp_path, seeds=seeds[record.key], resamples=50)
        stars = {one.value for block in made for one in block.readings if one.ours}
        assert stars == ({cells["lone"].interval.value} if name == "lone" else set())
        assert all(("alone of the 2 records" in block.title) == (name == "several") for block in made)
    assert "* is what a table here prints" in to_text(contests_of(record_of(one_label(), "single-label"), one_label()))


def test_notes_stand_once_and_say_of_what() -> None:
    p = replace(many_labels(), units=np.full(80, "only"))
    (made, *_) = contests_of(record_of(p, "multi-label"), p)
    said = to_text([made])
    assert said.count("one of scenes alone: no interval") == 1
    assert "note: micro mAP a batch: follows the order of the samples: no interval" in said


# Labels drawn otherwise ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory):
    """A toy store, its records with all labels and with a fifth of them, and the answer of the one with all."""
    folder = tmp_path_factory.mktemp("drawn")
    toy = toy_store(folder / "stores", n=90)
    places = Places(folder / "stores", folder / "results", folder)
    common = {"store": "toy", "protocol": "logreg", "params": {"C": 1.0}}
    suite = Suite(id="test", rows=(Row(**common), Row(**common, fraction=0.2, seeds=2)))
    cells = make_plan(suite, ["image-statistics"], places, "full", past=NOTHING, speed=CPU)
    made = list(run_plan(cells, places, machine=Machine(), progress=silent, inner=silent))
    whole = next(one for one in made if one.facts.split.fraction == 1)
    assert can_be_drawn(whole)
    answer = drawn_otherwise(whole, Bench(places), fraction=0.2)
    write_answer(folder / "results", answer)
    return toy, folder / "results", made, answer


def test_our_rule_gives_what_our_runs_give(drawn) -> None:
    _, _, made, answer = drawn
    ours = {one.draw: one for one in answer.rows if one.rule == "ours"}
    assert sorted(ours) == list(range(DRAWS))
    for record in made:
        if record.facts.split.fraction < 1:
            assert ours[record.facts.split.salt].value == pytest.approx(record.scores["top1"], abs=1e-9)
            assert ours[record.facts.split.salt].train == record.about.samples["train"]


def test_every_rule_draws_what_it_says(drawn) -> None:
    toy, _, made, answer = drawn
    train = toy.rows("train")
    count = math.floor(0.2 * len(train))
    by_rule = {
        rule: [one for one in answer.rows if one.rule == rule] for rule in ("random", "class-equal", "first", "seco")
    }
    assert [len(rows) for rows in by_rule.values()] == [DRAWS, DRAWS, 1, 1]
    assert {one.train for one in by_rule["random"] + by_rule["first"]} == {count}
    assert {one.distinct for one in by_rule["random"] + by_rule["first"]} == {count}
    assert {one.train for one in by_rule["class-equal"]} == {3 * round(count / 3)}
    chosen = np.random.default_rng(42).choice(range(len(train)), size=count)
    assert by_rule["seco"][0].distinct == len(set(chosen.tolist()))
    for one in answer.rows:
        assert one.low is None or one.low <= one.value <= one.high
    assert answer.records == (next(one.key for one in made if one.facts.split.fraction == 1),)


def test_what_draws_by_itself_or_has_no_training_list_is_not_drawn(drawn) -> None:
    _, _, made, _ = drawn
    whole = next(one for one in made if one.facts.split.fraction == 1)

    def changed(**update) -> Record:
        return whole.model_copy(update={"facts": whole.facts.model_copy(update=update)})

    protocol = whole.facts.protocol.model_copy(update={"id": "linear"})
    split = whole.facts.split.model_copy(update={"scheme": "cv5x5"})
    assert not can_be_drawn(changed(protocol=protocol))
    assert not can_be_drawn(changed(split=split))
    assert not can_be_drawn(changed(budget="demo"))
    assert not any(can_be_drawn(one) for one in made if one.facts.split.fraction < 1)


def from_answers_of(folder: Path, made, answer):
    """Of another folder with one answer."""
    write_answer(folder, answer)
    return from_answers(made, folder)


def test_an_answer_that_is_odd_is_left_out(drawn, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, _, made, answer = drawn
    assert len(from_answers_of(tmp_path / "good", made, answer)) == 1
    plain = [one.model_dump() for one in answer.rows]
    odd = {
        "no fraction": [{name: value for name, value in one.items() if name != "fraction"} for one in plain],
        "all": [one | {"fraction": 1.0} for one in plain],
        "no number": [one | {"value": "high"} for one in plain],
    }
    for name, rows in odd.items():
        path = write_answer(tmp_path / name, answer)
        document = json.loads(path.read_bytes()) | {"rows": rows}
        path.write_bytes(seal_document({key: value for key, value in document.items() if key != "digest"}))
        assert not from_answers(made, tmp_path / name)
    assert not from_answers_of(tmp_path / "of none", made, replace(answer, records=()))
    assert caplog.text.count("is no answer") == len(odd)
    assert caplog.text.count("is of no record") == 1


def test_records_of_a_protocol_that_is_gone_are_said_and_left(drawn, call, tmp_path: Path) -> None:
    toy, _, made, _ = drawn
    whole = next(one for one in made if one.facts.split.fraction == 1)
    strange = whole.facts.model_copy(update={"protocol": whole.facts.protocol.model_copy(update={"id": "gone"})})
    write_record(tmp_path, strange, about=whole.about, predictions=one_label(k=3))
    status, said = call("contested", tmp_path, "--stores", Path(toy.path).parents[1])
    assert status == 0, said
    assert "not drawn: image-statistics" in said
    status, said = call("contested", tmp_path, "--backbones", "mine")
    assert (status, "which need --stores" in said) == (2, True)


def test_the_command_and_the_page_show_them(drawn, call, tmp_path: Path) -> None:
    _, results, made, answer = drawn
    status, said = call("contested", results, "--json")
    assert status == 0
    rows, _ = json.JSONDecoder().raw_decode(said[said.index("[\n") :])
    assert {row["question"] for row in rows} == {"average", "labels"}
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["synthetic"] for row in rows)
    whole = next(one for one in made if one.facts.split.fraction == 1)
    (found,) = from_answers(read_records(results).records, results)
    assert [one.value for one in found.readings] == [one.value for one in answer.rows]
    assert not any(one.ours for one in found.readings)
    more = [one.model_copy(update={"fraction": 0.5}) for one in answer.rows]
    tenths = replace(answer, asked={"fraction": 0.5}, rows=tuple(more))
    rows = to_objects([found, *from_answers_of(tmp_path / "two", made, tenths)])
    assert len({row["id"] for row in rows}) == len(rows) == 2 * len(answer.rows)
    assert found.records == (whole.key,)
    status, said = call("contested", results, "--question", "labels")
    assert status == 0
    assert "with replacement, seed 42" in said
    assert "SYNTHETIC" in said
    write_report(results, tmp_path / "r.html", resamples=50)
    page = (tmp_path / "r.html").read_text()
    assert "What the same predictions may be printed as" in page
    assert "the first of the list in the order of its keys" in page


def test_what_is_asked_wrongly_is_refused(drawn, call) -> None:
    _, results, _, _ = drawn
    for words in (["--question", "colour"], ["--fraction", "1"]):
        status, said = call("contested", results, *words)
        assert status == 2
        assert words[0] in said


def test_the_page_has_no_tab_where_every_reading_is_the_same(tmp_path: Path) -> None:
    for right, there in ((1.0, False), (0.6, True)):
        folder = tmp_path / f"{right}"
        put(folder, right=right)
        write_report(folder, tmp_path / "r.html", resamples=50)
        assert ("What the same predictions may be printed as" in (tmp_path / "r.html").read_text()) == there


def test_objects_hold_everything() -> None:
    p = many_labels()
    (row, *_) = to_objects(contests_of(record_of(p, "multi-label"), p))
    assert row["question"] == "average"
    assert row["printed_as"] == "mAP"
    assert row["ours"]


def test_the_suite_asks_for_splits_and_tenths() -> None:
    rows = load_suite("contested").rows
    assert {(row.store, row.fraction) for row in rows} >= {("eurosat", 0.1), ("bigearthnet-v1", 0.1), ("oscd", 1.0)}
    assert {row.split for row in rows if row.store == "eurosat"} == {"", "hash-60-20-20"}
