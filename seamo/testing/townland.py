"""Built land of the drawn world: streets and houses, halls and yards, roads. Nothing here is measured."""

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import Floats
from seamo.testing.drawing import NUM_IDS, Canvas, Ids, Parcels, cells, edge, rectangles, turned, way
from seamo.testing.fields import smooth
from seamo.testing.surfaces import NAMES

Mask = NDArray[np.bool_]


def paint_houses(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Blocks of houses in gardens between streets, with trees; here and there a green or a larger building."""
    size = sheet.size
    along, across = turned(size, rng.uniform(0, np.pi))
    bend = rng.choice([0.0, 1.5, 4.0])
    along, across = along + bend * smooth(rng, size, 18), across + bend * smooth(rng, size, 18)
    make = cells if rng.random() < 0.25 else rectangles
    streets = make(rng, along, across, length=rng.uniform(11, 20), width=rng.uniform(5.5, 8.5))
    sheet.fill(mask, np.full((size, size), NAMES.index("garden")))
    sheet.tone[mask] += (0.8 * smooth(rng, size, 4))[mask]
    trees = np.clip(1.5 * (smooth(rng, size, 2) - rng.uniform(0.2, 1.4)), 0, 0.9)
    sheet.lay(np.asarray(trees * mask, np.float32), "broad-leaved")
    plots = rectangles(rng, along, across, length=rng.uniform(1.9, 3.0), width=rng.uniform(2.0, 3.2))
    built = (rng.random(NUM_IDS) < rng.uniform(0.65, 0.98))[plots.ids] & (rng.random(NUM_IDS) < 0.93)[streets.ids]
    houses = edge(rng.uniform(0.25, 0.6) - plots.border) * built * (1 - edge(streets.border - 0.5))
    weights = [(0.75, 0.15, 0.1), (0.2, 0.65, 0.15), (0.35, 0.25, 0.4)][int(rng.integers(3))]
    _roofs(sheet, rng, houses * mask, plots.ids, dict(zip(("tiles", "slate", "flat roof"), weights, strict=True)))
    sheet.lay(0.85 * edge(streets.border - rng.uniform(0.25, 0.55)) * mask, "asphalt")


def paint_halls(sheet: Canvas, mask: Mask, rng: np.random.Generator, _: Parcels) -> None:
    """Large roofs on yards between wide streets, with some green, and tanks."""
    size = sheet.size
    along, across = turned(size, rng.uniform(0, np.pi))
    streets = rectangles(rng, along, across, length=rng.uniform(18, 34), width=rng.uniform(12, 20))
    sheet.fill(mask, np.full((size, size), NAMES.index("yard")))
    sheet.light[mask] += (0.10 * smooth(rng, size, 4))[mask]
    green = (rng.random(NUM_IDS) < rng.uniform(0.05, 0.3))[streets.ids] * np.clip(1 + smooth(rng, size, 6), 0, 1)
    sheet.lay(np.asarray(green * mask, np.float32), "verge")
    halls = rectangles(rng, along, across, length=rng.uniform(5, 11), width=rng.uniform(4, 8))
    built = (rng.random(NUM_IDS) < rng.uniform(0.55, 0.9))[halls.ids] & (rng.random(NUM_IDS) < 0.9)[streets.ids]
    roofs = edge(rng.uniform(0.5, 1.1) - halls.border) * built * (1 - edge(streets.border - 1.0))
    weights = {"metal": rng.uniform(0.1, 0.4), "flat roof": 0.35, "slate": 0.25, "tiles": 0.08}
    _roofs(sheet, rng, roofs * mask, halls.ids, weights)
    if rng.random() < 0.15:
        tanks = cells(rng, along, across, length=4.5, width=4.5)
        round_ = edge(np.hypot(tanks.along, tanks.across) - 1.3) * (rng.random(NUM_IDS) < 0.5)[streets.ids]
        sheet.lay(np.asarray(round_ * mask, np.float32), "metal")
    sheet.lay(edge(streets.border - rng.uniform(0.5, 0.9)) * mask, "asphalt")


def paint_road(sheet: Canvas, rng: np.random.Generator, *, wide: bool) -> None:
    """A road across everything; a wide one has two carriageways, verges, and sometimes a junction."""
    size = sheet.size
    distance, along = way(rng, size, bend=rng.uniform(0, 7), offset=size / 5)
    width = rng.uniform(2.4, 3.8) if wide else rng.uniform(0.7, 1.3)
    far = np.abs(distance)
    if wide:
        if rng.random() < 0.6:
            other, _ = way(rng, size, bend=4, offset=size / 4)
            sheet.lay(0.9 * edge(np.abs(other) - 0.55), "asphalt")
        if rng.random() < 0.3:  # ramps
            ramp = np.abs(np.hypot(along - rng.uniform(-size / 5, size / 5), far - 6.5) - 5.5)
            sheet.lay(edge(ramp - 0.5), "asphalt")
        sheet.lay(edge(far - width / 2 - rng.uniform(0.5, 1.5)), "verge")
    body = edge(far - width / 2)
    sheet.lay(body, str(rng.choice(["asphalt", "asphalt", "concrete"])))
    if wide:
        sheet.lay(0.8 * edge(far - 0.25), "verge")
    inside = body > 0.5
    sheet.claim(inside, "road")
    sheet.light[inside] = (0.05 * smooth(rng, size, 6))[inside]


def _roofs(sheet: Canvas, rng: np.random.Generator, alpha: Floats, ids: Ids, weights: dict[str, float]) -> None:
    """Roofs of several kinds, each lit by itself, with the shadow that they throw."""
    share = np.array(list(weights.values()))
    kind = rng.choice(len(weights), NUM_IDS, p=share / share.sum())[ids]
    for number, name in enumerate(weights):
        sheet.lay(np.asarray(alpha * (kind == number), np.float32), name)
    sheet.light[:] += alpha * (0.22 * rng.standard_normal(NUM_IDS, dtype=np.float32))[ids]
    sheet.echo[:] += alpha * (2.5 * rng.standard_normal(NUM_IDS, dtype=np.float32))[ids]
    sheet.cast(alpha, 0.45)
