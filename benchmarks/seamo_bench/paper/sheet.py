"""A sheet of pictures: rows of cells with a word above and below each, a title, a legend, notes. One PNG."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamo.escapes import printable
from seamo.identity import write_atomically
from seamo.store.pictures import ABSENT, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colour = tuple[int, int, int]
_CELL = 1.75  # inches
_LINE = 0.145  # inches a line of small text
_SIDE = 0.3  # of row labels
_DPI = 130
_INK, _FAINT = "#18181c", "#5c5c66"
_WRAP = 26  # letters below a cell
_KEY = 24  # letters of a key, which are often capitals


@dataclass(frozen=True, slots=True, eq=False)
class SheetCell:
    """One picture.

    Args:
        picture: None: there is none, and the cell says so.
        above: A line above it.
        below: Lines below it.
    """

    picture: Picture | None
    above: str = ""
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """Cells side by side.

    Args:
        label: Beside the first one.
        cells: None keeps a place empty.
    """

    label: str
    cells: tuple[SheetCell | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Everything on one figure.

    Args:
        title: First line.
        about: Lines under it: data, protocol, what is synthetic.
        rows: From top to bottom.
        legend: Class and colour.
        notes: Small lines at the end: stretches, keys of records.
    """

    title: str
    about: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    legend: tuple[tuple[str, Colour], ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class _Page:
    """A figure that is drawn on in inches from its upper left corner."""

    figure: "Figure"
    width: float
    height: float

    def text(self, x: float, y: float, words: str, **how: Any) -> None:
        style = {"va": "top", "color": _INK, "fontsize": 7.5, "parse_math": False, **how}  # a $ of a title is a $
        self.figure.text(x / self.width, 1 - y / self.height, printable(words, lines=True), **style)

    def axes(self, x: float, bottom: float, width: float, height: float) -> "Axes":
        where = (x / self.width, 1 - bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(where)


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Draw a sheet as a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row.cells) for row in sheet.rows)
    width = max(_SIDE + columns * _CELL + 0.2, 5.6)
    across = int((width - 0.3) * 15.5)  # letters of small text
    head = [line for text in sheet.about for line in textwrap.wrap(text, across)]
    title = textwrap.wrap(sheet.title, int(across * 0.72))
    notes = [line for text in sheet.notes for line in textwrap.wrap(text, across)]
    keys = _legend_lines(sheet.legend, across)
    heights = [_height(row) for row in sheet.rows]
    top = 0.15 + 0.22 * len(title) + _LINE * len(head) + 0.1
    bottom = 0.12 + 0.2 * len(keys) + _LINE * len(notes) + 0.1
    height = top + sum(heights) + bottom
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    page = _Page(figure, width, height)
    y = 0.12
    for line in title:
        page.text(0.15, y, line, fontsize=11.5, weight="bold")
        y += 0.22
    for line in head:
        page.text(0.15, y, line, color=_FAINT)
        y += _LINE
    y = top
    for row, own in zip(sheet.rows, heights, strict=True):
        _draw_row(page, row, y)
        y += own
    y += 0.1
    for entries in keys:
        _draw_legend(page, entries, y)
        y += 0.2
    for line in notes:
        page.text(0.15, y + 0.03, line, color=_FAINT, fontsize=6.5)
        y += _LINE
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _draw_row(page: _Page, row: SheetRow, y: float) -> None:
    above = _LINE * _above(row) + 0.03
    if row.label:
        label = "\n".join(map(shortened, row.label.splitlines()))
        place = y + above + _CELL / 2
        page.text(_SIDE / 2, place, label, rotation=90, va="center", ha="center", color=_FAINT, fontsize=6.5)
    side = _CELL - 0.08
    for number, cell in enumerate(row.cells):
        if cell is None:
            continue
        x = _SIDE + number * _CELL
        for k, line in enumerate(reversed(_wrapped(cell.above))):
            page.text(x + side / 2, y + above - 0.02 - k * _LINE, line, ha="center", va="bottom", fontsize=7)
        _show(page.axes(x, y + above + side, side, side), cell.picture)
        for k, line in enumerate(_lines(cell)):
            page.text(x, y + above + side + 0.04 + k * _LINE, line, fontsize=6.5)


def _draw_legend(page: _Page, entries: Sequence[tuple[str, Colour]], y: float) -> None:
    x = 0.15
    for name, colour in entries:
        patch = page.axes(x, y + 0.13, 0.16, 0.13)
        patch.set_facecolor(_rgb(colour))
        patch.set_xticks([])
        patch.set_yticks([])
        page.text(x + 0.22, y, name)
        x += 0.42 + len(name) / 15.5


def shortened(words: str) -> str:
    """At most as long as a cell is wide: begin and end, which tell keys apart."""
    return words if len(words) <= _KEY else f"{words[: _KEY // 2 - 2]}...{words[-(_KEY // 2 - 1) :]}"


def _show(axes: "Axes", picture: Picture | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)
    if picture is None:
        axes.set_facecolor(_rgb(ABSENT))
        axes.text(0.5, 0.5, "not there", color="white", ha="center", va="center", transform=axes.transAxes, fontsize=7)
        return
    axes.imshow(picture, interpolation="nearest")


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _wrapped(words: str) -> list[str]:
    return textwrap.wrap(words, _WRAP - 2)


def _lines(cell: SheetCell) -> list[str]:
    return [line for text in cell.below for line in textwrap.wrap(text, _WRAP + 4, subsequent_indent="  ")]


def _above(row: SheetRow) -> int:
    return max((len(_wrapped(cell.above)) for cell in row.cells if cell is not None), default=0)


def _height(row: SheetRow) -> float:
    below = max((len(_lines(cell)) for cell in row.cells if cell is not None), default=0)
    return _CELL + _LINE * (_above(row) + below) + 0.05


def _legend_lines(legend: Sequence[tuple[str, Colour]], across: int) -> list[list[tuple[str, Colour]]]:
    lines: list[list[tuple[str, Colour]]] = []
    used = across
    for name, colour in legend:
        need = len(name) + 7
        if used + need > across:
            lines.append([])
            used = 0
        lines[-1].append((name, colour))
        used += need
    return lines
