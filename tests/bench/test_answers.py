"""Answers beside records: written once a question, read only whole, of this version, and of records that are there."""

import logging
from pathlib import Path

import pytest

from seamo_bench.facts import Value
from seamo_bench.records.answers import FOLDER, Answer, read_answers, write_answer
from seamo_bench.records.record import read_records


class Row(Value):
    name: str
    gap: float


class Other(Value):
    name: str
    flips: int


def answer(*rows: Row, records: tuple[str, ...] = ("a", "b"), version: int = 1, blocks: float = 1000.0) -> Answer[Row]:
    return Answer("gap", version, "seamo-bench gap results", {"block_m": blocks}, records, rows)


def test_the_answer_to_a_question_is_replaced_and_another_question_is_not(tmp_path: Path) -> None:
    first = write_answer(tmp_path, answer(Row(name="x", gap=0.1)))
    second = write_answer(tmp_path, answer(Row(name="x", gap=0.2)))
    third = write_answer(tmp_path, answer(Row(name="y", gap=0.3), blocks=2000.0))
    assert first == second != third
    found = read_answers(tmp_path, "gap", Row, version=1)
    assert sorted(row.gap for one in found for row in one.rows) == [0.2, 0.3]
    assert {one.asked["block_m"] for one in found} == {1000.0, 2000.0}
    assert not read_records(tmp_path).records  # an answer is no record, and no damaged one
    assert not read_records(tmp_path).damaged


def test_what_is_damaged_older_or_of_other_records_is_said_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_answer(tmp_path, answer(Row(name="x", gap=0.1)))
    whole = path.read_bytes()
    assert read_answers(tmp_path, "gap", Row, version=1, known=["a", "b", "c"])
    with caplog.at_level(logging.WARNING):
        assert not read_answers(tmp_path, "gap", Row, version=2)
        assert not read_answers(tmp_path, "gap", Row, version=1, known=["a"])
        assert not read_answers(tmp_path, "gap", Other, version=1)
        path.write_bytes(whole.replace(b"0.1", b"0.9"))
        assert not read_answers(tmp_path, "gap", Row, version=1)
        path.write_bytes(b"\x00")
        assert not read_answers(tmp_path, "gap", Row, version=1)
        path.write_bytes(whole)
        of_none = write_answer(tmp_path, answer(Row(name="x", gap=0.1), records=()))
        assert len(read_answers(tmp_path, "gap", Row, version=1, known=["a", "b"])) == 1
    assert f"{of_none.name} is of no record" in caplog.records.pop().getMessage()
    of_none.unlink()
    assert len(caplog.records) == 5
    assert all(path.name in one.getMessage() for one in caplog.records)
    (tmp_path / FOLDER / "gap-other-0000.json").write_bytes(whole)
    path.write_bytes(whole)
    assert len(read_answers(tmp_path, "gap", Row, version=1)) == 2
    assert not read_answers(tmp_path, "gap-other", Row, version=1)
