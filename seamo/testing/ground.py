"""`Ground`: what a layout of the synthetic world hands to its instruments, pixel by pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """When a pixel is green: `green + swing * exp(-|days from peak / width| ** shape)`, days of a northern year.

    Args:
        green: (H, W) share of the active state at rest.
        swing: What the season adds.
        peak: Day of the peak.
        width: Days.
        shape: 2 is a bell, more is a plateau.
    """

    green: Floats
    swing: Floats
    peak: Floats
    width: Floats
    shape: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Radar:
    """Backscatter of a pixel in dB, each (H, W): at rest, what full leaf adds, and what is there beside.

    Args:
        vv: VV at rest.
        vh: VH at rest.
        vv_green: What full leaf adds to VV.
        vh_green: What it adds to VH.
        detail: Added to both: texture, slopes.
    """

    vv: Floats
    vh: Floats
    vv_green: Floats
    vh_green: Floats
    detail: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """One place as it lies there, before season, sky and instrument.

    Args:
        cover: (H, W) uint8, positions in `COVERS`.
        rest: (H, W, materials) shares at rest; the drawn forms have reflectance x 10000 of the 12 bands here.
        change: What the active state adds to `rest`.
        spectra: (materials, 12) reflectance x 10000 in this place; None: the shares are those of bands already.
        calendar: When its plants are green.
        day_shift: (H, W) days by which a pixel is ahead of its calendar.
        vigour: (H, W) factor of its greenness.
        light: (H, W) factor of its brightness: texture, shade.
        radar: Its backscatter.
        ripe: (H, W, materials) what ripeness adds, some weeks after the peak; None: nothing ripens.
        haze: (H, W) factor of the path radiance; None: the same everywhere.
        blur: Share of a pixel's light that each neighbour along an axis receives in bands of 10 m: the point spread.
        shadow: (rows, columns) a pixel's step in the direction in which shadows fall: (-1, -1) where the sun stands
            over the lower right corner, as in the mornings of the north, (1, -1) in the south. The plain form has the
            sun over the upper left everywhere, (1, 1).
    """

    cover: NDArray[np.uint8]
    rest: Floats
    change: Floats
    spectra: Floats | None
    calendar: Calendar
    day_shift: Floats
    vigour: Floats
    light: Floats
    radar: Radar
    ripe: Floats | None = None
    haze: Floats | None = None
    blur: float = 0.0
    shadow: tuple[int, int] = (1, 1)
