"""The newer tabs as they read: words, marks and what they are sorted by."""

import re

import pytest

from seamo_bench.board import explanations, overlap
from seamo_bench.board.compare import column_of, row_of
from seamo_bench.board.report import write_report
from seamo_bench.board.report.tabs.seasons import _reasons
from seamo_bench.board.report.templating import templates
from seamo_bench.board.spatial import KIND, VERSION, DistanceBin, unplaced_texts
from seamo_bench.board.tables import number
from seamo_bench.records.answers import Answer, write_answer
from seamo_bench.records.record import read_records
from tests.bench import test_spatial_table as land
from tests.bench.test_report import Page, put


def section(folder, name):
    """The HTML of one tab of a folder's report."""
    write_report(folder, folder / "page.html", resamples=50)
    text = (folder / "page.html").read_text("utf-8")
    Page(text)  # all tags close
    (found,) = re.findall(rf'<section id="{name}".*?</section>', text, re.DOTALL)
    return found


def words(html):
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def test_what_is_rounded_to_nothing_has_no_sign():
    assert number("top1", -0.00001) == "0.00"
    assert number("top1", -0.0001) == "-0.01"
    assert number("nll", -0.00001) == "0.0000"


@pytest.mark.parametrize(("a", "b", "marks"), [(0.8, 0.7, "right left"), (0.7, 0.8, "left right")])
def test_why_names_the_mark_of_either_number_by_where_it_is(tmp_path, a, b, marks):
    put(tmp_path, "one", 0.9)
    put(tmp_path, "other", 0.6)
    records = read_records(tmp_path).records
    row = explanations.KeptExplanation(
        a="one", b="other", a_metric="top1", b_metric="top1", a_value=a, b_value=b,
        changes=(explanations.Change(name="bands", effect=b - a),), explained=1.0, low=None, high=None,
        no_interval="they were tested on other samples", how="each alone", runs=0, would_run=("one on eurosat",),
        notes=(),
    )  # fmt: skip
    keys = tuple(sorted(one.key for one in records))
    write_answer(tmp_path, Answer(explanations.KIND, explanations.VERSION, "seamo-bench why", {}, keys, (row,)))
    html = section(tmp_path, "why")
    of_a, of_b = marks.split()
    assert f"From A ({of_a} mark) to B ({of_b} mark)" in html
    at_a, at_b = map(float, re.search(r'class="axis zero" d="M([\d.]+) 0V18M([\d.]+) 0V18"', html).groups())
    assert (at_a > at_b) == (of_a == "right")
    assert f"A {number('top1', a)} (Top-1), B {number('top1', b)} (Top-1)." in words(html)
    assert "each alone. Nothing was run for it; 1 run between the two would tell more" in words(html)


def test_overlap_marks_floors_and_is_sorted_by_its_numbers(tmp_path):
    put(tmp_path, "net", 0.9)
    put(tmp_path, "stats", 0.5, floor="image statistics")
    records = read_records(tmp_path).records
    rows = tuple(
        overlap.OverlapRow(
            column=column_of(one).id, dataset="eurosat", protocol="linear", metric="top1", row=row_of(one), title="t",
            records=(one.key,), samples=120, touched=20 if row_of(one) == "net" else 0,
            clean=100 if row_of(one) == "net" else 120, unknown=0,
            flag="20 of 120 test samples lie where it has images",
            whole=overlap.PartScore(samples=120, value=0.9, low=0.8, high=0.95),
            gap=overlap.ScoreGap(value=-0.00002, low=-0.01, high=0.01) if row_of(one) == "net" else None,
        )
        for one in records
    )  # fmt: skip
    keys = tuple(sorted(one.key for one in records))
    write_answer(tmp_path, Answer(overlap.KIND, overlap.VERSION, "seamo-bench overlap", {}, keys, rows))
    html = section(tmp_path, "overlap")
    assert "stats floor: image statistics" in words(html)
    assert '<td class="num" data-value="0.9">90.00' in html
    assert '<td class="num" data-value="-2e-05">0.00<span class="ends">-1.00 to 1.00' in html
    assert '<td class="note telling">20 of 120' in html  # wide enough for a sentence


def test_spatial_is_sorted_by_training_samples_as_a_number(tmp_path):
    for scheme in (land.OTHER, land.SPATIAL):
        land.put(tmp_path, "one", scheme, land.run_of(right=0.7, alike=True))
    html = section(tmp_path, "spatial")
    assert '<td class="num" data-value="1800">1,800<span class="ends">other split 1,800</span></td>' in html


def test_samples_without_a_distance_are_told_once_a_scheme():
    def one(row, count, scheme="official"):
        return DistanceBin(
            row=row, column="c", scheme=scheme, records=("k",), low_km=0, high_km=1, samples=50, unplaced=count,
            metric="top1", value=0.5, low=0.4, high=0.6,
        )  # fmt: skip

    assert (KIND, VERSION) == ("spatial", 2)
    same = [one(row, 7) for row in "abcde"]
    assert unplaced_texts([*same, *same, one("f", 1), one("g", 0)]) == (
        "a, b, c and 2 more on official: 7 test samples are of unknown distance, and in no line",
        "f on official: 1 test sample is of unknown distance, and in no line",
    )


def test_reasons_of_a_season_without_a_number_are_told_below_the_table():
    cells = [{"why": "n = 15: no interval"}, {"why": ""}, {"why": "no place has two days"}]
    other = [{"why": "n = 15: no interval"}, {"why": "n = 15: no interval"}, {"why": ""}]
    assert _reasons(("Winter", "Spring", "Flips"), [cells, other]) == [
        ("Winter; Spring", "n = 15: no interval"),
        ("Flips", "no place has two days"),
    ]


def test_no_page_shows_marks_of_markdown(tmp_path):
    for seed in range(2):
        put(tmp_path, "net", 0.9, seed=seed)
    assert "`" not in words(section(tmp_path, "contested"))
    made = str(templates().get_template("macros.html").module.coded("suite `a<b` and <i>"))
    assert made == "suite <code>a&lt;b</code> and &lt;i&gt;"
