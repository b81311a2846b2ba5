"""Stores with places, and records of runs that saw some of them; what the tests of overlaps share."""

from pathlib import Path

import pytest

from tests.bench.overlap.placed import opened, placed_store, put


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores: `toy`; `corpus`, whose 30 samples are its first three rows, and `beside`, a store to the east."""
    made = tmp_path_factory.mktemp("stores")
    placed_store(made, 90)
    placed_store(made, 30, name="corpus")
    placed_store(made, 90, name="beside", shift=800.0)
    return made


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A run of ours that saw `corpus`, one that saw a store elsewhere, a floor, and listed backbones."""
    made = tmp_path_factory.mktemp("made") / "results"
    toy, corpus, beside = (opened(root, name) for name in ("toy", "corpus", "beside"))
    for seed in range(2):
        put(made, toy, "saw", (1.0, 0.5), seed=seed, content=corpus.content)
    put(made, toy, "elsewhere", (0.7, 0.7), content=beside.content)
    put(made, toy, "texture-statistics", (0.6, 0.6), floor="image statistics")
    for name in ("croma-base-s2", "resnet50-in1k", "somebodys", "clay-v1.5"):
        put(made, toy, name, (0.8, 0.7))
    return made
