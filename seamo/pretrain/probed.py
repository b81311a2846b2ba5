"""What a run's probe found: rows of probe.csv, held against the same network before its first step. No torch here."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.errors import TrainingError
from seamo.pretrain.frozen import paired_interval
from seamo.pretrain.logs import PROBES

HEADS = ("ridge", "knn")
_GAIN = ("gain", "low", "high")
COLUMNS = (
    "step", "stage", "epochs", "on", "train", "val",
    *(column for head in HEADS for column in (head, *(f"{head}_{part}" for part in _GAIN))),
    *(f"{head}_right" for head in HEADS),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRow:
    """One probe of a network.

    Args:
        step: Optimiser steps that the network has behind it; 0: its first weights.
        stage: 1 or 2, whose network it is.
        epochs: That it has behind it, over the whole run.
        on: Digest of what was probed on: store, images, statistics, size.
        train: Number of images that the heads were fitted to.
        right: Head -> whether each of the other images got its class.
    """

    step: int
    stage: int
    epochs: int
    on: str
    train: int
    right: Mapping[str, NDArray[np.bool_]]

    def share(self, head: str) -> float:
        """Share of the images that a head is right about."""
        return float(self.right[head].mean())


@dataclass(frozen=True, slots=True)
class ProbeGain:
    """How much more a network tells than it did before its first step, with a paired 95 % interval, as shares.

    Args:
        share: Of the images that are right now.
        gain: More than then.
        low, high: The interval of it, over the images.
    """

    share: float
    gain: float
    low: float
    high: float


def gains(row: ProbeRow, start: ProbeRow) -> dict[str, ProbeGain]:
    """Head -> the gain of a row over the row of step 0."""
    return {
        head: ProbeGain(row.share(head), *paired_interval(row.right[head], start.right[head])) for head in row.right
    }


def shows_gain(found: Mapping[str, ProbeGain]) -> bool:
    """Whether the interval of a head lies above zero."""
    return any(one.low > 0 for one in found.values())


def in_words(row: ProbeRow, start: ProbeRow, title: str) -> str:
    """A probe in a sentence."""
    count = len(next(iter(row.right.values())))
    place = f"probe after step {row.step:,} (stage {row.stage}) on {count:,} images of {title}"
    if not row.step:
        shares = ", ".join(f"{head} {100 * row.share(head):.1f} %" for head in row.right)
        return f"{place}: {shares}, before any training"
    parts = (
        f"{head} {100 * one.share:.1f} % ({100 * one.gain:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}])"
        for head, one in gains(row, start).items()
    )
    return f"{place}: {', '.join(parts)}, against the network of step 0"


def cells(row: ProbeRow, start: ProbeRow | None) -> dict[str, object]:
    """A row as probe.csv holds it; without gains for the row of step 0 itself."""
    first = next(iter(row.right.values()))
    found: dict[str, object] = {"step": row.step, "stage": row.stage, "epochs": row.epochs, "on": row.on}
    found |= {"train": row.train, "val": len(first)}
    for head, right in row.right.items():
        found[head] = repr(row.share(head))
        found[f"{head}_right"] = np.packbits(right).tobytes().hex()
    for head, one in ({} if start is None else gains(row, start)).items():
        found |= {f"{head}_gain": repr(one.gain), f"{head}_low": repr(one.low), f"{head}_high": repr(one.high)}
    return found


def scalars_of(row: ProbeRow, start: ProbeRow | None) -> dict[str, float]:
    """What TensorBoard shows of a row."""
    found = {f"probe/{head}": row.share(head) for head in row.right}
    for head, one in ({} if start is None else gains(row, start)).items():
        found |= {f"probe/{head}_gain": one.gain, f"probe/{head}_low": one.low, f"probe/{head}_high": one.high}
    return found


def read_probes(run: Path) -> list[ProbeRow]:
    """The rows of a run's probe.csv; none where there is no such file.

    Raises:
        TrainingError: Naming the line that is none.
    """
    path = run / PROBES
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot be read ({error})", str(path), "Copy the run again.") from error
    found = []
    for number, one in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
        try:
            found.append(_row(one))
        except (KeyError, TypeError, ValueError) as error:
            where, fix = f"{path}, line {number}", "Copy the run again."
            raise TrainingError(f"is no row of a probe ({error!r})", where, fix) from error
    if len({(row.on, row.train, *map(len, row.right.values())) for row in found}) > 1:
        raise TrainingError("has rows of different probes", str(path), "Copy the run again.")
    return found


def first_of(rows: Sequence[ProbeRow]) -> ProbeRow | None:
    """The row of step 0."""
    return next((row for row in rows if row.step == 0), None)


def _row(one: Mapping[str, str]) -> ProbeRow:
    count = int(one["val"])
    packed = {head: np.frombuffer(bytes.fromhex(one[f"{head}_right"]), np.uint8) for head in HEADS}
    if count < 1 or any(len(some) != -(-count // 8) for some in packed.values()):
        raise ValueError("images are missing")
    right = {head: np.unpackbits(some, count=count).astype(np.bool_) for head, some in packed.items()}
    return ProbeRow(int(one["step"]), int(one["stage"]), int(one["epochs"]), one["on"], int(one["train"]), right)
