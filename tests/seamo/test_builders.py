"""Several builders of one store: they share its shards, one may be killed anywhere, and one whole store comes of it."""

import errno
import fcntl
import json
import os
import tarfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import zarr

from seamo.disk import hold, private_folder
from seamo.errors import StoreError
from seamo.files import open_files
from seamo.files.bucket import BucketFiles
from seamo.sample import Sample
from seamo.store import deliver, shards
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan, build8
from seamo.store.check import content_of, differing_files
from seamo.store.keeping import WORK, sweep_bucket
from seamo.store.reader import Store, open_store
from seamo.store.roots import read_catalogue
from seamo.store.writer import BadSample, StoreWriter
from tests.seamo.store_samples import build, keys, mask_sample, masks_spec, seasons_samples, seasons_spec

SPEC = seasons_spec().only_layers(("s2_20m", "s1"))
PLAN = BuildPlan(spec=SPEC, split_scheme="hash-60-20-20")
TARS = replace(PLAN, layout="webdataset")
SAMPLES = [
    one
    if isinstance(one, BadSample)
    else replace(one, layers={k: v for k, v in one.layers.items() if k in ("s2_20m", "s1")})
    for one in seasons_samples()
]


class Killed(BaseException):
    """Stands for the end of a builder."""


def work(
    root: object, plan: BuildPlan = PLAN, samples: list = SAMPLES, scratch: Path | None = None
) -> tuple[str, list[int]]:
    """Be one builder: the address of what was published, and the shards that he made."""
    made = []
    with StoreWriter(root, plan, [one.key for one in samples], scratch=scratch) as writer:
        there = writer.done()
        for k in writer.todo([k for k in range(writer.num_shards) if k not in there], lambda _: None):
            writer.write_shard(k, (samples[row] for row in writer.rows_of(k)))
            made.append(k)
        return writer.publish(), made


def files_of(address: str) -> dict[str, bytes]:
    """Every file of a store but its views."""
    files = open_files(address)
    return {name: files.read(name) for name in files.names() if not name.startswith("views/")}


def told(files: dict[str, bytes]) -> dict[str, object]:
    """What store.json says, but when, and the digest over that."""
    facts = json.loads(files.pop("store.json"))
    return {name: one for name, one in facts.items() if name not in ("created", "digest")}


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Layout -> the files of a store that one builder made on a disk."""
    root = tmp_path_factory.mktemp("disk")
    return {plan.layout: files_of(str(build(root, plan, SAMPLES))) for plan in (PLAN, TARS)}


@pytest.fixture
def root(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A root on a disk, or in a bucket."""
    return str(tmp_path / "root") if where == "disk" else f"{request.getfixturevalue('bucket')}/stores"


EVERYWHERE = pytest.mark.parametrize(
    ("where", "plan"),
    [
        pytest.param("disk", PLAN, id="zarr on a disk"),
        pytest.param("bucket", TARS, id="webdataset in a bucket"),
        pytest.param("bucket", PLAN, id="zarr in a bucket", marks=pytest.mark.soak),
        pytest.param("disk", TARS, id="webdataset on a disk", marks=pytest.mark.soak),
    ],
)


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is put into buckets."""
    names: list[str] = []
    real = BucketFiles.put_once

    def counted(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        names.append(f"{self.url}/{name}")
        return real(self, name, data)

    monkeypatch.setattr(BucketFiles, "put_once", counted)
    return names


def is_pixels(name: str) -> bool:
    return "/shards/" in name or "/data.zarr/s1/c/" in name or "/data.zarr/s2_20m/c/" in name


@pytest.mark.parametrize("plan", [PLAN, pytest.param(TARS, marks=pytest.mark.soak)], ids=["zarr", "webdataset"])
def test_a_store_in_a_bucket_is_that_of_a_disk(
    bucket: str, tmp_path: Path, plan: BuildPlan, on_disk: dict[str, dict[str, bytes]], puts: list[str]
) -> None:
    address, made = work(f"{bucket}/stores", plan, scratch=tmp_path / "scratch")
    found, want = files_of(address), dict(on_disk[plan.layout])
    assert told(found) == told(want)
    assert found == want
    assert (sorted(made), address) == ([0, 1, 2], f"{bucket}/stores/toy/{build8(plan)}")
    assert Counter(filter(is_pixels, puts)) == {f"{address}/{name}": 1 for name in want if is_pixels(f"/{name}")}
    assert list((tmp_path / "scratch").iterdir()) == []
    assert set(read_catalogue(f"{bucket}/stores").stores) == {f"toy/{build8(plan)}"}
    before = len(puts)
    assert work(f"{bucket}/stores", plan) == (address, [])
    assert len(puts) == before


MOMENTS = {  # what is put just then, and whether it is there afterwards
    "a claim": ("/.work/claims/", True),
    "pixels": ("/shards/000001.tar", True),
    "a sidecar": ("/.work/done/000002.npz", False),
    "small files": ("/index.parquet", True),
    "the choice": ("/.work/chosen", False),
    "the choice that was made": ("/.work/chosen", True),
    "the index": (f"/{build8(TARS)}/index.parquet", True),
    "store.json": (f"/{build8(TARS)}/store.json", False),
    "store.json that is there": (f"/{build8(TARS)}/store.json", True),
}


SLOW = {"a claim", "a sidecar", "small files", "the choice", "the index", "store.json", "store.json that is there"}


@pytest.mark.parametrize("moment", [pytest.param(one, marks=[pytest.mark.soak] * (one in SLOW)) for one in MOMENTS])
def test_a_builder_killed_is_gone_on_with_from_an_empty_disk(
    bucket: str, tmp_path: Path, moment: str, on_disk: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes on has another split scheme: of the two, one's is the store, the other's a view."""
    real, (what, is_there) = BucketFiles.put_once, MOMENTS[moment]

    def dying(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        is_it = what in f"{self.url}/{name}"
        there = real(self, name, data) if is_there or not is_it else None
        if is_it:
            raise Killed
        return there

    with monkeypatch.context() as patch:
        patch.setattr(BucketFiles, "put_once", dying)
        with pytest.raises(Killed):
            work(bucket, TARS, scratch=tmp_path / "one")
    theirs, made = work(bucket, replace(TARS, split_scheme="cv5x5"), scratch=tmp_path / "two")
    assert len(made) <= (3 if moment in list(MOMENTS)[:3] else 0)
    mine, made = work(bucket, TARS)
    assert made == []
    assert list(tmp_path.glob("*/*")) == []
    address = f"{bucket}/toy/{build8(TARS)}"
    is_first = moment in list(MOMENTS)[5:]  # his choice counts, whoever carries it out
    assert address == (mine if is_first else theirs)
    assert [Store(one).meta.split_scheme for one in (theirs, mine)] == ["cv5x5", "hash-60-20-20"]
    assert Store(mine).content == json.loads(on_disk["webdataset"]["store.json"])["content"] == content_of(Store(mine))
    found, want = files_of(address), on_disk["webdataset"]
    assert found.keys() == want.keys()
    few = {"store.json"} if is_first else {"store.json", "index.parquet", "checksums.json"}
    assert {name for name in want if found[name] != want[name]} <= few
    assert [list(differing_files(Store(one), deep=True)) for one in (theirs, mine)] == [[], []]
    assert set(read_catalogue(bucket).stores) == {one.removeprefix(f"{bucket}/") for one in (theirs, mine)}


@EVERYWHERE
def test_builders_at_once_share_the_shards(
    root: str, plan: BuildPlan, puts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fmt, "rows_per_shard", lambda *_: 4)
    valid, looked = deliver.make_shard, []

    def slowly(*arguments: object) -> object:
        looked.append(time.sleep(0.1))
        return valid(*arguments)

    monkeypatch.setattr(deliver, "make_shard", slowly)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(work, root, replace(plan, split_scheme=one)) for one in ("hash-60-20-20", "cv5x5")]
        (one, mine), (two, his) = (each.result() for each in both)
    assert {*mine, *his} == set(range(10))
    assert len(mine) + len(his) <= 12  # of the last ones, both may make one that the other is at
    assert min(len(mine), len(his)) >= 3
    made = Counter(filter(is_pixels, puts))
    assert sum(made.values()) < 1.5 * len(made) or not made
    assert len({one, two}) == 2
    assert [list(differing_files(Store(url), deep=True)) for url in (one, two)] == [[], []]
    assert not any("/.work/" in f"/{name}" or ".partial" in name for name in open_files(root).names())


def other_codec(patch: pytest.MonkeyPatch) -> None:
    """As another release of the compressor: other bytes of the same pixels; and of tars, other headers."""
    patch.setattr(shards, "compress", lambda pixels, _: fmt.blosc.compress(pixels, b"zstd", 1, 1, 0, 1))
    patch.setattr(tarfile, "GNU_FORMAT", tarfile.USTAR_FORMAT)


def dies_before_its_sidecar(patch: pytest.MonkeyPatch, which: int) -> None:
    real = deliver.sidecar_bytes

    def dying(made: object) -> bytes:
        if made.rows[0].shard == which:
            raise Killed
        return real(made)

    patch.setattr(deliver, "sidecar_bytes", dying)


@EVERYWHERE
def test_bytes_of_another_compressor_are_taken_over(
    root: str, plan: BuildPlan, on_disk: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        other_codec(patch)
        dies_before_its_sidecar(patch, 1)
        with StoreWriter(root, plan, [one.key for one in SAMPLES]) as writer:
            writer.write_shard(0, SAMPLES[:16])
            with pytest.raises(Killed):
                writer.write_shard(1, SAMPLES[16:32])
    half = files_of(writer.place)
    address, made = work(root, plan)
    assert sorted(made) == [1, 2]
    found, want = files_of(address), on_disk[plan.layout]
    theirs = {name for name in want if is_pixels(f"/{name}") and found[name] != want[name]}
    assert theirs == {name for name in half if is_pixels(f"/{name}")}
    assert len(theirs) == (4 if plan.layout == "zarr" else 2)
    assert all(found[name] == half[name] for name in theirs)
    store = open_store(address)
    assert list(differing_files(store, deep=True)) == []
    assert content_of(store) == store.content == json.loads(want["store.json"])["content"]
    assert found["moments.parquet"] == want["moments.parquet"]


def test_other_readers_read_what_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        other_codec(patch)
        dies_before_its_sidecar(patch, 1)
        with pytest.raises(Killed):
            build(tmp_path, PLAN, SAMPLES)
    address, _ = work(tmp_path)
    group = zarr.open_group(Path(address) / "data.zarr", mode="r")
    for i, one in enumerate(SAMPLES):
        if isinstance(one, Sample) and "s1" in one.layers:
            np.testing.assert_array_equal(group["s1"][i], one.layers["s1"])


@pytest.mark.soak
def test_masks_of_varying_size_are_taken_over(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [mask_sample(i) for i in range(8)]
    plan = BuildPlan(masks_spec(), split_scheme="none")
    with monkeypatch.context() as patch:
        other_codec(patch)
        dies_before_its_sidecar(patch, 0)
        with pytest.raises(Killed):
            work(bucket, plan, samples)
    store = open_store(work(bucket, plan, samples)[0])
    assert store.content == open_store(build(tmp_path, plan, samples)).content == content_of(store)
    assert list(differing_files(store, deep=True)) == []


@EVERYWHERE
def test_other_pixels_are_named(root: str, plan: BuildPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        dies_before_its_sidecar(patch, 1)
        with pytest.raises(Killed):
            work(root, plan)
    changed = replace(SAMPLES[17], layers={**SAMPLES[17].layers, "s1": SAMPLES[17].layers["s1"] + 1})
    samples = [*SAMPLES[:17], changed, *SAMPLES[18:]]
    with pytest.raises(StoreError, match=f"shard 1 sample {keys(18)[17]} layer s1: another builder.*other pixels"):
        work(root, plan, samples)
    lacking = replace(SAMPLES[17], layers={"s2_20m": SAMPLES[17].layers["s2_20m"]}, label=2)
    with pytest.raises(StoreError, match=f"shard 1 sample {keys(18)[17]} layer (s1|json)"):
        work(root, plan, [*SAMPLES[:17], lacking, *SAMPLES[18:]])
    if plan.layout == "webdataset":  # members say the label, too
        with pytest.raises(StoreError, match=f"shard 1 sample {keys(18)[17]} layer json"):
            work(root, plan, [*SAMPLES[:17], replace(SAMPLES[17], label=0), *SAMPLES[18:]])
    assert work(root, plan)[1]


def test_what_is_no_shard_is_named_in_a_bucket(bucket: str) -> None:
    with StoreWriter(bucket, PLAN, [one.key for one in SAMPLES]) as writer:
        open_files(writer.place).put_once("data.zarr/s1/c/0/0/0/0/0", b"x" * 400)
        with pytest.raises(StoreError, match=r"s1/c/0/0/0/0/0: is there already, with other bytes.*clean ROOT"):
            writer.write_shard(0, SAMPLES[:16])


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_what_was_begun_with_other_samples_is_refused(root: str) -> None:
    keys_of = [one.key for one in SAMPLES]
    StoreWriter(root, PLAN, keys_of).close()
    with pytest.raises(StoreError, match="was begun with other samples"):
        StoreWriter(root, PLAN, keys_of[:-1])


def test_shards_that_are_taken_away_meanwhile_are_made_again(
    bucket: str, puts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a sweep of unfinished stores: before the end, and in the moment of store.json."""
    victim = f"toy/{build8(TARS)}/shards/000001.tar"
    with StoreWriter(bucket, TARS, [one.key for one in SAMPLES]) as writer:
        for k in range(3):
            writer.write_shard(k, [SAMPLES[row] for row in writer.rows_of(k)])
        open_files(bucket).delete([victim])
        with pytest.raises(StoreError, match=r"1 files of finished shards were taken away.*Build again"):
            writer.publish()
    assert not any(one.endswith(f"/{build8(TARS)}/store.json") for one in puts)
    real = BucketFiles.put_once

    def removing(self: BucketFiles, name: str, data: bytes) -> bytes | None:
        if name == "store.json":
            open_files(bucket).delete([victim])
        return real(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(BucketFiles, "put_once", removing)
        with pytest.raises(StoreError, match="taken away"):
            work(bucket, TARS)
    assert not open_files(bucket).exists(f"toy/{build8(TARS)}/store.json")
    address, made = work(bucket, TARS)
    assert made == [1]
    assert list(differing_files(Store(address), deep=True)) == []


def test_work_files_go_by_a_sweep_once_the_store_is_there(bucket: str) -> None:
    two = [work(bucket, replace(TARS, split_scheme=one))[0] for one in ("hash-60-20-20", "cv5x5")]
    before = set(open_files(bucket).names())
    for one in two:
        open_files(one).put_once(".work/made/0/store.json", b"1234")
    other = f"{bucket}/toy/0a1b2c3d"
    open_files(other).put_once(".work/done/000000.npz", b"12")
    for _ in range(2):
        found = {(one.name, one.what) for one in sweep_bucket(bucket, unfinished=False, dry_run=True)}
        assert {name for name, what in found if what == WORK} == {
            f"{one}/.work".removeprefix(f"{bucket}/") for one in two
        }
    sweep_bucket(bucket, unfinished=False, dry_run=False)
    assert set(open_files(bucket).names()) == {*before, "toy/0a1b2c3d/.work/done/000000.npz"}
    sweep_bucket(bucket, unfinished=True, dry_run=False)
    assert set(open_files(bucket).names()) == before


def test_a_view_in_a_bucket_reads_no_pixels(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work(bucket)
    asked: list[str] = []
    real = BucketFiles._ask

    def noted(self: BucketFiles, name: str, *arguments: object, **options: object) -> object:
        asked.append(f"{self.url}/{name}")
        return real(self, name, *arguments, **options)

    monkeypatch.setattr(BucketFiles, "_ask", noted)
    view, made = work(bucket, replace(PLAN, split_scheme="cv5x5"))
    assert made == []
    assert "/views/" in view
    assert len(asked) > 10
    assert not any(is_pixels(name) for name in asked)


def test_private_folders_of_killed_processes_go_and_those_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("seamo-build-dead", "seamo-build-alive"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").touch()
    handle = hold(tmp_path / "seamo-build-alive.lock", folder=False)
    assert handle is not None
    with private_folder(tmp_path) as mine:
        (mine / "file").write_bytes(b"1")
        with private_folder(tmp_path) as other:
            assert {one.name for one in tmp_path.iterdir() if one.is_dir()} == {
                "seamo-build-alive",
                mine.name,
                other.name,
            }
    os.close(handle)
    assert {one.name for one in tmp_path.iterdir()} == {"seamo-build-alive", "seamo-build-alive.lock"}

    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with private_folder(tmp_path) as mine, private_folder(tmp_path) as other:
        assert mine.is_dir()
        assert other.is_dir()
    assert {one.name for one in tmp_path.iterdir()} == {"seamo-build-alive", "seamo-build-alive.lock"}


def test_a_file_system_without_links_and_locks_takes_a_store(
    tmp_path: Path, on_disk: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", lacks)
    monkeypatch.setattr(os, "link", lacks)
    found, want = files_of(work(tmp_path, TARS)[0]), dict(on_disk["webdataset"])
    assert told(found) == told(want)
    assert found == want


def test_what_is_put_at_the_same_time_fits_and_a_large_file_goes_alone() -> None:
    room, lock, taken, most = deliver._Room(100), Lock(), [], []

    def put(size: int) -> None:
        with room.room(size):
            with lock:
                taken.append(size)
                most.append(tuple(taken))
            time.sleep(0.005)
            with lock:
                taken.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [30, 60, 40, 500, 20, 60, 100, 30] * 3))
    assert all(sum(sizes) <= 100 or sizes == (500,) for sizes in most)
    assert any(len(sizes) > 1 for sizes in most)
