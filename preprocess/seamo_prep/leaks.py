"""What two splits share: places (footprints that overlap) and images (equal but for small changes).

Images are compared by a fingerprint of 128 bits: the mean of the first layer's first date over an 8 x 9 and a 9 x 8
grid, each cell brighter than its neighbour or not. At most 3 differing bits, and correlated grids (above 0.995), make
two images near duplicates. Copies that were shifted, turned or cropped are not found.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seamo.store.format import finest_layer
from seamo.store.reader import Store

Severity = Literal["error", "warning", "note"]
_MAX_BITS = 3
_MIN_CORRELATION = 0.995
_MIN_SHARE = 0.2  # neighbours on one UTM grid share up to a tenth, because their boxes in degrees are turned
_SHOWN = 20


def find_leaks(store: Store) -> Iterator[tuple[Severity, str, str]]:
    """(severity, where, what) of each pair found; after 20 of a kind, their number.

    Overlapping footprints are warnings, because many published splits have them (tiles of one scene with a margin);
    near-duplicate images are errors.
    """
    table = store.read_index(["key", "split", "readable", "bbox"])
    rows = np.flatnonzero((table["split"] != "").to_numpy() & table["readable"].to_numpy())
    keys, splits = [[str(one) for one in table[name]] for name in ("key", "split")]
    places = _overlaps(store, rows, np.array(splits))
    yield from _shown("warning", "footprints overlap", [(keys[a], splits[a], keys[b], splits[b]) for a, b in places])
    images = _near_duplicates(store, rows, np.array(splits))
    yield from _shown("error", "nearly the same image", [(keys[a], splits[a], keys[b], splits[b]) for a, b in images])


def _shown(
    severity: Severity, what: str, pairs: list[tuple[str, str, str, str]]
) -> Iterator[tuple[Severity, str, str]]:
    for first, split, second, other in pairs[:_SHOWN]:
        yield severity, f"{first} ({split}), {second} ({other})", what
    if len(pairs) > _SHOWN:
        yield severity, "all pairs", f"{len(pairs):,} pairs: {what}"


def _overlaps(store: Store, rows: NDArray[np.int64], splits: NDArray[np.str_]) -> list[tuple[int, int]]:
    """Pairs in different splits whose WGS84 boxes share more than a fifth of the smaller one's area."""
    boxes = [(row, *_box(value)) for row, value in zip(rows, store.read_index(["bbox"])["bbox"].iloc[rows], strict=True)
             if value is not None]  # fmt: skip
    boxes.sort(key=lambda one: one[1])
    found: list[tuple[int, int]] = []
    active: list[tuple[int, float, float, float, float]] = []  # a sweep from west to east
    for box in boxes:
        row, west, south, east, north = box
        active = [one for one in active if one[3] > west]
        for other in active:
            wide = min(east, other[3]) - max(west, other[1])
            high = min(north, other[4]) - max(south, other[2])
            smaller = min((east - west) * (north - south), (other[3] - other[1]) * (other[4] - other[2]))
            if wide > 0 and high > 0 and wide * high > _MIN_SHARE * smaller and splits[row] != splits[other[0]]:
                found.append((int(other[0]), int(row)))
        active.append(box)
    return found


def _box(value: object) -> tuple[float, float, float, float]:
    assert isinstance(value, dict)  # noqa: S101 - the index's own schema
    return value["xmin"], value["ymin"], value["xmax"], value["ymax"]


def _near_duplicates(store: Store, rows: NDArray[np.int64], splits: NDArray[np.str_]) -> list[tuple[int, int]]:
    layer = finest_layer(store.spec)
    kept = [int(row) for row in rows if store.is_valid(int(row), layer.id)]
    grids = np.array([_grid(store, row, layer.id) for row in kept])
    if len(kept) < 2:
        return []
    bits = np.concatenate([(np.diff(grids, axis=axis) > 0).reshape(len(kept), -1) for axis in (1, 2)], axis=1)
    packed = np.packbits(bits, axis=1)
    flat = grids.reshape(len(kept), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    found = []
    for i, row in enumerate(kept[:-1]):
        others = np.arange(i + 1, len(kept))
        differing = np.bitwise_count(packed[i + 1 :] ^ packed[i]).sum(axis=1)
        near = [int(j) for j in others[differing <= _MAX_BITS] if float(flat[i] @ flat[j]) > _MIN_CORRELATION]
        found += [(row, kept[j]) for j in near if splits[row] != splits[kept[j]]]
    return found


def _grid(store: Store, row: int, layer: str) -> NDArray[np.float64]:
    """(9, 9) means of all bands of the first date."""
    pixels = np.nan_to_num(store.read_layer(row, layer)[0].astype(np.float64).mean(axis=0))
    rows = np.array_split(np.arange(pixels.shape[0]), 9)
    cols = np.array_split(np.arange(pixels.shape[1]), 9)
    return np.array([[pixels[np.ix_(r, c)].mean() if len(r) and len(c) else 0.0 for c in cols] for r in rows])
