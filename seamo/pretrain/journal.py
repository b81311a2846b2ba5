"""What a run writes down step by step: curves.csv (exact), speed.csv (timings), TensorBoard, a line on stderr."""

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from seamo.disk import sync
from seamo.escapes import printable
from seamo.identity import write_atomically
from seamo.pretrain.board import Board
from seamo.pretrain.learnt import YARDSTICKS
from seamo.pretrain.logs import CURVES, PROBES, SPEED, LogSeal, read_log
from seamo.pretrain.probed import COLUMNS, ProbeRow, cells, first_of, read_probes, scalars_of
from seamo.progress import Progress, before_a_line
from seamo.seal import SealedFile

log = logging.getLogger(__name__)

_WHERE = ("step", "stage", "epoch", "batch")
_SPEED = (*_WHERE, "seconds", "locations_per_s", "images_per_s", "data_wait_share", "mfu", "memory_gib")


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One optimiser step.

    Args:
        step, stage, epoch, batch: Where; `step` counts from 1 over the whole run.
        loss: Sum of the terms, each with the weight of its sensor.
        terms: `<sensor>_t<season>` -> mean over the hidden patches of the global batch.
        yardsticks: Column of `seamo.pretrain.learnt.yardstick_column` -> the same mean of a trivial predictor; empty
            where none was measured.
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
    yardsticks: Mapping[str, float]
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
        terms: Names of all loss terms, of both stages, and of the yardsticks beside them.
        done: Steps that a resumed run has behind it: later rows are cut off, they will come again.
        total: Steps of the whole run, for the time left.
        probe: Whether the run is probed while it trains.
        logs: What the checkpoint that it goes on from says of the logs: this part of them stays, byte by byte.
        progress: Where to show progress (a terminal gets one line that is rewritten), or None.
    """

    def __init__(
        self,
        run: Path,
        terms: Sequence[str],
        *,
        done: int,
        total: int,
        probe: bool = False,
        logs: Mapping[str, SealedFile] | None = None,
        progress: TextIO | None = None,
    ) -> None:
        self._stream = progress
        self._progress = Progress(progress, "steps", total, done=done, title="pretraining")
        columns = (*_WHERE, "locations", "images", "lr", "loss", *terms)
        kept = logs or {}
        self._curves = _Log(run / CURVES, columns, done=done, kept=kept.get(CURVES))
        self._speed = _Log(run / SPEED, _SPEED, done=done, kept=kept.get(SPEED))
        self._probed = _Log(run / PROBES, COLUMNS, done=done, kept=kept.get(PROBES)) if probe else None
        self.probes = read_probes(run) if probe else []
        self._board = Board(run)
        self._show_again(run)
        sync(run)

    def write(self, row: JournalRow) -> None:
        """Add a step."""
        where = {"step": row.step, "stage": row.stage, "epoch": row.epoch, "batch": row.batch}
        exact = {"lr": row.lr, "loss": row.loss, **row.terms, **row.yardsticks}
        counts = {"locations": row.locations, "images": row.images}
        self._curves.add({**where, **counts, **{name: _exact(value) for name, value in exact.items()}})
        rate, images, share = row.locations / row.seconds, row.images / row.seconds, row.wait / row.seconds
        shown = {"seconds": f"{row.seconds:.4f}", "locations_per_s": f"{rate:.2f}", "images_per_s": f"{images:.2f}"}
        shown |= {"data_wait_share": f"{share:.4f}", "memory_gib": f"{row.memory_gib:.3f}"}
        self._speed.add({**where, **shown, "mfu": "" if row.mfu is None else f"{row.mfu:.4f}"})
        speed = {"locations_per_s": rate, "images_per_s": images, "data_wait_share": share}
        speed |= {"memory_gib": row.memory_gib} | ({} if row.mfu is None else {"mfu": row.mfu})
        self._board.add(row.step, _scalars(exact, speed))
        self._show(row, rate)

    def add_probe(self, row: ProbeRow) -> None:
        """Add a probe."""
        start = first_of(self.probes)
        self.probes.append(row)
        if self._probed is not None:
            self._probed.add(cells(row, start))
        self._board.add(row.step, scalars_of(row, start))

    def flush(self) -> dict[str, SealedFile]:
        """Put what is written onto the disk, before a checkpoint says that it is there; log -> what is there."""
        self._board.flush()
        sealed = {CURVES: self._curves.flush(), SPEED: self._speed.flush()}
        return sealed if self._probed is None else {**sealed, PROBES: self._probed.flush()}

    def close(self) -> None:
        """Close the files, end the line."""
        self._progress.close()
        self._curves.close()
        self._speed.close()
        if self._probed is not None:
            self._probed.close()
        self._board.close()

    def tell(self, line: str) -> None:
        """Show a line of text beside the progress; where that is not shown, it goes to the log."""
        if self._stream is None:
            log.info("%s", line)
            return
        self._stream.write(f"{before_a_line(self._stream)}{printable(line)}\n")
        self._stream.flush()

    def _show_again(self, run: Path) -> None:
        """TensorBoard's view of the steps that are done."""
        curves, speed = read_log(run / CURVES), read_log(run / SPEED)
        ago = sum(speed["seconds"])
        for i in range(min(len(curves["step"]), len(speed["step"]))):
            ago -= speed["seconds"][i]
            scalars = _scalars({name: one[i] for name, one in curves.items()}, {n: one[i] for n, one in speed.items()})
            self._board.add(int(curves["step"][i]), scalars, ago=ago)
        for n, row in enumerate(self.probes):
            self._board.add(row.step, scalars_of(row, first_of(self.probes[:n])))

    def _show(self, row: JournalRow, rate: float) -> None:
        self._progress.title = f"stage {row.stage} epoch {row.epoch + 1}"
        note = f"loss {row.loss:.4f}, {rate:,.1f} locations/s, data wait {row.wait / row.seconds:.0%}"
        self._progress.at(row.step, note=note)


class _Log:
    """A csv that grows, and its seal.

    Args:
        path: The file.
        columns: Names.
        done: Steps that stay; 0: the file is begun anew.
        kept: What a sealed checkpoint of that step says of the file: this part of it stays.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, done: int, kept: SealedFile | None) -> None:
        head = ",".join(columns).encode() + b"\n"
        data = path.read_bytes() if done and path.is_file() else head
        if data.startswith(",".join(_WHERE).encode() + b","):
            head = data[: data.find(b"\n") + 1] or head  # of an earlier release, which had fewer columns
        data = data[: kept.bytes] if done and kept else head + b"".join(_rows_until(done, data))
        write_atomically(path, data)
        self._columns = head.decode().strip().split(",")
        self._file, self._seal = path.open("ab"), LogSeal(data)

    def add(self, values: Mapping[str, object]) -> None:
        """Add a row: what it has of the columns, the others empty."""
        line = (",".join(str(values.get(name, "")) for name in self._columns) + "\n").encode()
        self._file.write(line)
        self._file.flush()
        self._seal.add(line)

    def flush(self) -> SealedFile:
        """Put it onto the disk; what is there then."""
        os.fsync(self._file.fileno())
        return self._seal.sealed()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _rows_until(done: int, data: bytes) -> Iterator[bytes]:
    """The rows of a log that no checkpoint sealed, up to a step; a killed process may have left half of one."""
    for line in io.BytesIO(data).readlines()[1:]:
        step = line.partition(b",")[0]
        if line.endswith(b"\n") and step.isdigit() and int(step) <= done:
            yield line


def _scalars(curves: Mapping[str, float], speed: Mapping[str, float]) -> dict[str, float]:
    """What TensorBoard shows of a row of each log."""
    found = {"loss/total": curves["loss"], "lr": curves["lr"]}
    found |= {f"loss/{name}": value for name, value in curves.items() if "_t" in name}
    found |= {f"yardsticks/{name}": value for name, value in curves.items() if name.partition(".")[0] in YARDSTICKS}
    found |= {f"speed/{name}": value for name, value in speed.items() if name not in (*_WHERE, "seconds")}
    return {name: value for name, value in found.items() if value == value}


def _exact(value: float) -> str:
    return repr(float(value))
