"""Which footprints share area with others, exactly, for hundreds of thousands of them. Numpy only.

Two footprints touch if they share area: a common edge or corner is none, nor is an overlap less than `DEPTH` deep,
which rounding alone makes of a common edge. Their boxes must overlap, and, as a footprint is convex, no line along one
of their edges may part them (separating axes: Gottschalk, Lin and Manocha 1996, "OBBTree", SIGGRAPH).

Candidates come from grids. A footprint belongs to the level whose cells are at least as large as it is, so that it
lies in at most four of them; two levels are compared in the cells of the larger one. So one footprint as large as a
country among small ones costs no more than another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.store.placelist import Footprints
from seamo_bench.predictions import Floats, Ints

DEPTH = 1e-7  # degrees: a centimetre
_SMALLEST = -20  # level of the smallest cells, 2^-20 degrees
_BLOCK = 2_000_000  # pairs looked at in one step
_ROW = 1 << 32  # more than there are cells around the globe


def touching(tested: Footprints, seen: Footprints, *, days: int | None = None) -> Ints:
    """For each tested footprint one of those that were seen which shares area with it.

    Args:
        tested: N footprints.
        seen: Those that they may lie on.
        days: Only those whose days are at most that many apart; a footprint without a day is judged by its place
            alone. None: days do not count.

    Returns:
        (N,) positions in `seen`, -1 where none shares area.
    """
    found = np.full(len(tested), -1, dtype=np.int64)
    if not len(tested) or not len(seen):
        return found
    mine, theirs = _unrolled(tested), _unrolled(seen)
    levels, other_levels = _levels(mine.boxes), _levels(theirs.boxes)
    for level in np.unique(other_levels):
        there = np.flatnonzero(other_levels == level)
        for own in np.unique(levels):
            here = np.flatnonzero((levels == own) & (found[mine.owners] < 0))
            size = 2.0 ** max(own, level)
            for a, b in _candidates(mine.boxes[here], theirs.boxes[there], size, found, mine.owners[here]):
                first, second = here[a], there[b]
                hit = _share_area(mine, first, theirs, second)
                first, second = first[hit], second[hit]
                if days is not None:
                    near = _near(tested, mine.owners[first], seen, theirs.owners[second], days)
                    first, second = first[near], second[near]
                found[mine.owners[first]] = theirs.owners[second]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Shapes:
    """(M, 4, 2) corners, (M, 4) boxes, whether each is its box, and (M,) which footprint it is."""

    corners: Floats
    boxes: Floats
    is_box: NDArray[np.bool_]
    owners: Ints


def _unrolled(known: Footprints) -> _Shapes:
    """All begin within -180..180; those that reach beyond stand twice, 360 degrees apart."""
    turns = np.floor((known.corners[..., 0].min(axis=1) + 180) / 360)
    corners = known.corners - turns[:, None, None] * np.array([360.0, 0.0])
    beyond = np.flatnonzero(corners[..., 0].max(axis=1) > 180)
    corners = np.concatenate([corners, corners[beyond] - np.array([360.0, 0.0])])
    low, high = corners.min(axis=1), corners.max(axis=1)
    on_edge = ((corners == low[:, None]) | (corners == high[:, None])).all(axis=(1, 2))
    owners = np.concatenate([np.arange(len(known)), beyond])
    return _Shapes(corners, np.concatenate([low, high], axis=1), on_edge, owners)


def _levels(boxes: Floats) -> Ints:
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    return np.asarray(np.maximum(_SMALLEST, np.ceil(np.log2(np.maximum(sizes, 2.0**_SMALLEST)))).astype(np.int64))


def _cells(boxes: Floats, size: float) -> tuple[Ints, Ints]:
    """Numbers of the cells that each box lies in, sorted, and whose they are."""
    ends = np.floor(boxes / size).astype(np.int64)
    numbers, whose = [], []
    for right in (0, 1):
        for up in (0, 1):
            there = np.flatnonzero((ends[:, 0] + right <= ends[:, 2]) & (ends[:, 1] + up <= ends[:, 3]))
            numbers.append((ends[there, 0] + right) * _ROW + ends[there, 1] + up)
            whose.append(there)
    cells, of = np.concatenate(numbers), np.concatenate(whose)
    order = np.argsort(cells, kind="stable")
    return cells[order], of[order]


def _candidates(mine: Floats, theirs: Floats, size: float, found: Ints, owners: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Positions of pairs in one cell: one for every footprint, then two, four, ...; none for one that is found."""
    cells, of = _cells(mine, size)
    others, whose = _cells(theirs, size)
    at, ends = np.searchsorted(others, cells, "left"), np.searchsorted(others, cells, "right")
    step = 1
    while len(left := np.flatnonzero((at < ends) & (found[owners[of]] < 0))):
        for start in range(0, len(left), max(1, _BLOCK // step)):
            chosen = left[start : start + max(1, _BLOCK // step)]
            counts = np.minimum(step, ends[chosen] - at[chosen])
            begins = np.repeat(at[chosen] - (np.cumsum(counts) - counts), counts)
            yield np.repeat(of[chosen], counts), whose[begins + np.arange(counts.sum())]
            at[chosen] += counts
        step = min(2 * step, _BLOCK)


def _share_area(mine: _Shapes, first: Ints, theirs: _Shapes, second: Ints) -> NDArray[np.bool_]:
    """(P,) whether the footprints of each pair overlap by more than `DEPTH` along every axis that could part them."""
    a, b = mine.boxes[first], theirs.boxes[second]
    share = np.asarray((np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) > DEPTH).all(axis=1))
    turned = np.flatnonzero(share & ~(mine.is_box[first] & theirs.is_box[second]))
    share[turned] = ~_parted(mine.corners[first[turned]], theirs.corners[second[turned]])
    return share


def _parted(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """(P,) whether a line along an edge of one of two convex footprints (P, 4, 2) parts them."""
    # Offsets from a corner: of numbers of the size of a footprint, the last digits are worth less than `DEPTH`.
    origin = a[:, :1]
    one, other = a - origin, b - origin
    apart = np.zeros(len(a), dtype=bool)
    for shape in (one, other):
        edges = np.roll(shape, -1, axis=1) - shape
        for k in range(4):
            length = np.hypot(edges[:, k, 0], edges[:, k, 1])
            across = np.stack([-edges[:, k, 1], edges[:, k, 0]], axis=1) / np.where(length > 0, length, 1)[:, None]
            x, y = (np.einsum("pcx,px->pc", points, across) for points in (one, other))
            shared = np.minimum(x.max(axis=1), y.max(axis=1)) - np.maximum(x.min(axis=1), y.min(axis=1))
            apart |= (length > 0) & (shared <= DEPTH)
    return apart


def _near(tested: Footprints, mine: Ints, seen: Footprints, theirs: Ints, days: int) -> NDArray[np.bool_]:
    """(P,) whether the days of each pair are near, or not known."""
    begins = np.maximum(tested.begin[mine], seen.begin[theirs])  # NaT if either is
    ends = np.minimum(tested.end[mine], seen.end[theirs])
    return np.asarray(np.isnat(begins) | np.isnat(ends) | (begins - ends <= np.timedelta64(days, "D")))
