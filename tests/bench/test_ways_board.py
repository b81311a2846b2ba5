"""Rows that were fed otherwise: planned, run, marked, ranked among their own kind, and old records told alike."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamo_bench import facts as f
from seamo_bench.board import tables
from seamo_bench.board.compare import row_of, way_of
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report.headline import findings
from seamo_bench.cli.program import app
from seamo_bench.records import record as r
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Suite, load_suite
from tests.bench.bench_store import toy_store
from tests.bench.test_leaderboard import put
from tests.bench.test_zoo_families import stems  # noqa: F401 (a fixture)

SUITE = {
    "id": "ways",
    "backbones": ["stem:one", "image-statistics"],
    "ways": ["select", "select-columns", "new-tokenizer"],
    "rows": [{"store": "toy", "protocol": "knn"}],
}


def _quiet(_done: int, _total: int, _what: str) -> None:
    pass


@pytest.mark.usefixtures("stems")
def test_a_suite_with_ways_runs_what_it_else_refuses(tmp_path: Path) -> None:
    """The stem wants B12, which the toy store lacks, and B11 is 588.7 nm away: its columns are left out."""
    toy_store(tmp_path / "stores", n=30)
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path)
    strict = Suite.model_validate({**SUITE, "ways": []})
    refused, _ = make_plan(strict, (), places)
    assert refused.status == "impossible"
    blank = next(iter(run_plan([refused], places, machine=Machine(), progress=_quiet, inner=_quiet)))
    assert (way_of(blank), row_of(blank)) == ("native", "stem:one")
    cells = make_plan(Suite.model_validate(SUITE), (), places)
    records = list(run_plan(cells, places, machine=Machine(), progress=_quiet, inner=_quiet))
    ways = {one.facts.backbone.id: (one.status, one.about.way, one.facts.adapter.missing) for one in records}  # type: ignore[union-attr]
    assert ways == {
        "stem:one": ("ok", "select-columns", "select-columns"),
        "image-statistics": ("ok", "native", "fail"),
    }
    assert not (tmp_path / "results" / f"{blank.key}.json").exists()  # it was no last word
    found = r.read_records(tmp_path / "results")
    table = build_table(found, tmp_path / "results", resamples=50)
    assert {row.id: (row.way, row.title) for row in table.rows} == {
        "stem:one [select-columns]": ("select-columns", "stem:one [select-columns]"),
        "image-statistics": ("native", "Image statistics"),
    }
    named = Suite.model_validate({**SUITE, "rows": [{"store": "toy", "protocol": "knn", "missing": "zero"}]})
    (cell, _) = make_plan(named, (), places)  # a row that names its policy asks for that one
    assert cell.facts[0].adapter.missing == "zero"  # type: ignore[union-attr,index]


@pytest.mark.usefixtures("stems")
def test_why_not_is_told_for_every_way(tmp_path: Path) -> None:
    toy_store(tmp_path / "stores", n=30)
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path)
    (cell,) = make_plan(Suite.model_validate({**SUITE, "backbones": ["stem:one"], "ways": ["select"]}), (), places)
    assert cell.reason.startswith("stem:one: needs s2:B12, toy has B02, B03, B04, B08, B11; by select: needs s2:B12, ")  # type: ignore[union-attr]
    assert "s2:B11, 588.7 nm away (limit 50 nm)" in cell.reason  # type: ignore[union-attr]


def test_each_kind_is_ranked_by_itself(tmp_path: Path) -> None:
    """One that was fed otherwise beats all by far: it takes no star from those that were fed natively."""
    otherwise = f.AdapterFacts(inputs=(), missing="rgb", size=(8, 8))
    for seed in range(3):
        put(tmp_path, "strong", 0.80, seed=seed, about={"way": "native"})
        put(tmp_path, "weak", 0.40, seed=seed)
        put(tmp_path, "best", 0.99, seed=seed, about={"way": "select"})
        put(tmp_path, "other", 0.60, seed=seed, about={"way": "select"})
        put(tmp_path, "alone", 0.97, seed=seed, about={"way": "8-bit"})
        put(tmp_path, "strong", 0.95, seed=seed, about={"way": "rgb"}, adapter=otherwise)
    table = build_table(r.read_records(tmp_path), tmp_path, resamples=200)
    cells = {row: cell for (row, _), cell in table.cells.items()}
    assert {row for row, cell in cells.items() if cell.best} == {"strong", "best [select]"}
    assert cells["weak"].p_worse is not None  # from `strong`, not from `best`
    assert cells["strong"].p_worse is None
    assert cells["alone [8-bit]"].p_worse is None
    assert [row.way == "native" for row in table.rows] == [True] * 2 + [False] * 4
    assert not {row for row in table.aggregates if "[" in row}
    assert any("[8-bit], [rgb], [select] were fed otherwise" in note for note in table.notes)
    text = tables.to_text(table)
    assert "Best [select]" in text
    assert {row["way"] for row in tables.to_objects(table)} == {"native", "select", "8-bit", "rgb"}


def test_mean_ranks_are_of_rows_that_were_fed_natively(tmp_path: Path) -> None:
    for dataset in ("eurosat", "fmow-sentinel"):
        put(tmp_path, "one", 0.9, dataset=dataset)
        put(tmp_path, "two", 0.6, dataset=dataset)
        put(tmp_path, "three", 0.99, dataset=dataset, about={"way": "select"})
    table = build_table(r.read_records(tmp_path), tmp_path, resamples=200)
    assert set(table.aggregates) <= {"one", "two"}
    assert table.aggregates["one"].mean_rank.value == 1.0


def test_old_records_are_told_by_their_flags(tmp_path: Path) -> None:
    made_up = r.Flag(kind="filled-bands", text="B8A not in the store: zero")
    adapter = f.AdapterFacts(inputs=(), missing="zero", size=(8, 8))
    filled = put(tmp_path, "filled", 0.9, flags=(made_up,), adapter=adapter)
    whole = put(tmp_path, "whole", 0.9, adapter=adapter)
    assert (row_of(filled), row_of(whole)) == ("filled [zero]", "whole")


def test_keys_of_records_are_those_of_before(tmp_path: Path) -> None:
    """A record as it was written before there were ways: no `sources`, no `way`; its key is that of today's facts."""
    record = put(tmp_path, "old", 0.9, adapter=f.AdapterFacts(inputs=(_INPUT,), missing="fail", size=(8, 8)))
    document = json.loads((tmp_path / f"{record.key}.json").read_text())
    del document["facts"]["adapter"]["inputs"][0]["sources"], document["about"]["way"]
    facts = f.Facts.model_validate(document["facts"])
    assert f.run_key(facts) == record.key
    assert r.About.model_validate(document["about"]) == record.about
    assert "sources" not in json.dumps(facts.model_dump(mode="json", exclude_defaults=True))


_INPUT = f.InputFacts(sensor="s2", stack="s2", bands=("B02",), unit="dn", steps=())


def test_uniform_states_its_ways_and_the_paper_s_suite_has_none() -> None:
    assert load_suite("uniform").ways == ("8-bit", "rgb", "wavelength", "select", "select-columns", "new-tokenizer")
    assert load_suite("paper").ways == ()


@pytest.mark.usefixtures("stems")
def test_explain_tells_the_way_and_why_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store = toy_store(tmp_path / "stores", n=30)
    folder = next(path.parent for path in (tmp_path / "stores").rglob("store.json"))
    assert store.spec.id == "toy"
    result = CliRunner().invoke(app, ["explain", "stem:one", str(folder)])
    assert result.exit_code == 0, result.output
    assert "Not as it was made to be: needs s2:B12" in result.output
    assert "By select-columns instead, a row of its own kind." in result.output
    assert "not by select: needs s2:B12, the nearest that toy has is s2:B11, 588.7 nm away" in result.output
    native = CliRunner().invoke(app, ["explain", "image-statistics", str(folder)])
    assert "Not as it was made to be" not in native.output


@pytest.mark.usefixtures("stems")
def test_plan_shows_the_ways(tmp_path: Path) -> None:
    toy_store(tmp_path / "stores", n=30)
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(SUITE))
    asked = ["plan", str(path), "--stores", str(tmp_path / "stores"), "--results", str(tmp_path / "r"), "--ways"]
    result = CliRunner().invoke(app, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    rows = {row["id"]: (row["way"], row["why"][:13]) for row in json.loads(result.stdout)}
    assert rows == {
        "stem:one | toy": ("select-columns", "needs s2:B12,"),
        "image-statistics | toy": ("native", ""),
    }
    shown = CliRunner().invoke(app, asked).output
    assert "columns" in shown
    assert "1 toy" in shown


@pytest.mark.parametrize("columns", [1, 5])
def test_the_headline_is_of_rows_that_were_fed_natively(tmp_path: Path, columns: int) -> None:
    for number in range(columns):
        params = {"head": f"h{number}"}
        put(tmp_path, "best", 0.99, about={"way": "select"}, params=params)
        put(tmp_path, "mine", 0.7, params=params)
    (said, *_) = findings(build_table(r.read_records(tmp_path), tmp_path, resamples=50))
    if columns == 1:
        assert "Mine leads with" in said
        assert said.endswith("nothing else that is fed natively has a score; ranked apart: 1 by select.")
    else:
        assert "a single natively fed row has a score in each, Mine in 5" in said
        assert said.endswith("Fed otherwise and ranked apart, scores: 5 by select.")
