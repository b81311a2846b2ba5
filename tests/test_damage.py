"""Damaged files and killed verbs, sampled; `make soak` and the two commands run them whole."""

from pathlib import Path

import pytest

from tests import damage, kills


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
