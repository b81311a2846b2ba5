"""How far a suite is: which cell, and how far in it, on the one line of `seamo.progress`."""

import sys
import time

from seamo.progress import Progress


class Cells:
    """Callbacks for what plans, runs and draws cells.

    Args:
        quiet_s: Where stderr is no terminal, a line comes after so many seconds without one; 0: as `Progress` has it.
    """

    def __init__(self, *, quiet_s: float = 0.0) -> None:
        self._shown = Progress(sys.stderr, keep=False)
        self._quiet_s = 0.0 if sys.stderr.isatty() else quiet_s
        self._last = time.monotonic()

    def cell(self, done: int, total: int, name: str) -> None:
        """A cell begins; without a name all are done."""
        self._shown.title = f"[{min(done + 1, total)}/{total}] {name}" if name else ""
        self._last = time.monotonic()
        if not self._quiet_s:
            self._shown.begin("", None)

    def inner(self, done: int, total: int, what: str) -> None:
        """Something inside the cell goes on."""
        if time.monotonic() - self._last >= self._quiet_s:
            self._last = time.monotonic()
            self._shown.report(done, total, what)

    def end(self) -> None:
        """Take the line away."""
        self._shown.close()
