"""Curves over shares of labels: which columns make one, what a point is, and what report and picture show of it."""

from pathlib import Path

import numpy as np
import pytest

from seamo_bench.board.curves import label_curves, said_once
from seamo_bench.board.leaderboard import BoardRow, build_table
from seamo_bench.board.report import write_report
from seamo_bench.board.report.plots import HEIGHT, WIDTH, lines_plot
from seamo_bench.paper.label_curves import draw_label_curves
from seamo_bench.records import record as r
from seamo_bench.scores.intervals import Interval
from seamo_bench.suites.suite import load_suite
from tests.bench.test_leaderboard import facts, predictions
from tests.bench.test_report import Page

SHARES = {"strong": {0.01: 0.5, 0.1: 0.7, 1.0: 0.9}, "weak": {0.01: 0.4, 1.0: 0.6}}


@pytest.fixture
def results(tmp_path):
    """Three subsets of each smaller share, one run of all labels; one column more with a single share."""
    for backbone, shares in SHARES.items():
        for share, right in shares.items():
            for seed in range(3 if share < 1 else 1):
                put(tmp_path, backbone, right, share=share, seed=seed)
    put(tmp_path, "strong", 0.8, share=1.0, seed=0, dataset="other")
    return tmp_path


def put(folder, backbone, right, *, share, seed, dataset="eurosat"):
    plain = facts(backbone, seed=seed, dataset=dataset)
    lists = {**plain.split.lists, "train": f"{share}-{seed}"}
    split = plain.split.model_copy(update={"fraction": share, "salt": seed if share < 1 else 0, "lists": lists})
    about = r.About(
        stores=(dataset,), backbone=backbone.title(), floor="image statistics" if backbone == "weak" else ""
    )
    told = plain.model_copy(update={"split": split})
    return r.write_record(folder, told, about=about, predictions=predictions(right, seed + int(1000 * share)))


def test_columns_that_differ_in_the_share_of_labels_alone_make_a_curve(results):
    (curves,) = label_curves(build_table(r.read_records(results), results, resamples=50))
    assert curves.head.column.dataset == "eurosat"
    assert curves.head.column.fraction == 1.0
    assert curves.fractions == (0.01, 0.1, 1.0)
    assert dict(curves.seeds) == {0.01: 3, 0.1: 3, 1.0: 1}
    assert [row.id for row in curves.lines] == ["strong", "weak"]
    found = r.read_records(results).records
    for row, points in curves.lines.items():
        assert set(points) == set(SHARES[row.id])
        for share, one in points.items():
            mine = [
                record.scores["top1"]
                for record in found
                if record.facts.backbone.id == row.id
                and record.facts.split.fraction == share
                and record.facts.stores[0].id == "eurosat"
            ]
            assert one.value == pytest.approx(np.mean(mine))
    assert "of labels" not in said_once(curves.head)


def test_a_line_is_drawn_where_its_scores_are():
    made = lines_plot(
        {
            row: {share: interval(value) for share, value in points.items()}
            for row, points in ((board("a"), {0.01: 0.2, 0.1: 0.5, 1.0: 0.8}), (board("b"), {0.01: 0.5, 1.0: 0.5}))
        },
        "top1",
        "Top-1",
    )
    first, second = made.lines
    (x1, y1), (x2, y2), (x3, y3) = first.dots
    assert x2 - x1 == pytest.approx(x3 - x2)  # decades are as wide as one another
    assert y1 - y2 == pytest.approx(y2 - y3)
    assert [y for _, y in second.dots] == pytest.approx([y2, y2])
    assert second.dots[0][0] > x1  # beside the other's, not on it
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for line in made.lines for x, y in line.dots)
    assert [text for _, text in made.x_ticks] == ["1 %", "10 %", "100 %"]
    assert first.hint.startswith("a: Top-1 1 %: 20.00 [10.00, 30.00]; 10 %: 50.00")


def board(name):
    return BoardRow(name, name, "")


def interval(value):
    return Interval(value, value - 0.1, value + 0.1, 0.95, "made up", 10, "sample", 1, None, "")


def test_report_and_figures_show_the_curve(results):
    write_report(results, results / "r.html", resamples=50)
    text = (results / "r.html").read_text()
    page = Page(text)
    part = text[text.index('<section id="labels"') :]
    part = part[: part.index("</section>")]
    assert part.count('class="hint') == 2
    assert "1 % (3 seeds)" in part
    assert "100 % (1 seed)" in part
    assert "Score and share of labels" in page.text
    (drawn,) = draw_label_curves(results, results / "drawn")
    assert drawn.id.startswith("labels-eurosat-linear-")
    assert Path(drawn.file).read_bytes().startswith(b"\x89PNG")
    assert len(drawn.records) == 2


def test_one_share_makes_no_curve(tmp_path):
    put(tmp_path, "strong", 0.8, share=1.0, seed=0)
    assert not list(draw_label_curves(tmp_path, tmp_path / "drawn"))
    write_report(tmp_path, tmp_path / "r.html", resamples=50)
    assert 'id="labels"' not in (tmp_path / "r.html").read_text()


def test_the_suite_has_three_subsets_of_every_share():
    rows = load_suite("label-efficiency").rows
    questions = {}
    for row in rows:
        questions.setdefault((row.store, row.protocol), {})[row.fraction] = row.seeds
    for (_, protocol), seeds in questions.items():
        assert set(seeds) == {0.01, 0.05, 0.1, 1.0}
        assert all(seeds[share] == (3 if protocol == "logreg" else None) for share in (0.01, 0.05, 0.1))
