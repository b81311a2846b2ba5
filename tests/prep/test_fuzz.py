"""Damaged files of every reader of `fuzz`: never a foreign exception; what was found once is replayed.

`SEAMO_FUZZ` says how many inputs a reader gets in the long version (a million, if it does not).
"""

import os
from base64 import b85decode
from collections import Counter
from pathlib import Path

import pytest

from tests.prep.fuzz import READERS, fuzz, make, outcome
from tests.prep.fuzz_findings import FINDINGS

FEW = {"tiff": 600, "parquet": 150, "list": 100, "synthetic": 100}
"""Inputs of a reader in `make test`; 300 of the others."""


def check(name: str, count: int, folder: Path) -> Counter[str]:
    said: Counter[str] = Counter()
    for number, what, seconds in fuzz(name, range(count), folder):
        assert what in ("read", "refused"), f"{name} {number}: {what}"
        assert seconds < 20, f"{name} {number} took {seconds:.0f} s"
        said[what] += 1
    return said


@pytest.mark.parametrize("name", list(READERS))
def test_damage_is_refused_by_name(name: str, tmp_path: Path) -> None:
    said = check(name, FEW.get(name, 300), tmp_path)
    assert said["refused"] > 10  # otherwise the damage does not reach the reader


@pytest.mark.parametrize("name", list(READERS))
def test_seeds_are_sound(name: str, tmp_path: Path) -> None:
    """What is damaged was read before; of the zips, two are of methods that are not read."""
    reader = READERS[name]
    said = Counter(outcome(name, reader.wrap(one), tmp_path) for one in reader.seeds())
    assert said.total() - said["refused"] == said["read"] >= 1
    assert said["refused"] <= (2 if name == "zip" else 0), said


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, found in FINDINGS.items() for data in found])
def test_findings(name: str, data: bytes, tmp_path: Path) -> None:
    assert outcome(name, b85decode(data), tmp_path) in ("read", "refused")


def test_inputs_are_the_same_again() -> None:
    assert make("tar", 7) == make("tar", 7) != make("tar", 8)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(READERS))
def test_a_million(name: str, tmp_path: Path) -> None:
    count = int(os.environ.get("SEAMO_FUZZ", "1000000"))
    print(name, check(name, count, tmp_path))  # noqa: T201 - `pytest -s` shows it
