"""How far a suite is: which cell, and how far in it, on the one line of `seamo.progress`."""

import sys

from seamo.progress import Progress


class Cells:
    """Callbacks for what plans, runs and draws cells."""

    def __init__(self) -> None:
        self._shown = Progress(sys.stderr, keep=False)

    def cell(self, done: int, total: int, name: str) -> None:
        """A cell begins; without a name all are done."""
        self._shown.title = f"[{min(done + 1, total)}/{total}] {name}" if name else ""
        self._shown.begin("", None)

    def inner(self, done: int, total: int, what: str) -> None:
        """Something inside the cell goes on."""
        self._shown.report(done, total, what)

    def end(self) -> None:
        """Take the line away."""
        self._shown.close()
