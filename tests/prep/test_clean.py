"""Litter of killed builds is found and swept; what is published, resumable or at work stays."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seamo.errors import StoreError
from seamo.store.keeping import rebuild
from seamo.store.reader import open_store
from seamo.store.roots import Catalogue, change_catalogue
from seamo_prep.clean import clean
from tests.prep.demo_stores import build_quietly

LITTER = {  # below the store's folder
    ".work/done/000000.npz": 5,
    ".store.json.4242.part": 7,
    "data.zarr/zarr.0123456789abcdef0123456789abcdef.partial": 11,
    "data.zarr/s2/.zarr.json.4242.part": 13,
    "views/.0a1b2c3d.partial/.index.parquet.4242.part": 17,
    "views/.0a1b2c3d.partial/ledger.json": 19,
}


def files_of(folder: Path) -> dict[str, bytes]:
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.fixture
def root(demo_root: Path, tmp_path: Path) -> Path:
    """A published store without litter."""
    shutil.copytree(demo_root / "eurosat", tmp_path / "root" / "eurosat", ignore=shutil.ignore_patterns(".*"))
    return tmp_path / "root"


def put(folder: Path, litter: dict[str, int]) -> None:
    for name, size in litter.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)


def test_litter_in_a_published_store_goes_and_the_store_stays(root: Path) -> None:
    store = open_store(root / "eurosat").path
    before = files_of(root)
    put(store, LITTER)
    lock = store.parent / f".{store.name}.lock"
    lock.write_text("process 1 on a-machine\n")
    put(store.parent, {".checksums.json.0123abcd.part": 3})
    os.utime(store.parent / ".checksums.json.0123abcd.part", (0, 0))
    with_litter = files_of(root)
    found = clean(root, dry_run=True)
    assert files_of(root) == with_litter
    assert sum(one.bytes for one in found) == sum(LITTER.values()) + 3 + len("process 1 on a-machine\n")
    assert clean(root) == found
    assert files_of(root) == before
    assert clean(root) == []


def test_a_file_that_a_manifest_names_stays_whatever_it_is_called(root: Path) -> None:
    store = open_store(root / "eurosat").path
    put(store, {".odd.part": 4, ".other.part": 4})
    manifest = store / "checksums.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"files":{', b'"files":{".odd.part":{"bytes":4},', 1))
    assert [one.path.name for one in clean(root)] == [".other.part"]
    assert (store / ".odd.part").exists()


def test_a_builder_at_work_is_left_alone(root: Path) -> None:
    store = open_store(root / "eurosat").path
    put(store, LITTER)
    before = files_of(root)
    with (store.parent / f".{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert clean(root, unfinished=True) == []
    assert files_of(root).items() >= before.items()
    put(store.parent, {".note.0123abcd.part": 3})  # somebody may be writing it
    assert store.parent / ".note.0123abcd.part" not in [one.path for one in clean(root)]


def test_unfinished_work_goes_only_when_asked_and_can_be_built_after(demo_raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "eurosat" / ".0a1b2c3d.partial"
    put(folder, {".work/done/000000.npz": 10, ".work/parts/data.zarr+s2.host.1": 20, ".store.json.1.part": 30})
    (found,) = (one for one in clean(tmp_path) if not one.goes)
    assert (found.path, found.bytes) == (folder, 10)  # the rest was swept before it was looked at
    assert list(files_of(folder)) == [".work/done/000000.npz"]
    assert [one.goes for one in clean(tmp_path, unfinished=True)] == [True, True]  # and its lock
    assert files_of(tmp_path) == {}
    build_quietly("eurosat", demo_raw / "eurosat", tmp_path)
    assert len(open_store(tmp_path / "eurosat")) == 60


def test_the_verb_says_bytes_and_a_root_that_is_none_is_one_message(root: Path) -> None:
    put(open_store(root / "eurosat").path, LITTER)
    command = [sys.executable, "-m", "seamo_prep.cli", "clean", str(root), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "would sweep 72 bytes" in done.stderr
    assert ".store.json.4242.part" in done.stdout.replace("\n", "")
    with pytest.raises(StoreError, match="no such folder"):
        clean(root / "nowhere")


def test_an_unfinished_copy_stays_until_it_is_asked_for(root: Path) -> None:
    store = open_store(root / "eurosat").path
    before = files_of(root)
    part = store.parent / ".0a1b2c3d-copy.partial"
    put(part, {"data.zarr/s2/c/0/0/0/0": 5, ".checksums.json.4242.part": 3})
    assert [(one.path.name, one.goes) for one in clean(root)] == [
        (".checksums.json.4242.part", True), (part.name, False),
    ]  # fmt: skip
    assert [path.name for path in part.rglob("*") if path.is_file()] == ["0"]
    assert [(one.path, one.goes) for one in clean(root, unfinished=True)] == [(part, True)]
    assert files_of(root) == before


def test_what_a_killed_removal_left_goes(root: Path) -> None:
    store = open_store(root / "eurosat").path
    (store / "store.json").rename(root / "kept.json")
    assert store not in [one.path for one in clean(root)]  # without a catalogue, nobody knows that it was removed
    (root / "kept.json").rename(store / "store.json")
    rebuild(root)
    (store / "store.json").rename(root / "kept.json")
    assert store not in [one.path for one in clean(root)]  # the catalogue has it: it is damaged
    change_catalogue(root, lambda _: Catalogue())
    size = sum(len(data) for data in files_of(store).values())
    assert [(one.path, one.bytes, one.goes) for one in clean(root, dry_run=True)] == [(store, size, True)]
    clean(root)
    assert not store.exists()
