"""CRC-32C, and reading with it, without Python's lock."""

import ctypes
import os
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from seamo.native.library import kernels

_SMALL = 4096  # bytes that cost less than a call


def crc32c(data: Any) -> int:
    """CRC-32C of bytes, of a memoryview or of a contiguous array's memory.

    Example:
        >>> hex(crc32c(b"123456789"))  # the check value of the Castagnoli polynomial
        '0xe3069283'
    """
    library = kernels()
    if library is None or memoryview(data).nbytes < _SMALL:
        return int(google_crc32c.value(bytes(data) if isinstance(data, memoryview) else data))
    whole = np.frombuffer(data, dtype=np.uint8)  # refuses what is not contiguous
    return int(library.seamo_crc32c(whole.ctypes.data, whole.nbytes, 0))


def read_into(file: int, offset: int, out: NDArray[Any]) -> tuple[int, int]:
    """Fill an array from a file.

    Args:
        file: An open descriptor.
        offset: Where to begin, in bytes.
        out: Contiguous; all of its bytes are asked for.

    Returns:
        Bytes read, fewer than asked for where the file ends early; and their CRC-32C.

    Raises:
        OSError: If it cannot be read.
        ValueError: If `out` is not contiguous, or cannot be written.
    """
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out is not contiguous, or not writeable")
    library = kernels()
    if library is None:
        data = os.pread(file, out.nbytes, offset)
        out.reshape(-1).view(np.uint8)[: len(data)] = np.frombuffer(data, dtype=np.uint8)
        return len(data), crc32c(data)
    checksum = ctypes.c_uint32()
    done = int(library.seamo_read(file, out.ctypes.data, out.nbytes, offset, ctypes.byref(checksum)))
    if done < 0:
        raise OSError(-done, os.strerror(-done))
    return done, checksum.value
