"""Builds that are killed, that meet a full disk, another builder or wrong samples."""

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from seamo.errors import SampleError, StoreError
from seamo.files import open_files
from seamo.sample import Sample
from seamo.store import format as fmt
from seamo.store import shards
from seamo.store.buildplan import BuildPlan, build8, view8
from seamo.store.catalog import list_stores, newest
from seamo.store.publish import build_lock
from seamo.store.reader import open_store
from seamo.store.sidecar import Sidecar, sidecar_bytes
from seamo.store.site import sidecars
from seamo.store.writer import StoreWriter, write_shard
from tests.seamo import store_samples
from tests.seamo.store_samples import build, masks_spec, seasons_sample, seasons_samples, seasons_spec

PLAN = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20")
SAMPLES = seasons_samples()
KEYS = [one.key for one in SAMPLES]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return open_store(build(tmp_path_factory.mktemp("whole"), PLAN, SAMPLES)).content


def began(root: Path, pid: int) -> bool:
    return any(f"process {pid} " in lock.read_text() for lock in root.glob("toy/.*.lock"))


def run_and_kill(root: Path, layout: str, kills: int, seed: int) -> str:
    """Build in a child process, killing it so many times; what the last one prints."""
    rng = np.random.default_rng(seed)
    command = [sys.executable, store_samples.__file__, str(root), layout]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            while child.poll() is None and not began(root, child.pid):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.5))
            child.send_signal(signal.SIGKILL)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.soak
@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_killed_build_resumes_to_the_same_content(tmp_path, layout, content):
    assert run_and_kill(tmp_path, layout, 2, len(layout)) == content
    (folder,) = (tmp_path / "toy").glob("[!.]*")
    assert not (folder / ".work").exists()


@pytest.mark.soak
@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_build_killed_often_resumes_to_the_same_content(tmp_path, layout, content):
    for attempt in range(10):
        assert run_and_kill(tmp_path / str(attempt), layout, 3, attempt) == content


class Crash(BaseException):
    """Stands for the end of the process."""


def test_a_crash_before_any_rename_loses_nothing(tmp_path, monkeypatch, content):
    # Every rename and link of the build is a moment at which it may die: the n-th run dies at its n-th one, so that
    # all states between two of them are met.
    calls = {"left": 0}
    for place, name in ((Path, "replace"), (Path, "rename"), (os, "link")):
        whole = getattr(place, name)

        def dying(source, target, whole=whole):
            calls["left"] -= 1
            if calls["left"] < 0:
                raise Crash
            return whole(source, target)

        monkeypatch.setattr(place, name, dying)
    crashes = 0
    while True:
        calls["left"] = crashes
        try:
            path = build(tmp_path, PLAN, SAMPLES)
            break
        except Crash:
            crashes += 1
            assert [one.state for one in list_stores(tmp_path)] == ["unfinished"]
            with pytest.raises(StoreError, match="not finished"):
                open_store(tmp_path / "toy")
        assert crashes < 60
    assert crashes > 8
    assert open_store(path).content == content


def test_finished_shards_are_not_written_again(tmp_path, content):
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        writer.write_shard(1, [SAMPLES[row] for row in writer.rows_of(1)])
        assert [writer.is_done(k) for k in range(3)] == [False, True, False]
        with pytest.raises(StoreError, match="2 of 3 shards"):
            writer.publish()
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        assert writer.is_done(1)
        # A shard file that lost its end (a crashed file system) is written again.
        victim = Path(writer.place) / fmt.shard_file("zarr", 1, "s1")
        victim.write_bytes(victim.read_bytes()[:-1])
        assert not writer.is_done(1)
    path = build(tmp_path, PLAN, SAMPLES)
    assert open_store(path).content == content
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        assert writer.published == str(path)
        assert all(writer.is_done(k) for k in range(3))
        assert writer.publish() == str(path)


def test_shards_are_written_by_many_processes_in_any_order(tmp_path, content):
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        jobs = [writer.job(k) for k in (2, 0, 1)]
        items = [[SAMPLES[row] for row in writer.rows_of(job.index)] for job in jobs]
        assert pickle.loads(pickle.dumps(jobs[0])) == jobs[0]  # noqa: S301 - our own bytes
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(write_shard, jobs, items))
        assert open_store(writer.publish()).content == content


def test_countries_are_a_column_of_the_index_and_no_part_of_the_content(tmp_path, content):
    named = {KEYS[0]: "Fiji", KEYS[2]: ""}
    store = open_store(build(tmp_path, PLAN, SAMPLES, countries=named))
    assert store.index["country"].fillna("?").tolist() == ["Fiji"] + ["?"] * (len(KEYS) - 1)
    assert store.content == content
    assert "country" not in open_store(build(tmp_path / "without", PLAN, SAMPLES)).index


def test_what_a_finished_shard_says_is_held_to_its_hash(tmp_path, content):
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        writer.write_shard(1, [SAMPLES[row] for row in writer.rows_of(1)])
        (sidecar,) = (Path(writer.place) / ".work" / "done").iterdir()
    whole = sidecar.read_bytes()
    for place in (0, 40, len(whole) // 2, len(whole) - 1):
        sidecar.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with StoreWriter(tmp_path, PLAN, KEYS) as writer:
            assert not writer.is_done(1)
    sidecar.write_bytes(whole[:-7])
    assert open_store(build(tmp_path, PLAN, SAMPLES)).content == content  # it is written again


def test_two_builders_share_a_store_and_one_publishes_it(tmp_path, content):
    made = []

    def build_it() -> str:
        with StoreWriter(tmp_path, PLAN, KEYS) as writer:
            for k in writer.todo(range(3), lambda _: None):
                made.append(k)
                writer.write_shard(k, [SAMPLES[row] for row in writer.rows_of(k)])
            return writer.publish()

    with ThreadPoolExecutor(4) as pool:
        (path,) = {one.result() for one in [pool.submit(build_it) for _ in range(4)]}
    assert open_store(path).content == content
    assert set(made) == {0, 1, 2}
    assert {one.name for one in Path(path).parent.iterdir()} == {Path(path).name, f".{Path(path).name}.lock"}
    assert not (Path(path) / ".work").exists()


def test_whoever_must_not_meet_builders_waits_for_them(tmp_path):
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        final = tmp_path / "toy" / writer.build
        with pytest.raises(StoreError, match=f"another process.*process {os.getpid()}\\)"):
            build_lock(final)
    os.close(build_lock(final))


def test_a_full_disk_is_one_error_and_keeps_what_is_done(tmp_path, content):
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        writer.write_shard(0, [SAMPLES[row] for row in writer.rows_of(0)])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))  # less than a shard of s2_10m takes
        try:
            with pytest.raises(StoreError, match=r"disk is full.*Make room"):
                writer.write_shard(1, [SAMPLES[row] for row in writer.rows_of(1)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [writer.is_done(k) for k in range(3)] == [True, False, False]
        assert list((Path(writer.place) / ".work" / "parts").iterdir()) == []
    assert open_store(build(tmp_path, PLAN, SAMPLES)).content == content


def test_no_space_while_publishing(tmp_path, monkeypatch, content):
    real = os.fsync
    budget = {"left": 10**6}

    def full(handle):
        budget["left"] -= 1
        if budget["left"] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        for k in range(3):
            writer.write_shard(k, [SAMPLES[row] for row in writer.rows_of(k)])
        for allowed in range(4):
            budget["left"] = allowed
            with pytest.raises(StoreError, match="disk is full"):
                writer.publish()
            assert writer.published == ""
        budget["left"] = 10**6
        assert open_store(writer.publish()).content == content


def test_bytes_that_come_back_different_are_noticed(tmp_path, monkeypatch):
    real = shards._read_back

    def damaged(part, checks, codec, *, has_crc):
        os.pwrite(part.file.fileno(), bytes(64), checks[0].place.offset)
        real(part, checks, codec, has_crc=has_crc)

    monkeypatch.setattr(shards, "_read_back", damaged)
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        with pytest.raises(StoreError, match="gave back other bytes"):
            writer.write_shard(0, [SAMPLES[row] for row in writer.rows_of(0)])
        assert not writer.is_done(0)


def test_wrong_samples_are_refused(tmp_path):
    spec = seasons_spec()
    with StoreWriter(tmp_path, PLAN, KEYS) as writer:
        rows = [SAMPLES[row] for row in writer.rows_of(0)]
        with pytest.raises(StoreError, match=f"{KEYS[1]} came where {KEYS[0]} belongs"):
            writer.write_shard(0, [rows[1], rows[0], *rows[2:]])
        with pytest.raises(StoreError, match="15 samples instead of 16"):
            writer.write_shard(0, rows[:-1])
        with pytest.raises(StoreError, match="one too many"):
            writer.write_shard(0, [*rows, rows[0]])
        wrong = seasons_sample(0, spec)
        wrong.layers["s1"] = wrong.layers["s1"].astype(np.float64)
        with pytest.raises(SampleError, match="float64 instead of float32"):
            writer.write_shard(0, [wrong, *rows[1:]])
        with pytest.raises(StoreError, match="'set' instead of 'id'"):
            writer.write_shard(0, [replace(rows[0], label=(1, 2)), *rows[1:]])
        assert not writer.is_done(0)
        assert list((Path(writer.place) / ".work" / "parts").iterdir()) == []
    with pytest.raises(StoreError, match="begun with other samples"):
        StoreWriter(tmp_path, PLAN, KEYS[:-1])
    with pytest.raises(StoreError, match="twice"):
        StoreWriter(tmp_path, PLAN, [*KEYS, KEYS[0]])
    with pytest.raises(StoreError, match="no samples"):
        StoreWriter(tmp_path, PLAN, [])
    with pytest.raises(SampleError, match="a\\.b"):
        StoreWriter(tmp_path, PLAN, ["a.b"])
    small = masks_spec((32, 32))
    with StoreWriter(tmp_path, BuildPlan(spec=small, split_scheme="none"), ["a"]) as writer:
        bad = Sample("a", {}, label=np.zeros((31, 32), np.uint8))
        with pytest.raises(StoreError, match="mask is"):
            writer.write_shard(0, [bad])


def test_build8_names_what_is_built():
    same = replace(PLAN, spec=seasons_spec(title="Another title", summary="other words"), relax=())
    assert build8(same) == build8(PLAN)
    changes = {"layout": "webdataset", "codec": "compact", "limit": 5, "relax": ("shape",)}
    changes |= {"on_bad": "skip", "archive": "abc", "synthetic": {"world": 1}, "spec": seasons_spec(id="other")}
    builds = {build8(replace(PLAN, **{name: value})) for name, value in changes.items()}
    builds.add(build8(replace(PLAN, spec=PLAN.spec.only_layers(("s1",)))))
    assert len(builds | {build8(PLAN)}) == len(changes) + 2
    tars = {build8(replace(PLAN, layout="webdataset", codec=codec)) for codec in ("lz4", "compact", "none")}
    assert len(tars) == 1  # tars are never compressed


def test_what_samples_mean_names_the_view_and_not_the_pixels():
    spaces = {**seasons_spec().model_dump()["label_spaces"], "more": {"classes": [{"name": "any"}]}}
    meanings = [
        replace(PLAN, split_scheme="cv5x5"),
        replace(PLAN, labels="a corrected table"),
        replace(PLAN, spec=seasons_spec(label_spaces=spaces)),
    ]
    assert {build8(plan) for plan in meanings} == {build8(PLAN)}
    assert len({view8(plan) for plan in (*meanings, PLAN)}) == len(meanings) + 1
    scheme = {"another": {"files": [{"split": "train", "file": "train.txt"}]}}
    registered = replace(PLAN, spec=seasons_spec(splits=scheme))
    assert (build8(registered), view8(registered)) == (build8(PLAN), view8(PLAN))  # registering renames nothing
    # Members of tars carry the labels: other labels are other shards.
    tar = replace(PLAN, layout="webdataset")
    assert build8(replace(tar, labels="a corrected table")) != build8(tar)


def test_rows_of_a_shard():
    spec = seasons_spec()
    assert fmt.rows_per_shard(spec, "zarr", 40) == 16
    assert fmt.rows_per_shard(spec, "zarr", 100_000) == 512
    season = spec.with_sizes({"s2_10m": (264, 264), "s2_20m": (132, 132), "s2_60m": (44, 44), "s1": (264, 264)})
    # 4 dates x 4 bands x 264 x 264 x 2 bytes = 2.23 MB: 64 of them are 143 MB, 128 would be more than 256 MiB.
    assert fmt.rows_per_shard(season, "zarr", 250_000) == 64
    huge = spec.with_sizes({"s2_10m": (8192, 8192)})
    assert fmt.rows_per_shard(huge, "zarr", 250_000) == 1


def test_titles_and_catalogue(tmp_path):
    spec = seasons_spec()
    samples = [seasons_sample(i, spec) for i in range(20)]
    first = build(tmp_path, replace(PLAN, synthetic={"seed": 1}), samples)
    assert open_store(first / "store.json").title == "Toy synthetic (20 samples)"
    assert open_store(tmp_path / "toy").path == first
    full = seasons_spec(expected={"samples": 20})
    whole = [one if one.key != samples[3].key else replace(samples[4], key=one.key) for one in samples]
    second = build(tmp_path, replace(PLAN, spec=full), whole)
    assert open_store(second).title == "Toy"
    third = build(tmp_path, replace(PLAN, spec=full, archive="one sample lacks s1"), samples)
    assert open_store(third).title == "Toy subset (20 of 20)"
    assert open_store(third).meta.subset == "1 samples without s1"
    StoreWriter(tmp_path, replace(PLAN, archive="half"), KEYS).close()
    entries = list_stores(tmp_path)
    assert [one.state for one in entries] == ["published"] * 3 + ["unfinished"]
    assert newest(entries)["toy"].created == max(one.created for one in entries[:3])
    with pytest.raises(StoreError, match="holds 3 stores"):
        open_store(tmp_path / "toy")
    (second / "store.json").write_text('{"format": "seamo-store/9"}')
    assert [one.state for one in list_stores(tmp_path)].count("damaged") == 1
    with pytest.raises(StoreError, match="is of format 'seamo-store/9'"):
        open_store(second)
    with pytest.raises(StoreError, match="holds no store"):
        open_store(tmp_path)


def test_sidecars_are_opened_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 fails at random where threads read numpy's headers at once."""
    folder, inside, most = tmp_path / ".work" / "done", [0], [0]
    folder.mkdir(parents=True)
    for k in range(8):
        data = sidecar_bytes(Sidecar([], {}, {}, {}))
        (folder / f"{k:06d}.npz").write_bytes(data)
    load = np.load

    @contextmanager
    def slow(file: object) -> Iterator[object]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        with load(file) as arrays:
            yield arrays
        inside[0] -= 1

    monkeypatch.setattr(np, "load", slow)
    assert len(list(sidecars(open_files(tmp_path), 8))) == 8
    assert most == [1]
