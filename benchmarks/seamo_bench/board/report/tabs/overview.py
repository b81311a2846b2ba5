"""Models and data sets: one row a backbone, one column a task x protocol x share of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seamo_bench.board.leaderboard import BoardCell, Head
from seamo_bench.board.report.columns import (
    TASKS,
    blank_groups,
    chips,
    has_score,
    is_leader,
    is_of_aggregates,
    is_scored,
    kinds,
    short_heads,
    undefined_reason,
)
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import score_axis
from seamo_bench.board.report.words import plural
from seamo_bench.board.tables import interval_text, number, rank_text
from seamo_bench.scores.metric import SHARE
from seamo_bench.scores.metrics import metric

_TALL = 8  # columns from which heads stand upright
_DEEPEST = 45  # percent of the accent: never so deep that the text loses its contrast


@dataclass(frozen=True, slots=True)
class _Shaded:
    """One cell of the overview."""

    head: Head
    cell: BoardCell | None
    text: str
    depth: int
    mark: str
    sort: str
    hint: str


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """Rows and columns that have a score at all; a blank says in a word why, and all of it where it leads."""
    made = page.made
    shown = [head for head in heads if is_scored(made, head)]
    rows = [row for row in made.rows if has_score(made, row)]
    axes = {
        head.column: score_axis([cell for (_, column), cell in made.cells.items() if column == head.column])
        for head in shown
    }
    lines = [
        (row, [_cell(head, made.cells.get((row.id, head.column)), axes[head.column]) for head in shown]) for row in rows
    ]
    words, task = short_heads(shown), kinds(made)
    unit = {row.id: made.aggregates[row.id] for row in rows if row.id in made.aggregates}
    return {
        "heads": [
            {
                "head": head,
                "words": words[head.column],
                "chips": chips(made, head),
                "metric": metric(head.metric).title,
                "task": TASKS.get(task[head.column], task[head.column]),
            }
            for head in shown
        ],
        "lines": lines,
        "tall": len(shown) > _TALL,
        "many_rows": len(rows) > 2 * _TALL,
        "aggregates": [
            (row, one, interval_text(SHARE, one.iqm), rank_text(one.mean_rank))
            for row in rows
            if (one := unit.get(row.id))
        ],
        "aggregate_notes": [note for note in made.notes if is_of_aggregates(note)],
        "left_out": [
            plural(count, word)
            for count, word in ((len(heads) - len(shown), "column"), (len(made.rows) - len(rows), "row"))
            if count
        ],
        "blanks": blank_groups(made, heads),
    }


def _cell(head: Head, cell: BoardCell | None, axis: tuple[float, float]) -> _Shaded:
    if cell is None:
        return _Shaded(head, None, "not run", 0, "", "", "not run")
    if cell.interval is None:
        return _Shaded(head, cell, cell.status, 0, "", "", f"{cell.status}: {cell.reason}")
    if why := undefined_reason(cell):
        return _Shaded(head, cell, "undefined", 0, "", "", f"undefined: {why}")
    low, high = axis
    share = (cell.interval.value - low) / (high - low)
    share = share if metric(head.metric).higher_is_better else 1 - share
    depth = round(8 + (_DEEPEST - 8) * min(1.0, max(0.0, share)))
    mark = "best" if is_leader(cell) else ("close" if cell.best else "")
    text = number(head.metric, cell.interval.value)
    hint = interval_text(head.metric, cell.interval)
    return _Shaded(head, cell, text, depth, mark, str(cell.interval.value), hint)


TAB = Tab(id="overview", name="Overview", title="Models and data sets", order=10, view=view)
