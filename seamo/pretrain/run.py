"""The folder of a run: what it was asked, on what data and with what code, and whether it may go on."""

import fcntl
import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

import seamo
from seamo.errors import TrainingError, UsageError
from seamo.identity import write_atomically
from seamo.model.files import CARD
from seamo.pretrain.checkpoint import latest_checkpoint
from seamo.pretrain.places import ENVIRONMENT, RECIPE, RUN, RunFolder, check_model
from seamo.pretrain.recipe import Recipe, differences, read_yaml

_PACKAGES = ("torch", "timm", "numpy", "pandas", "pyarrow", "numcodecs", "pydantic", "safetensors")


@dataclass(frozen=True, slots=True)
class TrainingStoreFacts:
    """What a run remembers of its store.

    Args:
        id: Data set id.
        title: As tables show it ("synthetic", "subset" included).
        content: Content hash: the run goes on with this content only.
        split: What was read of it.
        samples: How many samples that was.
    """

    id: str
    title: str
    content: str
    split: str
    samples: int


def begin_run(path: Path, recipe: Recipe, store: TrainingStoreFacts, *, resume: bool) -> RunFolder:
    """Make the folder of a new run, or check that an old one may go on.

    Args:
        path: The run's folder.
        recipe: The resolved recipe.
        store: Facts of the store.
        resume: Go on with what is there (nothing there: begin).

    Raises:
        UsageError: If there is a run and `resume` is off.
        TrainingError: If the run was begun with another recipe or store content; names the difference.
    """
    run = RunFolder(path)
    if (path / RUN).is_file():
        if not resume:
            raise UsageError("holds a run already", where=str(path), fix="Give --resume, or another --out.")
        _check_same(run, recipe, store)
    elif path.is_dir() and not all(_is_beginning(item.name) for item in path.iterdir()):
        raise UsageError("is not empty and holds no run", where=str(path), fix="Give another --out.")
    path.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=False)
    write_atomically(path / RECIPE, text.encode("ascii"))
    write_atomically(path / ENVIRONMENT, _json(environment()))
    facts = {name: getattr(store, name) for name in ("id", "title", "content", "split", "samples")}
    write_atomically(path / RUN, _json({"format": "seamo-run/1", "store": facts}))
    return run


def _is_beginning(name: str) -> bool:
    """Whether a file is what a run leaves that was killed before its folder was made."""
    return name in (".lock", RECIPE, ENVIRONMENT) or (name.startswith(".") and name.endswith(".part"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder; a killed one leaves no lock behind.

    Raises:
        TrainingError: If another process trains there.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError("another process is training there", where=str(path)) from error
        yield


def read_run(path: Path) -> dict[str, Any]:
    """The facts of a run: `recipe`, `store`, `environment`.

    Raises:
        UsageError: If the folder holds no run.
    """
    if not (path / RUN).is_file():
        raise UsageError("holds no run", where=str(path), fix="Give the folder that `seamo pretrain --out` wrote.")
    facts = json.loads((path / RUN).read_text(encoding="utf-8"))
    around = json.loads((path / ENVIRONMENT).read_text(encoding="utf-8"))
    return {"recipe": read_yaml(path / RECIPE), "store": facts["store"], "environment": around}


def find_model(path: Path) -> Path:
    """The model of a run (finished, or its newest whole checkpoint), or the model's own folder.

    Raises:
        UsageError: If there is neither.
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


def _check_same(run: RunFolder, recipe: Recipe, store: TrainingStoreFacts) -> None:
    begun = read_run(run.path)
    changed = differences(begun["recipe"], recipe.to_dict())
    if changed:
        raise TrainingError(
            f"the run was begun with another recipe ({'; '.join(changed)})",
            where=str(run.path),
            fix="Resume with the same recipe and --set, or begin another run (--out).",
        )
    for name in ("content", "split", "samples"):
        before, now = begun["store"][name], getattr(store, name)
        if before != now:
            raise TrainingError(
                f"the run was begun on another store ({name}: {before} -> {now})",
                where=str(run.path),
                fix=f"Resume with the store of {begun['store']['title']}, or begin another run (--out).",
            )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode("utf-8")
