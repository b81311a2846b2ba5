"""Surfaces of the drawn world: what covers a pixel of a field, a street, a roof, a shore. Nothing here is measured.

Spectra are set so that class means at the top of the atmosphere come near those of real tiles of EuroSAT (Helber et
al. 2019, doi 10.1109/JSTARS.2019.2918242; docs/synthetic-world.md compares them), and their shapes follow what spectral
libraries show of the same materials (USGS splib07, Kokaly et al. 2017, doi 10.3133/ds1035): the red edge of leaves,
water bands near 1.4 and 1.9 um that leave B11 above B12, soils that rise to B11, water dark beyond the red. Backscatter
lies in the ranges that Ulaby and Dobson (1989, Handbook of Radar Scattering Statistics for Terrain) give for C band.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from seamo.testing.covers import Floats

# Surface reflectance x 10000, Sentinel-2 bands without B10.
MATERIALS = {
    #          B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "leaf":   (210, 290, 590, 370, 1020, 2950, 3750, 3850, 4100, 4000, 2050, 980),
    "canopy": (110, 140, 320, 190, 590, 2150, 2850, 2900, 3150, 3050, 1350, 540),
    "needle": (90, 110, 230, 150, 410, 1350, 1680, 1700, 1850, 1850, 800, 340),
    "litter": (240, 330, 480, 610, 800, 1080, 1230, 1330, 1480, 1520, 1850, 1300),
    "straw":  (420, 640, 1000, 1380, 1700, 2000, 2250, 2400, 2600, 2600, 3450, 2500),
    "flower": (300, 380, 1350, 1250, 1750, 2900, 3300, 3400, 3550, 3500, 1900, 950),
    "soil":   (400, 570, 840, 1180, 1380, 1550, 1700, 1820, 1980, 2000, 2750, 2300),
    "red soil": (380, 500, 820, 1650, 1950, 2150, 2300, 2380, 2550, 2550, 3300, 2750),
    "pale soil": (800, 1130, 1620, 2150, 2400, 2550, 2680, 2800, 2900, 2900, 3700, 3250),
    "dark soil": (260, 330, 430, 560, 680, 780, 880, 960, 1050, 1070, 1600, 1400),
    "water":  (190, 190, 150, 80, 60, 40, 35, 30, 25, 20, 14, 10),
    "silt":   (300, 470, 820, 700, 620, 280, 260, 200, 160, 120, 40, 25),
    "tiles":  (560, 640, 820, 1550, 1750, 1900, 2020, 2100, 2250, 2250, 2500, 2250),
    "metal":  (3000, 3700, 4000, 4150, 4200, 4300, 4350, 4350, 4400, 4300, 4100, 3700),
    "slate":  (640, 760, 820, 880, 940, 1020, 1080, 1120, 1180, 1180, 1350, 1280),
    "concrete": (1150, 1400, 1580, 1760, 1880, 1980, 2060, 2150, 2250, 2250, 2550, 2350),
    "asphalt": (520, 640, 730, 800, 860, 920, 970, 1020, 1070, 1080, 1250, 1180),
    "sand":   (1300, 1750, 2350, 2950, 3150, 3250, 3350, 3450, 3550, 3500, 4200, 3900),
    "rock":   (800, 980, 1180, 1380, 1500, 1600, 1680, 1760, 1850, 1850, 2300, 2100),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface: materials at rest, in full leaf and ripe, calendar, radar (see `ground`)."""

    rest: dict[str, float]
    active: dict[str, float]
    green: float
    swing: float
    peak: float
    width: float
    shape: float
    radar: tuple[float, float, float, float]  # VV, VH at rest; what full leaf adds to them
    ripe: dict[str, float] | None = None


def _bare(parts: dict[str, float], vv: float, vh: float) -> Surface:
    return Surface(parts, parts, 0, 0, 200, 60, 2, (vv, vh, 0, 0))


_SOIL, _STRAW, _LEAF = {"soil": 1.0}, {"straw": 0.85, "soil": 0.15}, {"leaf": 1.0}
_DRY, _FIELD = {"straw": 0.75, "soil": 0.25}, (-12.8, -20.2, 1.4, 3.8)
SURFACES = {
    # Fields: bare, green for some weeks, then ripe or harvested.
    "winter wheat": Surface(_SOIL, _LEAF, 0.12, 0.83, 135, 42, 3, (-12.0, -19.8, -1.5, 1.5), _STRAW),
    "rape": Surface(_SOIL, {"flower": 0.65, "leaf": 0.35}, 0.15, 0.80, 128, 32, 3, (-12.0, -19.5, 2.5, 5.0), _STRAW),
    "maize": Surface(_SOIL, {"leaf": 0.95, "soil": 0.05}, 0.02, 0.93, 215, 42, 4, (-12.4, -20.0, 2.2, 4.5), _DRY),
    "beet": Surface(_SOIL, _LEAF, 0.03, 0.92, 222, 55, 4, (-12.0, -19.6, 2.0, 4.0)),
    "sunflower": Surface(_SOIL, {"leaf": 0.8, "soil": 0.2}, 0.03, 0.80, 195, 32, 3, (-12.0, -19.6, 2.0, 4.5), _DRY),
    "lucerne": Surface(_DRY, _LEAF, 0.45, 0.45, 165, 85, 4, _FIELD),
    "fallow": Surface({"soil": 0.85, "straw": 0.15}, {"straw": 0.5, "leaf": 0.5}, 0.1, 0.4, 140, 50, 2, _FIELD),
    "tilled": Surface(_SOIL, _SOIL, 0, 0, 170, 60, 2, (-13.2, -21.0, 0, 0)),
    "track": _bare({"soil": 0.6, "pale soil": 0.4}, -13.0, -20.5),
    "verge": Surface(_DRY, _LEAF, 0.35, 0.45, 150, 70, 3, (-11.8, -18.6, 0.5, 1.5)),
    # Rows of trees and vines over soil or grass.
    "vine row": Surface({"soil": 0.7, "litter": 0.3}, {"leaf": 0.6, "canopy": 0.3, "soil": 0.1},
                        0.10, 0.75, 200, 65, 4, (-10.5, -17.2, 0.5, 2.0)),
    "orchard row": Surface({"litter": 0.7, "soil": 0.3}, {"canopy": 0.8, "leaf": 0.2}, 0.25, 0.65, 190, 80, 4,
                           (-10.0, -16.4, 0.5, 1.5)),
    "olive row": Surface({"soil": 0.5, "litter": 0.5}, {"needle": 0.6, "canopy": 0.25, "soil": 0.15},
                         0.75, 0.1, 190, 90, 2, (-10.5, -17.0, 0, 0.4)),
    "alley": Surface({"soil": 0.6, "straw": 0.4}, {"straw": 0.5, "leaf": 0.35, "soil": 0.15}, 0.15, 0.5, 130, 50, 2,
                     _FIELD),
    # Grass.
    "meadow": Surface({"straw": 0.4, "leaf": 0.3, "soil": 0.3}, _LEAF, 0.55, 0.38, 145, 85, 3,
                      (-12.0, -19.2, 0.6, 1.8)),
    "mown": Surface(_DRY, {"leaf": 0.8, "straw": 0.2}, 0.45, 0.35, 130, 45, 2, (-12.6, -20.0, 0.5, 1.5)),
    "dry grass": Surface({"straw": 0.8, "soil": 0.2}, {"leaf": 0.65, "straw": 0.35}, 0.10, 0.70, 120, 48, 2,
                         (-12.4, -19.8, 0.6, 2.2)),
    "moor": Surface({"straw": 0.35, "litter": 0.65}, {"canopy": 0.45, "leaf": 0.25, "litter": 0.3},
                    0.25, 0.50, 180, 70, 3, (-11.6, -18.6, 0.4, 1.2)),
    # Wood.
    "broad-leaved": Surface({"litter": 1.0}, {"canopy": 1.0}, 0.05, 0.92, 205, 88, 6, (-9.6, -15.2, 0.3, 0.6)),
    "conifer": Surface({"needle": 0.75, "litter": 0.25}, {"needle": 0.9, "canopy": 0.1}, 0.8, 0.15, 200, 90, 3,
                       (-9.4, -14.9, 0.1, 0.3)),
    "clearing": Surface({"litter": 0.7, "straw": 0.3}, {"leaf": 0.6, "litter": 0.4}, 0.25, 0.55, 180, 65, 3,
                        (-11.0, -17.2, 0.4, 1.2)),
    "bush": Surface({"litter": 0.7, "needle": 0.3}, {"canopy": 0.7, "needle": 0.3}, 0.55, 0.35, 180, 85, 3,
                    (-10.2, -16.2, 0.3, 0.8)),
    "garden": Surface({"litter": 0.4, "straw": 0.35, "soil": 0.25}, {"leaf": 0.55, "canopy": 0.45},
                      0.40, 0.50, 185, 80, 4, (-10.8, -17.0, 0.3, 0.8)),
    # What people build.
    "tiles": _bare({"tiles": 1.0}, -4.5, -11.5),
    "slate": _bare({"slate": 1.0}, -4.5, -11.5),
    "metal": _bare({"metal": 1.0}, -2.5, -11.0),
    "flat roof": _bare({"concrete": 0.7, "slate": 0.3}, -3.5, -11.5),
    "concrete": _bare({"concrete": 1.0}, -12.5, -20.0),
    "asphalt": _bare({"asphalt": 0.9, "concrete": 0.1}, -14.5, -21.5),
    "yard": _bare({"asphalt": 0.45, "concrete": 0.4, "soil": 0.15}, -10.0, -17.5),
    # Water and what borders it, and bare land.
    "lake": _bare({"water": 1.0}, -19.0, -26.0),
    "stream": _bare({"water": 0.6, "silt": 0.4}, -18.5, -25.5),
    "sand": _bare({"sand": 1.0}, -15.5, -23.5),
    "rock": _bare({"rock": 1.0}, -9.5, -17.5),
    "scree": _bare({"rock": 0.5, "soil": 0.3, "straw": 0.2}, -11.0, -18.8),
    "reed": Surface({"straw": 0.8, "water": 0.2}, {"leaf": 0.6, "canopy": 0.25, "water": 0.15},
                    0.10, 0.75, 210, 65, 4, (-10.8, -17.8, 1.0, 2.0)),
    "mire": Surface({"litter": 0.5, "water": 0.3, "straw": 0.2}, {"leaf": 0.45, "litter": 0.3, "water": 0.25}, 0.15,
                    0.55, 195, 60, 3,
                    (-12.5, -19.8, 0.8, 1.8)),
}  # fmt: skip
NAMES = tuple(SURFACES)

# Where the values of a surface lie in its row: reflectance at rest, what leaves and ripeness add, calendar, radar.
NUM_BANDS = 12
REST, CHANGE, RIPE = (slice(NUM_BANDS * part, NUM_BANDS * (part + 1)) for part in range(3))
CALENDAR, RADAR = slice(3 * NUM_BANDS, 3 * NUM_BANDS + 5), slice(3 * NUM_BANDS + 5, 3 * NUM_BANDS + 9)


def surface_rows(spectra: Floats) -> Floats:
    """All surfaces as numbers, (surfaces, values), in the order of `NAMES`.

    Args:
        spectra: (materials, 12) reflectance x 10000 of the materials in a place.
    """
    rest, active, ripe, rest_of_row = _shares()
    seen = [rest @ spectra, (active - rest) @ spectra, (ripe - rest) @ spectra]
    return np.concatenate([*seen, rest_of_row], axis=1)


@lru_cache(maxsize=1)
def _shares() -> tuple[Floats, Floats, Floats, Floats]:
    """Shares of materials at rest, active and ripe, each (surfaces, materials); calendar and radar."""
    every = tuple(SURFACES.values())

    def shares(parts: list[dict[str, float]]) -> Floats:
        return np.array([[one.get(name, 0.0) for name in MATERIALS] for one in parts], dtype=np.float32)

    numbers = [(one.green, one.swing, one.peak, one.width, one.shape, *one.radar) for one in every]
    return (
        shares([one.rest for one in every]),
        shares([one.active for one in every]),
        shares([one.ripe or one.rest for one in every]),
        np.array(numbers, dtype=np.float32),
    )
