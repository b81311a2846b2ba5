"""The logs of a run, which grow at their end: read, and sealed as far as a checkpoint has seen them. No torch here."""

import csv
import hashlib
import io
from pathlib import Path

from seamo.errors import TrainingError
from seamo.seal import SealedFile

CURVES, SPEED, PROBES = "curves.csv", "speed.csv", "probe.csv"
_BLOCK = 2**20


class LogSeal:
    """Size and sha256 of a log while it grows, each byte hashed once.

    Args:
        begun: What is in the log already.
    """

    def __init__(self, begun: bytes = b"") -> None:
        self._total, self._bytes = hashlib.sha256(begun), len(begun)

    def add(self, data: bytes) -> None:
        """Count what was written behind the rest."""
        self._total.update(data)
        self._bytes += len(data)

    def sealed(self) -> SealedFile:
        """Of all so far."""
        return SealedFile(self._bytes, self._total.hexdigest())


def log_damage(path: Path, sealed: SealedFile) -> str:
    """What is wrong with the beginning of a log; empty if nothing is. What was added later is not looked at."""
    total, left = hashlib.sha256(), sealed.bytes
    try:
        with path.open("rb") as file:
            while left and (block := file.read(min(left, _BLOCK))):
                total.update(block)
                left -= len(block)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if left:
        return f"has {sealed.bytes - left:,} bytes, fewer than the {sealed.bytes:,} that were written"
    return "" if total.hexdigest() == sealed.sha256 else f"is not what was written in its first {sealed.bytes:,} bytes"


def read_log(path: Path) -> dict[str, list[float]]:
    """Column -> values of a log; an empty cell is NaN.

    Raises:
        TrainingError: Naming the line that is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except OSError as error:
        raise TrainingError(f"cannot be read ({error.strerror})", str(path)) from error
    except (ValueError, csv.Error) as error:
        raise TrainingError(f"is no log ({error})", str(path), "Copy the run again.") from error
    names = rows[0] if rows else []
    found: dict[str, list[float]] = {name: [] for name in names}
    for number, row in enumerate(rows[1:], start=2):
        try:
            for name, cell in zip(names, row, strict=True):
                found[name].append(float(cell) if cell else float("nan"))
        except ValueError as error:
            raise TrainingError("is no row of numbers", f"{path}, line {number}", "Copy the run again.") from error
    return found


def read_curves(run: Path) -> dict[str, list[float]]:
    """Column -> values of a run's curves.csv; see `read_log`."""
    return read_log(run / CURVES)
