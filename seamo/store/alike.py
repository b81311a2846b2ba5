"""Images that are nearly the same, found without comparing all pairs: half a million take minutes.

A signature of 144 bits of every image says which cells of a 9 x 9 grid are brighter than their neighbours. Two
signatures that differ in at most three bits agree in one of four quarters (pigeonhole), so candidates are neighbours in
four sorted lists. Each candidate is then compared pixel by pixel. Only pairs of different groups are looked for: the
splits of a store, for example, or its labels. Copies that were shifted, turned, mirrored or cropped are not found.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import LayerSpec
from seamo.sample import valid_pixels
from seamo.store.samples import Samples

Pairs = NDArray[np.int64]  # (P, 2)

MAX_BITS = 3
_MIN_CORRELATION = 0.9  # of what remains of two images when their coarse cells are taken out
_QUARTERS = 4
_LOOK_AHEAD = 256  # in each sorted list; more images than that with one quarter are nearly featureless
_CELLS = 9
_BYTES = 18  # 2 x 8 x 9 bits
_MAX_SIMILAR = 2_000_000  # pairs after which a quarter's list is left: the images have no features to go by
_MAX_CHECKED = 5000  # candidates that are compared pixel by pixel
_SAY_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """Pairs that look alike.

    Args:
        pairs: (P, 2) rows.
        is_cut: Whether some were not looked at, so that there may be more.
    """

    pairs: Pairs
    is_cut: bool


def near_duplicates(
    store: Samples, rows: NDArray[np.int64], groups: NDArray[np.int64], *, say: Callable[[str], None] = lambda _: None
) -> NearPairs:
    """Pairs of rows in different groups whose images are the same but for noise, brightness or rounding.

    Args:
        store: An open store.
        rows: (N,), to look at.
        groups: (rows of the store,) number of the group of each: its split, its label.
        say: Called with progress.
    """
    packed = np.zeros((len(rows), _BYTES), dtype=np.uint8)
    is_signed = np.zeros(len(rows), dtype=np.bool_)
    for i, bits in _signatures(store, rows, say):
        packed[i], is_signed[i] = bits, True
    kept, packed = rows[is_signed], packed[is_signed]
    found = similar(packed, groups[kept])
    pairs, is_cut = found.pairs, found.is_cut
    if len(pairs) > _MAX_CHECKED:
        say(f"{len(pairs):,} pairs look alike, {_MAX_CHECKED:,} of them are compared")
        pairs, is_cut = pairs[np.linspace(0, len(pairs) - 1, _MAX_CHECKED).astype(np.int64)], True
    copies = np.array([kept[one] for one in pairs if is_copy(store, *kept[one])], dtype=np.int64).reshape(-1, 2)
    return NearPairs(copies, is_cut)


def _signatures(
    store: Samples, rows: NDArray[np.int64], say: Callable[[str], None]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(position in `rows`, signature) of the images that have one."""
    layer = _seen_layer(store)
    begin = said = time.monotonic()
    for done, row in enumerate(rows):
        now = time.monotonic()
        if now - said > _SAY_S:
            rate = done / (now - begin)
            say(f"{done:,} of {len(rows):,} images, {rate:,.0f}/s, {(len(rows) - done) / rate:,.0f} s left")
            said = now
        if store.is_valid(int(row), layer.id):
            bits = signature(_grey(store, int(row), layer))
            if bits is not None:
                yield done, bits


def _seen_layer(store: Samples) -> LayerSpec:
    """The finest optical layer; the finest one without any."""
    layers = [layer for layer in store.spec.layers if layer.sensor not in ("map", "s1")]
    layers = layers or [layer for layer in store.spec.layers if layer.sensor != "map"] or list(store.spec.layers)
    return min(layers, key=lambda layer: layer.gsd_m)


def _grey(store: Samples, row: int, layer: LayerSpec) -> NDArray[np.float32]:
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


def similar(packed: NDArray[np.uint8], groups: NDArray[np.int64]) -> NearPairs:
    """Pairs (positions) in different groups whose signatures differ in at most three bits.

    All of them, as long as no more than 256 signatures share a quarter and there are less than two million; else the
    result says that it is cut.

    Args:
        packed: (N, 18) from `signature`.
        groups: (N,).
    """
    bits = np.unpackbits(packed, axis=1).reshape(len(packed), _QUARTERS, 8 * packed.shape[1] // _QUARTERS)
    found: list[Pairs] = []
    total, is_cut = 0, False
    for quarter in range(_QUARTERS):
        words = np.packbits(bits[:, quarter], axis=1).astype(np.uint64)
        value = words @ (np.uint64(256) ** np.arange(words.shape[1], dtype=np.uint64))
        order = np.argsort(value, kind="stable")
        for ahead in range(1, min(_LOOK_AHEAD, len(order) - 1) + 1):
            same = value[order[:-ahead]] == value[order[ahead:]]
            if not same.any():
                break
            first, second = order[:-ahead][same], order[ahead:][same]
            apart = groups[first] != groups[second]
            first, second = first[apart], second[apart]
            differing = np.bitwise_count(packed[first] ^ packed[second]).sum(axis=1)
            close = differing <= MAX_BITS
            found.append(np.stack([first[close], second[close]], axis=1))
            total += len(found[-1])
            if total > _MAX_SIMILAR:
                is_cut = True
                break
        beyond = _LOOK_AHEAD + 1
        is_cut |= bool((value[order[:-beyond]] == value[order[beyond:]]).any())  # more of one quarter than looked at
    return NearPairs(unique_pairs(found, len(packed)), is_cut)


def is_copy(store: Samples, first: int, second: int) -> bool:
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


def unique_pairs(found: list[Pairs], count: int) -> Pairs:
    """Pairs of `count` things as a sorted (P, 2), smaller one first, each once."""
    codes = [np.minimum(*pairs.T) * count + np.maximum(*pairs.T) for pairs in found if len(pairs)]
    unique = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *codes]))
    return np.stack(np.divmod(unique, count), axis=1)
