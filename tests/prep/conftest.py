"""Demo archives and stores that several tests of preprocessing share."""

from pathlib import Path

import pytest

from seamo_prep.demo import write_demos
from tests.prep.demo_stores import IDS, build_quietly


@pytest.fixture(scope="session")
def demo_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RAW with the tiny demo archives of four data sets and of one's own imagery; not to be changed."""
    raw = tmp_path_factory.mktemp("demo") / "raw"
    write_demos(raw, only=(*IDS, "folder"), workers=1, tell=lambda _id, _what: None)
    return raw


@pytest.fixture(scope="session")
def demo_root(demo_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of the demo archives, layout zarr; not to be changed."""
    root = tmp_path_factory.mktemp("stores")
    for dataset in IDS:
        build_quietly(dataset, demo_raw / dataset, root)
    return root
