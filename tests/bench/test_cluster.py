"""A suite on a scheduler that loses workers, or is lost itself: the records of a run here."""

import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seamo.errors import SeamoError, StoreError, UsageError
from seamo_bench.records.record import Record, read_records
from seamo_bench.runs import cluster, run
from seamo_bench.runs.claims import claimed
from seamo_bench.runs.cluster import run_on_cluster
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.results import OnDisk
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from tests import servers
from tests.bench.address_world import of_address, of_disk
from tests.bench.bench_store import toy_store
from tests.bench.test_kills import left
from tests.dask_cluster import SLOW_CELLS, Cluster, scheduler_here

torch.set_num_threads(1)
SUITE = """
id: shared
rows:
  - {store: toy, protocol: knn}
  - {store: toy, protocol: logreg}
  - {store: toy, protocol: linear, fraction: 0.5, params: {steps: 3}}
"""
# What kills its worker, as the kernel does where memory is out.
DEADLY = """
from seamo_bench.protocols import runner

def dies(name):
    import os, signal
    if name == "logreg" and "pixel-values" in current:
        os.kill(os.getpid(), signal.SIGKILL)
    return runner(name)

def noting(cell, *arguments):
    current[:] = [cell.backbone]
    return run.own(cell, *arguments)

if not hasattr(run, "own"):
    run.own, current = run._run_cell, []
    run.runner, run._run_cell = dies, noting
"""
GROUP = cluster._group
BACKBONES = ("image-statistics", "pixel-values")


def quiet(_done: int, _total: int, _what: str) -> None:
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a suite, and the records of a run in this process."""
    folder = tmp_path_factory.mktemp("made")
    toy_store(folder / "stores", 30)
    (folder / "suite.yaml").write_text(SUITE)
    run_here(folder, folder / "results")
    return folder


def plan_of(made: Path, results: Path) -> tuple[list, Places]:
    places = Places(made / "stores", results, made / "weights")
    return make_plan(load_suite(str(made / "suite.yaml")), BACKBONES, places), places


def run_here(made: Path, results: Path) -> list[Record]:
    cells, places = plan_of(made, results)
    return list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))


def run_there(
    address: str, made: Path, results: Path, meanwhile: Callable[[], None] = lambda: None, *, device: str = "cpu"
) -> list[Record]:
    cells, places = plan_of(made, results)
    side = threading.Thread(target=meanwhile)
    side.start()
    try:
        return list(
            run_on_cluster(
                cells, places, scheduler=address, budget="full", machine=Machine(device), threads=1, progress=quiet,
                say=lambda _: None,
            )
        )  # fmt: skip
    finally:
        side.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler and a worker of one thread, in this process."""
    with scheduler_here() as there:
        yield there


def test_a_suite_on_a_scheduler_gives_the_records_of_a_run_here(address: str, made: Path, tmp_path: Path) -> None:
    records = run_there(address, made, tmp_path)
    assert left(tmp_path) == left(made / "results")
    assert sorted(one.key for one in records) == sorted(one.key for one in read_records(tmp_path).records)
    assert run_there(address, made, tmp_path) == []


def test_a_suite_on_a_scheduler_writes_to_an_address(
    address: str, made: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores there, too: workers and this machine share no folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    servers.upload(made / "stores", f"{bucket}/stores")
    results = f"{bucket}/results"
    places = Places(f"{bucket}/stores", Path(results), made / "weights")
    options = {"budget": "full", "machine": Machine("cpu"), "threads": 1, "progress": quiet, "say": lambda _: None}

    def go() -> list[Record]:
        cells = make_plan(load_suite(str(made / "suite.yaml")), BACKBONES, places)
        return list(run_on_cluster(cells, places, scheduler=address, **options))

    records = go()
    assert of_address(results) == of_disk(made / "results")
    assert len({one.key for one in records}) == len(records) == 10
    assert go() == []
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_no_worker_has_is_one_message(
    address: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="none of its 1 workers offers GPU=1"):
        run_there(address, made, tmp_path, device="cuda")
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES"):
        run_there(address, made, tmp_path, device="cuda:1")
    monkeypatch.setattr(cluster, "GPU", "FAST")  # which the worker offers
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="offers FAST and has none that torch can use"):
        run_there(address, made, tmp_path, device="auto")


def test_a_worker_that_sees_other_things_is_one_message(
    address: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(**changes: object) -> pytest.ExceptionInfo[SeamoError]:
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "_group", lambda *a, **b: replace(GROUP(*a, **b), **changes))
            with pytest.raises(SeamoError) as caught:
                run_there(address, made, tmp_path)
        return caught

    assert told(version="0.other").match(r"a worker: has seamo .*, this is 0\.other")
    unmounted = Places(made / "stores", tmp_path / "unmounted", made / "weights")
    assert told(places=unmounted).match("a worker: does not see .*unmounted")
    other = toy_store(tmp_path / "other", 33).path.parent.parent
    assert told(places=Places(other, tmp_path, made / "weights")).match("its stores or weights are others")
    assert not read_records(tmp_path).records


def test_a_worker_of_several_threads_does_one_group_at_a_time(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, places = plan_of(made, tmp_path)
    tmp_path.mkdir(exist_ok=True)
    inside: list[int] = []
    most: list[int] = []
    run_cell = run._run_cell

    def noting(*arguments: object) -> Iterator[Record]:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        yield from run_cell(*arguments)  # type: ignore[arg-type]
        inside.pop()

    monkeypatch.setattr(run, "_run_cell", noting)
    options = {"budget": "full", "machine": Machine(), "threads": 1}
    groups = [cluster._group(part, places, **options) for part in cluster._Arrivals(OnDisk(tmp_path), cells).groups()]
    assert len(groups) == 2
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(cluster.run_group, groups))
    assert [len(one.there) for one in ended] == [5, 5]
    assert set(most) == {1}
    assert left(tmp_path) == left(made / "results")


def test_what_a_worker_logs_is_said_here_and_a_failed_cell_stops_nothing(
    address: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = run.runner
    monkeypatch.setattr(run, "runner", lambda name: before(name) if name != "logreg" else 1 // 0)
    records = run_there(address, made, tmp_path)
    assert {one.facts.protocol.id for one in records if one.status == "failed"} == {"logreg"}
    assert sum(one.status == "ok" for one in records) == 8
    assert "logreg failed: integer division or modulo by zero" in caplog.text


def test_cells_that_another_run_is_at_are_left_to_it_and_taken_over(
    address: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_AGAIN_S", 0.1)
    first = plan_of(made, tmp_path)[0][0]
    ended = threading.Event()

    def another_run() -> None:
        with claimed(tmp_path, first.claim):
            ended.set()
            while len(list(tmp_path.glob("*.npz"))) < 9:
                time.sleep(0.05)
            time.sleep(0.5)

    side = threading.Thread(target=another_run)
    side.start()
    ended.wait()
    records = run_there(address, made, tmp_path)
    side.join()
    assert records[-1].key == first.claim
    assert left(tmp_path) == left(made / "results")


@pytest.mark.soak
def test_workers_of_a_suite_lost_in_turn_change_nothing(made: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster", seconds=1.0, slow=SLOW_CELLS) as dask:
        dask.start_worker()
        dask.start_worker()

        def kill_both() -> None:
            for number in range(2):
                dask.wait_for(1 + 2 * number)
                dask.workers[number].kill()
                dask.start_worker()

        run_there(dask.address, made, tmp_path / "results", kill_both)
        assert [worker.poll() for worker in dask.workers] == [-9, -9, None, None]
    assert left(tmp_path / "results") == left(made / "results")


@pytest.mark.soak
def test_workers_of_a_suite_at_an_address_lost_in_turn_change_nothing(made: Path, bucket: str, tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster", seconds=1.0, slow=SLOW_CELLS) as dask:
        dask.start_worker()
        dask.start_worker()

        def kill_both() -> None:
            for number in range(2):
                dask.wait_for(1 + 2 * number)
                dask.workers[number].kill()
                dask.start_worker()

        run_there(dask.address, made, Path(bucket), kill_both)
        assert [worker.poll() for worker in dask.workers] == [-9, -9, None, None]
    assert of_address(bucket) == of_disk(made / "results")


@pytest.mark.soak
def test_a_scheduler_of_a_suite_is_lost_and_the_same_command_goes_on(made: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for number in (1, 2):
        with Cluster(tmp_path / str(number), seconds=4.0 / number, slow=SLOW_CELLS) as dask:
            dask.start_worker()
            dask.start_worker()
            words = ["run", str(made / "suite.yaml"), "--backbones", ",".join(BACKBONES), "--threads", "1"]
            words += ["--stores", str(made / "stores"), "--results", str(results), "--scheduler", dask.address]
            command = [sys.executable, "-m", "seamo_bench.cli", *words, "--device", "cpu"]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if number == 1:
                dask.wait_for(3)
                dask.scheduler.kill()
                for worker in dask.workers:  # else they end what they are at, and nothing is left to go on with
                    worker.kill()
            said, errors = child.communicate(timeout=400)
            assert child.returncode == (1 if number == 1 else 0), errors
            if number == 1:
                assert "Traceback" not in errors
                assert errors.count("went away") == 1
                assert "give the same command again" in errors
                assert len(read_records(results).records) < 10
    assert "0 failed" in said
    assert left(results) == left(made / "results")


@pytest.mark.soak
def test_a_cell_that_kills_its_workers_is_named_and_the_others_are_done(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    deadly = SLOW_CELLS + DEADLY
    with Cluster(tmp_path / "cluster", seconds=0.0, slow=deadly) as dask:
        dask.start_worker("--nanny")
        records = run_there(dask.address, made, tmp_path / "results")
    told = {(one.facts.backbone.id, one.facts.protocol.id): (one.status, one.reason) for one in records}
    # What lies behind the deadly cell in its group is done: a cell with the claim of a dead worker comes last.
    assert told == dict.fromkeys(itertools.product(BACKBONES, ("knn", "logreg", "linear")), ("ok", "")) | {
        ("pixel-values", "logreg"): ("failed", "was on each of 2 workers that died, twice: probably out of memory")
    }
