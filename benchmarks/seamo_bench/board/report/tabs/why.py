"""Why two numbers differ: what `seamo-bench why --keep` found out, each as a waterfall."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.explanations import KeptExplanation, kept_explanations
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import number, signed
from seamo_bench.scores.metrics import metric, metrics

_MOST = 30  # explanations on the page
_LEFT, _WIDE = 4.0, 292.0  # of a drawing, as those of intervals


def view(page: Page, _heads: Sequence[Head]) -> Mapping[str, object] | None:
    """One waterfall an explanation, the largest difference first; None where none was kept."""
    answers = kept_explanations(page.results, page.found.records)
    found = [(one.made_by, row) for one in answers for row in one.rows]
    if not found:
        return None
    found.sort(key=lambda pair: -abs(pair[1].b_value - pair[1].a_value))
    shown = [{"made_by": made_by, "one": row, **_drawn(row)} for made_by, row in found[:_MOST]]
    return {"shown": shown, "more": max(0, len(found) - _MOST)}


def _drawn(one: KeptExplanation) -> dict[str, object]:
    at, bars = one.a_value, []
    for change in one.changes:
        bars.append((change, at, at + change.effect))
        at += change.effect
    ends = [one.a_value, one.b_value, *(end for _, _, end in bars)]
    room = 0.08 * (max(ends) - min(ends)) or 0.01
    low, high = min(ends) - room, max(ends) + room

    def x(value: float) -> float:
        return _LEFT + _WIDE * (value - low) / (high - low)

    lines = [
        {
            "name": change.name,
            "told": change.told,
            "text": signed(one.a_metric, change.effect),
            "value": change.effect,
            "left": min(x(begin), x(end)),
            "width": max(abs(x(end) - x(begin)), 1.0),
            "side": "left" if change.name == "unexplained" else "up" if end >= begin else "down",
        }
        for change, begin, end in bars
    ]
    return {
        "lines": lines,
        "a_at": x(one.a_value),
        "b_at": x(one.b_value),
        "sides": ("left", "right") if one.a_value <= one.b_value else ("right", "left"),
        "a_metric": _title(one.a_metric),
        "b_metric": _title(one.b_metric),
        "a_text": number(one.a_metric, one.a_value),
        "b_text": number(one.b_metric, one.b_value),
        "difference": signed(one.a_metric, one.b_value - one.a_value),
        "chance": None if one.low is None else (signed(one.a_metric, one.low), signed(one.a_metric, one.high or 0.0)),
        "has_zero": one.low is not None and one.high is not None and one.low <= 0 <= one.high,
    }


def _title(name: str) -> str:
    """Of a metric as other tabs name it; of a number that is no metric of the lists its own name."""
    return metric(name).title if name in metrics() else name


TAB = Tab(id="why", name="Why", title="Why two numbers differ", order=32, view=view)
