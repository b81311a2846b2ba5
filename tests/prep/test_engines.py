"""Who writes shards: threads of one process, and a scheduler that loses workers or is lost itself."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow
import pytest

from seamo.errors import ArchiveError, StoreError, UsageError
from seamo.store import format as fmt
from seamo.store.check import content_of
from seamo.store.reader import open_store
from seamo.testing.world import World
from seamo_prep.archives import archive_ids, load_archive
from seamo_prep.build import Options, build
from seamo_prep.containers import Joined
from seamo_prep.engines import Engine
from seamo_prep.packed import open_container
from tests.dask_cluster import Cluster
from tests.prep.demo_stores import build_quietly


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads up to eight, and about eight shards however few samples there are."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(fmt, "rows_per_shard", lambda _spec, _layout, num: max(1, num // 8))


QUICK = ("eurosat", "ssl4eo-s12-v1.1")  # a file a sample, zarr


@pytest.mark.parametrize(
    "dataset", [*QUICK, *(pytest.param(one, marks=pytest.mark.soak) for one in archive_ids() if one not in QUICK)]
)
@pytest.mark.usefixtures("eight_cores")
def test_four_threads_write_the_same_files(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    load_archive(dataset).demo(tmp_path / "raw", World(5), "tiny")
    stores = [build_quietly(dataset, tmp_path / "raw", tmp_path / str(n), workers=n).path for n in (1, 4)]
    one, four = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in stores
    )
    for files in (one, four):
        del files[Path("store.json")]  # it tells when it was built
    assert one == four
    assert len(list(stores[1].rglob("*.tar"))) == 0
    assert open_store(stores[1]).meta.num_shards >= 4
    assert open_store(stores[0]).content == open_store(stores[1]).content == content_of(open_store(stores[1]))


def packed(kind: str, folder: Path, files: dict[str, bytes]) -> Joined:
    """An archive of these files; `.parts` after the kind cuts it into three."""
    form, _, parts = kind.partition(" ")
    path = folder / f"a{form}"
    if form == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in files.items():
                out.writestr(name, data)
    else:
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w:gz" if form == ".tar.gz" else "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        data = whole.getvalue()
        if form == ".tar.zst":
            data = pyarrow.compress(data, codec="zstd", asbytes=True)
        path.write_bytes(data)
    if not parts:
        return Joined((path,))
    data = path.read_bytes()
    step = len(data) // 3 + 1
    cut = [folder / f"{path.name}.part{number}" for number in range(3)]
    for number, one in enumerate(cut):
        one.write_bytes(data[number * step : (number + 1) * step])
    return Joined(tuple(cut))


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tar.zst", ".zip parts", ".tar parts", ".tar.gz parts"])
def test_threads_share_an_archive(kind: str, tmp_path: Path) -> None:
    """Each reads every member, in its own order, from one container that nobody has listed before."""
    files = {f"top/{number:03d}": bytes([number % 251]) * (3000 + 71 * number) for number in range(200)}
    form = kind.partition(" ")[0]
    container = open_container(packed(kind, tmp_path, files), f"a{form}")
    names = sorted(files)

    def read(start: int) -> bool:
        order = names[start:] + names[:start] if form != ".tar.gz" else names
        return all(container.read(name) == files[name] for name in order)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(read, (0, 50, 100, 150) * 4))
    finally:
        sys.setswitchinterval(switch)


@pytest.mark.usefixtures("eight_cores")
def test_a_bad_file_stops_the_other_threads_before_their_next_sample(
    demo_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = shutil.copytree(demo_raw / "eurosat", tmp_path / "raw")
    os.truncate(next(raw.rglob("AnnualCrop_1.tif")), 2000)
    archive = load_archive("eurosat")
    read, started = archive.read, []

    def slowly(*arguments):
        for sample in read(*arguments):
            started.append(sample.key)
            time.sleep(0.05)
            yield sample

    monkeypatch.setattr(archive, "read", slowly)
    with pytest.raises(ArchiveError, match="AnnualCrop_1"):
        build_quietly("eurosat", raw, tmp_path / "root", workers=4)
    assert len(started) < 12  # of 60
    assert [one.name for one in threading.enumerate() if one.name.startswith("shard")] == []


SLOW_BUILD = """
import os, sys, time
from pathlib import Path
os.sched_getaffinity = lambda pid: {0, 1}
from seamo_prep.archives import eurosat
read = eurosat.read

def slowly(*arguments):
    for sample in read(*arguments):
        time.sleep(0.03)
        yield sample

eurosat.read = slowly
from seamo_prep.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_threads_with_one_message_and_finished_shards_stay(
    number: signal.Signals, demo_raw: Path, demo_root: Path, tmp_path: Path
) -> None:
    arguments = ["build", "eurosat", "--raw", str(demo_raw / "eurosat"), "--store", str(tmp_path), "--workers", "2"]
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while child.poll() is None and not list(tmp_path.glob("eurosat/.*.partial/.work/done/*")):
        time.sleep(0.01)
    os.killpg(child.pid, number)  # as a terminal does
    _, errors = child.communicate(timeout=30)
    assert child.returncode == (130 if number is signal.SIGINT else 75)
    assert "Traceback" not in errors
    messages = [line for line in errors.splitlines() if line.startswith("seamo-prep: ")]
    assert len(messages) == 1
    assert messages[0].startswith(f"seamo-prep: stopped by {number.name}.")
    assert not list(tmp_path.glob("eurosat/*/store.json"))
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("eurosat/.*.partial/.work/done/*")}
    assert done
    built = build_quietly("eurosat", demo_raw / "eurosat", tmp_path)
    assert open_store(built.path).content == open_store(demo_root / "eurosat").content


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


@pytest.mark.soak
def test_workers_lost_in_turn_change_nothing(demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, seconds=0.5) as cluster:
        cluster.start_worker()
        cluster.start_worker()

        def kill_both() -> None:
            for number in range(2):
                cluster.wait_for(1 + number)
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
            cluster.wait_for(2)
            cluster.scheduler.kill()

        with pytest.raises(StoreError, match=r"went away.*give the same command again"):
            build_on(cluster.address, demo_raw, tmp_path / "root", kill_scheduler)
    assert list((tmp_path / "root").glob("eurosat/.*.partial/.work/done/*"))
    built = build_quietly("eurosat", demo_raw / "eurosat", tmp_path / "root")
    assert content_of(open_store(built.path)) == open_store(demo_root / "eurosat").content


def test_a_scheduler_that_is_not_there_is_one_message(demo_raw: Path, tmp_path: Path) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:9: does not answer"):
            build_on("tcp://127.0.0.1:9", demo_raw, tmp_path)
        with pytest.raises(StoreError, match=r"not-there\.json: has not been written"):
            build_on(str(tmp_path / "not-there.json"), demo_raw, tmp_path)
        with pytest.raises(UsageError, match="is no address"):
            build_on("nonsense://x", demo_raw, tmp_path)
