"""Whole numbers of 16 bits to the floats that they stand for."""

import numpy as np
from numpy.typing import NDArray

from seamo.native.library import kernels


def widen(stored: NDArray[np.int16], scale: float, offset: float, missing: int, out: NDArray[np.float32]) -> None:
    """Write `stored * scale + offset`, a product and a sum of doubles, and NaN where `stored` is `missing`.

    Args:
        stored: Contiguous.
        scale: Of a step.
        offset: What 0 stands for.
        missing: Stands for no number.
        out: Of the same shape, contiguous.

    Raises:
        ValueError: If the arrays do not fit each other.

    Example:
        >>> made = np.empty(2, np.float32)
        >>> widen(np.array([250, -1], np.int16), 0.01, 1.0, -1, made)
        >>> made.tolist()
        [3.5, nan]
    """
    fits = stored.dtype == np.int16 and out.dtype == np.float32 and stored.shape == out.shape
    if not fits:
        raise ValueError(f"{stored.dtype} {stored.shape} does not become {out.dtype} {out.shape}")
    if not (stored.flags.c_contiguous and out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("arrays are not contiguous, or not writeable")
    library = kernels()
    if library is None:
        out[...] = stored * np.float64(scale) + np.float64(offset)
        out[stored == missing] = np.nan
        return
    library.seamo_widen(stored.ctypes.data, stored.size, scale, offset, missing, out.ctypes.data)
