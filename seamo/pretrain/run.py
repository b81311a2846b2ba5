"""The folder of a run: begun, gone on with, ended; what stands in it is `seamo.pretrain.facts`."""

import hashlib
import logging
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import seamo
from seamo.disk import remove, sweep, sync
from seamo.errors import CheckpointError, TrainingError, UsageError
from seamo.identity import write_atomically
from seamo.model.checkpoint import check_weights, read_card
from seamo.model.files import CARD
from seamo.pretrain.board import FOLDER as BOARD
from seamo.pretrain.checkpoint import checkpoint_damages, checkpoints, latest_checkpoint, read_checkpoint_facts
from seamo.pretrain.facts import (
    MixedPartFacts,
    TrainingStoreFacts,
    read_environment,
    read_run_facts,
    recipe_damage,
    seal_run,
    sealed_damages,
    write_facts,
)
from seamo.pretrain.places import ENVIRONMENT, LOCK, RECIPE, RUN, RunFolder, check_model
from seamo.pretrain.recipe import Recipe, differences
from seamo.seal import MANIFEST, DamagedFile

log = logging.getLogger(__name__)

_SPARE = ("final", "checkpoints", BOARD)  # of a run that has ended: made again, or no longer needed
_PACKAGES = ("torch", "timm", "numpy", "pandas", "pyarrow", "numcodecs", "pydantic", "safetensors")


def begin_run(
    path: Path,
    recipe: Recipe,
    store: TrainingStoreFacts,
    *,
    mix: Sequence[MixedPartFacts] = (),
    resume: bool,
) -> bool:
    """Make the folder of a new run, or check that an old one may go on; the caller holds its lock.

    Args:
        path: The run's folder.
        recipe: The resolved recipe.
        store: Facts of the store.
        mix: Of the stores of a mixture.
        resume: Go on with what is there (nothing there: begin).

    Returns:
        Whether the run has ended already, whole.

    Raises:
        UsageError: If there is a run and `resume` is off.
        TrainingError: If the run was begun with another recipe or store content (names the difference), or a file that
            cannot be made again is damaged.
    """
    run = RunFolder(path)
    if (path / RUN).is_file():
        if not resume:
            raise UsageError("holds a run already", where=str(path), fix="Give --resume, or another --out.")
        _check_same(run, recipe, store, mix)
        sweep(path)
        sweep(run.checkpoints)
        if _has_ended(run):
            return True
        _name_damages(path)
    elif path.is_dir() and not all(_is_beginning(item.name) for item in path.iterdir()):
        raise UsageError("is not empty and holds no run", where=str(path), fix="Give another --out.")
    path.mkdir(parents=True, exist_ok=True)
    sweep(path)
    write_facts(run, recipe, store, mix, environment())
    sync(path)
    sync(path.parent)
    return False


def _name_damages(path: Path) -> None:
    """Say which files of a run are written again because they are not what they were."""
    found = recipe_damage(path, read_run_facts(path))
    if found:
        log.warning("%s %s: it is written again", path / RECIPE, found)
    try:
        read_environment(path)
    except TrainingError as error:
        log.warning("%s %s: it is written again", error.where, error.what)


def _is_beginning(name: str) -> bool:
    """Whether a file is what a run leaves that was killed before its folder was made."""
    return name in (LOCK, RECIPE, ENVIRONMENT) or (name.startswith(".") and name.endswith(".part"))


def find_model(path: Path) -> Path:
    """The model of a run (finished, or its newest whole checkpoint), or the model's own folder.

    Raises:
        UsageError: If there is neither.
        TrainingError: If no checkpoint is whole.
    """
    check_model(path)
    if (path / CARD).is_file():
        return path
    run = RunFolder(path)
    if run.final.is_dir():
        return run.final
    newest = latest_checkpoint(run.checkpoints)
    if newest is None:
        raise UsageError("has no checkpoint yet", where=str(path))
    return newest.path


def environment() -> dict[str, Any]:
    """Versions of what computes, and the kind of machine; nothing that tells whose machine it is."""
    packages = {name: version(name) for name in _PACKAGES}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "seamo": seamo.__version__,
        "code": code_digest(),
        "python": sys.version.split()[0],
        "packages": packages,
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "torch_threads": torch.get_num_threads(),
            "gpus": gpus,
            "cuda": torch.version.cuda or "",
        },
    }


def code_digest() -> str:
    """Sha256 over the source files of `seamo`: the version of the code, also in a changed checkout."""
    root = Path(str(seamo.__file__)).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def run_damages(path: Path) -> list[DamagedFile]:
    """Every file of a run that is not what was written, read whole.

    Raises:
        UsageError: If the folder holds no run.
        TrainingError: If run.json or checksums.json is damaged itself.
    """
    facts = read_run_facts(path)
    found = sealed_damages(path)
    if found is not None:
        return found
    found = []
    if recipe_damage(path, facts):
        found.append(DamagedFile(RECIPE, recipe_damage(path, facts)))
    try:
        read_environment(path)
    except TrainingError as error:
        found.append(DamagedFile(ENVIRONMENT, error.what))
    run = RunFolder(path)
    for one in checkpoints(run.checkpoints):
        place = one.relative_to(path).as_posix()
        try:
            for damaged in checkpoint_damages(one, read_checkpoint_facts(one)):
                ours = (one / damaged.name).parent == one and not (path / damaged.name).exists()
                found.append(damaged._replace(name=f"{place}/{damaged.name}") if ours else damaged)
        except TrainingError as error:
            found.append(DamagedFile(f"{place}/{Path(error.where).name}", error.what))
    damage = _final_damage(run) if run.final.exists() else None
    return [*dict.fromkeys(found), *([damage] if damage else [])]


def end_run(run: RunFolder) -> None:
    """Seal the folder of a run whose final model is there; the caller holds its lock."""
    if read_run_facts(run.path).sealed:
        seal_run(run.path)


def _final_damage(run: RunFolder) -> DamagedFile | None:
    try:
        check_weights(run.final / "model.safetensors", read_card(run.final))
    except CheckpointError as error:
        return DamagedFile(f"{run.final.name}/{Path(error.where).name}", error.what)
    return None


def _has_ended(run: RunFolder) -> bool:
    """Whether there is nothing left to do; else what can be made again is named, and taken out of the way.

    Raises:
        TrainingError: If what cannot be made again is damaged.
    """
    if not run.final.is_dir():
        remove(run.path / MANIFEST)  # the seal of a run whose final model somebody removed: it is made again
        return False
    found = sealed_damages(run.path)
    if found is None:  # killed before the seal, or of an earlier release
        damaged = _final_damage(run)
        found = [damaged] if damaged else []
        if not damaged and read_run_facts(run.path).sealed:
            latest_checkpoint(run.checkpoints)  # holds the logs against the last checkpoint
            seal_run(run.path)
    lost = [one for one in found if one.name != RECIPE and one.name.partition("/")[0] not in _SPARE]
    if lost:
        raise TrainingError(
            "; ".join(f"{one.name} {one.what}" for one in lost),
            where=str(run.path),
            fix="The run has ended, and this cannot be made again: copy the run from where it is whole.",
        )
    whole = True
    for one in found:
        if one.name == RECIPE:
            write_atomically(run.path / RECIPE, read_run_facts(run.path).text)
        final = one.name.startswith(f"{run.final.name}/")
        whole = whole and not final
        then = "it is made again" if final or one.name == RECIPE else "a run that has ended does without it"
        log.warning("%s: %s %s: %s", run.path, one.name, one.what, then)
    return whole


def _check_same(run: RunFolder, recipe: Recipe, store: TrainingStoreFacts, mix: Sequence[MixedPartFacts]) -> None:
    begun = read_run_facts(run.path)
    changed = differences(begun.recipe, recipe.to_dict())
    if changed:
        raise TrainingError(
            f"the run was begun with another recipe ({'; '.join(changed)})",
            where=str(run.path),
            fix="Resume with the same recipe and --set, or begin another run (--out).",
        )
    then, now = (_stores_in_words(one) for one in (begun.mix or (begun.store,), mix or (store,)))
    if (begun.mix or mix) and then != now:
        raise TrainingError(
            f"the run was begun on other stores, or in another order ({then} -> {now})",
            where=str(run.path),
            fix="Resume with the same --store in the same order, or begin another run (--out).",
        )
    for name in ("content", "split", "samples"):
        before, after = getattr(begun.store, name), getattr(store, name)
        if before != after:
            raise TrainingError(
                f"the run was begun on another store ({name}: {before} -> {after})",
                where=str(run.path),
                fix=f"Resume with the store of {begun.store.title}, or begin another run (--out).",
            )


def _stores_in_words(stores: Sequence[TrainingStoreFacts]) -> str:
    def told(one: TrainingStoreFacts) -> str:
        weight = f" x {one.weight:.6g}" if isinstance(one, MixedPartFacts) else ""
        return f"{one.title}, {one.content[:12]}, {one.samples} of {one.split}{weight}"

    return " + ".join(told(one) for one in stores)
