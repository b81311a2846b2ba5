"""Finished parts of a long output, kept beside it, so that a killed command goes on."""

import hashlib
import io
import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.disk import publish, remove
from seamo.errors import StoreError
from seamo.identity import digest, write_atomically
from seamo.use.options import check_new, parts_beside

log = logging.getLogger(__name__)
_SEAL = 32  # bytes: the sha256 of the rest and of its place, at the front of a part


class Parts:
    """Numbered arrays of one output, in a hidden folder beside it that is named by what makes them.

    Parts of the same output made from something else are removed. A part that is not what was written (its sha256
    stands in front of it) counts as missing, and is made again.

    Args:
        out: The output, which does not exist yet.
        what: Plain values: everything that decides the numbers.
        total: How many parts there are.

    Raises:
        UsageError: If the output exists, or its folder does not.

    Attributes:
        first_missing: Number of the first part that is not there; `total` if all are.
        whole: Where to put the parts together.
    """

    def __init__(self, out: Path, what: Mapping[str, Any], total: int) -> None:
        check_new(out)
        self.out, self.total = out, total
        self.folder = out.with_name(f".{out.name}.{digest(dict(what))[:8]}.parts")
        # Two processes at one output write equal parts, each puts them together by itself, and the first one wins.
        self.whole = self.folder / f"{secrets.token_hex(4)}-{out.name}"
        for old in parts_beside(out):
            if old != self.folder:
                log.warning("removed %s: parts made from another model, input or setting", old)
                remove(old)
        self.folder.mkdir(exist_ok=True)
        self.first_missing = next((k for k in range(total) if not self._is_whole(k)), total)

    def save(self, k: int, array: NDArray[Any]) -> None:
        """Write one part, whole or not at all."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        data = buffer.getvalue()
        with self.writing():
            write_atomically(self._file(k), self._seal(k, data) + data)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say what to do when the disk is full; what is finished stays.

        Raises:
            StoreError: In place of the operating system's error.
        """
        try:
            yield
        except OSError as error:
            fix = "Make room and give the same command again: it goes on."
            raise StoreError(f"cannot be written ({error})", str(self.out), fix) from error

    def load(self, k: int) -> NDArray[Any]:
        """Read one part back.

        Raises:
            StoreError: If it is not what was written.
        """
        data = self._file(k).read_bytes()
        if self._seal(k, data[_SEAL:]) != data[:_SEAL]:
            fix = "Give the same command again: it is made anew."
            raise StoreError("is not what was written", str(self._file(k)), fix)
        array: NDArray[Any] = np.load(io.BytesIO(data[_SEAL:]), allow_pickle=False)
        return array

    def finish(self) -> None:
        """Give `whole` the output's name, synced, and drop the parts."""
        with self.writing():
            publish(self.whole, self.out)
        remove(self.folder)

    def _seal(self, k: int, data: bytes) -> bytes:
        """Of the number and the folder too: parts of one size that were exchanged would be whole otherwise."""
        return hashlib.sha256(f"{self.folder.name}/{k}\n".encode() + data).digest()

    def _is_whole(self, k: int) -> bool:
        file = self._file(k)
        if not file.is_file():
            return False
        try:
            self.load(k)
        except (StoreError, OSError) as error:
            log.warning("%s: it is made again", error)
            return False
        return True

    def _file(self, k: int) -> Path:
        return self.folder / f"part-{k:06d}.bin"
