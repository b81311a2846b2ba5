"""Stores in buckets and on web servers hold what those on a disk do; no fault gives a wrong sample."""

import hashlib
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from seamo.data.loader import Loader
from seamo.errors import StoreError, UsageError
from seamo.files import bucket as engine
from seamo.files import open_files
from seamo.sample import Sample
from seamo.store import ahead
from seamo.store.buildplan import BuildPlan
from seamo.store.check import content_of, differing_files, differing_samples, strange_files
from seamo.store.format import Layout
from seamo.store.joined import JoinedStore
from seamo.store.reader import Store, open_store
from seamo.store.roots import store_urls
from seamo.testing.stores import tiny_store
from tests import servers
from tests.seamo.small_store import write_view
from tests.seamo.store_samples import build, mask_sample, masks_spec, seasons_sample, seasons_spec


def digest(sample: Sample) -> str:
    """A reading of our own: every array, date, label and place of a sample."""
    state = hashlib.sha256(f"{sample.key} {sample.label} {sample.geo} {sample.scene} {sample.offset}".encode())
    for arrays in (sample.layers, sample.time):
        for name, array in sorted(arrays.items()):
            state.update(f"{name} {array.dtype} {array.shape}".encode())
            state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("stores"), samples=12)


@pytest.fixture(scope="module")
def truth(disk: Store) -> list[str]:
    return [digest(disk[i]) for i in range(len(disk))]


@pytest.fixture(scope="module")
def uploaded(bucket_server: str, disk: Store) -> str:
    """The address of the same store in a bucket that nobody else writes to."""
    root = servers.new_bucket(bucket_server)
    with pytest.MonkeyPatch.context() as patch:
        for name, text in servers.environment(bucket_server).items():
            patch.setenv(name, text)
        servers.upload(disk.path, f"{root}/tiny/build")
    return f"{root}/tiny/build"


@pytest.fixture
def stored(bucket: str, uploaded: str) -> str:  # noqa: ARG001 - the variables by which it is found
    """The same, and the variables by which it is found."""
    return uploaded


@pytest.fixture(params=["bucket", "web"])
def address(request: pytest.FixtureRequest, disk: Store) -> Iterator[str]:
    """The same store elsewhere."""
    if request.param == "bucket":
        yield request.getfixturevalue("stored")
        return
    with servers.web(disk.path) as url:
        yield url


def test_a_store_holds_the_same_wherever_it_lies(address: str, disk: Store, truth: list[str]) -> None:
    store = open_store(address)
    assert [digest(store[i]) for i in range(len(store))] == truth
    assert store.index.equals(disk.index)
    assert store.read_index(["footprint"]).equals(disk.read_index(["footprint"]))
    assert content_of(store) == store.content == disk.content
    assert store.read_manifest() == disk.read_manifest()
    assert (store.url, store.title, len(store)) == (address, disk.title, len(disk))
    assert open_store(f"{address}/store.json").url == open_store(Path(address)).url == address
    with pytest.raises(UsageError, match="is not on this disk"):
        _ = store.path


def test_batches_of_a_bucket_are_those_of_a_disk(address: str, disk: Store) -> None:
    for one, other in zip(
        open_store(address).loader("train", batch=4, shuffle=True, seed=3),
        disk.loader("train", batch=4, shuffle=True, seed=3),
        strict=True,
    ):
        assert one.keys == other.keys
        assert one.label.tolist() == other.label.tolist()
        for name, pixels in one.layers.items():
            assert np.array_equal(pixels.numpy(), other.layers[name].numpy(), equal_nan=True)


def test_a_store_is_checked_where_it_lies(address: str) -> None:
    store = open_store(address)
    assert list(differing_files(store, deep=True)) == list(differing_samples(store)) == list(strange_files(store)) == []


def test_views_are_read_below_the_pixels_they_are_of(bucket: str, tmp_path: Path) -> None:
    made = tiny_store(tmp_path)
    plan = BuildPlan(made.spec, "hash-60-20-20", limit=12, synthetic={"what": "synthetic, tiny"})
    view = write_view(made.path, plan)
    servers.upload(made.path, f"{bucket}/tiny/one")
    store = open_store(f"{bucket}/tiny/one/views/{view.name}")
    assert store.content == Store(view).content
    assert [digest(store[i]) for i in range(3)] == [digest(made[i]) for i in range(3)]


def test_a_root_is_looked_through_by_listing_folders(bucket: str, disk: Store) -> None:
    servers.upload(disk.path, f"{bucket}/tiny/one")
    assert open_store(f"{bucket}/tiny").url == f"{bucket}/tiny/one"
    servers.upload(disk.path, f"{bucket}/tiny/two/views/0123abcd")
    servers.upload(disk.path, f"{bucket}/tiny/two")
    assert store_urls(f"{bucket}/tiny") == [f"{bucket}/tiny/{name}" for name in ("one", "two", "two/views/0123abcd")]
    with pytest.raises(StoreError, match=r"holds 3 stores \(one, two, two/views/0123abcd\)"):
        open_store(f"{bucket}/tiny")
    with pytest.raises(StoreError, match=r"holds no store \(no store.json\)"):
        open_store(f"{bucket}/other")


def test_a_server_without_ranges_is_refused(disk: Store) -> None:
    refused = pytest.raises(StoreError, match=r"the server gives no ranges\. Serve the store by something that")
    with servers.web(disk.path, ranges=False) as url, refused:
        open_store(url)


def test_a_web_server_is_asked_for_exact_stores(disk: Store) -> None:
    refused = pytest.raises(StoreError, match=r"a web server lists no files\. Name one store")
    with servers.web(disk.path.parent) as url, refused:  # no catalogue is above the store
        open_store(url)


def test_what_is_missing_or_damaged_is_named(bucket: str, disk: Store) -> None:
    servers.upload(disk.path, f"{bucket}/s")
    files = open_files(f"{bucket}/s")
    store = open_store(files.url)
    names = sorted(name for name in files.names() if name.startswith("data.zarr/s1/c/"))
    data = files.read(names[0])
    files.delete(names[:1])
    with pytest.raises(StoreError, match=rf"^{bucket}/s/{names[0]}: sample \S+ layer s1: is not there. A store that"):
        store.read_layer(0, "s1")
    assert [(one.where, one.what) for one in differing_files(store)] == [(names[0], "is missing")]
    files.put_once(names[0], data[: len(data) // 2])
    (short,) = differing_files(store)
    assert short.what == f"has {len(data) // 2:,} bytes instead of {len(data):,}"
    files.delete(names[:1])
    middle = len(data) // 2
    files.put_once(names[0], data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    assert list(differing_files(store)) == []
    (wrong,) = differing_files(store, deep=True)
    assert wrong.what == "has another sha256 than its manifest says"
    files.put_once("data.zarr/s1/c/stray", b"")
    assert list(strange_files(store)) == ["data.zarr/s1/c/stray"]
    files.delete(["index.parquet"])
    with pytest.raises(StoreError, match=r"index.parquet: is not there"):
        _ = open_store(files.url).index


def _first(store: Store) -> str:
    return digest(store[0])


def _answer(store: Store, answers: Connection) -> None:
    try:
        answers.send(digest(store[0]))
    except StoreError as error:
        answers.send(str(error))


def test_other_processes_read_by_themselves(stored: str, truth: list[str]) -> None:
    store = open_store(stored)
    assert digest(store[0]) == truth[0]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_first, (store,)) == truth[0]


def test_a_forked_process_says_how_to_start_workers(stored: str, truth: list[str]) -> None:
    store = open_store(stored)
    assert digest(store[0]) == truth[0]
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_answer, args=(store, there))
    child.start()
    assert here.poll(20)
    assert "was forked from one that had read it. Start workers by forkserver or spawn." in here.recv()
    child.join(20)
    assert child.exitcode == 0


ONCE = ["503", "429", "reset", "truncated", "short", "wrong byte", "hang"]


@pytest.mark.parametrize("kind", ONCE)
def test_a_fault_that_passes_costs_a_second_request(
    kind: str, proxy: servers.FaultProxy, stored: str, truth: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SILENCE_S", 0.5)
    store = open_store(stored)
    proxy.faults = [servers.Fault(kind, path="index.parquet"), servers.Fault(kind, path="/s2_10m/c/")]
    assert digest(store[0]) == truth[0]
    assert [fault.times for fault in proxy.faults] == [0, 0]


def test_a_short_answer_is_no_short_file(proxy: servers.FaultProxy) -> None:
    files = open_files(proxy.bucket)
    data = bytes(range(250)) * 40
    files.put_once("a", data)
    proxy.faults = [servers.Fault("short", times=2)]
    assert files.read("a") == data
    proxy.faults = [servers.Fault("short")]
    assert files.read_range("a", 100, 1000) == data[100:1100]
    proxy.faults = [servers.Fault("short", times=99)]
    with pytest.raises(StoreError, match="the server's answers are too short"):
        files.read("a")


SMALL = ["store.json", "index.parquet"]
FOR_EVER = ["503", "403", "expired", "reset", "truncated", "short", "wrong byte", "hang", "range ignored"]


@pytest.mark.parametrize("kind", FOR_EVER)
@pytest.mark.parametrize("path", [*(pytest.param(one, marks=pytest.mark.soak) for one in SMALL), "/s1/c/"])
def test_a_fault_that_stays_is_one_message(
    kind: str, path: str, proxy: servers.FaultProxy, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SILENCE_S", 0.2), ("RETRIES", 1), ("RETRY_S", 1.0)):
        monkeypatch.setattr(engine, name, value)
    proxy.faults = [servers.Fault(kind, path=path, times=99)]
    with pytest.raises(StoreError) as found:
        _ = open_store(stored)[0]
    message = str(found.value)
    assert stored in message.split(": ")[0] or path in message
    assert "\n" not in message
    assert len(message) < 700
    if kind in ("403", "expired"):
        assert "may not be read; it was asked with the key of AWS_ACCESS_KEY_ID" in message


@pytest.mark.parametrize("kind", ["503", "409", "lost", pytest.param("reset", marks=pytest.mark.soak)])
def test_what_is_put_is_there_whatever_the_answer_says(kind: str, proxy: servers.FaultProxy) -> None:
    files = open_files(proxy.bucket)
    for name, there in (("new", None), ("equal", b"data"), ("other", b"what")):
        if there is not None:
            files.put_once(name, there)
        proxy.faults = [servers.Fault(kind, "PUT", times=2)]
        assert files.put_once(name, b"data") == (there if name == "other" else None)
        assert files.read(name) == (there or b"data")
        assert proxy.faults[0].times < 2


@pytest.mark.parametrize("kind", ["hang", "hang after it"])
def test_a_put_without_an_answer_is_looked_for(
    kind: str, proxy: servers.FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SILENCE_S", 0.3)
    monkeypatch.setattr(engine, "_SLOWEST_PUT", 1e12)
    files = open_files(proxy.bucket)
    proxy.faults = [servers.Fault(kind, "PUT")]
    assert files.put_once("a", b"one") is None
    proxy.faults = [servers.Fault(kind, "PUT")]
    assert files.put_once("a", b"two") == b"one"
    proxy.faults = [servers.Fault(kind, "PUT")]
    assert files.swap("a", lambda old: (old or b"") + b"!") == files.read("a") == b"one!"
    assert proxy.faults[0].times == 0


@pytest.mark.parametrize(
    "kind", ["409", "412", "lost", *(pytest.param(k, marks=pytest.mark.soak) for k in ("503", "reset"))]
)
def test_a_change_is_in_once_whatever_the_answer_says(kind: str, proxy: servers.FaultProxy) -> None:
    files = open_files(proxy.bucket)
    for expected in (b"1", b"11", b"111"):
        proxy.faults = [servers.Fault(kind, "PUT")]
        assert files.swap("log", lambda old: (old or b"") + b"1") == expected
        assert files.read("log") == expected
        assert proxy.faults[0].times == 0


def test_a_server_that_ignores_conditions_is_refused(proxy: servers.FaultProxy) -> None:
    proxy.faults = [servers.Fault("condition ignored", "PUT", times=99)]
    with pytest.raises(StoreError, match="does not honour conditional writes"):
        open_files(proxy.bucket).probe()


def test_a_server_that_is_away_is_given_up_after_a_while(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RETRIES", 1), ("BUDGET_S", 0.0)):
        monkeypatch.setattr(engine, name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    files = open_files(bucket)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:  # what fails at the same time is not counted four times
        for one in [pool.submit(files.read, "a") for _ in range(4)]:
            with pytest.raises(StoreError, match=r"does not answer|did not answer for"):
                one.result()
    assert 0 < files._lost_s <= time.monotonic() - began
    with pytest.raises(StoreError, match="did not answer for"):
        files.read("a")


SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED0000SECRET",
    "AWS_SECRET_ACCESS_KEY": "planted/secret/1",
    "AWS_SESSION_TOKEN": "planted-secret-2",
    "AZURE_STORAGE_ACCOUNT_KEY": "cGxhbnRlZC1zZWNyZXQtMw==",
    "AZURE_STORAGE_SAS_TOKEN": "sig=planted-secret-4",
    "GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "planted-secret-5"}',
}


def test_no_secret_is_shown_or_kept(proxy: servers.FaultProxy, stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setattr(engine, "RETRIES", 0)
    store = open_store(stored)
    told = [repr(store), repr(store.files), repr(vars(store.files).keys()), repr(pickle.dumps(store))]
    told += [repr(pickle.dumps(store.files)), str(store.meta), repr(store.loader("train", batch=2).store)]
    for kind in ("403", "400", "500", "reset"):
        proxy.faults = [servers.Fault(kind, times=99), servers.Fault(kind, "PUT", times=99)]
        for ask in (lambda: store.files.read("a"), lambda: store.files.put_once("a", b"")):
            with pytest.raises(StoreError) as found:
                ask()
            told += [str(found.value), repr(found.value), repr(pickle.dumps(found.value))]
            assert found.value.__cause__ is None
    for address in ("gs://bucket/a", "az://container/a", "abfss://part@account.dfs.core.windows.net/a"):
        told.append(repr(open_files(address)))
    with pytest.raises(StoreError, match=r"write abfss://container@ACCOUNT.dfs.core.windows.net/a"):
        open_files("az://container/a").read("b")
    for secret in SECRETS.values():
        assert not [one for one in told if secret in one or secret[8:] in one]


def test_a_profile_is_asked_where_no_key_is_in_the_environment(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers_key = os.environ["AWS_ACCESS_KEY_ID"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    profiles = tmp_path / "credentials"
    profiles.write_text(f"[team]\naws_access_key_id = {servers_key}\naws_secret_access_key = {servers.SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "team")
    files = open_files(bucket)
    assert files.put_once("a", b"one") is None
    assert files.read("a") == b"one"
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(StoreError, match=r"the AWS profile has no credentials \(ProfileNotFound\)"):
        open_files(bucket).read("a")


def test_without_credentials_a_public_bucket_is_asked_without_a_signature(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_files(bucket).put_once("a", b"one")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="may not be read; it was asked without a signature, because no credentials"):
        open_files(bucket).read("a")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(StoreError, match="without a signature, as AWS_SKIP_SIGNATURE says"):
        open_files(bucket).read("a")


def _batches(store: Store, **options: object) -> list[tuple[object, ...]]:
    loader = Loader(store, store.rows("all"), 4, epochs=2, **options)
    return [(b.keys, b.label.tolist(), *(one.numpy().tobytes() for one in b.layers.values())) for b in loader]


@pytest.mark.parametrize("memory", [512 * 2**20, 40_000, 0])
@pytest.mark.parametrize("shuffle", [False, True])
def test_reading_ahead_changes_no_batch(
    memory: int, shuffle: bool, stored: str, disk: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "KEEP", memory)
    assert _batches(open_store(stored), shuffle=shuffle) == _batches(disk, shuffle=shuffle)


def test_neighbours_are_one_request_and_what_fits_into_memory_is_asked_for_once(
    proxy: servers.FaultProxy, stored: str
) -> None:
    store = open_store(stored)
    _ = store.index
    proxy.requests.clear()
    _batches(store, shuffle=True)
    asked = [request.split(stored.removeprefix("s3://"))[-1][1:] for request in proxy.requests if "/c/" in request]
    # 12 samples of one shard in 2 epochs: a request a layer.
    assert sorted(asked) == [f"data.zarr/{layer}/c/0/0/0/0/0" for layer in ("s1", "s2_10m", "s2_20m")]


def test_a_wrong_byte_that_was_read_ahead_is_asked_for_again(
    proxy: servers.FaultProxy, stored: str, disk: Store
) -> None:
    proxy.faults = [servers.Fault("wrong byte", path="/s1/c/"), servers.Fault("403", path="/s2_20m/c/")]
    assert _batches(open_store(stored)) == _batches(disk)
    assert [fault.times for fault in proxy.faults] == [0, 0]


def test_a_fault_while_reading_ahead_names_the_sample(
    proxy: servers.FaultProxy, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRIES", 1)
    proxy.faults = [servers.Fault("503", path="/s2_20m/c/", times=99)]
    with pytest.raises(StoreError, match=r"/s2_20m/c/\S+: sample \S+ layer s2_20m: the server does not answer"):
        _batches(open_store(stored))


def test_stores_of_two_places_are_read_as_one(bucket: str, tmp_path: Path) -> None:
    parts = [tiny_store(tmp_path / name, layers=[name]) for name in ("s2", "s1")]
    servers.upload(parts[0].path, f"{bucket}/s2")
    joined = JoinedStore([open_store(f"{bucket}/s2"), parts[1]])  # one in a bucket, one on a disk
    assert _batches(joined, shuffle=True) == _batches(JoinedStore(parts), shuffle=True)


def test_a_loader_that_is_left_lets_go_of_what_it_fetched(stored: str) -> None:
    store = open_store(stored)
    for batch in Loader(store, store.rows("all"), 2, shuffle=True):
        assert len(batch.keys) == 2
        break
    give_up = time.monotonic() + 5
    while any(thread.name.startswith("seamo-fetch") for thread in threading.enumerate()):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
@pytest.mark.parametrize("what", ["masks of any size", "a layer that a sample lacks"])
def test_other_stores_are_read_ahead_too(what: str, layout: Layout, bucket: str, tmp_path: Path) -> None:
    spec = seasons_spec() if "layer" in what else masks_spec()
    samples = [seasons_sample(i, spec) if "layer" in what else mask_sample(i) for i in range(8)]
    here = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none", layout=layout), samples))
    servers.upload(here.path, f"{bucket}/toy")
    there = open_store(f"{bucket}/toy")
    one, other = (list(Loader(store, store.rows("all"), 3, shuffle=True)) for store in (there, here))
    assert [batch.keys for batch in one] == [batch.keys for batch in other]
    for ours, theirs in zip(one, other, strict=True):
        assert ours.mask is None or np.array_equal(ours.mask, theirs.mask)
        assert all(np.array_equal(ours.layers[name], theirs.layers[name], equal_nan=True) for name in theirs.layers)
