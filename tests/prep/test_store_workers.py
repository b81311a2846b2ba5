"""`verify` and `copy` on the workers of a scheduler: what they find and leave is what one process does."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import typer

import seamo
from seamo.cluster import Lost, RemoteTask, connected
from seamo.errors import StoreError, UsageError
from seamo.files import open_files
from seamo.seal import SealedFile, seal_document
from seamo.store import check, workers
from seamo.store.buildplan import BuildPlan
from seamo.store.copy import copy_store
from seamo.store.reader import Store, open_store
from seamo.store.transfer import _fetch_file
from seamo.store.writer import StoreWriter
from seamo.testing.stores import tiny_store
from seamo_prep.cli.verify import verify as verify_command
from seamo_prep.verify import Finding, verify
from tests.dask_cluster import SLOW_PARTS, Cluster, scheduler_here


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with scheduler_here() as address:
        yield address


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_FILES", 7)
    monkeypatch.setattr(workers, "_FILES", 3)
    monkeypatch.setattr(check, "rows_each", lambda _store: 5)


def with_view(folder: Path, **options: object) -> Store:
    """A store of 12 samples, and a view in it."""
    made = tiny_store(folder, **options)
    plan = BuildPlan(made.spec, "hash-60-20-20", layout=made.meta.layout, limit=12, synthetic=made.meta.synthetic)
    with StoreWriter(folder, plan, [str(key) for key in made.index["key"]]) as writer:
        writer.publish()
    return made


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


def resealed(store: Store, **changed: object) -> None:
    """A store.json that says something else, and is sound by itself."""
    file = store.path / "store.json"
    facts = json.loads(file.read_bytes())
    del facts["digest"]
    facts["statistics"]["all"]["s2_10m"]["B02"]["mean"] += 1
    facts["statistics"]["train"]["s1"]["VH"]["max"] += 1
    file.write_bytes(seal_document(facts | changed))


def damage_nothing(store: Store) -> None:
    del store


def damage_a_shard(store: Store) -> None:
    flip(max((store.path / "data.zarr").rglob("c/*/*/*/*/*"), key=lambda one: one.stat().st_size))


def damage_two_files(store: Store) -> None:
    flip(store.path / "ledger.json")
    (store.path / "data.zarr" / "zarr.json").unlink()


def damage_what_is_said(store: Store) -> None:
    resealed(store, pixels="0" * 64)


DAMAGES = (damage_nothing, damage_a_shard, damage_two_files, damage_what_is_said)


def on(scheduler: str, store: Store) -> list[Finding]:
    with connected(scheduler, kept="", say=lambda _: None) as client:
        spread = workers.checking(client, scheduler, lambda *_: None)
        return list(verify(store, deep=True, leaks=False, say=lambda _: None, spread=spread))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
@pytest.mark.usefixtures("small_parts")
def test_verify_finds_the_same_in_the_same_order(
    damage: Callable[[Store], None], scheduler: str, tmp_path: Path
) -> None:
    made = with_view(tmp_path, task="segmentation")
    damage(made)
    store = open_store(made.path)
    want = list(verify(store, deep=True, leaks=False, say=lambda _: None))
    assert on(scheduler, store) == want
    assert any(one.severity == "error" for one in want) == (damage is not damage_nothing)
    if damage is damage_what_is_said:
        assert {one.check for one in want} >= {"content", "statistics"}
        assert sum(one.check == "statistics" for one in want) == 2


def test_the_same_lines_and_status_by_command(
    scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tiny_store(tmp_path)
    damage_what_is_said(store)
    told = []
    for address in ("", scheduler):
        with pytest.raises(typer.Exit) as ended:
            verify_command(str(store.path), deep=True, scheduler=address, json=True)
        told.append((ended.value.exit_code, *capsys.readouterr()))
    (status, out, errors), (other_status, other_out, other_errors) = told
    assert status == other_status == 1
    assert out == other_out
    assert errors.splitlines() == [line for line in other_errors.splitlines() if " parts" not in line]


def bytes_below(folder: Path) -> dict[str, bytes]:
    apart = (".lock", "catalog.json")
    files = (one for one in folder.rglob("*") if one.is_file() and not one.name.endswith(apart))
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def copied(scheduler: str, store: Store, root: str | Path) -> str:
    with connected(scheduler, kept="", say=lambda _: None) as client:
        movers = workers.moving(client, scheduler)
        return copy_store(store.url, root, layout=None, progress=lambda *_: None, movers=movers)


@pytest.mark.usefixtures("small_parts")
def test_copy_leaves_the_same(scheduler: str, bucket: str, tmp_path: Path) -> None:
    store = with_view(tmp_path / "made")
    want = bytes_below(tmp_path / "made")
    copied(scheduler, store, tmp_path / "there")
    assert bytes_below(tmp_path / "there") == want
    address = copied(scheduler, store, f"{bucket}/stores")
    files = open_files(f"{bucket}/stores")
    assert {name: files.read(name) for name in files.names() if name != "catalog.json"} == want
    copied(scheduler, Store(address), tmp_path / "back")
    assert bytes_below(tmp_path / "back") == want


@pytest.mark.usefixtures("small_parts")
def test_a_damaged_byte_is_named_and_nothing_is_published(scheduler: str, tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "made")
    damage_a_shard(store)
    with pytest.raises(StoreError, match="is not what its manifest says"):
        copied(scheduler, store, tmp_path / "there")
    assert not list((tmp_path / "there").rglob("store.json"))


def test_a_worker_that_sees_another_disk_is_noticed(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_store(tmp_path / "made")
    monkeypatch.setattr(workers, "_move", lambda *_: None)  # as if it wrote the files where nobody else sees them
    with pytest.raises(StoreError, match="is not there, though a worker has written it"):
        copied(scheduler, store, tmp_path / "there")
    monkeypatch.undo()
    nowhere, sealed = open_files(tmp_path / "nowhere"), store.read_manifest()["index.parquet"]
    with pytest.raises(StoreError, match="is not there, where this worker runs"):
        _fetch_file(store.files, nowhere, "index.parquet", sealed)


def test_what_ends_in_another_order_is_told_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [RemoteTask(str(number), print, ()) for number in range(7)]
    ended: list[str] = []

    def in_disorder(_client: object, given: list[RemoteTask], **_: object) -> Iterator[object]:
        for number in (2, 0, 1, 6, 5, 3, 4):
            ended.append(given[number].key)
            yield given[number], 10 * number

    monkeypatch.setattr(workers, "run_tasks", in_disorder)
    told, seen = [], []
    for found in workers.in_turn(None, tasks, "s", lambda *one: told.append(one)):
        seen.append((found, len(ended)))
    assert seen == [(0, 2), (10, 3), (20, 3), (30, 6), (40, 7), (50, 7), (60, 7)]
    assert told == [(number, 7, "parts") for number in range(1, 8)]


def test_a_part_whose_workers_die_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    task = RemoteTask("one", print, ())
    monkeypatch.setattr(workers, "run_tasks", lambda *_args, **_more: iter([(task, Lost(4))]))
    with pytest.raises(StoreError, match=r"a part of the work was on each of 4 workers that died, twice\. Probably"):
        list(workers.in_turn(None, [task], "s"))


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_version", lambda: "0.0.0")
    with pytest.raises(UsageError, match=rf"a worker has seamo 0\.0\.0, this is {seamo.__version__}"):
        workers.check_version(seamo.__version__)


def test_loads_hold_every_file_once_and_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_LOAD", 100)
    files = {f"{n:03d}": SealedFile(n * 7 % 150, "") for n in range(100)}
    loads = list(workers._loads(files))
    assert [name for load in loads for name in load] == sorted(files)
    assert all(len(load) == 1 or sum(one.bytes for one in load.values()) <= 100 for load in loads)
    assert all(len(load) <= workers._FILES for load in loads)


# Workers and schedulers as processes, killed ----------------------------------------------------------------


def meanwhile(work: Callable[[], object], also: Callable[[], None]) -> object:
    side = threading.Thread(target=also)
    side.start()
    try:
        return work()
    finally:
        side.join()


def kill_both(cluster: Cluster) -> None:
    for number in range(2):
        cluster.wait_for(1 + 3 * number)
        cluster.workers[number].kill()
        cluster.start_worker()


@pytest.mark.soak
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("place", ["disk", "bucket", "verify"])
def test_workers_lost_in_turn_change_nothing(place: str, bucket: str, tmp_path: Path) -> None:
    store = with_view(tmp_path / "made")
    want = bytes_below(tmp_path / "made")
    with Cluster(tmp_path / "dask", seconds=0.3, slow=SLOW_PARTS) as cluster:
        cluster.start_worker()
        cluster.start_worker()
        if place == "verify":
            damage_what_is_said(store)
            again = open_store(store.path)
            found = meanwhile(partial(on, cluster.address, again), partial(kill_both, cluster))
            assert found == list(verify(again, deep=True, leaks=False, say=lambda _: None))
        else:
            root = str(tmp_path / "there") if place == "disk" else f"{bucket}/stores"
            meanwhile(partial(copied, cluster.address, store, root), partial(kill_both, cluster))
            files = open_files(root)
            names = [name for name in files.names() if not name.endswith((".lock", "catalog.json"))]
            assert {name: files.read(name) for name in names} == want
        assert [worker.poll() for worker in cluster.workers] == [-9, -9, None, None]


@pytest.mark.soak
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_scheduler_is_lost_and_the_same_command_goes_on(place: str, bucket: str, tmp_path: Path) -> None:
    store = with_view(tmp_path / "made")
    root = str(tmp_path / "there") if place == "disk" else f"{bucket}/stores"
    with Cluster(tmp_path / "dask", seconds=0.3, slow=SLOW_PARTS) as cluster:
        cluster.start_worker()

        def kill_scheduler() -> None:
            cluster.wait_for(3)
            cluster.scheduler.kill()

        with pytest.raises(StoreError, match=r"went away.*[Gg]ive the same command again"):
            meanwhile(partial(copied, cluster.address, store, root), kill_scheduler)
    assert not any(name.endswith("store.json") for name in open_files(root).names())
    with scheduler_here() as scheduler:
        copied(scheduler, store, root)
    files = open_files(root)
    names = [name for name in files.names() if not name.endswith((".lock", "catalog.json"))]
    assert {name: files.read(name) for name in names} == bytes_below(tmp_path / "made")


def test_the_meter_counts_what_workers_moved(scheduler: str, tmp_path: Path) -> None:
    store, told = tiny_store(tmp_path / "made"), []
    with connected(scheduler, kept="", say=lambda _: None) as client:
        copy_store(store.url, tmp_path / "there", layout=None, progress=lambda *one: told.append(one),
                   movers=workers.moving(client, scheduler))  # fmt: skip
    total = sum(one.bytes for one in store.read_manifest().values())
    assert told[0] == (0, total, "bytes")
    assert told[-1] == (total, total, "bytes")
