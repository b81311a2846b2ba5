"""What two splits share: the same image, nearly the same image, and places (footprints that overlap).

Nothing compares all pairs, so half a million samples take minutes:

* The same image: checksums of the stored bytes, which the index has; only samples that agree in all of them are read.
* Nearly the same: `seamo.store.alike`.
* Footprints: boxes sorted from west to east within strips of latitude.

Copies that were shifted, turned, mirrored or cropped are not found by their pixels; by their place they are.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import LayerSpec
from seamo.store.alike import Pairs, near_duplicates, unique_pairs
from seamo.store.reader import Store

Severity = Literal["error", "warning", "note"]
_MIN_SHARE = 0.2  # neighbours on one UTM grid share up to a tenth, because their boxes in degrees are turned
_SHOWN = 20


def same_images(store: Store) -> Iterator[tuple[Severity, str, str]]:
    """(severity, where, what) of images that stand in several splits with the same pixels."""
    found = exact_duplicates(store)
    yield from _shown(store, "error", "the same image", found)


def find_leaks(store: Store, say: Callable[[str], None] = lambda _: None) -> Iterator[tuple[Severity, str, str]]:
    """(severity, where, what) of each pair found; after 20 of a kind, their number.

    Overlapping footprints are warnings, because many published splits have them (tiles of one scene with a margin);
    near-duplicate images are errors.

    Args:
        store: An open store.
        say: Called with progress.
    """
    table = store.read_index(["split", "readable", "bbox"])
    rows = np.flatnonzero((table["split"] != "").to_numpy() & table["readable"].to_numpy())
    splits = np.unique(table["split"].to_numpy(dtype=str), return_inverse=True)[1]
    boxes = np.array([_box(one) for one in table["bbox"].iloc[rows]]).reshape(-1, 4)
    is_there = ~np.isnan(boxes[:, 0])
    places = rows[is_there][overlaps(boxes[is_there], splits[rows[is_there]])]
    yield from _shown(store, "warning", "footprints overlap", places)
    same = {(int(a), int(b)) for a, b in exact_duplicates(store)}
    found = near_duplicates(store, rows, splits, say=lambda line: say(f"leaks: {line}"))
    near = [one for one in found.pairs if (int(one[0]), int(one[1])) not in same]
    pairs = np.array(near, dtype=np.int64).reshape(-1, 2)
    yield from _shown(store, "error", "nearly the same image", pairs, least="at least " if found.is_cut else "")


def _shown(
    store: Store, severity: Severity, what: str, pairs: Pairs, *, least: str = ""
) -> Iterator[tuple[Severity, str, str]]:
    if not len(pairs):
        return
    table = store.read_index(["key", "split"])
    keys, splits = table["key"], table["split"]
    for first, second in pairs[:_SHOWN]:
        where = f"{keys.iloc[first]} ({splits.iloc[first]}), {keys.iloc[second]} ({splits.iloc[second]})"
        yield severity, where, f"{what} in several splits" if severity == "error" else what
    if len(pairs) > _SHOWN:
        yield severity, "all pairs", f"{least}{len(pairs):,} pairs: {what}"


def exact_duplicates(store: Store) -> Pairs:
    """Rows (first, other) of different splits that hold the same pixels in all layers, first < other."""
    layers = [layer for layer in store.spec.layers if layer.sensor != "map"]
    if not layers:
        return np.empty((0, 2), dtype=np.int64)
    columns = [f"{layer.id}.{what}" for layer in layers for what in ("length", "crc32c", "valid")]
    splits, names = store.read_codes("split")
    table = store.read_columns(["readable", *columns]).combine_chunks()
    outside = [-1, *(code for code, name in enumerate(names) if name == "")]
    rows = np.flatnonzero(~np.isin(splits, outside) & table.column("readable").to_numpy())
    # Most images share not even the checksum of their first layer.
    rows = rows[_of_equals(_at(table.column(f"{layers[0].id}.crc32c").to_numpy(), rows))]
    facts = [_at(table.column(name).to_numpy(), rows) for name in columns]
    facts = [fact for fact in facts if len(rows) and fact.min() != fact.max()] or facts[:1]  # others tell none apart
    order = np.lexsort(facts)
    rows, is_next = rows[order], np.zeros(max(len(rows) - 1, 0), dtype=np.bool_)
    for fact in facts:
        ordered = fact[order]
        is_next |= ordered[1:] != ordered[:-1]
    bounds = np.flatnonzero(is_next) + 1
    found: list[tuple[int, int]] = []
    for group in np.split(rows, bounds):
        if len(group) < 2 or splits[group].min() == splits[group].max():
            continue
        first = int(group.min())
        image = _pixels(store, first, layers)
        if image is None:  # nothing there, or one value everywhere: no image
            continue
        for other in sorted(int(one) for one in group if splits[one] != splits[first]):
            theirs = _pixels(store, other, layers)
            if theirs is not None and all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(image, theirs, strict=True)
            ):
                found.append((first, other))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _at(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Numbers of rows, ascending; no copy where these are all."""
    found = values if len(rows) == len(values) else values[rows]
    return found.astype(np.int64) if found.dtype.kind == "f" else found  # Arrow's, where one of them is null


def _of_equals(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions, ascending, of values that stand more than once."""
    order = np.argsort(values, kind="stable")
    is_alike = np.zeros(len(values), dtype=np.bool_)
    equal = values[order[1:]] == values[order[:-1]]
    is_alike[order[1:]] |= equal
    is_alike[order[:-1]] |= equal
    return np.flatnonzero(is_alike)


def _pixels(store: Store, row: int, layers: list[LayerSpec]) -> list[NDArray[Any]] | None:
    images = [store.read_layer(row, layer.id) for layer in layers if store.is_valid(row, layer.id)]
    return images if any((image != image.flat[0]).any() for image in images) else None


def overlaps(boxes: NDArray[np.float64], splits: NDArray[np.int64]) -> Pairs:
    """Pairs of boxes in different splits that share more than a fifth of the smaller one's area.

    Args:
        boxes: (N, 4) xmin, ymin, xmax, ymax in degrees; xmin > xmax across the antimeridian.
        splits: (N,).

    Returns:
        (P, 2), first < second, sorted.
    """
    # Around the globe once (a pole is inside): what such a box covers says nothing about what the image covers.
    rows = np.flatnonzero(boxes[:, 2] - boxes[:, 0] < 360)
    if len(rows) < 2:
        return np.empty((0, 2), dtype=np.int64)
    crosses = boxes[rows, 0] > boxes[rows, 2]
    if not crosses.any():
        pairs = _overlaps(boxes[rows], splits[rows])
        return np.asarray(rows[pairs])
    # Across the antimeridian: east of it, longitudes go on beyond 180, for all boxes that lie as far as these reach.
    moved = boxes[rows].copy()
    moved[crosses, 2] += 360
    again = np.flatnonzero(~crosses & (moved[:, 0] + 360 < moved[crosses, 2].max()))
    shifted = moved[again] + (360, 0, 360, 0)
    which = np.concatenate([rows, rows[again]])
    pairs = which[_overlaps(np.concatenate([moved, shifted]), splits[which])]
    return unique_pairs([pairs[pairs[:, 0] != pairs[:, 1]]], len(boxes))


def _overlaps(boxes: NDArray[np.float64], splits: NDArray[np.int64]) -> Pairs:
    """`overlaps` of boxes none of which crosses the antimeridian."""
    xmin, ymin, xmax, ymax = boxes.T
    height = max(2 * float(np.median(ymax - ymin)), 1e-9)
    lowest, highest = np.floor(ymin / height).astype(np.int64), np.floor(ymax / height).astype(np.int64)
    repeats = highest - lowest + 1  # a box goes into every strip that it touches
    box = np.repeat(np.arange(len(boxes)), repeats)
    strip = np.repeat(lowest, repeats) + np.arange(len(box)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    order = np.lexsort((xmin[box], strip))
    box, strip = box[order], strip[order]
    found = []
    for ahead in range(1, len(box)):  # until no box reaches that far east any more
        first, second = box[:-ahead], box[ahead:]
        reached = (strip[:-ahead] == strip[ahead:]) & (xmin[second] < xmax[first])
        if not reached.any():
            break
        first, second = first[reached], second[reached]
        wide = np.minimum(xmax[first], xmax[second]) - np.maximum(xmin[first], xmin[second])
        high = np.minimum(ymax[first], ymax[second]) - np.maximum(ymin[first], ymin[second])
        areas = [(xmax[one] - xmin[one]) * (ymax[one] - ymin[one]) for one in (first, second)]
        is_shared = (wide > 0) & (high > 0) & (wide * high > _MIN_SHARE * np.minimum(*areas))
        is_shared &= splits[first] != splits[second]
        found.append(np.stack([first[is_shared], second[is_shared]], axis=1))
    return unique_pairs(found, len(boxes))


def _box(value: object) -> tuple[float, float, float, float]:
    if not isinstance(value, dict):
        return (np.nan,) * 4
    return value["xmin"], value["ymin"], value["xmax"], value["ymax"]
