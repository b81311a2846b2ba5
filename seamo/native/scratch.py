"""Memory that a thread uses again and again: fresh pages cost as much as decoding does."""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEEP = 64 * 2**20  # bytes; what is larger is made anew each time


class Scratch(threading.local):
    """Memory for arrays that are not needed any more when the next one is asked for; every thread has its own."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, dtype=np.uint8)

    def array(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array whose contents are whatever was there; the one before it is gone."""
        kind = np.dtype(dtype)
        need = math.prod(shape) * kind.itemsize
        if need > _KEEP:
            return np.empty(shape, dtype=kind)
        if len(self._bytes) < need:
            self._bytes = np.empty(need, dtype=np.uint8)
        found: NDArray[Any] = self._bytes[:need].view(kind).reshape(shape)
        return found
