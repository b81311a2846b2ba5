"""Shapes of the drawn world: parcels, cells, ways, streets; coordinates in pixels of 10 m. Nothing is measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import COVERS, Floats
from seamo.testing.fields import smooth
from seamo.testing.surfaces import NAMES

Ids = NDArray[np.intp]
NUM_IDS = 4096  # parcels are numbered below this; a table of so many draws gives each its own


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """What is painted on: one place while it is laid out.

    Args:
        shadow: The way that shadows fall, see `Ground`.
        rows: (surfaces, values) `surface_rows` of the place.
        values: (H, W, values) one of them a pixel, mixed where a pixel is shared.
        cover: (H, W) uint8, positions in `COVERS`.
        days: (H, W) days by which a pixel is ahead of its calendar.
        light: (H, W) logarithm of the brightness.
        tone: (H, W) standardised detail of the greenness.
        echo: (H, W) dB beside the surface's own.
    """

    shadow: tuple[int, int]
    rows: Floats
    values: Floats
    cover: NDArray[np.uint8]
    days: Floats
    light: Floats
    tone: Floats
    echo: Floats

    @property
    def size(self) -> int:
        """Height and width."""
        return len(self.cover)

    def fill(self, mask: NDArray[np.bool_], ids: Ids) -> None:
        """Cover pixels with surfaces: `ids` (H, W) are positions in `NAMES`."""
        np.copyto(self.values, self.rows.take(ids, axis=0), where=mask[..., None])

    def lay(self, alpha: Floats, surface: str) -> None:
        """Lay a surface over everything, as opaque as `alpha` (H, W) says."""
        here = alpha > 0.02
        below = self.values[here]
        self.values[here] = below + alpha[here][:, None] * (self.rows[NAMES.index(surface)] - below)

    def cast(self, alpha: Floats, strength: float) -> None:
        """Darken the pixel onto which what stands there, as opaque as `alpha`, throws its shadow."""
        self.light[:] -= strength * np.roll(alpha, self.shadow, (0, 1)) * (1 - alpha)

    def claim(self, mask: NDArray[np.bool_], cover: str) -> None:
        """Say that pixels are of a cover."""
        self.cover[mask] = COVERS.index(cover)


def new_sheet(size: int, rows: Floats, *, shadow: tuple[int, int]) -> Canvas:
    """An empty sheet; `rows` are the surfaces of the place, `shadow` is the way that shadows fall."""
    zeros = [np.zeros((size, size), np.float32) for _ in range(4)]
    values = np.zeros((size, size, rows.shape[1]), np.float32)
    return Canvas(shadow, rows, values, np.zeros((size, size), np.uint8), *zeros)


def turned(size: int, angle: float) -> tuple[Floats, Floats]:
    """Coordinates along and across a direction, from the middle of the picture, each (H, W)."""
    row, col = np.mgrid[0:size, 0:size].astype(np.float32) - np.float32(size / 2)
    return np.cos(angle) * col + np.sin(angle) * row, np.cos(angle) * row - np.sin(angle) * col


def edge(distance: NDArray[np.floating[Any]]) -> Floats:
    """Opacity of what has the border `distance` 0 and is inside where it is negative: a pixel wide ramp."""
    return np.asarray(np.clip(0.5 - distance, 0, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Parcels:
    """A division of the ground.

    Args:
        ids: (H, W) numbers below `NUM_IDS`.
        border: (H, W) pixels to the nearest border, at least 0.
        along: (H, W) pixels along the parcel's longer side, from its middle (rectangles).
        across: (H, W) pixels across it.
        line: (H, W) number of the row of parcels.
    """

    ids: Ids
    border: Floats
    along: Floats
    across: Floats
    line: Ids


def rectangles(rng: np.random.Generator, along: Floats, across: Floats, *, length: float, width: float) -> Parcels:
    """Rows of rectangles, each row with its own width and length; about `length` by `width` pixels."""
    reach = float(np.abs(across).max()) + 2 * width
    count = int(2 * reach / (0.5 * width)) + 2
    walls = np.cumsum(width * rng.uniform(0.55, 1.45, count)).astype(np.float32) - np.float32(reach)
    line = np.searchsorted(walls, across).clip(1, count - 1)
    low, high = walls[line - 1], walls[line]
    lengths = (length * rng.uniform(0.6, 1.5, count)).astype(np.float32)[line]
    place = (along + rng.uniform(0, 1000, count).astype(np.float32)[line]) / lengths
    cell = np.floor(place)
    inside = (place - cell) * lengths
    border = np.minimum(np.minimum(across - low, high - across), np.minimum(inside, lengths - inside))
    ids = (line * 73 + cell.astype(np.intp) * 31) % NUM_IDS
    return Parcels(ids, np.maximum(border, 0), inside - lengths / 2, across - (low + high) / 2, line)


def cells(rng: np.random.Generator, along: Floats, across: Floats, *, length: float, width: float) -> Parcels:
    """Irregular parcels: nearest of points that are scattered, one in each box of `length` by `width` pixels."""
    u, v = along / length + 1000, across / width + 1000
    near = np.full(u.shape, 1e6, np.float32)  # squares of distances
    second, ids, x, y = near.copy(), np.zeros(u.shape, np.intp), near.copy(), near.copy()
    jitter = rng.uniform(0.1, 0.9, (2, NUM_IDS)).astype(np.float32)
    box_u, box_v = np.floor(u), np.floor(v)
    inside_u, inside_v = u - box_u, v - box_v
    numbers = box_u.astype(np.intp) * 157 + box_v.astype(np.intp) * 31
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            number = (numbers + (du * 157 + dv * 31)) % NUM_IDS
            off_u = (jitter[0].take(number) + du - inside_u) * length
            off_v = (jitter[1].take(number) + dv - inside_v) * width
            away = off_u * off_u + off_v * off_v
            closer = away < near
            second = np.where(closer, near, np.minimum(second, away))
            near = np.minimum(near, away)
            for kept, new in ((ids, number), (x, -off_u), (y, -off_v)):
                np.copyto(kept, new, where=closer)
    return Parcels(ids, np.asarray((np.sqrt(second) - np.sqrt(near)) / 2), x, y, box_v.astype(np.intp))


def way(rng: np.random.Generator, size: int, *, bend: float, offset: float) -> tuple[Floats, Floats]:
    """Distance from a line that crosses the picture, with sign, and the coordinate along it, each (H, W).

    Args:
        rng: Chooses direction and bends.
        size: Height and width.
        bend: Pixels by which it swings.
        offset: Largest distance from the middle.
    """
    along, across = turned(size, rng.uniform(0, np.pi))
    phases, waves = (
        rng.uniform(0, 2 * np.pi, 2),
        rng.uniform(0.7, 1.3, 2) * (2 * np.pi / (1.6 * size), 2 * np.pi / (0.6 * size)),
    )
    swing = bend * (np.sin(waves[0] * along + phases[0]) + 0.3 * np.sin(waves[1] * along + phases[1]))
    slope = bend * (
        waves[0] * np.cos(waves[0] * along + phases[0]) + 0.3 * waves[1] * np.cos(waves[1] * along + phases[1])
    )
    distance = (across - swing + rng.uniform(-offset, offset)) / np.sqrt(1 + slope**2)
    return np.asarray(distance, np.float32), along


def shade(rng: np.random.Generator, size: int, shadow: tuple[int, int]) -> Floats:
    """Slope towards the sun, about standardised, (H, W): ridges and valleys of several sizes."""
    height = 16 * ridges(rng, size, 34) + 7 * ridges(rng, size, 15) + 3 * smooth(rng, size, 6)
    down, right = np.gradient(height)
    return np.asarray((shadow[0] * down + shadow[1] * right) / 1.6, dtype=np.float32)


def ridges(rng: np.random.Generator, size: int, cell: int) -> Floats:
    """A field of sharp crests and round valleys, about 0 to 1, (size, size)."""
    return np.asarray(1 - np.minimum(np.abs(smooth(rng, size, cell)), 1.6) / 1.6)
