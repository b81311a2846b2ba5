"""Field land of the drawn world: parcels under crops, rows of trees and vines, hedged pastures. Nothing is measured."""

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import Floats
from seamo.testing.drawing import NUM_IDS, Canvas, Ids, Parcels, cells, edge, rectangles
from seamo.testing.fields import smooth
from seamo.testing.surfaces import NAMES

FARMS = ("annual-crop", "permanent-crop", "pasture")
_CROPS = ("winter wheat", "rape", "maize", "beet", "sunflower", "lucerne", "fallow", "tilled")
_OFTEN = (0.28, 0.08, 0.2, 0.08, 0.08, 0.08, 0.08, 0.12)
_ROWS = ("vine row", "orchard row", "olive row")
_PIVOT_PX = (24.0, 40.0)  # centre pivots of a quarter section are 80 pixels wide; half of that fits a tile

Mask = NDArray[np.bool_]


def divide(rng: np.random.Generator, along: Floats, across: Floats, *, lead: str) -> Parcels:
    """The parcels of a place, in a form that goes with the farming that leads."""
    drawn = rng.random()
    if lead == "pasture":
        size = rng.uniform(11, 20)
        if drawn < 0.65:
            return cells(rng, along, across, length=1.35 * size, width=size)
        return rectangles(rng, along, across, length=1.4 * size, width=size)
    if lead == "permanent-crop":
        return rectangles(rng, along, across, length=rng.uniform(13, 26), width=rng.uniform(8, 14))
    if drawn < 0.2:
        return _pivots(along, across, rng.uniform(*_PIVOT_PX))
    if drawn < 0.4:
        return rectangles(rng, along, across, length=rng.uniform(45, 80), width=rng.uniform(4.5, 8))
    return rectangles(rng, along, across, length=rng.uniform(22, 44), width=rng.uniform(11, 22))


def paint_annual(sheet: Canvas, mask: Mask, rng: np.random.Generator, parcels: Parcels) -> None:
    """Crops, a parcel each, sown in lines; tracks along some borders; what a pivot does not reach stays dry."""
    grown = rng.choice(len(_CROPS), 4, p=_OFTEN)
    crop = np.array([NAMES.index(_CROPS[one]) for one in grown])[rng.integers(0, 4, NUM_IDS)]
    sheet.fill(mask, crop[parcels.ids])
    _each_parcel(sheet, mask, rng, parcels, light=0.07, days=7)
    drilled = _chosen(rng, parcels.ids, 0.8)  # along the parcel, and across it on some
    way = np.where(drilled, parcels.across, parcels.along)
    period = rng.uniform(2.2, 3.2, NUM_IDS).astype(np.float32)[parcels.ids]
    strength = rng.uniform(0, 0.04, NUM_IDS).astype(np.float32)[parcels.ids]
    sheet.light[mask] += (strength * np.cos(2 * np.pi * way / period))[mask]
    sheet.tone[mask] += (0.8 * smooth(rng, sheet.size, 9))[mask]
    tracks = edge(parcels.border - rng.uniform(0.3, 0.6)) * _chosen(rng, parcels.ids, rng.uniform(0.1, 0.7))
    sheet.lay(tracks * mask, str(rng.choice(["track", "verge", "verge"])))
    if parcels.line.max() == parcels.line.min() == -1:  # pivots
        outside = 1 - edge(np.hypot(parcels.along, parcels.across) - parcels.border.max() - 0.5)
        sheet.lay(outside * mask, str(rng.choice(["dry grass", "fallow", "track"])))


def paint_orchards(sheet: Canvas, mask: Mask, rng: np.random.Generator, parcels: Parcels) -> None:
    """Vines, orchards or olives in rows over alleys; direction, spacing and age a parcel each."""
    kind = str(rng.choice(_ROWS))
    ground = np.array([NAMES.index("alley"), NAMES.index("mown"), NAMES.index("tilled")])
    sheet.fill(mask, ground[rng.choice(3, NUM_IDS, p=[0.6, 0.2, 0.2])][parcels.ids])
    _each_parcel(sheet, mask, rng, parcels, light=0.06, days=6)
    way = np.where(_chosen(rng, parcels.ids, 0.65), parcels.across, parcels.along)
    low, high = {"vine row": (2.1, 2.8), "orchard row": (2.3, 3.4), "olive row": (2.6, 4.2)}[kind]
    period = rng.uniform(low, high, NUM_IDS).astype(np.float32)[parcels.ids]
    age = rng.uniform(0.35, 1.0, NUM_IDS).astype(np.float32)[parcels.ids] * _chosen(rng, parcels.ids, 0.9)
    rows = age * (0.5 + 0.5 * np.cos(2 * np.pi * way / period)) ** 1.5
    if kind == "olive row":  # single crowns
        other = np.where(way is parcels.across, parcels.along, parcels.across)
        rows = rows * (0.45 + 0.55 * np.cos(2 * np.pi * other / period))
    sheet.lay(np.asarray(np.clip(rows, 0, 0.95) * mask, np.float32), kind)
    sheet.tone[mask] += (0.5 * smooth(rng, sheet.size, 8))[mask]
    sheet.lay(edge(parcels.border - 0.45) * _chosen(rng, parcels.ids, 0.6) * mask, "track")


def paint_pasture(sheet: Canvas, mask: Mask, rng: np.random.Generator, parcels: Parcels) -> None:
    """Meadows between hedges with gaps, single trees, here and there a copse."""
    kinds = np.array([NAMES.index(name) for name in ("meadow", "meadow", "meadow", "mown", "dry grass")])
    sheet.fill(mask, kinds[rng.integers(0, 5 if rng.random() < 0.4 else 4, NUM_IDS)][parcels.ids])
    _each_parcel(sheet, mask, rng, parcels, light=0.05, days=6)
    sheet.tone[mask] += (0.9 * smooth(rng, sheet.size, 10))[mask]
    gaps = np.clip(0.6 + smooth(rng, sheet.size, 5), 0, 1)
    hedges = edge(parcels.border - rng.uniform(0.25, 0.8)) * gaps
    trees = np.clip(3 * (smooth(rng, sheet.size, 2) - rng.uniform(1.9, 2.6)), 0, 1)
    copse = np.clip(2.5 * (smooth(rng, sheet.size, 9) + 0.2 * smooth(rng, sheet.size, 2) - rng.uniform(1.6, 2.6)), 0, 1)
    wood = np.asarray(np.maximum(np.maximum(hedges, trees), copse) * mask, np.float32)
    sheet.lay(0.9 * wood, str(rng.choice(["broad-leaved", "bush"])))
    sheet.cast(wood, 0.25)


def _each_parcel(
    sheet: Canvas, mask: Mask, rng: np.random.Generator, parcels: Parcels, *, light: float, days: float
) -> None:
    """Each parcel has its own brightness, calendar, vigour and roughness."""
    drawn = rng.standard_normal((4, NUM_IDS), dtype=np.float32)[:, parcels.ids[mask]]
    sheet.light[mask] += light * drawn[0]
    sheet.days[mask] += days * drawn[1]
    sheet.tone[mask] += 0.5 * drawn[2]
    sheet.echo[mask] += 0.9 * drawn[3]


def _chosen(rng: np.random.Generator, ids: Ids, share: float) -> Mask:
    return (rng.random(NUM_IDS) < share)[ids]


def _pivots(along: Floats, across: Floats, side: float) -> Parcels:
    """Squares with the circle of a centre pivot: `border` counts from the circle, `line` is -1."""
    u, v = np.floor(along / side + 0.5), np.floor(across / side + 0.5)
    x, y = along - u * side, across - v * side
    border = np.maximum(0.48 * side - np.hypot(x, y), 0)
    ids = ((u + 64) * 73 + (v + 64) * 31).astype(np.intp) % NUM_IDS
    return Parcels(ids, np.asarray(border, np.float32), x, y, np.full(ids.shape, -1))
