"""Finds and loads the compiled loops (`kernels.c`), if there are any."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

SWITCH = "SEAMO_NATIVE"
"""Environment variable: `0` leaves the compiled loops out, a path takes another library, anything else is no change."""

_HERE = Path(__file__).with_name("kernels.so")
_SIZE, _POINTER, _INT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
_DECLARED: dict[str, tuple[Any, list[Any]]] = {
    "seamo_source": (ctypes.c_char_p, []),
    "seamo_is_supported": (_INT, []),
    "seamo_crc32c": (ctypes.c_uint32, [_POINTER, ctypes.c_size_t, ctypes.c_uint32]),
    "seamo_read": (_SIZE, [_INT, _POINTER, _SIZE, _SIZE, _POINTER]),
    "seamo_unblosc": (_INT, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE]),
    "seamo_inflate": (
        _SIZE,
        [_POINTER] * 4  # three functions of libdeflate, data
        + [
            _SIZE,
            _POINTER,
            _POINTER,
            _SIZE,
            _SIZE,
            _SIZE,
            _SIZE,
            _POINTER,
            _SIZE,
        ],  # length, offsets, counts, n, ...
    ),
    "seamo_float_moments": (
        None,
        [_POINTER, _SIZE] + [ctypes.c_double] * 4 + [_POINTER] * 4,  # values, n, low, high, start, step, ...
    ),
    "seamo_integer_moments": (
        None,
        [_POINTER, _INT, _SIZE, _SIZE, _SIZE, _SIZE]  # pixels, type, T, C, plane, fill
        + [_POINTER, _POINTER, _SIZE, _POINTER, _POINTER],  # counts, found, width, tables, room
    ),
    "seamo_widen": (None, [_POINTER, _SIZE, ctypes.c_double, ctypes.c_double, _INT, _POINTER]),
    "seamo_crop_scratch": (_SIZE, [_SIZE, _SIZE, _SIZE]),
    "seamo_crop": (
        _INT,
        [_POINTER, _INT, _SIZE, _SIZE, _SIZE, _SIZE, _SIZE]  # pixels, type, T, C, h, w, used
        + [_POINTER, _POINTER, _POINTER, _POINTER, ctypes.c_float]  # use, box, flip, look, fill
        + [_SIZE, _POINTER, _POINTER, _POINTER, _POINTER, _INT]  # bands, source, place, factor, shift, rule
        + [_SIZE, _SIZE, _POINTER, _POINTER, _POINTER],  # size, out_bands, out, holes, scratch
    ),
}


@cache
def kernels() -> Any:
    """The library, its functions declared; None where there is none, it is switched off or made for another processor.

    Its functions release Python's lock. None of them checks a pointer: the wrappers of this package do.
    """
    switch = os.environ.get(SWITCH, "")
    path = Path(switch) if "/" in switch else _HERE
    if switch == "0" or not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _DECLARED.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):  # of another platform, or older than this file
        return None
    return library if library.seamo_is_supported() else None


def source() -> str:
    """Digest of the source of the library that is used; empty without one."""
    library = kernels()
    return "" if library is None else library.seamo_source().decode()
