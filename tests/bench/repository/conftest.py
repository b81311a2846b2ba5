"""A results repository on a disk, with two records that were handed in; what its tests share."""

import shutil

import pytest
import torch

from seamo.store.reader import open_store
from seamo_bench.records.submit import submit
from seamo_bench.runs.papers import papers_of
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.runs.sharing import init_repository, register_store
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import toy_store
from tests.bench.repository.contributions import SUITE
from tests.bench.test_run import quiet

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root, 90)
    return root


@pytest.fixture(scope="session")
def results(tmp_path_factory, stores):
    """Two records of one backbone: kNN and logistic regression."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "suite.yaml").write_text(SUITE)
    places = Places(stores, folder, folder / "weights")
    cells = make_plan(load_suite(str(folder / "suite.yaml")), (), places)
    made = list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))
    assert [record.status for record in made] == ["ok", "ok"]
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory, results, stores):
    """The main branch: one store, and the two records as Ada handed them in."""
    folder = tmp_path_factory.mktemp("repository") / "main"
    init_repository(folder)
    register_store(folder, [open_store(stores / "toy").path], who="keeper")
    sent = list(submit(results, folder, papers=lambda record: papers_of(record, {}), submitter="Ada"))
    assert [one.outcome for one in sent] == ["copied", "copied"]
    return folder


@pytest.fixture
def change(base, tmp_path):
    """A checkout of the main branch, to change."""
    return shutil.copytree(base, tmp_path / "change")
