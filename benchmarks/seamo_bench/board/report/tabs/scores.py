"""Scores of one kind of task, a table a column, best first; what has no number stands below, together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head
from seamo_bench.board.report.columns import (
    best_first,
    blank_groups,
    chips,
    is_leader,
    undefined_reason,
)
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import Bar, bar, score_axis
from seamo_bench.board.tables import footnotes, number
from seamo_bench.records.record import Flag
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric

_OPEN = 6  # tables that are not folded


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a table of scores."""

    row: BoardRow
    cell: BoardCell
    value: float
    text: str
    ends: str
    undefined: str
    bar: Bar | None
    mark: str
    flags: Sequence[tuple[str, Flag]]
    runs: str


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table for each column that has scores; metrics and methods are explained once."""
    made, marks = page.made, footnotes(page.made)
    tables = []
    for head in heads:
        scored = best_first(made, head)
        if not scored:
            continue
        axis = score_axis(list(scored.values()))
        tables.append(
            {
                "head": head,
                "chips": chips(made, head),
                "metric": metric(head.metric),
                "axis": f"{number(head.metric, axis[0])} to {number(head.metric, axis[1])}",
                "judged": any(cell.state for cell in scored.values()),
                "methods": _methods(cell.interval for cell in scored.values() if cell.interval),
                "lines": [
                    _line(head, row, cell, cell.interval, axis, marks) for row, cell in scored.items() if cell.interval
                ],
            }
        )
    said = {metric(head.metric).id: metric(head.metric) for head in heads}
    return {
        "tables": tables,
        "metrics": list(said.values()),
        "open": _OPEN,
        "without": sum(not best_first(made, head) for head in heads),
        "blanks": blank_groups(made, heads),
    }


def _methods(intervals: Iterable[Interval]) -> str:
    """How the intervals of a column were made; several ways are told with the origin of each score."""
    said = list(dict.fromkeys("; ".join(part for part in (one.method, one.note) if part) for one in intervals))
    return said[0] if len(said) == 1 else f"{len(said)} kinds, each told with the origin of its score"


def _line(
    head: Head, row: BoardRow, cell: BoardCell, interval: Interval, axis: tuple[float, float], marks: Mapping[Flag, str]
) -> _Line:
    ends = ""
    if interval.low is not None and interval.high is not None:
        ends = f"{number(head.metric, interval.low)}, {number(head.metric, interval.high)}"
    return _Line(
        row=row,
        cell=cell,
        value=interval.value,
        text=number(head.metric, interval.value),
        ends=ends,
        undefined=undefined_reason(cell),
        bar=bar(interval, axis),
        mark="best" if is_leader(cell) else ("close" if cell.best else ""),
        flags=[(marks[flag], flag) for flag in cell.flags],
        runs=f"{interval.num_units} folds" if interval.unit == "folds" else f"{interval.num_seeds}",
    )


TAB = Tab(id="scores", name="Scores", title="Scores", order=20, view=view, by_task=True)
