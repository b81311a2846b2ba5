"""Score against cost: what a forward pass or a run takes, drawn and listed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head
from seamo_bench.board.report.markup import amount, row_head, row_kind, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import NAMES, Axis, Dot, scatter
from seamo_bench.board.tables import number
from seamo_bench.records.record import Cost
from seamo_bench.scores.metrics import metric


@dataclass(frozen=True, slots=True)
class _Amount:
    """One column of the list: its head, the value of a record, and how it is printed."""

    head: str
    value: Callable[[Cost], float | None]
    text: Callable[[float], str]


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_FLOPS = _Amount("GFLOPs a sample", lambda cost: cost.flops_per_sample, lambda value: f"{value / 1e9:.3g}")

_SECONDS = _Amount("Seconds a run", lambda cost: cost.seconds, _rounded)

_AMOUNTS = (
    _FLOPS,
    _Amount("Parameters, M", lambda cost: cost.parameters, lambda value: f"{value / 1e6:.4g}"),
    _Amount("Trained, M", lambda cost: cost.trainable_parameters, lambda value: f"{value / 1e6:.3g}"),
    _SECONDS,
    _Amount("Samples a second", lambda cost: cost.samples_per_second, _rounded),
    _Amount("Peak memory, GiB", lambda cost: cost.peak_memory_mib, lambda value: f"{value / 1024:.2f}"),
)


def render(page: Page) -> str:
    """A plot and a list a column; amounts that no record knows are left out."""
    made, places = page.made, page.places
    parts: list[str] = []
    for head in made.heads:
        scored = {
            row: cell
            for row in made.rows
            if (cell := made.cells.get((row.id, head.column))) and cell.interval and math.isfinite(cell.interval.value)
        }
        inner = _column(head, scored)
        if inner:
            parts.append(places.fold(head, inner, is_open=not parts))
    note = (
        '<p class="note">FLOPs are those of one forward pass of the network on one sample. Seconds are those of one '
        "run on the machine that ran it; features that were cached before cost nothing there.</p>"
    )
    return note + "".join(parts) if parts else '<p class="note">No record says what it cost.</p>'


def _column(head: Head, scored: dict[BoardRow, BoardCell]) -> str:
    known = {row: {kind: _mean(cell, kind) for kind in _AMOUNTS} for row, cell in scored.items()}
    shown = [kind for kind in _AMOUNTS if any(amounts[kind] is not None for amounts in known.values())]
    if not shown:
        return ""
    # FLOPs are the same on every machine; seconds serve where they are not known.
    drawn = max((_FLOPS, _SECONDS), key=lambda kind: (_drawable(known, kind) > 1, kind is _FLOPS))
    axis = Axis("FLOPs a sample", "FLOPs a sample") if drawn is _FLOPS else Axis("Seconds a run", "s a run")
    dots, lines, left_out = [], [], []
    for position, (row, cell) in enumerate(scored.items(), start=1):
        cost, mark = known[row][drawn], str(position)
        value = cell.interval.value if cell.interval else math.nan
        if cost is not None and cost > 0:
            dots.append(Dot(row, cost, value, mark))
        else:
            left_out.append(row.title)
        cells = "".join(_cell(kind, known[row][kind]) for kind in shown)
        head_cell = row_head(row, mark if len(scored) > NAMES else "")
        lines.append(
            f'<tr{row_kind(row)}>{head_cell}<td class="num" data-value="{value}">{number(head.metric, value)}</td>'
            f"{cells}</tr>"
        )
    title = metric(head.metric).title
    plot = scatter(dots, head.metric, title, axis) if len(dots) > 1 else ""
    caption = "Means over runs." + (" In the plot, hollow marks are floors." if plot else "")
    if plot and left_out:
        caption += f" {len(left_out)} without {axis.title} not drawn."
    return plot + table(("Backbone", amount(title), *(amount(kind.head) for kind in shown)), lines, caption=caption)


def _cell(kind: _Amount, value: float | None) -> str:
    sort, text = ("", "") if value is None else (value, kind.text(value))
    return f'<td class="num" data-value="{sort}">{text}</td>'


def _mean(cell: BoardCell, which: _Amount) -> float | None:
    values = [value for record in cell.records if (value := which.value(record.cost)) is not None]
    return sum(values) / len(values) if values else None


def _drawable(known: dict[BoardRow, dict[_Amount, float | None]], which: _Amount) -> int:
    values: Sequence[float | None] = [amounts[which] for amounts in known.values()]
    return sum(value is not None and value > 0 for value in values)


TAB = Tab(id="cost", name="Cost", title="Score and cost", order=40, render=render)
