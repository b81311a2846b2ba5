"""Deflated strips of an image in one call: one by one they ask as often for Python's lock, which others hold."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.native.library import kernels

Bytes = NDArray[np.uint8]

_FUNCTIONS = ("libdeflate_alloc_decompressor", "libdeflate_zlib_decompress", "libdeflate_free_decompressor")


@cache
def _libdeflate() -> tuple[int, ...]:
    """Addresses of what the package `deflate` brings of libdeflate; none if it is not there, or does not show them."""
    try:
        from deflate import _deflate

        library = ctypes.CDLL(_deflate.__file__)
        found = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _FUNCTIONS]
    except (ImportError, OSError, AttributeError):
        return ()
    return tuple(one for one in found if one)


def inflate_strips(
    data: bytes,
    offsets: Sequence[int],
    counts: Sequence[int],
    *,
    each: int,
    need: int,
    last: int,
    out: NDArray[np.uint8],
) -> int:
    """Inflate the strips of an image, one after the other.

    Args:
        data: The file.
        offsets: Where the strips begin in it.
        counts: Their bytes.
        each: Strips of a band.
        need: Bytes that a strip inflates to, exactly.
        last: The same of the last of each band.
        out: (n,) contiguous.

    Returns:
        How many are done, from the first on: 0 without the compiled loop or libdeflate, fewer than all where one is
        damaged, has another length, or lies outside of the file.

    Raises:
        ValueError: If `out` has not as many bytes as the strips take.
    """
    library, functions = kernels(), _libdeflate()
    if library is None or len(functions) != len(_FUNCTIONS):
        return 0
    bands, rest = divmod(len(offsets), each)
    whole = out.dtype == np.uint8 and out.ndim == 1 and out.flags.c_contiguous and out.flags.writeable
    if rest or len(counts) != len(offsets) or not whole or out.nbytes != bands * ((each - 1) * need + last):
        raise ValueError("out does not hold these strips")
    try:
        where, lengths = (np.array(one, dtype=np.int64) for one in (offsets, counts))
    except OverflowError:
        return 0
    stored: Any = np.frombuffer(data, dtype=np.uint8)
    return int(
        library.seamo_inflate(
            *functions, stored.ctypes.data, len(data), where.ctypes.data, lengths.ctypes.data,
            len(where), each, need, last, out.ctypes.data, out.nbytes,
        )
    )  # fmt: skip
