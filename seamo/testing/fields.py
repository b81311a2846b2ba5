"""Random fields of the synthetic world: smooth noise, parcels, textures of land covers, clouds. Nothing is measured."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seamo.testing.covers import COVERS, Floats


def textures(rng: np.random.Generator, along: Floats, across: Floats, parcel: NDArray[np.intp]) -> Floats:
    """Standardised detail for every cover, (covers, H, W): equal spread, different arrangement."""
    size = len(along)
    white = rng.standard_normal((size, size), dtype=np.float32)
    tones = rng.standard_normal(4096, dtype=np.float32)
    fine, coarse = smooth(rng, size, 3), smooth(rng, size, 8)
    rows = np.sqrt(2) * np.cos(2 * np.pi * across / rng.uniform(2.6, 3.8) + coarse)
    large = tones[blocks(along, across, rng.uniform(10, 15), rng.uniform(8, 12))]
    small = tones[blocks(along, across, rng.uniform(3, 4.5), rng.uniform(2.5, 4))]
    kinds = {
        "annual-crop": tones[parcel],
        "permanent-crop": rows,
        "pasture": coarse,
        "herbaceous": fine,
        "broad-leaved-forest": 0.8 * fine + 0.6 * white,
        "coniferous-forest": 0.3 * fine + 0.95 * white,
        "river": coarse,
        "sea": 0.7 * np.cos(2 * np.pi * along / 9 + 2 * coarse) + 0.7 * white,
        "residential": small,
        "industrial": large,
        "road": white,
        "wetland": 0.7 * coarse + 0.7 * fine,
        "bare": 0.9 * coarse + 0.4 * white,
        "shrub": white,
    }
    return np.stack([kinds[name] for name in COVERS]).astype(np.float32)


def blocks(along: Floats, across: Floats, length: float, width: float) -> NDArray[np.intp]:
    """Number (0 to 4095) of the rectangle, in rows shifted like bricks, that a pixel lies in."""
    line = np.floor(across / width).astype(np.intp)
    cell = np.floor(along / length + 0.37 * line).astype(np.intp)
    return np.asarray((line * 73 + cell * 31) % 4096)


def cloud_cover(rng: np.random.Generator, size: int) -> tuple[Floats | None, Floats | None]:
    """Opacity of clouds and depth of their shadows, (size, size); none on most dates."""
    partly, amount = rng.random() < 0.3, rng.uniform(0.02, 0.4)
    drift = 12
    if not partly:
        return None, None
    field = smooth(rng, size + drift, 26) + 0.4 * smooth(rng, size + drift, 7)
    edge = np.quantile(field[drift:, drift:], 1 - amount)
    opacity = np.clip((field - edge) / 0.5, 0, 1).astype(np.float32)
    return opacity[drift:, drift:], opacity[:-drift, :-drift]  # the sun stands in the north-west of this world


def smooth(rng: np.random.Generator, size: int, cell: int) -> Floats:
    """Standard normal noise that is correlated over about `cell` pixels, (size, size)."""
    weights = _spline(size, cell)
    grid = rng.standard_normal((weights.shape[1],) * 2, dtype=np.float32)
    return np.asarray(weights @ grid @ weights.T)


@lru_cache(maxsize=64)
def _spline(size: int, cell: int) -> Floats:
    """Cubic B-spline weights from a grid of nodes `cell` pixels apart to pixels; rows have unit norm."""
    where = (np.arange(size) + 0.5) / cell + 1
    away = np.abs(where[:, None] - np.arange(int(where[-1]) + 3)[None, :])
    near, far = 2 / 3 - away**2 + away**3 / 2, (2 - away) ** 3 / 6
    weights = np.where(away < 1, near, np.where(away < 2, far, 0))
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)


def block_mean(values: Floats, step: int) -> Floats:
    """Mean over blocks of step x step pixels of (H, W, C)."""
    if step == 1:
        return values
    height, width, channels = values.shape
    return np.asarray(values.reshape(height // step, step, width // step, step, channels).mean(axis=(1, 3)))


def spread(values: Floats, share: float) -> Floats:
    """(H, W, C) seen through a point spread: each neighbour along an axis receives `share` of a pixel's light."""
    if share == 0:
        return values
    values = _spread_down(values, share)
    return np.swapaxes(_spread_down(np.swapaxes(values, 0, 1), share), 0, 1)


def _spread_down(values: Floats, share: float) -> Floats:
    """Along the first axis; beyond an edge lies what lies at it."""
    near = np.empty_like(values)
    np.add(values[:-2], values[2:], out=near[1:-1])
    np.add(values[0], values[1], out=near[0])
    np.add(values[-2], values[-1], out=near[-1])
    near *= share
    near += (1 - 2 * share) * values
    return near


def strided_mean(values: Floats, step: int) -> Floats:
    """What `block_mean` says, to the last bits, in a quarter of its time; the plain form keeps the other's bits."""
    if step == 6:
        return strided_mean(strided_mean(values, 2), 3)
    total = np.zeros((values.shape[0] // step, values.shape[1] // step, values.shape[2]), np.float32)
    for down in range(step):
        for right in range(step):
            total += values[down::step, right::step]
    return np.asarray(total / np.float32(step * step))
