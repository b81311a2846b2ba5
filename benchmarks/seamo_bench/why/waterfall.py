"""A waterfall from one number to another as a PNG, as `report --pictures` takes it."""

import io
from collections.abc import Sequence
from pathlib import Path

from seamo.escapes import printable
from seamo.identity import write_atomically
from seamo_bench.board.tables import is_share, number, signed
from seamo_bench.why.explained import Explanation
from seamo_bench.why.shown import bars

_INK, _FAINT, _END, _UP, _DOWN, _LEFT = "#18181c", "#5c5c66", "#3b5b7a", "#3f8f5b", "#b5523b", "#b9b9c2"
_ROW, _WIDTH, _DPI = 0.34, 7.2, 130  # inches, inches, dots an inch
_LONGEST = 40  # letters of a bar's name


def levels(one: Explanation) -> list[tuple[str, float, float]]:
    """(name, where a bar begins, where it ends) from the first number to the second, both ends from 0."""
    at = one.values[0]
    found = [("A", 0.0, at)]
    for name, effect in bars(one):
        found.append((name, at, at + effect))
        at += effect
    return [*found, ("B", 0.0, one.values[1])]


def write_waterfall(path: Path, one: Explanation) -> None:
    """Draw an explanation, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = levels(one)
    height = 1.5 + _ROW * len(steps)
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.36, 0.55 / height, 0.56, 1 - 1.5 / height))
    scale = 100.0 if is_share(one.metric[0]) else 1.0
    low, high = _ends(steps)
    for row, (name, begin, end) in enumerate(steps):
        is_end = name in ("A", "B")
        colour = _END if is_end else _LEFT if name == "unexplained" else _UP if end >= begin else _DOWN
        start = low if is_end else begin
        axes.barh(row, scale * (end - start), left=scale * start, color=colour, height=0.62)
        metric = one.metric[0 if row == 0 else 1]
        words = number(metric, end) if is_end else signed(one.metric[0], end - begin)
        right = scale * (end if is_end else max(begin, end))
        axes.text(right, row, f" {words}", va="center", fontsize=7.5, color=_INK)
        if row + 1 < len(steps):
            axes.plot([scale * end] * 2, [row, row + 1], color=_FAINT, linewidth=0.6)
    axes.set_xlim(scale * low, scale * (high + 0.12 * (high - low)))
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.set_yticks(range(len(steps)), [_name(name) for name, _, _ in steps], fontsize=7.5, color=_INK)
    axes.tick_params(axis="x", labelsize=7, colors=_FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    unit = ", percent" if scale > 1 else ""
    axes.set_xlabel(f"{' -> '.join(dict.fromkeys(one.metric))}{unit}", fontsize=7.5, color=_FAINT)
    for line, words in enumerate((f"A  {one.a}", f"B  {one.b}", one.how)):
        style = {"fontsize": 8, "color": _FAINT if line == 2 else _INK, "va": "top", "parse_math": False}
        figure.text(0.02, 1 - (0.1 + 0.2 * line) / height, printable(words), **style)  # type: ignore[arg-type]
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _ends(steps: Sequence[tuple[str, float, float]]) -> tuple[float, float]:
    """Where the axis begins and ends: around the numbers, not at 0, so that small steps are seen."""
    values = [end for _, _, end in steps]
    room = 0.25 * (max(values) - min(values)) or 0.01
    return min(values) - room, max(values) + room / 2


def _name(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
