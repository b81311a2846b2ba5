"""Score against cost: what a forward pass or a run takes, drawn and listed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head
from seamo_bench.board.report.columns import best_first, chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import HEIGHT, WIDTH, Axis, Dot, scatter
from seamo_bench.board.tables import interval_text
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


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A plot and a list a column; amounts that no record knows are left out."""
    made = page.made
    parts = []
    for head in heads:
        scored = {
            row: cell
            for row, cell in best_first(made, head).items()
            if cell.interval and math.isfinite(cell.interval.value)
        }
        known = {row: {kind: _mean(cell, kind) for kind in _AMOUNTS} for row, cell in scored.items()}
        shown = [kind for kind in _AMOUNTS if any(amounts[kind] is not None for amounts in known.values())]
        if shown:
            parts.append({"head": head, "chips": chips(made, head), **_column(head, scored, known, shown)})
    return {"parts": parts, "width": WIDTH, "height": HEIGHT}


def _column(
    head: Head,
    scored: Mapping[BoardRow, BoardCell],
    known: Mapping[BoardRow, Mapping[_Amount, float | None]],
    shown: Sequence[_Amount],
) -> dict[str, object]:
    # FLOPs are the same on every machine; seconds serve where they are not known.
    drawn = max((_FLOPS, _SECONDS), key=lambda kind: (_drawable(known, kind) > 1, kind is _FLOPS))
    axis = Axis("FLOPs a sample", "FLOPs a sample") if drawn is _FLOPS else Axis("Seconds a run", "s a run")
    dots, lines = [], []
    for position, (row, cell) in enumerate(scored.items(), start=1):
        cost = known[row][drawn]
        if cell.interval:
            dots.append(Dot(row, cost if cost is not None and cost > 0 else None, cell.interval, str(position)))
        lines.append(
            {
                "row": row,
                "mark": str(position),
                "value": cell.interval.value if cell.interval else "",
                "text": interval_text(head.metric, cell.interval) if cell.interval else "",
                "amounts": [_amount(kind, known[row][kind]) for kind in shown],
            }
        )
    title = metric(head.metric).title
    drawable = _drawable(known, drawn) > 0 and len(dots) > 1
    plot = scatter(dots, head.metric, title, axis) if drawable else None
    return {
        "plot": plot,
        "numbered": plot is not None and any(mark.label == mark.dot.mark for mark in plot.marks),
        "metric": title,
        "amounts": [kind.head for kind in shown],
        "lines": lines,
    }


def _amount(kind: _Amount, value: float | None) -> tuple[str, str]:
    return ("", "") if value is None else (str(value), kind.text(value))


def _mean(cell: BoardCell, which: _Amount) -> float | None:
    values = [value for record in cell.records if (value := which.value(record.cost)) is not None]
    return sum(values) / len(values) if values else None


def _drawable(known: Mapping[BoardRow, Mapping[_Amount, float | None]], which: _Amount) -> int:
    values = [amounts[which] for amounts in known.values()]
    return sum(value is not None and value > 0 for value in values)


TAB = Tab(id="cost", name="Cost", title="Score and cost", order=40, view=view)
