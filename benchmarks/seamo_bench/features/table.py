"""Pooled features of some rows, left on disk and read as they are asked for. No torch here.

Files are read, not mapped: pages of a mapping count as the process's own memory for as long as it stands, so a pass
over a mapped cache would look, and to a scheduler be, as large as the cache.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_AGAIN = "Run again: what is not whole is then computed again."


@dataclass(frozen=True, slots=True)
class Part:
    """One file of features.

    Args:
        path: A `.npy` file, float32, one row a sample.
        offset: Where its numbers begin, in bytes.
    """

    path: Path
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """The features (n, width) float32 of n rows of a store.

    Args:
        parts: Files.
        places: (n, 2): part and position in it of each row.
        width: D.
    """

    parts: tuple[Part, ...]
    places: NDArray[np.int64]
    width: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it in memory."""
        return len(self) * self.width * 4

    def read(self) -> Floats:
        """All of it, in memory: (n, width)."""
        return self.take(np.arange(len(self)))

    def take(self, positions: Rows) -> Floats:
        """Some rows of the table, in the order asked: (len(positions), width).

        Neighbours in a file are read at once, and each file is opened once, so rows at random cost one short read each.

        Args:
            positions: 0 to n - 1, repeats allowed.

        Raises:
            ProtocolError: If a file is gone, cannot be read or ends too early.
        """
        out = np.empty((len(positions), self.width), dtype=np.float32)
        if not out.size:
            return out
        places = self.places[positions]
        order = np.lexsort((places[:, 1], places[:, 0]))
        part, row = places[order].T
        # A run is what lies side by side in one file and in `out`.
        new = (np.diff(part) != 0) | (np.diff(row) != 1) | (np.diff(order) != 1)
        starts = np.concatenate(([0], np.flatnonzero(new) + 1, [len(order)]))
        opens = np.flatnonzero(np.diff(part[starts[:-1]], prepend=-1))
        memory, size = out.data.cast("B"), 4 * self.width
        for first, last in zip(opens.tolist(), [*opens[1:].tolist(), len(starts) - 1], strict=True):
            file = self.parts[int(part[starts[first]])]
            with _opened(file.path) as stream:
                for run in range(first, last):
                    begin, end = int(starts[run]), int(starts[run + 1])
                    target = int(order[begin]) * size
                    _read(
                        stream.fileno(),
                        memory[target : target + (end - begin) * size],
                        file.offset + int(row[begin]) * size,
                        file.path,
                    )
        return out

    def blocks(self, size: int) -> Iterator[Floats]:
        """All of it in order, `size` rows at a time."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    try:
        with path.open("rb", buffering=0) as stream:
            yield stream
    except OSError as error:
        raise ProtocolError(f"cannot be read ({error.strerror})", str(path), _AGAIN) from error


def _read(descriptor: int, target: memoryview, offset: int, path: Path) -> None:
    done = 0
    while done < len(target):
        got = os.preadv(descriptor, [target[done:]], offset + done)
        if not got:
            raise ProtocolError("ends too early", str(path), _AGAIN)
        done += got
