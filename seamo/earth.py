"""Places on the earth, which is a sphere here: blocks of about equal area, and distances to what is nearest. Numpy."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
RADIUS_KM = 6371.0088  # mean radius of WGS84 (Moritz 2000, "Geodetic Reference System 1980", Journal of Geodesy 74)
_CELLS_KM = (1.0, 2.0, 4.0, 8.0, 16.0)  # sides of cells, in the order in which they are searched
_PAIRS = 2_000_000  # distances held at once (about 100 MB)


def blocks_of(places: Floats, side_km: float) -> NDArray[np.int64]:
    """The block of each place: rows of one height in latitude, cut in longitude so that blocks are about square.

    A row is as high as the next whole part of half the circumference; it is cut into as many equal parts as blocks of
    that side fit into the parallel in its middle. So blocks have about the same area everywhere but at the poles.

    Args:
        places: (N, 2) longitude and latitude in degrees.
        side_km: Side of a block, in km.

    Returns:
        (N, 2) row from the south and column from longitude -180; -1 and -1 where a place is unknown.

    Example:
        >>> blocks_of(np.array([[11.57, 48.14], [11.60, 48.15], [12.60, 48.15]]), 20).tolist()
        [[768, 709], [768, 709], [768, 713]]
    """
    found = np.full((len(places), 2), -1, dtype=np.int64)
    there = np.isfinite(places).all(axis=1)
    longitude, latitude = np.asarray(places, dtype=np.float64)[there].T
    rows = max(1, round(math.pi * RADIUS_KM / side_km))
    row = np.clip(np.floor((latitude + 90) / 180 * rows), 0, rows - 1)
    middle = np.radians((row + 0.5) * 180 / rows - 90)
    columns = np.maximum(1, np.round(2 * math.pi * RADIUS_KM * np.cos(middle) / side_km))
    found[there, 0] = row
    found[there, 1] = np.minimum(np.floor((longitude + 180) % 360 / 360 * columns), columns - 1)
    return found


def nearest_km(places: Floats, others: Floats, *, within: float = math.inf) -> Floats:
    """Great-circle distance from each place to the nearest of others.

    Exact: cells in space are searched with those around them, and a distance counts if it is no longer than a side.
    What has nothing within the largest cells is held against all others.

    Args:
        places: (N, 2) longitude and latitude in degrees.
        others: (M, 2) likewise; unknown ones are passed over.
        within: Longer distances are not looked for, in km.

    Returns:
        (N,) km; infinite where there is none (within so many km), NaN where a place is unknown.

    Example:
        >>> nearest_km(np.array([[0.0, 0.0]]), np.array([[0.0, 90.0], [1.0, 0.0]])).round(2).tolist()
        [111.2]
    """
    known = np.isfinite(places).all(axis=1)
    points, targets = _points(places[known]), _points(others[np.isfinite(others).all(axis=1)])
    farthest = _chord(min(within, math.pi * RADIUS_KM))
    squared = np.full(len(points), np.inf)
    left = np.arange(len(points) if len(targets) and within > 0 else 0)
    for side in _CELLS_KM:
        if not len(left):
            break
        squared[left] = _around(points[left], targets, min(side, farthest))
        left = left[squared[left] > side**2] if side < farthest else left[:0]
    squared[left] = _of_all(points[left], targets)
    found = np.full(len(places), np.nan)
    arcs = 2 * RADIUS_KM * np.arcsin(np.minimum(np.sqrt(np.where(np.isinf(squared), 0, squared)) / 2 / RADIUS_KM, 1))
    found[known] = np.where(np.isinf(squared) | (arcs > within), np.inf, arcs)
    return found


def _points(places: Floats) -> Floats:
    """(N, 3) km from the centre of the earth."""
    longitude, latitude = np.radians(np.asarray(places, dtype=np.float64)).T
    flat = np.cos(latitude)
    return RADIUS_KM * np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)


def _chord(arc_km: float) -> float:
    """Straight through the earth, between places so far apart on it; a hair longer, for what rounding does."""
    return 2 * RADIUS_KM * math.sin(arc_km / 2 / RADIUS_KM) * (1 + 1e-9)


def _around(points: Floats, targets: Floats, side: float) -> Floats:
    """(N,) smallest squared distance to what lies in a point's cell and the 26 around it; infinite where nothing is."""
    many = int(2 * RADIUS_KM / side) + 4  # cells along an axis, with room around
    cells, own = (np.floor((one + RADIUS_KM) / side).astype(np.int64) + 1 for one in (targets, points))
    codes = (cells[:, 0] * many + cells[:, 1]) * many + cells[:, 2]
    order = np.argsort(codes, kind="stable")
    codes, targets = codes[order], targets[order]
    best = np.full(len(points), np.inf)
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):  # three cells along the last axis stand one after another
            middle = ((own[:, 0] + right) * many + own[:, 1] + down) * many + own[:, 2]
            first, last = np.searchsorted(codes, middle - 1, "left"), np.searchsorted(codes, middle + 1, "right")
            _lower(best, points, targets, first, last)
    return best


def _lower(best: Floats, points: Floats, targets: Floats, first: NDArray[Any], last: NDArray[Any]) -> None:
    """Lower each point's best to the nearest of its run of targets, so many pairs at a time."""
    rows = np.flatnonzero(last > first)
    ends = np.cumsum((last - first)[rows])
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS, "right")))
        some = rows[start:stop]
        counts = (last - first)[some]
        begins = np.cumsum(counts) - counts
        which = np.arange(counts.sum()) - np.repeat(begins - first[some], counts)
        squared = ((np.repeat(points[some], counts, axis=0) - targets[which]) ** 2).sum(axis=1)
        best[some] = np.minimum(best[some], np.minimum.reduceat(squared, begins))
        start = stop


def _of_all(points: Floats, targets: Floats) -> Floats:
    """(N,) smallest squared distance. Which target it is by products, which round to less than a metre so far away."""
    nearest = np.empty(len(points), dtype=np.int64)
    step = max(1, _PAIRS // max(1, len(targets)))
    for start in range(0, len(points), step):  # all have the same length: the nearest has the largest product
        nearest[start : start + step] = (points[start : start + step] @ targets.T).argmax(axis=1)
    return np.asarray(((points - targets[nearest]) ** 2).sum(axis=1)) if len(points) else np.empty(0)
