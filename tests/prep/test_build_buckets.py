"""Builds into a bucket through `build`: the stores of a disk, whoever is killed, and little room on the disk."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seamo.errors import ArchiveError, UsageError
from seamo.files import open_files
from seamo.store import deliver
from seamo.store import format as fmt
from seamo.store.check import content_of, differing_files
from seamo.store.reader import open_store
from seamo.store.roots import read_catalogue
from seamo_prep import build as building
from seamo_prep.build import Built, Options, build
from seamo_prep.engines import Engine
from tests import servers
from tests.dask_cluster import Cluster, scheduler_here


def built(
    dataset: str,
    raw: Path,
    root: object,
    *,
    engine: Engine = Engine(1),  # noqa: B008 - frozen
    scratch: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
    **options: object,
) -> Built:
    return build(
        dataset,
        raw=raw / dataset,
        root=str(root),
        options=Options(**options),
        engine=engine,
        say=lambda _: None,
        progress=progress,
        scratch=scratch,
    )


def files_of(address: str) -> dict[str, bytes]:
    """Every file of a store; of store.json all but the time, which its digest covers."""
    files = open_files(address)
    found = {name: files.read(name) for name in files.names()}
    facts = json.loads(found.pop("store.json"))
    return found | {"facts": {name: one for name, one in facts.items() if name not in ("created", "digest")}}


def test_a_build_into_a_bucket_is_the_build_on_a_disk_and_is_found_again(
    bucket: str, demo_raw: Path, demo_root: Path, tmp_path: Path
) -> None:
    scratch, root = tmp_path / "scratch", f"{bucket}/stores"

    def made(**options: str) -> Built:
        return built("eurosat", demo_raw, root, scratch=scratch, **options)

    first, want = made(), open_store(demo_root / "eurosat")
    store = open_store(first.url)
    assert (first.was_there, store.content, len(store)) == (False, want.content, 60)
    assert list(scratch.iterdir()) == []
    assert made().url == first.url == f"{bucket}/stores/eurosat/{want.meta.build}"
    view = made(splits="hash-60-20-20")
    assert view.url.startswith(f"{first.url}/views/")
    assert open_store(view.url).pixels == want.pixels
    assert made(splits="hash-60-20-20").url == view.url
    assert list(scratch.iterdir()) == []
    assert set(read_catalogue(f"{bucket}/stores").stores) == {one.url[len(bucket) + 8 :] for one in (first, view)}


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("folder", {}),
        ("bigearthnet-v1", {"limit": 3, "layout": "webdataset"}),
        pytest.param("ssl4eo-s12", {"layers": ("s2a_20m", "s1")}, marks=pytest.mark.soak),
    ],
)
def test_every_byte_is_that_of_a_disk(
    bucket: str, demo_raw: Path, tmp_path: Path, dataset: str, options: dict[str, object]
) -> None:
    one = built(dataset, demo_raw, tmp_path / "disk", **options)
    two = built(dataset, demo_raw, bucket, **options)
    assert files_of(two.url) == files_of(one.url)
    assert (two.samples, two.ledger) == (one.samples, one.ledger)


def test_imagery_that_changes_while_it_is_built_leaves_nothing(
    bucket: str, demo_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(demo_raw / "folder", tmp_path / "folder")
    write = building.write_shards

    def write_and_change(*arguments: object, **options: object) -> None:
        write(*arguments, **options)
        next(iter(sorted((tmp_path / "folder").rglob("*.csv")))).open("a").write("\n")

    with monkeypatch.context() as patch:
        patch.setattr(building, "write_shards", write_and_change)
        with pytest.raises(ArchiveError, match="was changed while it was built"):
            built("folder", tmp_path, bucket)
    assert list(open_files(bucket).names()) == []


def test_stores_do_not_lie_inside_raw(bucket: str, demo_raw: Path) -> None:
    raw = f"{bucket}/raw/eurosat"
    servers.upload(demo_raw / "eurosat", raw)
    before = set(open_files(raw).names())
    with pytest.raises(UsageError, match="inside RAW"):
        build("eurosat", raw=raw, root=raw, options=Options(), engine=Engine(1), say=str, progress=lambda *_: None)
    assert set(open_files(raw).names()) == before


def test_unreadable_samples_stand_in_the_ledger(bucket: str, demo_raw: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(demo_raw / "eurosat", raw / "eurosat")
    os.truncate(next(raw.rglob("AnnualCrop_1.tif")), 2000)
    options = {"on_bad": "skip", "limit": 8}
    one, two = (built("eurosat", raw, root, **options) for root in (tmp_path / "disk", bucket))
    assert files_of(two.url) == files_of(one.url)
    assert open_store(two.url).meta.counts.bad == 1


@pytest.fixture
def eight_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten samples each, and cores for four threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(4)))
    monkeypatch.setattr(fmt, "rows_per_shard", lambda *_: 8)


@pytest.mark.usefixtures("eight_shards")
def test_the_disk_holds_no_more_shards_than_there_are_threads(
    bucket: str, demo_raw: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, there, told = tmp_path / "scratch", [], []
    put = deliver.put_file

    def looking(*arguments: object) -> str:
        there.append(len({one.relative_to(scratch).parts[0] for one in scratch.rglob("*") if "data.zarr" in one.parts}))
        return put(*arguments)

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(deliver, "put_file", looking)
    with pytest.raises(KeyboardInterrupt):
        built("eurosat", demo_raw, bucket, engine=Engine(3), scratch=scratch, progress=stop)
    assert list(scratch.iterdir()) == []
    before = told[-1][0]
    url = built(
        "eurosat", demo_raw, bucket, engine=Engine(3), scratch=scratch, progress=lambda *one: told.append(one)
    ).url
    assert told[0] == (0, 60)
    assert told[5][0] >= before >= 24  # what was there before is told at once
    assert told[-1] == (60, 60)
    assert len(there) >= 8
    assert 1 < max(there) <= 3
    assert open_store(url).content == open_store(demo_root / "eurosat").content
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("eight_shards")
def test_workers_of_a_scheduler_put_their_shards_themselves(
    bucket: str, demo_raw: Path, demo_root: Path, tmp_path: Path
) -> None:
    with scheduler_here() as address:
        url = built("eurosat", demo_raw, bucket, engine=Engine(scheduler=address), scratch=tmp_path / "scratch").url
    assert open_store(url).content == open_store(demo_root / "eurosat").content
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.soak
def test_workers_lost_in_turn_change_nothing_in_a_bucket(
    bucket: str, demo_raw: Path, demo_root: Path, tmp_path: Path
) -> None:
    with Cluster(tmp_path, seconds=0.5) as cluster:
        for _ in range(2):
            cluster.start_worker()

        def kill_both() -> None:
            for number in range(2):
                cluster.wait_for(1 + number)
                cluster.workers[number].kill()
                cluster.start_worker()

        side = threading.Thread(target=kill_both)
        side.start()
        url = built("eurosat", demo_raw, bucket, engine=Engine(scheduler=cluster.address)).url
        side.join()
        assert [worker.poll() for worker in cluster.workers] == [-9, -9, None, None]
    store = open_store(url)
    assert content_of(store) == open_store(demo_root / "eurosat").content
    assert list(differing_files(store, deep=True)) == []
    assert not any("/.work/" in name for name in open_files(bucket).names())
