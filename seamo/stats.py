"""Per-band statistics: one streaming definition of mean, standard deviation and percentiles.

Valid pixels only, float64, population standard deviation. Moments are kept for every sample and merged in row
order, so the result does not depend on who computed them. Percentiles come from histograms of 65,536 bins: exact
for 8- and 16-bit integers, in steps of 0.01 for floats (decibels) between -327.68 and 327.67.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.manifest import LayerSpec
from seamo.native import statistics
from seamo.sample import valid_pixels

NUM_BINS = 65536
FLOAT_STEP = 0.01
_FLOAT_START = -327.68
PERCENTILES = (1.0, 2.0, 10.0, 25.0, 50.0, 75.0, 90.0, 98.0, 99.0)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of a number of bands; every array is (C,) for one piece, or (N, C) for N pieces.

    Args:
        count: Valid pixels.
        mean: Their mean, 0 where there is none.
        m2: Sum of squared differences from `mean`.
        low, high: Smallest and largest value; +inf and -inf where there is none.
    """

    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation, NaN where there is no pixel."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(self.m2 / self.count))


def new_histogram(num_bands: int) -> NDArray[np.int64]:
    """An empty histogram of every band, (num_bands, 65536)."""
    return np.zeros((num_bands, NUM_BINS), dtype=np.int64)


def observe(pixels: NDArray[Any], valid: NDArray[np.bool_], counts: NDArray[np.int64]) -> Moments:
    """Moments of every band of one image, which is also added to a histogram.

    Args:
        pixels: (T, C, H, W) of dtype uint8, uint16, int16 or float32.
        valid: The same shape; what counts.
        counts: (C, 65536), changed in place.

    Raises:
        UsageError: For another dtype.

    Example:
        >>> pixels = np.array([[[[1, 2], [3, 65535]]]], dtype=np.uint16)
        >>> counts = new_histogram(1)
        >>> moments = observe(pixels, pixels != 65535, counts)
        >>> moments.count.tolist(), moments.mean.tolist(), moments.high.tolist()
        ([3], [2.0], [3.0])
    """
    whole = bool(valid.all())
    return _moments(
        [
            _band(pixels[:, c].reshape(-1) if whole else pixels[:, c][valid[:, c]], counts[c])
            for c in range(pixels.shape[1])
        ]
    )


def observe_layer(pixels: NDArray[Any], layer: LayerSpec, counts: NDArray[np.int64]) -> Moments:
    """`observe` of what `seamo.sample.valid_pixels` takes for a measurement.

    Args:
        pixels: (T, C, H, W) in the layer's dtype.
        layer: What they are.
        counts: (C, 65536), changed in place.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> layer, pixels = store.spec.layer("s2_20m"), store.read_layer(0, "s2_20m")
        >>> moments = observe_layer(pixels, layer, new_histogram(pixels.shape[1]))
        >>> pixels.shape, moments.count.tolist()
        ((2, 1, 12, 12), [288])
    """
    fill = layer.fill_value
    if not layer.is_float and (fill is None or isinstance(fill, int)):  # no mask is needed
        numbers = statistics.integer_moments(pixels, counts, fill=fill)
        if numbers is not None:
            return Moments(numbers[0].astype(np.int64), *numbers[1:])
    return observe(pixels, valid_pixels(pixels, layer), counts)


def _moments(parts: Sequence["_Numbers"]) -> Moments:
    count, mean, m2, low, high = (np.array([part[k] for part in parts]) for k in range(5))
    return Moments(count.astype(np.int64), mean, m2, low, high)


def _band(values: NDArray[Any], counts: NDArray[np.int64]) -> "_Numbers":
    """Of the valid pixels of one band, which are added to its histogram."""
    is_float = values.dtype == np.float32
    if is_float and (numbers := statistics.float_moments(values, counts, start=_FLOAT_START, step=FLOAT_STEP)):
        return numbers
    found = np.bincount(_bins(values))
    counts[: len(found)] += found
    return _float_moments(values) if is_float else _integer_moments(found, values.dtype)


_Numbers = tuple[int, float, float, float, float]
_NOTHING: _Numbers = (0, 0.0, 0.0, np.inf, -np.inf)


def _float_moments(values: NDArray[Any]) -> _Numbers:
    if values.size == 0:
        return _NOTHING
    exact = values.astype(np.float64)
    mean = float(exact.mean())
    exact -= mean
    np.square(exact, out=exact)  # not np.dot: for sums this short, its threads wait for one another
    return values.size, mean, float(exact.sum()), float(values.min()), float(values.max())


def _integer_moments(found: NDArray[np.int64], dtype: np.dtype[Any]) -> _Numbers:
    # The histogram holds every value: a few thousand products instead of a pass over the pixels.
    index = np.flatnonzero(found)
    if not len(index):
        return _NOTHING
    times, values = found[index], _value(index, dtype.name)
    count = int(times.sum())
    mean = float((times * values).sum() / count)
    return count, mean, float((times * (values - mean) ** 2).sum()), float(values[0]), float(values[-1])


def stack(pieces: Sequence[Moments]) -> Moments:
    """Put pieces (C,) under one another: (N, C)."""
    return Moments(
        np.stack([one.count for one in pieces]),
        np.stack([one.mean for one in pieces]),
        np.stack([one.m2 for one in pieces]),
        np.stack([one.low for one in pieces]),
        np.stack([one.high for one in pieces]),
    )


def concatenate(blocks: Sequence[Moments]) -> Moments:
    """Put blocks (N_i, C) under one another."""
    return Moments(
        np.concatenate([one.count for one in blocks]),
        np.concatenate([one.mean for one in blocks]),
        np.concatenate([one.m2 for one in blocks]),
        np.concatenate([one.low for one in blocks]),
        np.concatenate([one.high for one in blocks]),
    )


def select(pieces: Moments, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Moments:
    """Some of the pieces of an (N, C)."""
    numbers = (one[chosen] for one in (pieces.mean, pieces.m2, pieces.low, pieces.high))
    return Moments(pieces.count[chosen], *numbers)


def merge(pieces: Moments) -> Moments:
    """Moments of all pieces together, (N, C) -> (C,), by the pairwise formula of Chan et al. (1979).

    Example:
        >>> counts = new_histogram(1)
        >>> images = [np.full((1, 1, 2, 2), value, dtype=np.uint8) for value in (10, 20)]
        >>> total = merge(stack([observe(image, image > 0, counts) for image in images]))
        >>> total.count.tolist(), total.mean.tolist(), total.std.tolist()
        ([8], [15.0], [5.0])
    """
    count = pieces.count.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, (pieces.count * pieces.mean).sum(axis=0) / count, 0.0)
    apart = pieces.count * (pieces.mean - mean) ** 2
    m2 = pieces.m2.sum(axis=0) + apart.sum(axis=0)
    low = pieces.low.min(axis=0, initial=np.inf)
    return Moments(count, mean, m2, low, pieces.high.max(axis=0, initial=-np.inf))


def _bins(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype == np.int16:
        return values.astype(np.int32) + 32768
    if values.dtype == np.float32:
        # Rounded before the floor: 0.29 must not fall into the bin of 0.28 by its last bit.
        steps = np.floor((values.astype(np.float64) - _FLOAT_START) / FLOAT_STEP + 1e-6)
        return np.clip(steps, 0, NUM_BINS - 1).astype(np.int32)
    raise UsageError(f"no histogram is defined for {values.dtype}", where="stats")


def percentiles(counts: NDArray[np.int64], dtype: str, q: Sequence[float] = PERCENTILES) -> NDArray[np.float64]:
    """Percentiles from a histogram: the smallest value with at least q percent at or below it.

    This is numpy's `inverted_cdf`. Floats give the lower edge of the bin.

    Args:
        counts: (C, 65536).
        dtype: Of the pixels.
        q: Percentages.

    Returns:
        (C, len(q)), NaN for a band without a pixel.

    Example:
        >>> counts = new_histogram(1)
        >>> pixels = np.arange(1, 101, dtype=np.uint8).reshape(1, 1, 10, 10)
        >>> moments = observe(pixels, pixels > 0, counts)
        >>> percentiles(counts, "uint8", (2, 50, 98)).tolist()
        [[2.0, 50.0, 98.0]]
    """
    total = counts.cumsum(axis=1)
    result = np.full((len(counts), len(q)), np.nan)
    for c, running in enumerate(total):
        if running[-1] > 0:
            rank = np.maximum(1, np.ceil(np.asarray(q) / 100.0 * running[-1] - 1e-9))
            result[c] = _value(np.searchsorted(running, rank), dtype)
    return result


def _value(index: NDArray[np.int64], dtype: str) -> NDArray[np.float64]:
    if dtype == "float32":
        return np.round(_FLOAT_START + index * FLOAT_STEP, 2)
    return index.astype(np.float64) - (32768.0 if dtype == "int16" else 0.0)


def describe(
    bands: Sequence[str], total: Moments, counts: NDArray[np.int64] | None = None, dtype: str = ""
) -> dict[str, Mapping[str, Any]]:
    """Statistics as plain values: band -> count, mean, std, min, max and, with a histogram, percentiles.

    A band without a valid pixel has a count of 0 and None for the rest.

    Example:
        >>> pixels = np.full((1, 2, 2, 2), 7, dtype=np.uint8)
        >>> moments = observe(pixels, pixels > 0, new_histogram(2))
        >>> describe(("B02", "B03"), moments)["B03"]
        {'count': 4, 'mean': 7.0, 'std': 0.0, 'min': 7.0, 'max': 7.0}
    """
    quantiles = None if counts is None else percentiles(counts, dtype)
    result: dict[str, Mapping[str, Any]] = {}
    for c, name in enumerate(bands):
        there = bool(total.count[c] > 0)
        entry: dict[str, Any] = {"count": int(total.count[c])}
        numbers = {"mean": total.mean[c], "std": total.std[c], "min": total.low[c], "max": total.high[c]}
        entry |= {key: float(value) if there else None for key, value in numbers.items()}
        if quantiles is not None:
            pairs = zip(PERCENTILES, quantiles[c], strict=True)
            entry["percentiles"] = {f"{q:g}": float(v) if there else None for q, v in pairs}
        result[name] = entry
    return result
