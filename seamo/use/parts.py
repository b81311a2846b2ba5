"""Finished parts of a long output, kept beside it, so that a killed command goes on."""

import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.identity import digest, write_atomically
from seamo.use.options import check_new

log = logging.getLogger(__name__)


class Parts:
    """Numbered arrays of one output, in a hidden folder beside it that is named by what makes them.

    Parts of the same output made from something else are removed.

    Args:
        out: The output, which does not exist yet.
        what: Plain values: everything that decides the numbers.
        total: How many parts there are.

    Raises:
        UsageError: If the output exists, or its folder does not.
    """

    def __init__(self, out: Path, what: Mapping[str, Any], total: int) -> None:
        check_new(out)
        self.out, self.total = out, total
        self.folder = out.with_name(f".{out.name}.{digest(dict(what))[:8]}.parts")
        for old in sorted(out.parent.glob(f".{out.name}.*.parts")):
            if old != self.folder:
                log.warning("removed %s: parts made from another model, input or setting", old)
                shutil.rmtree(old)
        self.folder.mkdir(exist_ok=True)

    @property
    def first_missing(self) -> int:
        """Number of the first part that is not there; `total` if all are."""
        return next((k for k in range(self.total) if not self._file(k).is_file()), self.total)

    def save(self, k: int, array: NDArray[Any]) -> None:
        """Write one part, whole or not at all."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        with self.writing():
            write_atomically(self._file(k), buffer.getvalue())

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
        """Read one part back."""
        array: NDArray[Any] = np.load(self._file(k), allow_pickle=False)
        return array

    @property
    def whole(self) -> Path:
        """Where to put the parts together; a killed attempt may have left something there."""
        return self.folder / self.out.name

    def finish(self) -> None:
        """Rename `whole` to the output, and drop the parts."""
        with self.writing():
            self.whole.rename(self.out)
        shutil.rmtree(self.folder)

    def _file(self, k: int) -> Path:
        return self.folder / f"part-{k:06d}.npy"
