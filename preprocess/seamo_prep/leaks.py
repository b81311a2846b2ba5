"""What two splits share: the same image, nearly the same image, and places (footprints that overlap).

Nothing compares all pairs, so half a million samples take minutes:

* The same image: checksums of the stored bytes, which the index has; only samples that agree in all of them are read.
* Nearly the same: a signature of 144 bits of every image (which cells of a 9 x 9 grid are brighter than their
  neighbours). Two signatures that differ in at most three bits agree in one of four quarters (pigeonhole), so
  candidates are neighbours in four sorted lists. Each candidate is then compared pixel by pixel.
* Footprints: boxes sorted from west to east within strips of latitude.

Copies that were shifted, turned, mirrored or cropped are not found by their pixels; by their place they are.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import LayerSpec
from seamo.sample import valid_pixels
from seamo.store.reader import Store

Severity = Literal["error", "warning", "note"]
Pairs = NDArray[np.int64]  # (P, 2)

MAX_BITS = 3
_MIN_CORRELATION = 0.9  # of what remains of two images when their coarse cells are taken out
_MIN_SHARE = 0.2  # neighbours on one UTM grid share up to a tenth, because their boxes in degrees are turned
_QUARTERS = 4
_LOOK_AHEAD = 256  # in each sorted list; more images than that with one quarter are nearly featureless
_CELLS = 9
_BYTES = 18  # 2 x 8 x 9 bits
_SHOWN = 20
_MAX_SIMILAR = 2_000_000  # pairs after which a quarter's list is left: the images have no features to go by
_MAX_CHECKED = 5000  # candidates that are compared pixel by pixel
_SAY_S = 5.0


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
    near = [one for one in near_duplicates(store, rows, splits, say=say) if (int(one[0]), int(one[1])) not in same]
    yield from _shown(store, "error", "nearly the same image", np.array(near, dtype=np.int64).reshape(-1, 2))


def _shown(store: Store, severity: Severity, what: str, pairs: Pairs) -> Iterator[tuple[Severity, str, str]]:
    if not len(pairs):
        return
    table = store.read_index(["key", "split"])
    keys, splits = table["key"], table["split"]
    for first, second in pairs[:_SHOWN]:
        where = f"{keys.iloc[first]} ({splits.iloc[first]}), {keys.iloc[second]} ({splits.iloc[second]})"
        yield severity, where, f"{what} in several splits" if severity == "error" else what
    if len(pairs) > _SHOWN:
        yield severity, "all pairs", f"{len(pairs):,} pairs: {what}"


def exact_duplicates(store: Store) -> Pairs:
    """Rows (first, other) of different splits that hold the same pixels in all layers, first < other."""
    layers = [layer for layer in store.spec.layers if layer.sensor != "map"]
    if not layers:
        return np.empty((0, 2), dtype=np.int64)
    columns = [f"{layer.id}.{what}" for layer in layers for what in ("length", "crc32c", "valid")]
    table = store.read_columns(["split", "readable", *columns]).combine_chunks()
    named = table.column("split").combine_chunks().dictionary_encode()
    splits = named.indices.to_numpy()
    outside = [code for code, name in enumerate(named.dictionary.to_pylist()) if name == ""]
    rows = np.flatnonzero(~np.isin(splits, outside) & table.column("readable").to_numpy())
    # Most images share not even the checksum of their first layer.
    rows = rows[_of_equals(table.column(f"{layers[0].id}.crc32c").to_numpy()[rows])]
    facts = np.stack([table.column(name).to_numpy()[rows].astype(np.int64) for name in columns])
    order = np.lexsort([fact for fact in facts if len(rows) and fact.min() != fact.max()] or facts)
    rows, facts = rows[order], facts[:, order]
    bounds = np.flatnonzero((facts[:, 1:] != facts[:, :-1]).any(axis=0)) + 1
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
    return _unique([pairs[pairs[:, 0] != pairs[:, 1]]], len(boxes))


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
    return _unique(found, len(boxes))


def _unique(found: list[Pairs], count: int) -> Pairs:
    """Pairs of `count` things as a sorted (P, 2), smaller one first, each once."""
    codes = [np.minimum(*pairs.T) * count + np.maximum(*pairs.T) for pairs in found if len(pairs)]
    unique = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *codes]))
    return np.stack(np.divmod(unique, count), axis=1)


def _box(value: object) -> tuple[float, float, float, float]:
    if not isinstance(value, dict):
        return (np.nan,) * 4
    return value["xmin"], value["ymin"], value["xmax"], value["ymax"]


def near_duplicates(
    store: Store, rows: NDArray[np.int64], splits: NDArray[np.int64], *, say: Callable[[str], None] = lambda _: None
) -> Pairs:
    """Pairs of rows in different splits whose images are the same but for noise, brightness or rounding.

    Args:
        store: An open store.
        rows: To look at.
        splits: Of every row of the store.
        say: Called with progress.
    """
    packed = np.zeros((len(rows), _BYTES), dtype=np.uint8)
    is_signed = np.zeros(len(rows), dtype=np.bool_)
    for i, bits in _signatures(store, rows, say):
        packed[i], is_signed[i] = bits, True
    kept, packed = rows[is_signed], packed[is_signed]
    pairs = similar(packed, splits[kept])
    if len(pairs) > _MAX_CHECKED:
        say(f"leaks: {len(pairs):,} pairs look alike, {_MAX_CHECKED:,} of them are compared")
        pairs = pairs[np.linspace(0, len(pairs) - 1, _MAX_CHECKED).astype(np.int64)]
    return np.array([kept[one] for one in pairs if _is_copy(store, *kept[one])], dtype=np.int64).reshape(-1, 2)


def _signatures(
    store: Store, rows: NDArray[np.int64], say: Callable[[str], None]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(position in `rows`, signature) of the images that have one."""
    layer = _seen_layer(store)
    begin = said = time.monotonic()
    for done, row in enumerate(rows):
        now = time.monotonic()
        if now - said > _SAY_S:
            rate = done / (now - begin)
            say(f"leaks: {done:,} of {len(rows):,} images, {rate:,.0f}/s, {(len(rows) - done) / rate:,.0f} s left")
            said = now
        if store.is_valid(int(row), layer.id):
            bits = signature(_grey(store, int(row), layer))
            if bits is not None:
                yield done, bits


def _seen_layer(store: Store) -> LayerSpec:
    """The finest optical layer; the finest one without any."""
    layers = [layer for layer in store.spec.layers if layer.sensor not in ("map", "s1")]
    layers = layers or [layer for layer in store.spec.layers if layer.sensor != "map"] or list(store.spec.layers)
    return min(layers, key=lambda layer: layer.gsd_m)


def _grey(store: Store, row: int, layer: LayerSpec) -> NDArray[np.float32]:
    """(H, W) mean of all bands at the first date; missing pixels 0."""
    pixels = store.read_layer(row, layer.id)[:1]
    valid = valid_pixels(pixels, layer)
    return np.asarray(np.where(valid, pixels, 0)[0].astype(np.float32).mean(axis=0))


def signature(grey: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """18 bytes of an image (H, W); None for an image of one value, or smaller than 9 x 9."""
    if min(grey.shape) < _CELLS or (grey == grey.flat[0]).all():
        return None
    grid = _cells(grey)
    bits = np.concatenate([(np.diff(grid, axis=axis) > 0).ravel() for axis in (0, 1)])
    # Dealt out, so that each quarter sees all of the image.
    return np.packbits(bits.reshape(-1, _QUARTERS).T.ravel())


def _cells(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """(9, 9) means."""
    rows, cols = (np.arange(_CELLS) * n // _CELLS for n in grey.shape)
    total = np.add.reduceat(np.add.reduceat(grey.astype(np.float64), rows, axis=0), cols, axis=1)
    return np.asarray(
        total / np.outer(*(np.diff([*starts, n]) for starts, n in zip((rows, cols), grey.shape, strict=True)))
    )


def similar(packed: NDArray[np.uint8], splits: NDArray[np.int64]) -> Pairs:
    """Pairs (positions) in different splits whose signatures differ in at most three bits.

    All of them, as long as no more than 256 signatures share a quarter and there are less than two million.

    Args:
        packed: (N, 18) from `signature`.
        splits: (N,).
    """
    bits = np.unpackbits(packed, axis=1).reshape(len(packed), _QUARTERS, 8 * packed.shape[1] // _QUARTERS)
    found: list[Pairs] = []
    total = 0
    for quarter in range(_QUARTERS):
        words = np.packbits(bits[:, quarter], axis=1).astype(np.uint64)
        value = words @ (np.uint64(256) ** np.arange(words.shape[1], dtype=np.uint64))
        order = np.argsort(value, kind="stable")
        for ahead in range(1, min(_LOOK_AHEAD, len(order) - 1) + 1):
            same = value[order[:-ahead]] == value[order[ahead:]]
            if not same.any():
                break
            first, second = order[:-ahead][same], order[ahead:][same]
            apart = splits[first] != splits[second]
            first, second = first[apart], second[apart]
            differing = np.bitwise_count(packed[first] ^ packed[second]).sum(axis=1)
            close = differing <= MAX_BITS
            found.append(np.stack([first[close], second[close]], axis=1))
            total += len(found[-1])
            if total > _MAX_SIMILAR:
                break
    return _unique(found, len(packed))


def _is_copy(store: Store, first: int, second: int) -> bool:
    """Whether fine detail agrees too: two calm seas look alike in coarse cells only."""
    layer = _seen_layer(store)
    images = [_grey(store, int(row), layer) for row in (first, second)]
    if images[0].shape != images[1].shape:
        return False
    one, other = (_detail(image) for image in images)
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return scale > 0 and float((one * other).sum()) / scale > _MIN_CORRELATION


def _detail(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    rows, cols = (np.arange(n) * _CELLS // n for n in grey.shape)
    rows, cols = np.minimum(rows, _CELLS - 1), np.minimum(cols, _CELLS - 1)
    sums = np.zeros((_CELLS, _CELLS))
    counts = np.zeros((_CELLS, _CELLS))
    where = np.ix_(rows, cols)
    np.add.at(sums, where, grey.astype(np.float64))
    np.add.at(counts, where, 1)
    return np.asarray(grey - (sums / np.maximum(counts, 1))[where])
