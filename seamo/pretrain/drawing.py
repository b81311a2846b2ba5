"""Boxes, arrows and rows of tokens on a blank page, for the schematic figures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import NDArray
from PIL import Image

from seamo.disk import write_output
from seamo.errors import UsageError

INK, SOFT, PAPER = "#1f2933", "#66727f", "#ffffff"
OPTICAL, RADAR, SHARED, FUSION = "#1b7f5c", "#7b4bab", "#2f5d8a", "#c4661f"
GREY = "#c9ced6"
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class FigurePage:
    """A page of a given size; all places in inches from its lower left corner.

    Args:
        figure: Of matplotlib.
        axes: One, over the whole page.
    """

    figure: Figure
    axes: Axes

    def box(
        self, corner: Point, size: Point, text: str, *, color: str = SHARED, faint: bool = True, fontsize: float = 8
    ) -> None:
        """A rounded box with text; `faint` has a pale filling."""
        shape = "round,pad=0,rounding_size=0.06"
        style: dict[str, Any] = {"boxstyle": shape, "linewidth": 1.2, "edgecolor": color}
        patch = FancyBboxPatch(corner, *size, facecolor=_pale(color) if faint else color, **style)
        self.axes.add_patch(patch)
        middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
        self.text(middle, text, color=INK if faint else PAPER, fontsize=fontsize)

    def text(
        self,
        place: Point,
        text: str,
        *,
        color: str = INK,
        fontsize: float = 8,
        across: str = "center",
        bold: bool = False,
    ) -> None:
        """Text centred on a place, or beginning (`left`) or ending (`right`) there."""
        weight = "bold" if bold else "normal"
        self.axes.text(
            *place, text, color=color, fontsize=fontsize, ha=across, va="center", linespacing=1.35, fontweight=weight
        )

    def arrow(self, start: Point, end: Point, *, color: str = SOFT, bend: float = 0.0, dashed: bool = False) -> None:
        """An arrow; `bend` curves it."""
        patch = FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            linewidth=1.2,
            color=color,
            connectionstyle=f"arc3,rad={bend}",
            linestyle="--" if dashed else "-",
            shrinkA=0,
            shrinkB=0,
        )
        self.axes.add_patch(patch)

    def path(self, points: Sequence[Point], *, color: str = SOFT, dashed: bool = False) -> None:
        """Straight lines with an arrow at the end."""
        xs, ys = zip(*points[:-1], strict=True)
        self.axes.plot([*xs], [*ys], color=color, linewidth=1.2, linestyle="--" if dashed else "-")
        self.arrow(points[-2], points[-1], color=color, dashed=dashed)

    def tokens(self, corner: Point, *, count: int, color: str, side: float = 0.13) -> float:
        """A row of little squares; returns its width."""
        for i in range(count):
            place = (corner[0] + i * (side + 0.03), corner[1])
            self.axes.add_patch(Rectangle(place, side, side, facecolor=color, edgecolor=PAPER, linewidth=0.5))
        return count * (side + 0.03) - 0.03

    def image(self, corner: Point, side: float, picture: NDArray[Any], *, edge: str = "") -> None:
        """A square picture (H, W, 3) in [0, 1]."""
        extent = (corner[0], corner[0] + side, corner[1], corner[1] + side)
        self.axes.imshow(picture, extent=extent, interpolation="nearest", zorder=1)
        if edge:
            self.frame(corner, (side, side), color=edge)

    def frame(self, corner: Point, size: Point, *, color: str, dashed: bool = False) -> None:
        """An empty rectangle."""
        line = "--" if dashed else "-"
        self.axes.add_patch(
            Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=1.4, linestyle=line, zorder=3)
        )

    def save(self, path: Path) -> None:
        """Write the page as PNG."""
        # Pictures set the limits of their axes; a page keeps its own.
        width, height = self.figure.get_size_inches()
        self.axes.set(xlim=(0, width), ylim=(0, height))
        buffer, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(buffer, dpi=110, format="png")
        buffer.seek(0)
        with Image.open(buffer) as picture:
            # 256 colours are enough for boxes and small pictures, and a third of the bytes.
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
        write_output(path, small.getvalue(), error=UsageError)


def new_page(width: float, height: float) -> FigurePage:
    """A blank page, in inches."""
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_aspect("auto")
    axes.axis("off")
    return FigurePage(figure, axes)


def _pale(color: str) -> tuple[float, ...]:
    return tuple(1 - 0.16 * (1 - part) for part in to_rgb(color))
