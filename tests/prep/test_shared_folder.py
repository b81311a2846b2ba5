"""On a shared disk files follow their folder: its group, and what the group may do."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seamo.disk import locked, write_output
from seamo.errors import StoreError
from seamo.identity import write_atomically
from seamo.model.config import SeaMoConfig
from seamo.store.buildplan import BuildPlan
from seamo.store.copy import copy_store
from seamo.store.publish import build_lock
from seamo_prep.clean import clean
from tests.seamo.small_model import model_folder
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

PLAN = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20")
GROUP = 54_321  # nobody's; only root can give a folder to it


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder of a group, as its members make it: `chgrp`, `chmod g+rws`, `umask 002`."""
    folder = tmp_path / "shared"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, -1, GROUP)
    folder.chmod(0o2775)
    before = os.umask(0o002)
    yield folder
    os.umask(before)


def strangers(folder: Path) -> list[str]:
    """What another member of the group could not go on with."""
    group, found = folder.stat().st_gid, []
    for path in sorted(folder.rglob("*")):
        at = path.lstat()
        wanted = 0o2775 if path.is_dir() else 0o664
        if at.st_gid != group or stat.S_IMODE(at.st_mode) != wanted:
            found.append(f"{path.relative_to(folder)} {stat.S_IMODE(at.st_mode):o} {at.st_gid}")
    return found


def test_a_private_file_would_be_seen(shared: Path) -> None:
    os.close(os.open(shared / "private", os.O_CREAT | os.O_WRONLY, 0o600))
    assert [line.split()[0] for line in strangers(shared)] == ["private"]


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_stores_views_and_copies_follow_the_folder(shared: Path, layout: str) -> None:
    plan, samples = replace(PLAN, layout=layout), seasons_samples(6)
    path = build(shared / "stores", plan, samples)
    build(shared / "stores", replace(plan, split_scheme="cv5x5"), samples)
    copy_store(path, shared / "copies", layout=None, progress=lambda *_: None)
    assert len(list(shared.rglob("store.json"))) == 4
    assert strangers(shared) == []


def test_a_build_that_was_killed_can_be_gone_on_with_by_another_member(shared: Path) -> None:
    final = shared / "toy" / "0123abcd"
    (shared / "toy" / ".0123abcd.partial" / "work").mkdir(parents=True)
    clean(shared)  # makes the lock that the build would have, and lets it be
    assert (final.parent / ".0123abcd.lock").is_file()
    assert strangers(shared) == []
    os.close(build_lock(final))
    assert strangers(shared) == []


def test_models_and_single_files_follow_the_folder(shared: Path) -> None:
    model_folder(shared / "model", SeaMoConfig(size=16, patch=8, dim=16, depth=1, heads=2))
    write_atomically(shared / "a.json", b"{}")
    write_output(shared / "b.png", b"1", error=StoreError)
    with locked(shared / "c.lock", error=StoreError, what="is held"):
        assert strangers(shared) == []
