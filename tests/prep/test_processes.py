"""Builds by more than four workers are processes: the same bytes, and nothing left behind by a loss on either side."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from seamo.errors import ArchiveError, StoreError
from seamo.store import format as fmt
from seamo.store.reader import open_store
from seamo_prep import engines
from seamo_prep.build import Options, build
from seamo_prep.processes import Died, in_processes
from tests.prep.demo_stores import build_quietly

IN_THREADS = engines._in_threads


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More workers than this machine has cores, as many shards, and no threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(fmt, "rows_per_shard", lambda _spec, _layout, num: max(1, num // 7))
    monkeypatch.setattr(engines, "_in_threads", None)


def files_of(store: Path) -> dict[Path, bytes]:
    """All but store.json, which tells when it was built."""
    files = {path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    del files[Path("store.json")]
    return files


@pytest.mark.usefixtures("many")
def test_six_processes_write_the_same_files(demo_raw: Path, tmp_path: Path) -> None:
    one, six = (build_quietly("eurosat", demo_raw / "eurosat", tmp_path / str(n), workers=n).path for n in (1, 6))
    assert files_of(one) == files_of(six)
    assert open_store(six).meta.num_shards == 8
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("many")
def test_a_killed_process_names_its_shard_and_the_next_build_goes_on(
    demo_raw: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def kill(done: int, _total: int) -> None:
        for child in multiprocessing.active_children() if done and not killed else ():
            killed.append(child.pid or 0)
            child.kill()
            child.join()

    with pytest.raises(StoreError, match=r"the process that wrote shard [0-7] was killed by SIGKILL.*same command"):
        build(
            "eurosat", raw=demo_raw / "eurosat", root=tmp_path, options=Options(), engine=engines.Engine(5),
            say=lambda _: None, progress=kill,
        )  # fmt: skip
    assert len(killed) == 5
    assert multiprocessing.active_children() == []
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("eurosat/.*.partial/.work/done/*")}
    assert 1 <= len(done) < 8
    monkeypatch.setattr(engines, "_in_threads", IN_THREADS)  # where four shards or fewer are left
    told: list[int] = []
    built = build(
        "eurosat", raw=demo_raw / "eurosat", root=tmp_path, options=Options(), engine=engines.Engine(5),
        say=lambda _: None, progress=lambda so_far, _: told.append(so_far),
    )  # fmt: skip
    assert told[0] >= 8  # rows of what was finished
    assert open_store(built.path).content == open_store(demo_root / "eurosat").content


@pytest.mark.usefixtures("many")
def test_a_bad_file_is_its_own_message(demo_raw: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(demo_raw / "eurosat", tmp_path / "raw")
    os.truncate(next(raw.rglob("AnnualCrop_1.tif")), 2000)
    with pytest.raises(ArchiveError, match="AnnualCrop_1"):
        build_quietly("eurosat", raw, tmp_path / "root", workers=6)
    assert multiprocessing.active_children() == []


ORPHANS = """
import multiprocessing, time
from seamo_prep.processes import in_processes

def tasks():
    yield from ((k, (60,)) for k in range(3))
    print(*(one.pid for one in multiprocessing.active_children()), flush=True)

if __name__ == "__main__":
    list(in_processes(time.sleep, tasks(), workers=4, preload=["time"]))
"""


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, tmp_path / "orphans.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [psutil.Process(int(one)) for one in parent.stdout.readline().split()]
    assert len(children) == 3
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    patience = time.monotonic() + 30  # and not the minute that they sleep
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children):
        assert time.monotonic() < patience
        time.sleep(0.05)


class UnreadError(Exception):
    """Travels, and cannot be made again from what travels."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def leave(how: str) -> str:
    """What a task may do."""
    if how == "raise":
        raise KeyError(how)
    if how == "odd":
        raise ValueError(lambda: 0)  # does not travel
    if how == "unread":
        raise UnreadError("one", "other")
    if how == "exit":
        os._exit(3)
    return how


def test_what_becomes_of_tasks() -> None:
    preload = ["tests.prep.test_processes"]
    done = dict(in_processes(leave, iter([(k, (word,)) for k, word in enumerate("abcde")]), workers=2, preload=preload))
    assert done == dict(enumerate("abcde"))
    (key, died), *_ = in_processes(leave, iter([("x", ("exit",))]), workers=2, preload=preload)
    assert (key, died, str(died)) == ("x", Died(3), "ended with status 3")
    with pytest.raises(KeyError, match="raise") as raised:
        list(in_processes(leave, iter([(0, ("raise",))]), workers=2, preload=preload))
    assert "in leave" in raised.value.__notes__[0]  # where it was raised, in the other process
    with pytest.raises(RuntimeError, match="one and other"):
        list(in_processes(leave, iter([(0, ("unread",))]), workers=2, preload=preload))
    with pytest.raises(RuntimeError, match="ValueError"):
        list(in_processes(leave, iter([(0, ("odd",))]), workers=2, preload=preload))
    assert multiprocessing.active_children() == []
