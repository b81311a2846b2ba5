"""Windows over a raster of any size, and their blending: no seam shows, one row of windows is in memory.

Windows lie on one grid of patches (of pixels, where a patch is one). A patch seen by several windows gets their
weighted mean, with weights that fall to the window's edge (Hann: sin^2, next to nothing at the edge, and with half
overlap adding up to one everywhere).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.progress import Progress

Encoded = tuple[list[int], NDArray[np.float32], NDArray[np.bool_]]
"""Some windows of one row: first columns, values (n, rows, columns, D), which patches are measured."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Where windows lie on the grid of patches.

    Args:
        grid: Patches of the image, down and across.
        side: Patches of a window, down and across.
        tops, lefts: First row of each row of windows, first column of each window in it.
    """

    grid: tuple[int, int]
    side: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def weight(self) -> NDArray[np.float32]:
        """Weight of a window's patches (rows, columns)."""
        down, across = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in self.side)
        return np.outer(down, across).astype(np.float32)

    def rows_of(self, k: int) -> tuple[int, int]:
        """Rows of patches that are finished with the k-th row of windows."""
        stops = (*self.tops[1:], self.grid[0])
        return self.tops[k], stops[k]


def plan_windows(height: int, width: int, *, patch: int, size: int, overlap: float) -> Windows:
    """Windows of `size` pixels over an image; the last of a row or column is moved back to the edge.

    Args:
        height: Of the image in pixels; patches that hang over the edge belong to it.
        width: As `height`.
        patch: Side of a patch.
        size: Side of a window, a multiple of the patch; a smaller image is one window.
        overlap: Share of a window that the next one sees again.

    Raises:
        UsageError: For a size that is no multiple of the patch, or an overlap outside 0 to 0.9.

    Example:
        >>> plan_windows(100, 64, patch=8, size=64, overlap=0.5).tops
        (0, 4, 5)
    """
    if size < patch or size % patch:
        raise UsageError(f"size {size} is not a multiple of the patch", "windows", f"The patch is {patch}.")
    if not 0 <= overlap <= 0.9:
        raise UsageError(f"overlap {overlap} is outside 0 to 0.9", "windows")
    grid = (math.ceil(height / patch), math.ceil(width / patch))
    side = (min(size // patch, grid[0]), min(size // patch, grid[1]))
    firsts = []
    for n, m in zip(grid, side, strict=True):
        step = max(1, round(m * (1 - overlap)))
        firsts.append(tuple(dict.fromkeys([*range(0, n - m, step), n - m])))
    return Windows(grid, side, *firsts)


def blend(
    windows: Windows,
    dim: int,
    encoded: Callable[[int], Iterator[Encoded]],
    *,
    first: int = 0,
    progress: TextIO | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Blend windows to one map, row of windows by row of windows.

    Args:
        windows: Where they lie.
        dim: Values a patch, D.
        encoded: First row of patches -> the windows of that row, in batches.
        first: Row of windows to begin with: those before it were finished earlier.
        progress: Where to show the way.

    Yields:
        (k, finished rows of patches (rows, width, D)) of every row of windows from `first`, NaN where a patch is not
        measured.
    """
    if first == len(windows.tops):
        return
    height, width = windows.side[0], windows.grid[1]
    share = windows.weight
    # Rows that are not finished yet also got a share from the rows of windows before.
    start = next(k for k in range(first + 1) if windows.tops[k] + height > windows.tops[first])
    meter = Progress(
        progress,
        "windows",
        len(windows.tops) * len(windows.lefts),
        done=start * len(windows.lefts),
    )
    total = np.zeros((height, width, dim), dtype=np.float32)
    weight = np.zeros((height, width), dtype=np.float32)
    moves = [0, *(after - before for before, after in pairwise(windows.tops[start:]))]
    for k, moved in zip(range(start, len(windows.tops)), moves, strict=True):
        total = np.concatenate([total[moved:], np.zeros((moved, width, dim), dtype=np.float32)])
        weight = np.concatenate([weight[moved:], np.zeros((moved, width), dtype=np.float32)])
        valid = np.zeros((height, width), dtype=np.bool_)
        for lefts, values, there in encoded(windows.tops[k]):
            for left, one, measured in zip(lefts, values, there, strict=True):
                span = slice(left, left + windows.side[1])
                total[:, span] += one * share[..., None]
                weight[:, span] += share
                valid[:, span] = measured
            meter.add(len(lefts))
        if k >= first:
            top, stop = windows.rows_of(k)
            rows: NDArray[np.float32] = total[: stop - top] / weight[: stop - top, :, None]
            rows[~valid[: stop - top]] = np.nan
            yield k, rows
