"""Checkpoints of a training run: whole or not there, checked when read, the last few and the best kept."""

import json
import logging
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from seamo.errors import TrainingError
from seamo.identity import file_sha256

log = logging.getLogger(__name__)

FACTS = "checkpoint.json"  # written last inside the folder: where the run was, and the hash of every file
STATE = "state.pt"


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a run is: everything that its next step depends on, weights and optimiser apart.

    Args:
        stage: 1 or 2.
        epoch: Within the stage.
        batch: Global batches of that epoch that are done.
        step: Optimiser steps done in the whole run.
    """

    stage: int
    epoch: int
    batch: int
    step: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on disk.

    Args:
        path: Its folder; `seamo.model.checkpoint.load_model` reads it.
        progress: Where the run was.
        loss: Mean training loss since the checkpoint before it.
        state: Optimiser state, tensors on the CPU.
    """

    path: Path
    progress: TrainingProgress
    loss: float
    state: dict[str, Any]


def save_checkpoint(
    folder: Path,
    progress: TrainingProgress,
    state: dict[str, Any],
    *,
    loss: float,
    keep: int,
    write_model: Callable[[Path], object],
) -> Path:
    """Write a checkpoint beside the others, then drop all but the last `keep` and the best of each stage.

    The folder is filled under a hidden name, flushed to the disk and renamed, so that a kill or a full disk
    leaves the earlier checkpoints as they were.

    Args:
        folder: The run's `checkpoints` folder.
        progress: Where the run is.
        state: Optimiser state.
        loss: Mean training loss since the last checkpoint; decides which one is best.
        keep: Number of latest checkpoints to keep.
        write_model: Makes the folder it is given, with model and card in it.

    Raises:
        TrainingError: If it cannot be written (full disk); names the last good checkpoint.
    """
    final = folder / f"step-{progress.step:08d}"
    part = folder / f".{final.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.part"):  # of runs that were killed here; the run's lock keeps others out
            shutil.rmtree(left, ignore_errors=True)
        write_model(part)
        with (part / STATE).open("wb") as file:
            torch.save(state, file)
        files = {path.name: file_sha256(path) for path in sorted(part.iterdir())}
        facts = {**asdict(progress), "loss": loss, "files": files}
        (part / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        for path in part.iterdir():
            _flush(path)
        if final.exists():  # the same step again, after a resume
            shutil.rmtree(final)
        part.rename(final)
        _flush(folder)
    except (OSError, RuntimeError, SafetensorError) as error:  # how torch and safetensors report a failed write
        shutil.rmtree(part, ignore_errors=True)
        raise TrainingError(
            f"the checkpoint of step {progress.step} could not be written ({error})",
            where=str(final),
            fix=f"{_last_good(folder)} Make room and go on with --resume.",
        ) from error
    _prune(folder, keep)
    return final


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a damaged one is named in the log and passed over.

    Raises:
        TrainingError: If there are checkpoints and every one of them is damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        damage, facts = _check(path)
        if damage:
            log.warning("checkpoint %s is damaged (%s): the one before it is used", path, damage)
            continue
        try:
            state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("checkpoint %s is damaged (%s): the one before it is used", path, error)
            continue
        progress = TrainingProgress(**{name: int(facts[name]) for name in ("stage", "epoch", "batch", "step")})
        return Checkpoint(path, progress, float(facts["loss"]), state)
    if found:
        raise TrainingError(
            "every checkpoint is damaged", where=str(folder), fix="Start anew in another folder (--out)."
        )
    return None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first."""
    return sorted(folder.glob("step-????????")) if folder.is_dir() else []


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint (progress, loss, hashes of its files), unchecked."""
    facts: dict[str, Any] = json.loads((path / FACTS).read_text(encoding="utf-8"))
    return facts


def _check(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        facts = describe_checkpoint(path)
        for name, sha256 in facts["files"].items():
            if file_sha256(path / name) != sha256:
                return f"{name} has changed", facts
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}", {}
    return "", facts


def _last_good(folder: Path) -> str:
    good = [path for path in checkpoints(folder) if not _check(path)[0]]
    return f"The last good checkpoint is {good[-1]}." if good else "There is no earlier checkpoint."


def _prune(folder: Path, keep: int) -> None:
    found = checkpoints(folder)
    best: dict[int, tuple[float, Path]] = {}
    for path in found:
        damage, facts = ("", describe_checkpoint(path)) if (path / FACTS).is_file() else ("no facts", {})
        if not damage:
            stage = int(facts["stage"])  # the stages' losses sum different numbers of images
            best[stage] = min(best.get(stage, (float("inf"), path)), (float(facts["loss"]), path))
    stays = {*found[-keep:], *(path for _, path in best.values())}
    for path in found:
        if path not in stays:
            shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
