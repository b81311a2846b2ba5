"""Dask schedulers and workers: as processes of their own, to be killed, or in this one."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Loaded by every worker, more than once: each shard takes a while, so that a kill meets one.
SLOW_SHARDS = """
import os, time
from pathlib import Path
import seamo_prep.engines as engines
from seamo.store.writer import write_shard

def slowly(job, samples):
    Path({marks!r}, f"{{job.index}}-{{os.getpid()}}").touch()
    time.sleep({seconds})
    write_shard(job, samples)

engines.write_shard = slowly
"""
# The same for each part of a check or a copy.
SLOW_PARTS = """
import os, time
from pathlib import Path
import seamo.store.workers as workers

def slow(real):
    def slowly(*arguments):
        Path({marks!r}, f"{{time.time_ns()}}-{{os.getpid()}}").touch()
        time.sleep({seconds})
        return real(*arguments)

    return slowly

workers._check, workers._move = slow(workers._check), slow(workers._move)
"""
# The same for each cell of a suite.
SLOW_CELLS = """
import os, time
from pathlib import Path
import torch
import seamo_bench.runs.run as run
from seamo_bench.runs.context import context_of

def slowly(*arguments, **named):
    Path({marks!r}, f"{{time.time_ns()}}-{{os.getpid()}}").touch()
    time.sleep({seconds})
    return context_of(*arguments, **named)

torch.set_num_threads(1)
run.context_of = slowly
"""


class Cluster:
    """Use as a context manager: what still runs at its end is ended.

    Args:
        folder: An empty one.
        seconds: That each shard or cell takes longer.
        slow: `SLOW_SHARDS`, `SLOW_PARTS` or `SLOW_CELLS`.
    """

    def __init__(self, folder: Path, *, seconds: float, slow: str = SLOW_SHARDS) -> None:
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        self._file, self._preload = folder / "scheduler.json", folder / "slowly.py"
        self._preload.write_text(slow.format(marks=str(self.marks), seconds=seconds))
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.workers: list[subprocess.Popen[bytes]] = []
        _until(self._file.is_file)
        _until(lambda: self._file.read_bytes().endswith(b"}"))
        self.address = str(json.loads(self._file.read_bytes())["address"])

    def start_worker(self, *more: str) -> None:
        """One more, of one thread.

        Args:
            more: Options of `dask worker`.
        """
        preload = ("--preload", str(self._preload))
        nanny = () if "--nanny" in more else ("--no-nanny",)
        options = ("--nthreads", "1", "--no-dashboard", *nanny, *preload, *more)
        self.workers.append(self._start("worker", *options))

    def wait_for(self, count: int) -> None:
        """Wait until so many shards, parts or cells were begun."""
        _until(lambda: len(list(self.marks.iterdir())) >= count)

    def _start(self, what: str, *more: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def scheduler_here() -> Iterator[str]:
    """Address of a scheduler with a worker of one thread, both in this process: at once there, and not to be killed."""
    from distributed import LocalCluster

    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": ":0", "resources": {"FAST": 1}}
    with LocalCluster(1, **options) as dask:  # type: ignore[no-untyped-call]
        yield dask.scheduler_address


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end, "waited for three minutes"
        time.sleep(0.02)
