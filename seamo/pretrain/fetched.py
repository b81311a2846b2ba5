"""Runs and models at an address, brought to this disk for as long as they are used, checked by their seals."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from seamo.addresses import disk_path, is_web, join, last_name
from seamo.disk import scratch_folder
from seamo.errors import CheckpointError, SeamoError, TrainingError, UsageError
from seamo.files import Files, open_files
from seamo.model.files import CARD, WEIGHTS
from seamo.pretrain.checkpoint import FACTS, CheckpointFacts, parse_checkpoint_facts
from seamo.pretrain.objects import FIX, bring_file
from seamo.pretrain.places import CHECKPOINTS, ENVIRONMENT, FINAL, RECIPE, RUN
from seamo.pretrain.run import find_model
from seamo.seal import MANIFEST, SealedFile, open_manifest

log = logging.getLogger(__name__)

_MODEL = (CARD, WEIGHTS, MANIFEST)
_brought: dict[str, Path] = {}


def model_folder(place: str | Path) -> Path:
    """The folder of a model on this disk: a run's, a checkpoint's, or the one that holds it.

    What lies at an address is brought once a process, and gone when the command ends.

    Args:
        place: A folder or an address: of a run, one of its checkpoints, or a model.

    Raises:
        UsageError: If there is no model.
        TrainingError, CheckpointError: If it is damaged.
        StoreError: If the address cannot be read.
    """
    path = disk_path(place)
    if path is not None:
        return find_model(path)
    files = open_files(place)
    damage: SeamoError | None = None
    for below, sealed, manifest in _models_at(files):
        address = join(files.url, below)
        if address in _brought and _brought[address].is_dir():
            return _brought[address]
        # Its last names stay: what is made with a run is called after its folder.
        folder = scratch_folder().joinpath(*PurePosixPath(address.partition("://")[2]).parts[-3:])
        try:
            for name, one in sealed.items():
                bring_file(files, f"{below}/{name}" if below else name, one, folder / name)
        except TrainingError as error:
            log.warning("%s: %s", error.where, error.what)
            damage = damage or error
            continue
        if manifest:
            (folder / MANIFEST).write_bytes(manifest)
        _brought[address] = folder
        return folder
    raise damage or UsageError("has no checkpoint yet", where=files.url)


@contextmanager
def run_on_disk(place: str | Path) -> Iterator[Path]:
    """A run or a model as a folder of this disk; what lies at an address is there as long as this is entered.

    Raises:
        UsageError: If there is neither.
        TrainingError: If a file is not what was sealed.
        StoreError: If the address cannot be read.
    """
    path = disk_path(place)
    if path is not None:
        yield path
        return
    files = open_files(place)
    if not files.exists(RUN):
        yield model_folder(place)
        return
    with TemporaryDirectory(prefix="seamo-run-") as made:
        folder = Path(made) / (last_name(files.url) or "run")
        _bring_run(files, folder)
        yield folder


def newest_checkpoints(files: Files) -> list[str]:
    """Names of the checkpoints of a run that were put whole, newest first. A listing."""
    if is_web(files.url):
        raise UsageError("has not ended, and a web server lists no files", files.url, "Name one of its checkpoints.")
    there = [name.split("/") for name in files.names(CHECKPOINTS)]
    return sorted((parts[1] for parts in there if parts[2:] == [FACTS]), reverse=True)


def read_facts_at(files: Files, name: str) -> CheckpointFacts | None:
    """What a checkpoint at an address says of itself; None if it is not there (any more).

    Raises:
        TrainingError: If its seal does not hold.
    """
    data = files.find(f"{CHECKPOINTS}/{name}/{FACTS}")
    if data is None:
        return None
    facts = parse_checkpoint_facts(data, files.where(f"{CHECKPOINTS}/{name}/{FACTS}"))
    if name != f"step-{facts.progress.step:08d}":
        raise TrainingError(f"is of step {facts.progress.step}", files.where(f"{CHECKPOINTS}/{name}/{FACTS}"), FIX)
    return facts


def bring_checkpoint(files: Files, name: str, facts: CheckpointFacts, run: Path) -> None:
    """Bring a checkpoint into a run's folder, and the logs as they stood at it."""
    for one, sealed in facts.files.items():
        bring_file(files, f"{CHECKPOINTS}/{name}/{one}", sealed, run / CHECKPOINTS / name / one)
    for one, sealed in facts.logs.items():
        bring_file(files, f"{CHECKPOINTS}/{name}/{one}", sealed, run / one)
    (run / CHECKPOINTS / name / FACTS).write_bytes(files.read(f"{CHECKPOINTS}/{name}/{FACTS}"))


def read_seal_at(files: Files) -> dict[str, SealedFile] | None:
    """What the end of a run sealed; None for one that has not ended.

    Raises:
        TrainingError: If checksums.json is damaged.
    """
    data = files.find(MANIFEST)
    return None if data is None else open_manifest(data, files.where(MANIFEST), error=TrainingError, fix=FIX)


def bring_facts(files: Files, run: Path) -> None:
    """Bring what a run says of itself."""
    run.mkdir(parents=True, exist_ok=True)
    for name in (ENVIRONMENT, RECIPE, RUN):
        data = files.find(name)
        if data is not None:
            (run / name).write_bytes(data)


def _models_at(files: Files) -> Iterator[tuple[str, Mapping[str, SealedFile], bytes]]:
    """Where models are below an address, the wanted one first; their files; and a manifest that nothing seals."""
    data = files.find(MANIFEST)
    if data is None and not files.exists(RUN):
        raise UsageError("holds no model under a seal", files.url, "Give a run, one of its checkpoints, or an export.")
    if data is None:
        for name in newest_checkpoints(files):
            facts = read_facts_at(files, name)
            if facts is not None:
                yield f"{CHECKPOINTS}/{name}", {one: facts.files[one] for one in _MODEL}, b""
        return
    sealed = open_manifest(data, files.where(MANIFEST), error=CheckpointError, fix=FIX)
    if {CARD, WEIGHTS} <= set(sealed):
        yield "", {name: sealed[name] for name in (CARD, WEIGHTS)}, data
    elif {f"{FINAL}/{name}" for name in _MODEL} <= set(sealed):
        yield FINAL, {name: sealed[f"{FINAL}/{name}"] for name in _MODEL}, b""
    else:
        raise UsageError("is neither a run nor a model", files.url, "Give a folder of `seamo pretrain --out`.")


def _bring_run(files: Files, folder: Path) -> None:
    sealed = read_seal_at(files)
    if sealed is not None:
        for name, one in sealed.items():
            bring_file(files, name, one, folder / name)
        (folder / MANIFEST).write_bytes(files.read(MANIFEST))
        return
    bring_facts(files, folder)
    for name in reversed(newest_checkpoints(files)):
        facts = read_facts_at(files, name)
        if facts is not None:
            bring_checkpoint(files, name, facts, folder)
