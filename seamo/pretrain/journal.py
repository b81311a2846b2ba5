"""What a run writes down step by step: curves.csv (exact), speed.csv (timings), TensorBoard, a line on stderr."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from torch.utils.tensorboard import SummaryWriter

from seamo.identity import write_atomically
from seamo.progress import Progress

CURVES, SPEED = "curves.csv", "speed.csv"
_WHERE = ("step", "stage", "epoch", "batch")
_SPEED = (*_WHERE, "seconds", "locations_per_s", "images_per_s", "data_wait_share", "mfu", "memory_gib")


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One optimiser step.

    Args:
        step, stage, epoch, batch: Where; `step` counts from 1 over the whole run.
        loss: Sum of the terms.
        terms: `<sensor>_t<season>` -> mean over the hidden patches of the global batch.
        lr: Learning rate of the step.
        locations, images: Places in the global batch, and the images that were there.
        seconds: Of the step; `wait` of them the loop waited for data.
        mfu: Share of the device's peak, or None.
        memory_gib: Most device memory so far (of the process on a CPU: 0).
    """

    step: int
    stage: int
    epoch: int
    batch: int
    loss: float
    terms: Mapping[str, float]
    lr: float
    locations: int
    images: int
    seconds: float
    wait: float
    mfu: float | None
    memory_gib: float


class Journal:
    """Writes the rows; what does not depend on the clock stands in curves.csv, which resuming keeps exact.

    Args:
        run: The run's folder.
        terms: Names of all loss terms, of both stages.
        done: Steps that a resumed run has behind it: later rows are cut off, they will come again.
        total: Steps of the whole run, for the time left.
        progress: Where to show progress (a terminal gets one line that is rewritten), or None.
    """

    def __init__(
        self, run: Path, terms: Sequence[str], *, done: int, total: int, progress: TextIO | None = None
    ) -> None:
        self._progress = Progress(progress, "steps", total, done=done, title="pretraining")
        self._terms = tuple(terms)
        columns = (*_WHERE, "locations", "images", "lr", "loss", *self._terms)
        self._curves = _open(run / CURVES, columns, done)
        self._speed = _open(run / SPEED, _SPEED, done)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=done + 1 if done else None)

    def write(self, row: JournalRow) -> None:
        """Add a step."""
        where = (row.step, row.stage, row.epoch, row.batch)
        terms = [_exact(row.terms[name]) if name in row.terms else "" for name in self._terms]
        _add(self._curves, (*where, row.locations, row.images, _exact(row.lr), _exact(row.loss), *terms))
        rate, share = row.locations / row.seconds, row.wait / row.seconds
        mfu = "" if row.mfu is None else f"{row.mfu:.4f}"
        speeds = (f"{row.seconds:.4f}", f"{rate:.2f}", f"{row.images / row.seconds:.2f}", f"{share:.4f}", mfu)
        _add(self._speed, (*where, *speeds, f"{row.memory_gib:.3f}"))
        named = {"loss/total": row.loss, **{f"loss/{name}": value for name, value in row.terms.items()}}
        named |= {"lr": row.lr, "speed/locations_per_s": rate, "speed/images_per_s": row.images / row.seconds}
        named |= {"speed/data_wait_share": share, "speed/memory_gib": row.memory_gib}
        named |= {} if row.mfu is None else {"speed/mfu": row.mfu}
        for name, value in named.items():
            self._board.add_scalar(name, value, row.step)
        self._show(row, rate)

    def flush(self) -> None:
        """Put what is written onto the disk, before a checkpoint says that it is there."""
        for file in (self._curves, self._speed):
            file.flush()
            os.fsync(file.fileno())
        self._board.flush()

    def close(self) -> None:
        """Close the files, end the line."""
        self._progress.close()
        self._curves.close()
        self._speed.close()
        self._board.close()

    def _show(self, row: JournalRow, rate: float) -> None:
        self._progress.title = f"stage {row.stage} epoch {row.epoch + 1}"
        note = f"loss {row.loss:.4f}, {rate:,.1f} locations/s, data wait {row.wait / row.seconds:.0%}"
        self._progress.at(row.step, note=note)


def read_curves(run: Path) -> dict[str, list[float]]:
    """Column -> values of curves.csv; an empty cell is NaN."""
    with (run / CURVES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    return {name: [float(row[name]) if row[name] else float("nan") for row in rows] for name in names}


def _open(path: Path, columns: Sequence[str], done: int) -> io.TextIOWrapper:
    text = path.read_text(encoding="utf-8") if path.is_file() and done else ""
    whole = text[: text.rfind("\n") + 1].splitlines()  # a killed process may have left half a line
    kept = [line for line in whole[1:] if int(line.partition(",")[0]) <= done]
    text = "".join(f"{line}\n" for line in [",".join(columns), *kept])
    write_atomically(path, text.encode("utf-8"))
    return path.open("a", encoding="utf-8", newline="")


def _add(file: io.TextIOWrapper, values: Sequence[object]) -> None:
    file.write(",".join(str(value) for value in values) + "\n")
    file.flush()


def _exact(value: float) -> str:
    return repr(float(value))
