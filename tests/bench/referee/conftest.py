"""Stores and records of every kind of task, and a results repository of them; what the referee's tests share."""

import shutil
from dataclasses import replace

import pytest
import torch

from seamo.store.reader import open_store
from seamo.testing.tasks import task_store
from seamo_bench.records.submit import submit
from seamo_bench.runs.papers import papers_of
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.runs.sharing import init_repository, register_store
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import toy_store
from tests.bench.dense_store import TILE, dense_samples, dense_spec, map_store, write_store
from tests.bench.referee.kinds import SUITE, N, sets_store
from tests.bench.test_joined import build
from tests.bench.test_run import quiet

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root)
    sets_store(root)
    map_store(root)
    scenes = dense_spec()
    samples, splits = dense_samples(scenes, stride=TILE)
    write_store(root, scenes, samples, splits)
    samples, splits = dense_samples(scenes, 5, stride=TILE)  # places are no part of a content hash, and this is another
    nowhere = [replace(sample, scene="", offset=(0, 0)) for sample in samples]
    write_store(root, scenes.model_copy(update={"id": "alone"}), nowhere, splits)
    build(root, "optical", range(N))
    build(root, "radar", reversed(range(5, N + 5)))
    for kind in ("segmentation", "change"):
        store = task_store(root / "apart", kind)
        shutil.copytree(store.path, root / store.spec.id / store.path.name)
    return root


@pytest.fixture(scope="session")
def results(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("results")
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    places = Places(root, folder, folder / "weights")
    cells = make_plan(load_suite(str(suite)), (), places)
    made = list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))
    assert [record.reason for record in made if record.status == "failed"] == []
    suite.unlink()
    return folder


@pytest.fixture(scope="session")
def repository(tmp_path_factory, results, root):
    """A results repository whose register knows all stores, with all records."""
    folder = tmp_path_factory.mktemp("repository")
    init_repository(folder)
    for store in ([one] for one in root.glob("*/") if one.name not in ("apart", "optical", "radar")):
        register_store(folder, [open_store(path).path for path in store], who="maintainer")
    register_store(folder, [open_store(root / name).path for name in ("optical", "radar")], who="maintainer")
    sent = list(submit(results, folder, papers=lambda record: papers_of(record, {})))
    assert {one.outcome for one in sent} == {"copied"}
    assert {one.reason for one in sent} == {""}
    return folder
