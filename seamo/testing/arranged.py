"""Field land of the form `arranged`: four covers of the same two surfaces, told apart by how these lie.

In every place two surfaces of the same pair, each on half of the ground, with borders of the same length a pixel
(one pixel of border for every `WIDTH` pixels of ground), so that the marginal distribution of every band is that of the
other three covers, and so is, nearly, that of patches of four pixels. Direction and phase are drawn, and say nothing.

* `annual-crop`: stripes, all `WIDTH` wide;
* `permanent-crop`: stripes by turns narrow and wide (0.6 and 1.4 times `WIDTH`, each twice: both surfaces have both);
* `pasture`: a chessboard of squares of twice `WIDTH`;
* `herbaceous`: stripes that go in zigzag.
"""

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import Floats
from seamo.testing.drawing import Canvas, turned
from seamo.testing.fields import smooth
from seamo.testing.surfaces import NAMES

ARRANGED = ("annual-crop", "permanent-crop", "pasture", "herbaceous")
WIDTH = 5.0  # pixels: wider than a patch of four
_PAIRS = (
    ("winter wheat", "maize"),
    ("meadow", "tilled"),
    ("dry grass", "bush"),
    ("lucerne", "fallow"),
    ("orchard row", "alley"),
)


def paint_arranged(sheet: Canvas, mask: NDArray[np.bool_], rng: np.random.Generator, cover: str) -> None:
    """Paint the two surfaces in the arrangement of a cover."""
    along, across = turned(sheet.size, rng.uniform(0, np.pi))
    first, second = (NAMES.index(name) for name in _PAIRS[int(rng.integers(len(_PAIRS)))])
    if rng.random() < 0.5:
        first, second = second, first
    sheet.fill(mask, np.where(is_first(cover, along, across, rng.uniform(0, 1000, 2)), first, second))
    sheet.days[mask] += np.float32(rng.normal(0, 8))
    sheet.tone[mask] += (0.5 * smooth(rng, sheet.size, 10))[mask]
    sheet.light[mask] += (0.04 * smooth(rng, sheet.size, 3))[mask]


def is_first(cover: str, along: Floats, across: Floats, phase: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the first of the two surfaces lies, (H, W).

    Args:
        cover: One of `ARRANGED`.
        along: Coordinate along the fields, in pixels.
        across: Coordinate across them.
        phase: (2,) pixels by which the pattern is moved.
    """
    x, y = along + phase[0], across + phase[1]
    if cover == "annual-crop":
        return np.asarray(np.floor(y / WIDTH) % 2 == 0)
    if cover == "permanent-crop":
        place = y % (4 * WIDTH)
        return np.asarray((place < 0.6 * WIDTH) | ((place >= 1.2 * WIDTH) & (place < 2.6 * WIDTH)))
    if cover == "pasture":
        return np.asarray((np.floor(x / (2 * WIDTH)) + np.floor(y / (2 * WIDTH))) % 2 == 0)
    # A zigzag of 45 degrees makes stripes thinner by sqrt(2) than they measure across.
    bent = y + np.abs(x % (4 * WIDTH) - 2 * WIDTH)
    return np.asarray(np.floor(bent / (np.sqrt(2) * WIDTH)) % 2 == 0)
