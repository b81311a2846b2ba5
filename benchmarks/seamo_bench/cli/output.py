"""What the command lines share: results on stdout, progress on stderr, threads."""

import sys
from collections.abc import Container, Sequence
from typing import Any

from seamo.errors import UsageError


def show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Rows as a table, or as one JSON document."""
    if as_json:
        import json

        say(json.dumps(rows, indent=1, default=str))
        return
    if not rows:
        return
    columns = list(rows[0])
    say(aligned(columns, [[_text(row[column]) for column in columns] for row in rows]))


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Container[int] = ()) -> str:
    """Columns of text, a line under their heads; those of `right` end together."""
    widths = [max(len(column), *(len(row[i]) for row in rows)) for i, column in enumerate(columns)]
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (columns, ["-" * width for width in widths], *rows)
    ]
    return "\n".join(lines)


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def chosen_budget(text: str) -> Any:
    """`full` or `demo`.

    Raises:
        UsageError: If it is neither.
    """
    if text not in ("full", "demo"):
        raise UsageError(f"no budget {text!r}", fix="Choose full or demo.")
    return text


def limit_threads(threads: int) -> None:
    """Bind torch, numpy and scikit-learn to a number of CPU threads, for the rest of the process."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, short."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Progress on stderr: which cell, how far in it, rate and time left; at most two lines a second."""

    def __init__(self) -> None:
        self._cell = ""
        self._what = ""
        self._began = 0.0
        self._said = 0.0

    def cell(self, done: int, total: int, name: str) -> None:
        """A cell begins."""
        self._cell = f"[{min(done + 1, total)}/{total}] {name}"
        self._what = ""
        if name:
            self._write(self._cell)

    def inner(self, done: int, total: int, what: str) -> None:
        """Something inside the cell goes on."""
        import time

        now = time.monotonic()
        if what != self._what or done <= 1:
            self._what, self._began, self._first = what, now, done
        if now - self._said < 0.5 and done < total:
            return
        self._said = now
        rate = (done - self._first) / max(now - self._began, 1e-9)
        left = f", {rate:.1f}/s, {duration((total - done) / rate)} left" if rate > 0 and done < total else ""
        self._write(f"{self._cell}: {what} {done}/{total}{left}")

    def end(self) -> None:
        """The last line ends."""
        if sys.stderr.isatty():
            sys.stderr.write("\n")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()
