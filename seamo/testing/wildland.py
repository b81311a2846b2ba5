"""Wild land of the drawn world: woods, slopes of grass, scrub, marsh, sand, shores and rivers. Nothing is measured."""

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import Floats
from seamo.testing.drawing import NUM_IDS, Canvas, Parcels, cells, edge, ridges, turned, way
from seamo.testing.fields import smooth
from seamo.testing.surfaces import NAMES

Mask = NDArray[np.bool_]


def paint_broad_leaved(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Wood that is bare in winter."""
    _wood(sheet, mask, rng, "broad-leaved", "conifer")


def paint_conifers(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Evergreen wood, in planted stands."""
    _wood(sheet, mask, rng, "conifer", "broad-leaved")


def paint_grass(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Slopes of dry grass and moor, bushes in the gullies, stones on the crests, paths."""
    size = sheet.size
    kinds = [str(one) for one in rng.choice(["dry grass", "dry grass", "moor", "meadow"], 2)]
    sheet.fill(mask, np.where(smooth(rng, size, 14) > 0, *(NAMES.index(one) for one in kinds)))
    sheet.tone[mask] += (0.7 * smooth(rng, size, 12) + 0.7 * smooth(rng, size, 4))[mask]
    sheet.light[mask] += (0.05 * smooth(rng, size, 3))[mask]
    crest = ridges(rng, size, 16)
    gully = np.clip(rng.uniform(3, 7) * (crest - rng.uniform(0.72, 0.95)) + 0.5 * smooth(rng, size, 3), 0, 1)
    sheet.lay(np.asarray(rng.uniform(0.2, 0.9) * gully * mask, np.float32), "bush")
    stones = np.clip(2 * (smooth(rng, size, 11) + 0.4 * smooth(rng, size, 3) - rng.uniform(0.9, 2.4)), 0, 1)
    sheet.lay(np.asarray(0.8 * stones * mask, np.float32), str(rng.choice(["scree", "rock", "tilled"])))
    if rng.random() < 0.5:
        path, _along = way(rng, size, bend=7, offset=size / 3)
        sheet.lay(edge(np.abs(path) - 0.35) * mask, "track")


def paint_scrub(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Single bushes over dry ground."""
    size = sheet.size
    sheet.fill(mask, np.full((size, size), NAMES.index(str(rng.choice(["dry grass", "scree", "tilled"])))))
    dense = 0.9 * smooth(rng, size, 2) + 0.7 * smooth(rng, size, 10)
    bushes = np.clip(1.2 * (dense - rng.uniform(-0.5, 0.6)), 0, 0.9)
    sheet.lay(np.asarray(bushes * mask, np.float32), "bush")
    sheet.tone[mask] += (0.6 * smooth(rng, size, 8))[mask]


def paint_marsh(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Reed and mire with pools and creeks."""
    size = sheet.size
    sheet.fill(mask, np.where(smooth(rng, size, 8) > 0, NAMES.index("reed"), NAMES.index("mire")))
    sheet.tone[mask] += (0.8 * smooth(rng, size, 5))[mask]
    sheet.light[mask] += (0.06 * smooth(rng, size, 3))[mask]
    pools = np.clip(3 * (smooth(rng, size, 7) + 0.3 * smooth(rng, size, 2) - rng.uniform(0.7, 1.5)), 0, 1)
    creeks = np.clip(8 * (ridges(rng, size, 16) - 0.93), 0, 1)
    sheet.lay(np.asarray(np.maximum(pools, creeks) * mask, np.float32), "lake")


def paint_bare(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Dunes, or rock and scree."""
    size = sheet.size
    if rng.random() < 0.4:
        sheet.fill(mask, np.full((size, size), NAMES.index("sand")))
        along, _across = turned(size, rng.uniform(0, np.pi))
        dunes = np.cos(2 * np.pi * along / rng.uniform(5, 11) + 1.6 * smooth(rng, size, 12))
        sheet.light[mask] += (0.08 * dunes + 0.03 * smooth(rng, size, 3))[mask]
        return
    sheet.fill(mask, np.where(smooth(rng, size, 10) > 0.2, NAMES.index("rock"), NAMES.index("scree")))
    sheet.light[mask] += (0.10 * smooth(rng, size, 6) + 0.07 * smooth(rng, size, 2))[mask]
    green = np.clip(2 * (smooth(rng, size, 8) - 1.0), 0, 1)
    sheet.lay(np.asarray(0.7 * green * mask, np.float32), "dry grass")


def paint_sea(sheet: Canvas, mask: Mask, rng: np.random.Generator, inside: Floats) -> None:
    """Open water with swell and streaks, shallow near the shore, a beach beyond it.

    Args:
        sheet: Painted on.
        mask: The water.
        rng: Chooses.
        inside: (H, W) how far inside the water a pixel is: negative on land.
    """
    size = sheet.size
    sheet.fill(mask, np.full((size, size), NAMES.index("lake")))
    along, _across = turned(size, rng.uniform(0, np.pi))
    swell = 0.04 * np.cos(2 * np.pi * along / rng.uniform(6, 14) + 2 * smooth(rng, size, 14)) * (rng.random() < 0.3)
    sheet.light[mask] += (swell + 0.10 * smooth(rng, size, 24) + 0.03 * smooth(rng, size, 4))[mask]
    shallow = 0.8 * np.clip(1 - inside / rng.uniform(0.3, 1.2), 0, 1) * mask
    sheet.lay(np.asarray(shallow, np.float32), "stream")
    beach = np.clip(4 * (inside + rng.uniform(0.05, 0.5)), 0, 1) * ~mask * (inside < 9)
    sheet.lay(np.asarray(rng.choice([0.0, 1.0], p=[0.4, 0.6]) * beach, np.float32), "sand")


def paint_river(sheet: Canvas, rng: np.random.Generator, *, wide: bool) -> None:
    """A river across everything: water, bars of sand, trees along the banks."""
    size = sheet.size
    width = rng.uniform(5, 13) if wide else rng.uniform(2, 4)
    distance, _ = way(rng, size, bend=rng.uniform(0, 10), offset=size / 6)
    banks = np.abs(distance + 0.6 * smooth(rng, size, 5)) - width / 2 * (1 + 0.12 * smooth(rng, size, 18))
    trees = edge(banks - rng.uniform(0.5, 3.5)) * np.clip(0.5 + smooth(rng, size, 6), 0, 1) * (rng.random() < 0.75)
    sheet.lay(np.asarray(0.9 * trees, np.float32), "broad-leaved")
    water = edge(banks)
    sheet.lay(water, str(rng.choice(["stream", "lake"])))
    bars = edge(banks) * np.clip(2 * (smooth(rng, size, 7) + 0.15 * banks - rng.uniform(0.6, 2.5)), 0, 1)
    sheet.lay(np.asarray(bars, np.float32), "sand")
    inside = banks < 0
    sheet.claim(inside, "river")
    sheet.light[inside] = (0.04 * smooth(rng, size, 12))[inside]
    sheet.echo[inside] = 0


def _wood(sheet: Canvas, mask: Mask, rng: np.random.Generator, kind: str, other: str) -> None:
    size = sheet.size
    along, across = turned(size, rng.uniform(0, np.pi))
    stands = cells(rng, along, across, length=rng.uniform(12, 24), width=rng.uniform(9, 18))
    mixed = (rng.random(NUM_IDS) < rng.uniform(0, 0.2))[stands.ids]
    sheet.fill(mask, np.where(mixed, NAMES.index(other), NAMES.index(kind)))
    drawn = rng.standard_normal((3, NUM_IDS), dtype=np.float32)[:, stands.ids]
    # Crowns: lit on one side, dark on the other.
    crowns = 0.6 * rng.standard_normal((size, size), dtype=np.float32) + 0.6 * smooth(rng, size, 2)
    lit = crowns - np.roll(crowns, sheet.shadow, (0, 1))
    sheet.light[mask] += (0.06 * drawn[0] + 0.07 * lit + 0.04 * smooth(rng, size, 6))[mask]
    sheet.days[mask] += (6 * drawn[1])[mask]
    sheet.tone[mask] += (0.4 * drawn[2] + 0.3 * crowns)[mask]
    glades = np.clip(2.5 * (smooth(rng, size, 9) + 0.3 * smooth(rng, size, 3) - rng.uniform(1.3, 2.6)), 0, 1)
    sheet.lay(np.asarray(glades * mask, np.float32), "clearing")
    if rng.random() < 0.4:
        ride, _ = way(rng, size, bend=5, offset=size / 3)
        sheet.lay(0.7 * edge(np.abs(ride) - 0.3) * mask, "track")
