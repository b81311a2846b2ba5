"""Drawings of the report as inline SVG: interval bars, score against cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from seamo_bench.board.leaderboard import BoardCell, BoardRow
from seamo_bench.board.tables import interval_text, number

READING = '<p class="reading note" aria-live="polite">Point at a mark, or walk with the arrow keys, to read it.</p>'
NAMES = 10  # dots up to which a plot writes names; numbers beyond


@dataclass(frozen=True, slots=True)
class Dot:
    """One backbone in a plot: what it costs, what it scores, how it is marked in the table beside."""

    row: BoardRow
    cost: float
    score: float
    mark: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What a cost is: its name, and the unit that ticks and hints carry."""

    title: str
    unit: str


def score_axis(cells: Sequence[BoardCell]) -> tuple[float, float]:
    """Ends of the axis that all bars of a column share, a little beyond the outermost interval."""
    ends = [
        value
        for cell in cells
        if cell.interval
        for value in (cell.interval.value, cell.interval.low, cell.interval.high)
        if value is not None and math.isfinite(value)
    ]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.01
    low = max(0.0, low - pad) if low >= 0 else low - pad
    return low, high + pad if high > 1 else min(1.0, high + pad)


def bar(name: str, cell: BoardCell, axis: tuple[float, float], width: int = 300) -> str:
    """Value and interval of a cell on the column's axis."""
    interval = cell.interval
    if interval is None or not math.isfinite(interval.value):
        return ""
    low, high = axis

    def x(value: float) -> float:
        return 4 + (width - 8) * (value - low) / (high - low)

    line = ""
    if interval.low is not None and interval.high is not None:
        a, b = x(interval.low), x(interval.high)
        line = "".join(
            f'<line class="bar" x1="{p:.1f}" x2="{q:.1f}" y1="{r}" y2="{s}"/>'
            for p, q, r, s in ((a, b, 9, 9), (a, a, 4, 14), (b, b, 4, 14))
        )
    said = escape(interval_text(name, interval))
    return (
        f'<svg class="interval" role="img" viewBox="0 0 {width} 18" aria-label="{said}"><title>{said}</title>'
        f'<rect class="track" x="0" y="7" width="{width}" height="4" rx="2"/>{line}'
        f'<circle class="dot" cx="{x(interval.value):.1f}" cy="9" r="4"/></svg>'
    )


def scatter(dots: Sequence[Dot], metric: str, score: str, axis: Axis) -> str:
    """Scores against a cost on a logarithmic axis; the line joins what nothing cheaper beats.

    Args:
        dots: With a cost above 0 and a finite score, at least one.
        metric: Of the scores.
        score: Its title.
        axis: What the cost is.
    """
    width, height, left, right, top, bottom = 760, 320, 64, 24, 16, 52
    ordered = sorted(dots, key=lambda dot: (dot.cost, -dot.score))
    logs = [math.log10(dot.cost) for dot in ordered]
    first, last = math.floor(min(logs)), math.ceil(max(logs))
    last += first == last
    low, high = min(dot.score for dot in dots), max(dot.score for dot in dots)
    pad = 0.12 * (high - low) or 0.01
    low, high = low - pad, high + pad

    def x(cost: float) -> float:
        return left + (width - left - right) * (math.log10(cost) - first) / (last - first)

    def y(value: float) -> float:
        return top + (height - bottom - top) * (high - value) / (high - low)

    marks = []
    for power in range(first, last + 1):
        at = f"{x(10.0**power):.1f}"
        marks.append(f'<line class="axis" x1="{at}" x2="{at}" y1="{top}" y2="{height - bottom}"/>')
        marks.append(f'<text x="{at}" y="{height - bottom + 16}" text-anchor="middle">{_si(10.0**power)}</text>')
    for value in _ticks(low, high):
        at = f"{y(value):.1f}"
        marks.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="{at}" y2="{at}"/>')
        marks.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{number(metric, value)}</text>')
    middle = (top + height - bottom) / 2
    marks.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">{escape(axis.title)}</text>'
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(score)}</text>'
    )
    front, best = "", -math.inf
    for dot in ordered:
        if dot.score > best:
            front += f"H{x(dot.cost):.1f}V{y(dot.score):.1f}" if front else f"M{x(dot.cost):.1f} {y(dot.score):.1f}"
            best = dot.score
    marks.append(f'<path class="front" d="{front}H{width - right}"/>')
    taken: list[tuple[float, float]] = []
    for position, dot in enumerate(sorted(dots, key=lambda dot: (-dot.score, dot.cost))):
        at_x, at_y = x(dot.cost), y(dot.score)
        text = dot.mark if len(dots) > NAMES else _short(dot.row.title)
        near = [other for where, other in taken if abs(where - at_x) < 12 + 6 * len(text)]
        place = at_y + 4
        while any(abs(place - other) < 13 for other in near):  # names do not lie on one another
            place += 13
        taken.append((at_x, place))
        side, anchor = (-9, "end") if at_x > width - 180 else (9, "start")
        hint = f"{dot.row.title}: {score} {number(metric, dot.score)}, {_si(dot.cost)} {axis.unit}"
        marks.append(
            f'<g class="{"floor " if dot.row.floor else ""}hint" tabindex="{-1 if position else 0}" role="img" '
            f'aria-label="{escape(hint)}"><title>{escape(hint)}</title>'
            f'<circle class="dot" cx="{at_x:.1f}" cy="{at_y:.1f}" r="5"/>'
            f'<text x="{at_x + side:.1f}" y="{place:.1f}" text-anchor="{anchor}">{escape(text)}</text></g>'
        )
    said = f"{score} against {axis.title}; the values are in the table below"
    return (
        f'<figure class="plot"><div class="scroll"><svg role="group" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(said)}">{"".join(marks)}</svg></div>{READING}</figure>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round values between two ends."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _short(title: str) -> str:
    return title if len(title) <= 28 else title[:26] + ".."


def _si(value: float) -> str:
    """1200 -> `1.2 k`: three digits and a prefix."""
    for limit, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{prefix}"
    return f"{value:.3g}"
