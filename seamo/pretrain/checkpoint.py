"""Checkpoints of a training run: whole or not there, sealed, the last few and the best of each stage kept.

`checkpoint.json` is the seal: a document that holds where the run was, size and sha256 of every other file of the
checkpoint, and of the run's logs as they stood then. A checkpoint is used if all of this holds; else the one before it.
"""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from seamo.disk import publish, remove, sweep
from seamo.errors import CheckpointError, SeamoError, TrainingError
from seamo.pretrain.logs import log_damage
from seamo.seal import (
    DamagedFile,
    SealedFile,
    damages,
    file_names,
    open_document,
    parse_json,
    seal_document,
    seal_files,
)

log = logging.getLogger(__name__)

FACTS = "checkpoint.json"  # written last inside the folder
STATE = "state.pt"
FORMAT = "seamo-checkpoint/2"
_PLACE = ("stage", "epoch", "batch", "step")
_FIX = "Go on with --resume: the checkpoint before it is used."
_LONGEST = 2**20  # bytes of checkpoint.json


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
class CheckpointFacts:
    """What `checkpoint.json` says.

    Args:
        progress: Where the run was.
        loss: Mean training loss since the checkpoint before it.
        files: Name -> what the file must be.
        logs: Log of the run -> size and sha256 of what was in it by then.
        sealed: False for one of an earlier release, whose facts nothing vouches for.
    """

    progress: TrainingProgress
    loss: float
    files: Mapping[str, SealedFile]
    logs: Mapping[str, SealedFile]
    sealed: bool = True


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on disk.

    Args:
        path: Its folder; `seamo.model.checkpoint.load_model` reads it.
        facts: Where the run was, and what the checkpoint vouches for.
        state: Optimiser state, tensors on the CPU.
    """

    path: Path
    facts: CheckpointFacts
    state: dict[str, Any]

    @property
    def progress(self) -> TrainingProgress:
        """Where the run was."""
        return self.facts.progress


def save_checkpoint(
    folder: Path,
    progress: TrainingProgress,
    state: dict[str, Any],
    *,
    loss: float,
    keep: int,
    write_model: Callable[[Path], object],
    logs: Mapping[str, SealedFile] | None = None,
) -> Path:
    """Write a checkpoint beside the others, then drop all but the last `keep` and the best of each stage.

    The folder is filled under a hidden name, synced to the disk and renamed, so that a kill or a full disk leaves the
    earlier checkpoints as they were. What was of later steps (passed over as damaged) is dropped: those steps come
    again.

    Args:
        folder: The run's `checkpoints` folder.
        progress: Where the run is.
        state: Optimiser state.
        loss: Mean training loss since the last checkpoint; decides which one is best.
        keep: Number of latest checkpoints to keep.
        write_model: Makes the folder it is given, with model and card in it.
        logs: Log of the run -> what is on the disk of it.

    Raises:
        TrainingError: If it cannot be written (full disk); names the last good checkpoint.
    """
    final = folder / f"step-{progress.step:08d}"
    part = folder / f".{final.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)  # of runs that were killed here; the run's lock keeps others out
        write_model(part)
        with (part / STATE).open("wb") as file:
            torch.save(state, file)
        facts = {
            "format": FORMAT,
            **asdict(progress),
            "loss": loss,
            "files": {name: one._asdict() for name, one in seal_files(part, file_names(part)).items()},
            "logs": {name: one._asdict() for name, one in (logs or {}).items()},
        }
        (part / FACTS).write_bytes(seal_document(facts))
        remove(final)  # the same step again, after a resume
        publish(part, final)
    except (OSError, RuntimeError, SafetensorError, CheckpointError) as error:  # torch and safetensors have their own
        remove(part)
        raise TrainingError(
            f"the checkpoint of step {progress.step} could not be written ({error})",
            where=str(final),
            fix=f"{_last_good(folder)} Make room and go on with --resume.",
        ) from error
    _prune(folder, keep, progress.step)
    return final


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a damaged one is named in the log and passed over.

    Whole are its own files, and the run's logs up to the step that it was written at.

    Raises:
        TrainingError: If there are checkpoints and none of them is whole; names what is wrong with the newest.
    """
    first = ""
    for path in reversed(checkpoints(folder)):
        try:
            facts = read_checkpoint_facts(path)
            if path.name != f"step-{facts.progress.step:08d}":
                raise TrainingError(f"is of step {facts.progress.step}", str(path / FACTS), _FIX)
            found = next(checkpoint_damages(path, facts), None)
            if found is None:
                return Checkpoint(path, facts, _read_state(path))
            damage = f"{found.name} {found.what}"
        except TrainingError as error:
            damage = f"{Path(error.where).name} {error.what}"
        first = first or f"{path.name}: {damage}"
        log.warning("checkpoint %s is damaged (%s): the one before it is used", path, damage)
    if first:
        raise TrainingError(
            f"no checkpoint is whole ({first})",
            where=str(folder),
            fix="Copy the run again from where it is whole, or start anew in another folder (--out).",
        )
    return None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first."""
    return sorted(folder.glob("step-????????")) if folder.is_dir() else []


def read_checkpoint_facts(path: Path) -> CheckpointFacts:
    """What a checkpoint says of itself, after its seal was checked; its files are not looked at.

    Raises:
        TrainingError: If the seal does not hold, or something is missing.
    """
    file = path / FACTS
    try:
        with file.open("rb") as opened:
            data = opened.read(_LONGEST + 1)
    except OSError as error:
        raise TrainingError(f"cannot be read ({error.strerror})", str(file), _FIX) from error
    return parse_checkpoint_facts(data, str(file))


def parse_checkpoint_facts(data: bytes, where: str) -> CheckpointFacts:
    """What the bytes of a checkpoint.json say, after its seal was checked.

    Raises:
        TrainingError: If the seal does not hold, or something is missing.
    """
    facts = parse_json(data, where, error=TrainingError, fix=_FIX)
    sealed = not _is_unsealed(facts)
    if sealed:
        facts = open_document(data, where, error=TrainingError, fix=_FIX)
        if facts.get("format") != FORMAT:
            raise TrainingError(f"is not of format {FORMAT}", where, "A newer seamo wrote it: update.")
    try:
        place = TrainingProgress(**{name: _whole_number(facts[name]) for name in _PLACE})
        files = {name: SealedFile(-1, one) if not sealed else SealedFile(**one) for name, one in facts["files"].items()}
        logs = {name: SealedFile(**one) for name, one in facts.get("logs", {}).items()}
        found = CheckpointFacts(place, float(facts["loss"]), files, logs, sealed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"does not say what it must ({error!r})", where, _FIX) from error
    if place.stage not in (1, 2):
        raise TrainingError(f"is of stage {place.stage}, which no run has", where, _FIX)
    return found


def checkpoint_damages(path: Path, facts: CheckpointFacts) -> Iterator[DamagedFile]:
    """What is not as a checkpoint sealed it: its files, and the logs of its run (`<run>/checkpoints/<step>`)."""
    files = facts.files
    if not facts.sealed:
        log.warning("checkpoint %s is of an earlier release: nothing vouches for its step and epoch", path)
        files = {name: SealedFile(_size(path / name), one.sha256) for name, one in files.items()}
    yield from damages(path, files, deep=True)
    for name, one in facts.logs.items():
        found = log_damage(path.parent.parent / name, one)
        if found:
            yield DamagedFile(name, found)


def _is_unsealed(facts: Mapping[str, Any]) -> bool:
    """Whether this is what releases before 0.2 wrote: exactly these fields, each file by its sha256 alone."""
    files = facts.get("files")
    return (
        set(facts) == {*_PLACE, "loss", "files"}
        and isinstance(files, dict)
        and all(isinstance(one, str) for one in files.values())
    )


def _whole_number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _read_state(path: Path) -> dict[str, Any]:
    where = str(path / STATE)
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise TrainingError(f"cannot be read ({error})", where, _FIX) from error
    except pickle.UnpicklingError as error:
        raise TrainingError(f"cannot be read ({error})", where, _FIX) from error
    if not isinstance(state, dict) or not isinstance(state.get("optimiser"), dict):
        raise TrainingError("holds no state of an optimiser", where, _FIX)
    return state


def _last_good(folder: Path) -> str:
    for path in reversed(checkpoints(folder)):
        try:
            if next(checkpoint_damages(path, read_checkpoint_facts(path)), None) is None:
                return f"The last good checkpoint is {path}."
        except SeamoError:
            continue
    return "There is no earlier checkpoint."


def kept_steps(checkpoints: Iterable[CheckpointFacts], keep: int) -> set[int]:
    """The steps of the checkpoints that stay: of the last `keep`, and of the best of each stage."""
    best: dict[int, tuple[float, int]] = {}
    steps = list[int]()
    for facts in checkpoints:
        step, stage = facts.progress.step, facts.progress.stage  # the stages' losses sum different numbers of images
        steps.append(step)
        best[stage] = min(best.get(stage, (float("inf"), step)), (facts.loss, step))
    return {*sorted(steps)[-keep:], *(step for _, step in best.values())}


def _prune(folder: Path, keep: int, step: int) -> None:
    """Drop what is not among the last `keep` up to `step` and not the best of a stage."""
    found = checkpoints(folder)
    so_far: dict[Path, CheckpointFacts] = {}
    for path in found:
        try:
            facts = read_checkpoint_facts(path)
        except SeamoError:  # damaged: it was passed over by name
            continue
        if facts.progress.step <= step:
            so_far[path] = facts
    stays = kept_steps(so_far.values(), keep)
    for path in found:
        if path not in so_far or so_far[path].progress.step not in stays:
            remove(path)
