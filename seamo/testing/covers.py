"""Land covers of the synthetic world: materials, spectra, phenology, texture and radar. Nothing here is measured."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COVERS = (
    "annual-crop",
    "permanent-crop",
    "pasture",
    "herbaceous",
    "broad-leaved-forest",
    "coniferous-forest",
    "river",
    "sea",
    "residential",
    "industrial",
    "road",
    "wetland",
    "bare",
    "shrub",
)
"""Land covers; `Scene.cover` holds positions in this tuple."""

# Surface reflectance x 10000 of the materials, Sentinel-2 bands without B10.
MATERIALS = {
    #         B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "leaf": (220, 330, 650, 380, 1050, 2900, 3700, 3850, 4050, 4000, 2000, 1000),
    "canopy": (160, 240, 480, 260, 780, 2500, 3150, 3250, 3450, 3400, 1500, 680),
    "needle": (140, 200, 360, 230, 520, 1400, 1750, 1800, 1950, 1950, 900, 420),
    "litter": (260, 360, 520, 640, 850, 1150, 1300, 1420, 1550, 1600, 1900, 1350),
    "straw": (420, 640, 980, 1250, 1550, 1850, 2050, 2250, 2400, 2450, 3000, 2200),
    "soil": (480, 700, 1000, 1300, 1500, 1650, 1800, 1950, 2100, 2150, 2700, 2300),
    "water": (280, 330, 320, 220, 180, 120, 110, 90, 80, 70, 40, 25),
    "roof": (1100, 1350, 1500, 1700, 1800, 1900, 2000, 2150, 2200, 2250, 2400, 2200),
    "asphalt": (700, 850, 950, 1000, 1050, 1100, 1150, 1200, 1250, 1280, 1400, 1300),
    "sand": (1500, 1900, 2400, 2900, 3100, 3250, 3350, 3450, 3550, 3550, 4200, 3900),
}
CLOUD = (6200, 6300, 6300, 6500, 6600, 6700, 6800, 6800, 6900, 6900, 4600, 3300)
# Top of atmosphere = path + transmission * surface; B09 lies in a water-vapour band.
PATH = (1030, 720, 420, 240, 190, 150, 120, 95, 75, 30, 12, 6)
TRANSMISSION = (0.80, 0.84, 0.87, 0.90, 0.90, 0.91, 0.92, 0.92, 0.94, 0.30, 0.96, 0.95)


@dataclass(frozen=True, slots=True)
class _Cover:
    """One land cover: materials at rest and in full leaf, phenology, texture, radar.

    `green` and `swing` give the share of the active state at rest and what the season adds; the season is
    `exp(-|days from peak / width| ** shape)`, in days of a northern year. `vv` and `vh` are dB at rest,
    `vv_green` and `vh_green` what full leaf adds.
    """

    rest: dict[str, float]
    active: dict[str, float]
    green: float
    swing: float
    peak: float
    width: float
    shape: float
    rough: float  # standard deviation of the texture, relative
    vv: float
    vh: float
    vv_green: float = 0.0
    vh_green: float = 0.0


_PARK = {"roof": 0.35, "asphalt": 0.30, "leaf": 0.35}
_TABLE = {
    "annual-crop": _Cover(
        {"soil": 0.75, "straw": 0.25}, {"leaf": 1.0}, 0.10, 0.80, 170, 48, 2, 0.11, -12.5, -20.0, 1.5, 3.5
    ),
    "permanent-crop": _Cover(
        {"soil": 0.6, "straw": 0.4}, {"leaf": 0.7, "canopy": 0.3}, 0.30, 0.42, 190, 85, 2, 0.11, -11.0, -18.0, 0.5, 1.8
    ),
    "pasture": _Cover({"straw": 0.6, "soil": 0.4}, {"leaf": 1.0}, 0.48, 0.38, 140, 75, 2, 0.11, -11.8, -18.8, 0.6, 1.8),
    "herbaceous": _Cover(
        {"straw": 0.7, "soil": 0.3}, {"leaf": 0.9, "canopy": 0.1}, 0.18, 0.62, 125, 52, 2, 0.11, -12.0, -19.2, 0.6, 2.2
    ),
    "broad-leaved-forest": _Cover(
        {"litter": 1.0}, {"canopy": 1.0}, 0.05, 0.90, 200, 90, 5, 0.09, -9.6, -15.2, 0.3, 0.6
    ),
    "coniferous-forest": _Cover(
        {"litter": 0.5, "needle": 0.5}, {"needle": 0.8, "canopy": 0.2}, 0.75, 0.15, 200, 90, 3,
        0.09, -9.4, -14.9, 0.1, 0.3,
    ),
    "river": _Cover({"water": 0.88, "soil": 0.12}, {"water": 0.9, "leaf": 0.1}, 0, 0.3, 200, 60, 2, 0.02, -19.0, -25.5),
    "sea": _Cover({"water": 1.0}, {"water": 1.0}, 0, 0, 200, 60, 2, 0.02, -18.5, -26.0),
    "residential": _Cover(
        {"roof": 0.42, "asphalt": 0.33, "soil": 0.25}, _PARK, 0.35, 0.45, 190, 80, 3, 0.22, -7.8, -14.2
    ),
    "industrial": _Cover(
        {"roof": 0.45, "asphalt": 0.40, "soil": 0.15}, _PARK, 0.30, 0.40, 190, 80, 3, 0.22, -7.0, -13.8
    ),
    "road": _Cover(
        {"asphalt": 0.85, "soil": 0.15}, {"asphalt": 0.7, "leaf": 0.3}, 0.2, 0.4, 180, 70, 2, 0.05, -13.5, -20.5
    ),
    "wetland": _Cover(
        {"water": 0.4, "straw": 0.35, "litter": 0.25}, {"leaf": 0.6, "water": 0.25, "straw": 0.15},
        0.15, 0.65, 205, 60, 2, 0.12, -12.8, -20.2, 2.0, 3.0,
    ),
    "bare": _Cover({"sand": 0.4, "soil": 0.6}, {"sand": 0.3, "soil": 0.7}, 0.3, 0.2, 180, 80, 2, 0.10, -13.5, -21.5),
    "shrub": _Cover(
        {"litter": 0.4, "straw": 0.4, "soil": 0.2}, {"canopy": 0.5, "leaf": 0.3, "needle": 0.2}, 0.40, 0.35, 165, 80, 2,
        0.11, -11.0, -17.4, 0.4, 1.2,
    ),
}  # fmt: skip
# What lies around a cover, where it shares a scene with others.
NEIGHBOURS = {
    "sea": ("bare", "herbaceous", "shrub"),
    "residential": ("residential", "pasture", "road", "herbaceous"),
    "industrial": ("industrial", "residential", "annual-crop", "bare"),
    "broad-leaved-forest": ("pasture", "coniferous-forest", "herbaceous"),
    "coniferous-forest": ("broad-leaved-forest", "wetland", "herbaceous"),
    "wetland": ("herbaceous", "sea", "pasture"),
}
FIELDS = ("annual-crop", "pasture", "herbaceous", "permanent-crop", "broad-leaved-forest", "shrub")
LINES = {"road": (1.6, 2.6), "river": (5.0, 11.0)}  # covers that cross a scene as a line; width in pixels


@dataclass(frozen=True, slots=True)
class Tables:
    """`_TABLE` as arrays over covers."""

    rest: Floats
    active: Floats
    green: Floats
    swing: Floats
    peak: Floats
    width: Floats
    shape: Floats
    rough: Floats
    vv: Floats
    vh: Floats
    vv_green: Floats
    vh_green: Floats


@lru_cache(maxsize=1)
def tables() -> Tables:
    """The covers' numbers as arrays in the order of `COVERS`."""
    rows = [_TABLE[name] for name in COVERS]

    def column(values: list[float]) -> Floats:
        return np.array(values, dtype=np.float32)

    return Tables(
        rest=np.array([[row.rest.get(name, 0) for name in MATERIALS] for row in rows], dtype=np.float32),
        active=np.array([[row.active.get(name, 0) for name in MATERIALS] for row in rows], dtype=np.float32),
        green=column([row.green for row in rows]),
        swing=column([row.swing for row in rows]),
        peak=column([row.peak for row in rows]),
        width=column([row.width for row in rows]),
        shape=column([row.shape for row in rows]),
        rough=column([row.rough for row in rows]),
        vv=column([row.vv for row in rows]),
        vh=column([row.vh for row in rows]),
        vv_green=column([row.vv_green for row in rows]),
        vh_green=column([row.vh_green for row in rows]),
    )
