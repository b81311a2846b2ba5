"""A dask scheduler and workers as processes of their own, to be killed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Loaded by every worker, more than once: each shard takes a while, so that a kill meets one.
SLOW = """
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


class Cluster:
    """Use as a context manager: what still runs at its end is ended."""

    def __init__(self, folder: Path, *, seconds: float) -> None:
        self.marks = folder / "marks"
        self.marks.mkdir()
        self._file, self._preload = folder / "scheduler.json", folder / "slowly.py"
        self._preload.write_text(SLOW.format(marks=str(self.marks), seconds=seconds))
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.workers: list[subprocess.Popen[bytes]] = []
        _until(self._file.is_file)
        _until(lambda: self._file.read_bytes().endswith(b"}"))
        self.address = str(json.loads(self._file.read_bytes())["address"])

    def start_worker(self) -> None:
        """One more, of one thread."""
        self.workers.append(
            self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", str(self._preload))
        )

    def wait_for_shards(self, count: int) -> None:
        """Wait until so many shards were begun."""
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


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.02)
