"""The geometry of the report's drawings: interval bars, score against cost. Templates draw them as inline SVG."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from seamo_bench.board.leaderboard import BoardCell, BoardRow
from seamo_bench.board.tables import interval_text, number
from seamo_bench.scores.intervals import Interval

NAMES = 12  # dots up to which a plot writes names; numbers of the table beyond
WIDTH, HEIGHT = 760, 340
BAR = 300  # width of an interval bar
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 18, 54
_LANE = 76  # on the left, for those whose cost is not known
_LETTER = 6.4  # width of a letter of a label, about
_SIDES = ((9, "start"), (-9, "end"))
_Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Dot:
    """One backbone in a plot: what it costs (None: not known), what it scores, its number in the table beside."""

    row: BoardRow
    cost: float | None
    interval: Interval
    mark: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What a cost is: its name, and the unit that ticks and hints carry."""

    title: str
    unit: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval on an axis, as an SVG path and the centre of a dot."""

    path: str
    at: float


@dataclass(frozen=True, slots=True)
class PlotMark:
    """A dot of a plot where it is drawn, with its interval and its label."""

    dot: Dot
    x: float
    y: float
    error: str
    label: str
    label_x: float
    label_y: float
    anchor: str
    hint: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Everything that a template needs to draw scores against a cost."""

    title: str
    score: str
    cost: str
    marks: Sequence[PlotMark]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    front: str
    lane: bool


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One backbone's scores over shares of the labels, where they are drawn."""

    row: BoardRow
    path: str
    dots: Sequence[tuple[float, float]]
    bars: Sequence[str]
    label_x: float
    label_y: float
    hint: str


@dataclass(frozen=True, slots=True)
class LabelPlot:
    """Everything that a template needs to draw scores over shares of the labels."""

    title: str
    lines: Sequence[LabelLine]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]


def score_axis(cells: Sequence[BoardCell]) -> tuple[float, float]:
    """Ends of the axis that all bars of a column share, a little beyond the outermost interval."""
    ends = [end for cell in cells if cell.interval for end in _ends(cell.interval)]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.01
    low = max(0.0, low - pad) if low >= 0 else low - pad
    return low, high + pad if high > 1 else min(1.0, high + pad)


def _ends(interval: Interval) -> list[float]:
    values = (interval.value, interval.low, interval.high)
    return [value for value in values if value is not None and math.isfinite(value)]


def bar(interval: Interval | None, axis: tuple[float, float]) -> Bar | None:
    """A value and its interval on the column's axis; None where there is no value."""
    if interval is None or not math.isfinite(interval.value):
        return None
    low, high = axis

    def x(value: float) -> float:
        return 4 + (BAR - 8) * (value - low) / (high - low)

    path = ""
    if interval.low is not None and interval.high is not None:
        a, b = x(interval.low), x(interval.high)
        path = f"M{a:.1f} 9H{b:.1f}M{a:.1f} 4v10M{b:.1f} 4v10"
    return Bar(path, x(interval.value))


def scatter(dots: Sequence[Dot], metric: str, score: str, axis: Axis) -> Scatter:
    """Scores with their intervals against a cost on a logarithmic axis; the line joins what nothing cheaper beats.

    Dots without a cost stand in a lane of their own on the left. The axis of scores holds all intervals.

    Args:
        dots: At least one of them with a cost, which is above 0; scores are finite.
        metric: Of the scores.
        score: Its title.
        axis: What the cost is.
    """
    ordered = sorted(dots, key=lambda dot: (dot.cost is None, dot.cost or 0.0, -dot.interval.value))
    logs = [math.log10(dot.cost) for dot in ordered if dot.cost is not None]
    lane = any(dot.cost is None for dot in dots)
    left, right, bottom = _LEFT + _LANE * lane, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    pad = 0.06 * (max(logs) - min(logs)) or 0.15  # no whole decades: two models of like cost stand apart
    first, last = min(logs) - pad, max(logs) + pad
    ends = [end for dot in dots for end in _ends(dot.interval)]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    low, high = min(ends) - room, max(ends) + room

    def x(cost: float | None) -> float:
        if cost is None:
            return _LEFT + _LANE / 2 - 6
        return left + (right - left) * (math.log10(cost) - first) / (last - first)

    def y(value: float) -> float:
        return _TOP + (bottom - _TOP) * (high - value) / (high - low)

    front, best = "", -math.inf
    for dot in ordered:
        if dot.cost is not None and dot.interval.value > best:
            at = f"{x(dot.cost):.1f}", f"{y(dot.interval.value):.1f}"
            front += f"H{at[0]}V{at[1]}" if front else f"M{at[0]} {at[1]}"
            best = dot.interval.value
    return Scatter(
        f"{score} against {axis.title}",
        score,
        axis.title,
        _marks(ordered, [(x(dot.cost), y(dot.interval.value)) for dot in ordered], y, metric, score, axis),
        [(x(tick), _si(tick)) for tick in _log_ticks(first, last)],
        [(y(tick), number(metric, tick)) for tick in _ticks(low, high)],
        f"{front}H{right}",
        lane,
    )


def lines_plot(
    scores: Mapping[BoardRow, Mapping[float, Interval]],
    metric: str,
    score: str,
    *,
    by: str = "the share of labels",
    tick: Callable[[float], str] = lambda share: f"{100 * share:g} %",
) -> LabelPlot:
    """Scores with their intervals over shares of the labels, on a logarithmic axis; backbones stand a little apart.

    Args:
        scores: Row -> share (above 0) -> finite score; at least two shares altogether.
        metric: Of the scores.
        score: Its title.
        by: What they are over, if not shares of the labels.
        tick: Text of one of these.
    """
    shares = sorted({share for points in scores.values() for share in points})
    ends = [end for points in scores.values() for one in points.values() for end in _ends(one)]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    low, high = min(ends) - room, max(ends) + room
    first, last = math.log10(shares[0]), math.log10(shares[-1])
    left, right, bottom = _LEFT + 30, WIDTH - _RIGHT - 46, HEIGHT - _BOTTOM

    def x(share: float) -> float:
        return left + (right - left) * (math.log10(share) - first) / (last - first)

    def y(value: float) -> float:
        return _TOP + (bottom - _TOP) * (high - value) / (high - low)

    lines: list[LabelLine] = []
    for position, (row, points) in enumerate(scores.items()):
        aside = 3.0 * (position - (len(scores) - 1) / 2)
        dots = [(x(share) + aside, y(points[share].value)) for share in sorted(points)]
        bars = [
            f"M{at:.1f} {y(one.high):.1f}V{y(one.low):.1f}"
            for (at, _), one in zip(dots, (points[share] for share in sorted(points)), strict=True)
            if one.low is not None and one.high is not None
        ]
        said = "; ".join(f"{tick(share)}: {interval_text(metric, points[share])}" for share in sorted(points))
        path = "M" + "L".join(f"{at:.1f} {height:.1f}" for at, height in dots)
        label_x = dots[-1][0] + 10 + 14 * (position % 2)  # of two that end close together both can be read
        lines.append(LabelLine(row, path, dots, bars, label_x, dots[-1][1] + 4, f"{row.title}: {score} {said}"))
    return LabelPlot(
        f"{score} against {by}",
        lines,
        [(x(share), tick(share)) for share in shares],
        [(y(value), number(metric, value)) for value in _ticks(low, high)],
    )


def _marks(
    dots: Sequence[Dot],
    spots: Sequence[tuple[float, float]],
    y: Callable[[float], float],
    metric: str,
    score: str,
    axis: Axis,
) -> list[PlotMark]:
    boxes = [(px - 6, py - 6, px + 6, py + 6) for px, py in spots]  # what labels must not lie on
    errors, ends = [], []
    for dot, (px, py) in zip(dots, spots, strict=True):
        one = dot.interval
        top, low = (y(one.high), y(one.low)) if one.low is not None and one.high is not None else (py, py)
        ends.append((top, low))
        boxes.append((px - 3, top, px + 3, low))
        bars = f"M{px:.1f} {top:.1f}V{low:.1f}M{px - 4:.1f} {top:.1f}h8M{px - 4:.1f} {low:.1f}h8"
        errors.append(bars if top != low else "")
    found = []
    for dot, (px, py), error, (top, low) in zip(dots, spots, errors, ends, strict=True):
        texts = (_short(dot.row.title), dot.mark) if len(dots) <= NAMES else (dot.mark,)
        places = [(px + side, py + 4 + dy, anchor) for dy in (0, -10, 10, -20, 20) for side, anchor in _SIDES]
        places += [(px, top - 6, "middle"), (px, low + 14, "middle")]
        free = ((text, place) for text in texts for place in places if _is_free(_box(*place, text), boxes))
        label, (at_x, at_y, anchor) = next(free, ("", (px, py, "start")))
        if label:
            boxes.append(_box(at_x, at_y, anchor, label))
        cost = "cost not known" if dot.cost is None else f"{_si(dot.cost)} {axis.unit}"
        hint = f"{dot.row.title}: {score} {interval_text(metric, dot.interval)}, {cost}"
        found.append(PlotMark(dot, px, py, error, label, at_x, at_y, anchor, hint))
    return found


def _is_free(box: _Box, taken: Sequence[_Box]) -> bool:
    """Whether a label is inside the drawing and on nothing else."""
    a, b, c, d = box
    inside = a >= 2 and c <= WIDTH - 2 and b >= 2 and d <= HEIGHT - _BOTTOM - 2
    return inside and all(c < e or a > g or d < f or b > h for e, f, g, h in taken)


def _box(at_x: float, at_y: float, anchor: str, text: str) -> _Box:
    wide = _LETTER * len(text)
    start = at_x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * wide
    return start, at_y - 9, start + wide, at_y + 3


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round values between two ends."""
    rough = (high - low) / 7
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(first: float, last: float) -> list[float]:
    """Round values between two powers of ten: of a wide range powers, of a narrow one what fits."""
    powers = range(math.floor(first), math.ceil(last) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in found if first <= math.log10(value) <= last]
        if len(inside) >= 3:
            return inside
    return _ticks(10.0**first, 10.0**last)


def _short(title: str) -> str:
    """Both ends of a long name: names of one family differ at their ends."""
    return title if len(title) <= 30 else f"{title[:13]}..{title[-15:]}"


def _si(value: float) -> str:
    """1200 -> `1.2 k`: three digits and a prefix."""
    for limit, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{prefix}"
    return f"{value:.3g}"
