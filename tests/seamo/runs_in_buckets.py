"""A short run, in a bucket and on a disk, for the tests of runs at an address."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seamo.files import Files, open_files
from seamo.files import bucket as engine
from seamo.pretrain import claim
from seamo.pretrain.checkpoint import checkpoints
from seamo.pretrain.loop import pretrain
from seamo.pretrain.recipe import Recipe, apply_changes, parse_recipe
from seamo.store.reader import Store
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import RECIPE

# Three steps, a checkpoint each; the first is dropped again.
FEW = (
    "stage1={epochs: 1, warmup_epochs: 0}", "stage2={epochs: 3, warmup_epochs: 0}", "machine.checkpoint_every=1",
    "machine.keep=2",
)  # fmt: skip
FINAL = "final/model.safetensors"


def recipe(*changes: str) -> Recipe:
    return parse_recipe(apply_changes(RECIPE, [*FEW, *changes]), "test")


def move_out(home: Path) -> None:
    """On another machine, nothing is there."""
    shutil.rmtree(home)
    home.mkdir()


def lies_there(address: str) -> dict[str, bytes]:
    files = open_files(address)
    return {name: files.read(name) for name in files.names()}


def same_as_disk(address: str, disk: Path) -> None:
    """What an undisturbed run of a disk comes to, by a listing of both; logs stand in the checkpoints, too."""
    there = lies_there(address)
    own = ("speed.csv", "environment.json", "checksums.json", "checkpoint.json", "events.out")
    on_disk = {one.relative_to(disk).as_posix(): one.read_bytes() for one in disk.rglob("*") if one.is_file()}
    for name, data in on_disk.items():
        if not any(one in name for one in own):
            assert there[name] == data, name
    more = {name for name in there if name not in on_disk and "tensorboard/" not in name}
    stays = [path.name for path in checkpoints(disk / "checkpoints")]
    logs = {f"checkpoints/{step}/{name}" for step in stays for name in ("curves.csv", "speed.csv")}
    assert {name for name in more if name.count(".") == 1} == logs
    assert all(name.split(".")[-2] == "csv" or "environment" in name for name in more - logs), more - logs
    sealed = json.loads(there["checksums.json"])["files"]
    assert set(on_disk) - set(sealed) == {"checksums.json"} | {n for n in on_disk if "tensorboard" in n}


class _Killed(BaseException):
    pass


def kill_at(moment: int, work: Callable[[], object]) -> int:
    """Do it until it writes to the bucket for the n-th time: from then on nothing gets there. The number of writes."""
    count = 0

    def dying(effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Files, *args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count >= moment:
                raise _Killed
            return effect(self, *args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("put_once", "swap", "delete"):
            patch.setattr(engine.BucketFiles, name, dying(getattr(engine.BucketFiles, name)))
        patch.setattr(claim.RunClaim, "give_back", lambda self: self._over.set())
        with contextlib.suppress(_Killed):
            work()
    return count


def make_home(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; claims are stale at once."""
    made = folder / "tmp"
    made.mkdir()
    patch.setattr(tempfile, "tempdir", str(made))
    patch.setattr(claim, "STALE_S", 0.3)
    patch.setattr(claim, "_LOOK_S", 0.05)
    return made


def make_store(folder: Path) -> Store:
    """Eight places."""
    return build_small_store(folder, n=8, absent=(2,))


def train_on_disk(store: Store, folder: Path) -> Path:
    """The same run on a disk, of 4 steps."""
    return pretrain(recipe(), store, folder / "one").parent
