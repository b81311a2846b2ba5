"""Stores, results and records whose heads are applied; what the tests of `predict` share."""

import pytest
import torch

from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.dense_store import dense_samples, dense_spec, dense_store, write_store
from tests.bench.test_joined import build as build_part
from tests.bench.trained_heads import DEMO, DENSE, FOUR, SINGLE, run

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """Stores, results and records of a single-label task, of one and of two sensors."""
    root = tmp_path_factory.mktemp("single")
    spec = toy_spec(bands=FOUR)
    build_store(root / "stores", spec, toy_samples(spec, 60))
    build_part(root / "stores", "optical", range(40))
    build_part(root / "stores", "radar", range(40))
    return root / "stores", *run(root, SINGLE, root / "stores", backbones=("image-statistics",))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Overlapping tiles, a linear head on single pixels."""
    root = tmp_path_factory.mktemp("scenes")
    store = dense_store(root / "stores")
    return store, *run(root, DENSE, root / "stores", backbones=("pixel-values",))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Trained networks: of tiles without overlap, and of single labels; bands filled."""
    root = tmp_path_factory.mktemp("demo")
    toy, dense = toy_spec(bands=FOUR), dense_spec()
    build_store(root / "stores", toy, toy_samples(toy, 60))
    write_store(root / "stores", dense, *dense_samples(dense, stride=16))
    return root / "stores", *run(root, DEMO, root / "stores", backbones=("seamo-random",), budget="demo")
