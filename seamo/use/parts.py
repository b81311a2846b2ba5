"""Finished parts of a long output, kept beside it, so that a killed command goes on; and how far it is."""

import io
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError, UsageError
from seamo.identity import digest, write_atomically

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
        if out.exists():
            raise UsageError("exists already", str(out), "Choose another -o, or remove it.")
        if not out.parent.is_dir():
            raise UsageError("there is no such folder", str(out.parent), "Make it first.")
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


class Meter:
    """A line with the share done, the rate and the time left.

    Args:
        stream: Where to; None: nowhere.
        what: The things counted, such as `windows`.
        total: How many there are.
        done: How many were there before.
    """

    def __init__(self, stream: TextIO | None, what: str, total: int, *, done: int = 0) -> None:
        self._stream, self._what, self._total = stream, what, total
        self._before = self._done = done
        self._began = self._shown = time.monotonic()

    def add(self, count: int) -> None:
        """Count more that is done."""
        self._done += count
        now = time.monotonic()
        last = self._done >= self._total
        if self._stream is None or (not last and now - self._shown < (0.5 if self._stream.isatty() else 15.0)):
            return
        self._shown = now
        rate = (self._done - self._before) / max(now - self._began, 1e-9)
        minutes, seconds = divmod(round((self._total - self._done) / rate) if rate else 0, 60)
        hours, minutes = divmod(minutes, 60)
        text = f"{self._done}/{self._total} {self._what} ({self._done / max(self._total, 1):.0%}), {rate:.1f}/s"
        text += f", {hours}:{minutes:02d}:{seconds:02d} left"
        live = self._stream.isatty()
        self._stream.write(f"\r\x1b[K{text}" + ("\n" if last else "") if live else f"{text}\n")
        self._stream.flush()
