"""The command and the report: what was found is kept and shown, and what cannot be is neither."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seamo.sample import GeoRef
from seamo.store.placelist import footprints_of, read_footprints, write_footprints
from seamo.store.reader import Store
from seamo_bench.board import overlap as board
from seamo_bench.board.compare import column_of
from seamo_bench.board.report import write_report
from seamo_bench.records import record as r
from seamo_bench.records.answers import read_answers, write_answer
from seamo_bench.records.layout import PREDICTIONS, RECORDS, is_shared
from seamo_prep.cli import main as prep
from tests.bench import bench_store
from tests.bench.overlap.placed import UTM, opened, placed_store, put, rows_of
from tests.bench.test_report import Page


def test_the_command_keeps_what_it_found_and_the_report_shows_it(
    here: Path, call: Callable[..., tuple[int, str]], root: Path
) -> None:
    toy, made = opened(root, "toy"), here / "results"
    put(made, toy, "saw", (1.0, 0.5), content=opened(root, "corpus").content)
    status, said = call("overlap", made, "--stores", root)
    assert status == 0, said
    assert "Synthetic data: Toy synthetic (90 samples)." in said
    put(made, toy, "croma-base-s2", (0.8, 0.7))
    put(made, toy, "texture-statistics", (0.6, 0.6), floor="image statistics")
    status, text = call("overlap", made, "--stores", root, "--json")
    assert status == 0, text
    rows = {row["row"]: row for row in json.loads(text[: text.rindex("]") + 1])}
    assert [rows[name]["touched"] for name in ("saw", "croma-base-s2", "texture-statistics")] == [30, 0, 0]
    known = [one.key for one in r.read_records(made).records]
    answers = read_answers(made, board.KIND, board.OverlapRow, version=board.VERSION, known=known)
    assert sorted(len(answer.records) for answer in answers) == [1, 3]
    write_report(made, here / "page.html", resamples=50)
    page = Page((here / "page.html").read_text("utf-8"))
    assert "overlap" in page.ids
    assert page.text.count("30 of 90 test samples (33.3 %) lie where corpus has images") == 1  # the newer answer alone
    assert "newer record" not in page.text
    assert "beyond floors" in page.text
    assert "Floors: texture-statistics." in page.text
    assert "s0000" in page.text
    assert "cannot be said of 90" in page.text
    status, said = call("overlap", made, "--stores", root, "--footprints", here / "nowhere")
    assert status == 2
    assert "is no folder" in said


def half_placed(root: Path, n: int, name: str) -> Store:
    """A store as `placed_store` makes it, of which every second sample has no place."""
    spec = bench_store.toy_spec()
    spec = spec.model_copy(update={"id": name, "title": name.title()})
    samples = bench_store.toy_samples(spec, n)
    for i in range(0, n, 2):
        x, y = 600_000.0 + 80.0 * (i % 10), 5_400_000.0 - 80.0 * (i // 10)
        samples[i] = dataclasses.replace(samples[i], geo=GeoRef(UTM, (10.0, 0.0, x, 0.0, -10.0, y)))
    return bench_store.build_store(root, spec, samples)


def test_images_of_a_corpus_without_a_place_leave_no_sample_clean(
    here: Path, call: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stores, made, lists = tmp_path / "stores", tmp_path / "results", here / "lists"
    toy, half = placed_store(stores, 30), half_placed(stores, 20, "half")
    put(made, toy, "saw", (0.9, 0.5), content=half.content)
    put(made, toy, "croma-base-s2", (0.9, 0.5))
    row = rows_of(made, stores)["saw"]
    assert (row.touched, row.clean, row.unknown) == (10, 0, 20)
    assert [(one.footprints, one.unplaced) for one in row.corpora] == [(10, 10)]
    assert "cannot be said of 20: 10 images of half have no place" in row.flag
    where = lists / "ssl4eo-s12.parquet"
    monkeypatch.setattr("sys.argv", ["seamo-prep", "export", str(half.url), "--footprints", "-o", str(where)])
    with pytest.raises(SystemExit) as end:
        prep()
    assert not end.value.code
    assert "of 10 samples no place is known" in capsys.readouterr().err
    assert read_footprints(where).unplaced == 10
    row = rows_of(made, stores, lists=lists)["croma-base-s2"]
    assert (row.touched, row.clean, row.unknown, row.corpora[0].origin) == (10, 0, 20, "list")
    known = read_footprints(where)
    boxed = [
        f"{one}" + "".join(f",{side:.9f}" for side in box) for one, box in zip(known.ids, known.boxes, strict=True)
    ]
    where.unlink()
    where.with_suffix(".csv").write_text("\n".join(["id,west,south,east,north", *boxed, "nowhere,,,,", ""]))
    row = rows_of(made, stores, lists=lists)["croma-base-s2"]
    assert (row.touched >= 10, row.clean, row.corpora[0].unplaced) == (True, 0, 1)  # boxes reach over neighbours
    status, said = call("overlap", made, "--stores", stores, "--footprints", lists)
    assert status == 0, said
    assert "croma-base-s2: ssl4eo-s12 is partly unknown" in said


def test_what_was_asked_with_lists_stands_beside_what_was_asked_without(
    here: Path, call: Callable[..., tuple[int, str]], root: Path
) -> None:
    toy, made, lists = opened(root, "toy"), here / "results", here / "lists"
    put(made, toy, "croma-base-s2", (0.8, 0.7))
    lists.mkdir()
    write_footprints(lists / "ssl4eo-s12.parquet", footprints_of(toy, np.arange(40))[0])
    for more in (("--footprints", lists), ()):
        assert call("overlap", made, "--stores", root, *more)[0] == 0
    asked = [one.asked["lists"] for one in read_answers(made, board.KIND, board.OverlapRow, version=board.VERSION)]
    assert sorted(map(len, asked)) == [0, len("ssl4eo-s12.parquet (sha256 0123456789abcdef)")]
    put(made, toy, "croma-base-s2", (0.8, 0.7), seed=1)
    write_report(made, here / "page.html", resamples=50)
    text = Page((here / "page.html").read_text("utf-8")).text
    assert "Lists of footprints: ssl4eo-s12.parquet (sha256" in text
    assert "Lists of footprints: none." in text
    assert text.count("1 newer record of the leaderboard not in it: make it again") == 2


def test_a_repository_is_refused_and_shows_no_answer(
    here: Path, call: Callable[..., tuple[int, str]], root: Path
) -> None:
    made = here / "results"
    record = put(made, opened(root, "toy"), "texture-statistics", (0.6, 0.6))
    assert call("overlap", made, "--stores", root)[0] == 0
    asked = {"version": board.VERSION, "known": [record.key]}
    assert read_answers(made, board.KIND, board.OverlapRow, **asked)  # type: ignore[arg-type]
    for name in (RECORDS, PREDICTIONS):
        (made / name).mkdir()
    assert is_shared(made)
    assert not read_answers(made, board.KIND, board.OverlapRow, **asked)  # type: ignore[arg-type]
    status, said = call("overlap", made, "--stores", root)
    assert status == 2
    assert "is a results repository" in said
    status, said = call("overlap", "https://example.org/results", "--stores", root)
    assert status == 2
    assert "on this disk" in said


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "nothing"}, {"clean": 7}, {"step": 0.0}, {"cells": [{"touched": -1}]}, {"cells": [{"clean": 10**15}]},
     {"cells": [{"south": -95.0}]}, {"touched": -1, "clean": 11}],
)  # fmt: skip
def test_a_row_that_cannot_be_is_none(wrong: dict[str, object]) -> None:
    cell = {"west": 10.0, "south": 50.0, "touched": 1, "clean": 0, "unknown": 0}
    row = {"column": "c", "dataset": "d", "protocol": "linear", "metric": "top1", "row": "m", "title": "m",
           "records": ("k",), "samples": 10, "touched": 2, "clean": 8, "unknown": 0, "cells": [cell]}  # fmt: skip
    assert board.OverlapRow.model_validate(row)
    if isinstance(cells := wrong.get("cells"), list):
        wrong = {"cells": [{**cell, **cells[0]}]}
    with pytest.raises(ValueError, match=r"metric|samples|greater|globe"):
        board.OverlapRow.model_validate({**row, **wrong})


def test_hostile_words_are_shown_as_words_and_without_an_answer_there_is_no_tab(tmp_path: Path) -> None:
    from tests.bench.test_report import HOSTILE
    from tests.bench.test_report import put as put_record

    record = put_record(tmp_path, "model", 0.9)
    write_report(tmp_path, tmp_path / "page.html")
    assert "overlap" not in Page((tmp_path / "page.html").read_text("utf-8")).ids
    from seamo_bench.records.answers import Answer

    row = board.OverlapRow(
        column=column_of(record).id, dataset=HOSTILE, protocol="linear", metric="top1", row="model", title=HOSTILE,
        records=(record.key,), samples=120, touched=1, clean=119, unknown=0, flag=HOSTILE, note=HOSTILE,
        corpora=(board.SeenData(id=HOSTILE, origin="list", footprints=1, touched=1, note=HOSTILE),),
        examples=(board.TouchedSample(key=HOSTILE, corpus=HOSTILE, footprint=HOSTILE, longitude=10, latitude=50),),
        cells=(board.OverlapCell(west=10, south=50, touched=1, clean=119, unknown=0),),
    )  # fmt: skip
    write_answer(tmp_path, Answer(board.KIND, board.VERSION, HOSTILE, {"days": None}, (record.key,), (row,)))
    write_report(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "overlap" in Page(text).ids
    assert HOSTILE not in text
