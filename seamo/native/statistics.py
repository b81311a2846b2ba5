"""Moments and histograms of an image in one pass: `kernels.c` behind checks of everything that it would believe.

Sums are made in numpy's order, so that `seamo.stats` gives the same bytes with and without it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.native.library import kernels
from seamo.native.scratch import Scratch

Array = NDArray[Any]

_BINS = 65536
_TYPES = {np.dtype("uint8"): 0, np.dtype("uint16"): 1, np.dtype("int16"): 2}
_MOST = 2**32  # pixels of a band, which are counted in four bytes
_scratch = Scratch()


def float_moments(
    values: NDArray[np.float32], counts: NDArray[np.int64], *, start: float, step: float
) -> tuple[int, float, float, float, float] | None:
    """Count, mean, sum of squared differences from it, smallest and largest of one band, which is added to a histogram.

    Args:
        values: (n,), finite.
        counts: (65536,), contiguous, changed in place: bin b begins at `start + b * step`.
        start: Of the first bin; what is below it, or above the last one, counts there.
        step: Of a bin.

    Returns:
        None where there is no compiled loop, or nothing to count.

    Raises:
        ValueError: If the arguments do not fit each other.
    """
    library = kernels()
    if library is None or not 0 < values.size < _MOST:
        return None
    _check(values.dtype == np.float32 and values.ndim == 1 and step > 0, f"no loop for {values.dtype} {values.shape}")
    _check_counts(counts, (_BINS,))
    values = np.ascontiguousarray(values)
    low, high = float(values.min()), float(values.max())
    _check(np.isfinite(low) and np.isfinite(high), "values are not finite")
    tables, found = _scratch.array((2, _BINS), np.uint32), np.empty(2)
    library.seamo_float_moments(
        values.ctypes.data, values.size, low, high, start, step, counts.ctypes.data, tables.ctypes.data,
        found.ctypes.data, found.ctypes.data + found.itemsize,
    )  # fmt: skip
    return values.size, float(found[0]), float(found[1]), low, high


def integer_moments(pixels: Array, counts: NDArray[np.int64], *, fill: int | None) -> NDArray[np.float64] | None:
    """Moments of every band of one image of whole numbers, which is added to histograms.

    Args:
        pixels: (T, C, H, W) of uint8, uint16 or int16.
        counts: (C, 65536), contiguous, changed in place; bin b is the value b, of int16 b - 32768.
        fill: Value that does not count; None: all do.

    Returns:
        (5, C) count, mean, sum of squared differences from it, smallest, largest; 0, 0, 0, inf and -inf of a band
        without pixels. None where there is no compiled loop, or none for this type.

    Raises:
        ValueError: If the arguments do not fit each other.
    """
    library = kernels()
    if library is None or pixels.dtype not in _TYPES or not 0 < pixels.size < _MOST:
        return None
    _check(pixels.ndim == 4, f"pixels are {pixels.shape}")
    T, C, h, w = pixels.shape
    _check_counts(counts, (C, _BINS))
    pixels = np.ascontiguousarray(pixels)
    first = int(np.iinfo(pixels.dtype).min)
    width = int(pixels.max()) - first + 1
    room = _scratch.array((5 * width,), np.float64)  # the first two fifths hold four tables of four bytes
    found = np.zeros((5, C))
    found[3], found[4] = np.inf, -np.inf
    library.seamo_integer_moments(
        pixels.ctypes.data, _TYPES[pixels.dtype], T, C, h * w, -1 if fill is None else fill - first,
        counts.ctypes.data, found.ctypes.data, width, room.ctypes.data, room[2 * width :].ctypes.data,
    )  # fmt: skip
    return found


def _check_counts(counts: NDArray[np.int64], shape: tuple[int, ...]) -> None:
    fits = counts.dtype == np.int64 and counts.shape == shape and counts.flags.c_contiguous and counts.flags.writeable
    _check(fits, f"a histogram is {counts.dtype} {counts.shape}")


def _check(fits: bool, problem: str) -> None:
    if not fits:
        raise ValueError(problem)
