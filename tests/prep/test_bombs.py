"""No reader takes more than 64 MiB beyond what was promised: peaks measured in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.prep.bombs import CHEAP, DEAR, SIZE

MOST_MIB = 64
ROOT = Path(__file__).resolve().parents[2]


def measure(makers: Sequence, folder: Path) -> dict[str, tuple[int, str]]:
    for maker in makers:
        reader, twin, bomb = maker()
        assert len(bomb) < SIZE / 20, maker.__name__
        for part, data in (("reader", reader.encode()), ("twin", twin), ("bomb", bomb)):
            (folder / f"{maker.__name__}.{part}").write_bytes(data)
    command = [sys.executable, "-m", "tests.prep.bombs", str(folder), *(maker.__name__ for maker in makers)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return {name: (more, said) for name, more, said in lines}


def test_the_cheap_ones(tmp_path: Path) -> None:
    found = measure(CHEAP, tmp_path)
    print(found)  # noqa: T201 - `pytest -s` shows it
    assert len(found) == len(CHEAP)
    assert {name: more for name, (more, _) in found.items() if more > MOST_MIB} == {}
    assert max(more for more, _ in found.values()) > 5  # the gauge moves
    assert all(said != "read" for said in (found["strip"][1], found["empty_image"][1], found["member"][1]))


@pytest.mark.soak
@pytest.mark.parametrize("maker", [*CHEAP, *DEAR], ids=lambda maker: maker.__name__)
def test_each_alone(maker, tmp_path: Path) -> None:
    ((name, (more, said)),) = measure([maker], tmp_path).items()
    print(name, more, said)  # noqa: T201
    assert more <= MOST_MIB, said
