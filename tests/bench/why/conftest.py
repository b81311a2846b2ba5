"""Stores, and records that are run when they are asked for; what the tests of `why` share."""

import pytest
import torch

from seamo_prep.demo import write_demos
from tests.bench.bench_store import toy_store
from tests.bench.why.planted import World
from tests.prep.demo_stores import build_quietly

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("demo")
    write_demos(folder / "raw", only=["eurosat", "bigearthnet-v1"], workers=1, tell=lambda *_: None)
    for name in ("eurosat", "bigearthnet-v1"):
        build_quietly(name, folder / "raw" / name, folder / "stores")
    return World(folder)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("toy")
    toy_store(folder / "stores")
    return World(folder)


@pytest.fixture(scope="session")
def real(samples, tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("real")
    build_quietly("eurosat", samples / "eurosat_ms", folder / "stores", splits="hash-60-20-20")
    return World(folder)
