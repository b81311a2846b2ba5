"""Who writes shards: threads of one process, and a scheduler that loses workers or is lost itself."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seamo.errors import SeamoError, StoreError, UsageError
from seamo.store.check import content_of
from seamo.store.reader import open_store
from seamo_prep.build import Options, build
from seamo_prep.engines import Engine
from tests.prep.dask_cluster import Cluster
from tests.prep.demo_stores import build_quietly


def build_on(address: str, raw: Path, root: Path, meanwhile: Callable[[], None] = lambda: None) -> Path:
    """Build EuroSAT's demo, of four shards, on a scheduler."""
    side = threading.Thread(target=meanwhile)
    side.start()
    try:
        return build(
            "eurosat", raw=raw / "eurosat", root=root, options=Options(), engine=Engine(scheduler=address),
            say=lambda _: None, progress=lambda _done, _total: None,
        ).path  # fmt: skip
    finally:
        side.join()


def test_workers_lost_in_turn_change_nothing(demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, seconds=0.5) as cluster:
        cluster.start_worker()
        cluster.start_worker()

        def kill_both() -> None:
            for number in range(2):
                cluster.wait_for_shards(1 + number)
                cluster.workers[number].kill()
                cluster.start_worker()

        path = build_on(cluster.address, demo_raw, tmp_path / "root", kill_both)
        assert [worker.poll() for worker in cluster.workers] == [-9, -9, None, None]
    assert content_of(open_store(path)) == open_store(demo_root / "eurosat").content


def test_a_scheduler_that_goes_away_is_one_message_and_loses_nothing(
    demo_raw: Path, demo_root: Path, tmp_path: Path
) -> None:
    with Cluster(tmp_path, seconds=0.5) as cluster:
        cluster.start_worker()

        def kill_scheduler() -> None:
            cluster.wait_for_shards(2)
            cluster.scheduler.kill()

        with pytest.raises(StoreError, match="went away.*give the same command again"):
            build_on(cluster.address, demo_raw, tmp_path / "root", kill_scheduler)
    done = sorted(path.name for path in (tmp_path / "root").glob("eurosat/.*.partial/.work/done/*"))
    assert done
    said: list[int] = []
    built = build_quietly("eurosat", demo_raw / "eurosat", tmp_path / "root")
    assert content_of(open_store(built.path)) == open_store(demo_root / "eurosat").content


def test_a_scheduler_that_is_not_there_is_one_message(demo_raw: Path, tmp_path: Path) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:9: does not answer"):
            build_on("tcp://127.0.0.1:9", demo_raw, tmp_path)
        with pytest.raises(UsageError, match="is no address"):
            build_on("nonsense://x", demo_raw, tmp_path)
