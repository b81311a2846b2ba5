"""A part of what a chunk of c-blosc holds, without unpacking the rest: one date of four."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.native.library import kernels
from seamo.native.scratch import Scratch

_HEADER = 16
_LARGEST_BLOCK = 2**24  # bytes; a larger one is left to numcodecs


def unpack_part(chunk: NDArray[np.uint8], start: int, out: NDArray[Any], scratch: Scratch) -> bool:
    """Unpack as many bytes as `out` has, from the byte `start` of the chunk's content on.

    Args:
        chunk: (n,) contiguous, the whole chunk.
        start: First byte.
        out: Contiguous.
        scratch: Memory.

    Returns:
        False if the compiled loop is not there or does not read such chunks (it reads LZ4): nothing was done.

    Raises:
        ValueError: If the chunk is damaged, or holds less.
    """
    library = kernels()
    if library is None:
        return False
    if not (chunk.dtype == np.uint8 and chunk.ndim == 1 and chunk.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError("chunk or out is not contiguous")
    block = int.from_bytes(chunk[8:12].tobytes(), "little") if len(chunk) >= _HEADER else 0
    room = scratch.array((3 * min(block, _LARGEST_BLOCK),), np.uint8)
    done = library.seamo_unblosc(
        chunk.ctypes.data, len(chunk), start, out.nbytes, out.ctypes.data, room.ctypes.data, len(room)
    )
    if done == 0:
        raise ValueError("the chunk is damaged")
    return bool(done == 1)
