"""A reader in a process of its own, which gives an epoch when it is told to.

So readers alternate, and CPU time and memory are of one reader alone. The parent holds a `Served`. A reader that cannot
be opened, or ends, is a `ReaderError` that says why.
"""

import multiprocessing
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bench import cpu_seconds, pss_of

_LOOK_S = 0.1  # between two looks at memory, in the epoch that is not timed


class ReaderError(Exception):
    """What a reader said when it could not go on."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One epoch.

    Args:
        samples: How many came.
        seconds: From the first question to the last batch.
        cpu: Seconds of all processes of the reader.
    """

    samples: int
    seconds: float
    cpu: float


class Served:
    """A reader's process.

    Args:
        name: Of `readers.READERS`.
        job: A `readers.Job` (this module does not load torch).
    """

    def __init__(self, name: str, job: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, job, theirs))
        self._process.start()
        theirs.close()
        self.peak_bytes = 0
        self.first_batch_s, self.proof = self._open()

    def _open(self) -> tuple[float, dict[str, Any]]:
        """The first epoch, which warms and in which memory is looked at; it is not timed."""
        done = threading.Event()

        def look() -> None:
            is_last = False
            while not is_last:
                is_last = done.wait(_LOOK_S)
                self.peak_bytes = max(self.peak_bytes, pss_of(self._process.pid or 0))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            answer: tuple[float, dict[str, Any]] = self._ask("open")
            return answer
        finally:
            done.set()
            watcher.join()

    def epoch(self) -> Pass:
        """One epoch."""
        return Pass(*self._ask("epoch"))

    def close(self) -> None:
        """End it."""
        try:
            self._pipe.send("end")
            self._process.join(10)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, what: str) -> Any:
        try:
            self._pipe.send(what)
            is_fine, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ReaderError(f"its process ended ({error})") from error
        if not is_fine:
            self.close()
            raise ReaderError(answer)
        return answer


def _serve(name: str, job: Any, pipe: Connection) -> None:
    import torch
    from readers import READERS, load

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for the reader's workers: the system's default
    epoch: Any = None
    while (what := pipe.recv()) != "end":
        try:
            if what == "open":
                load(READERS[name].needs)  # imports do not count, for anyone
                began = time.perf_counter()
                epoch = READERS[name].epochs(job)
                batches = iter(epoch())
                first = next(batches)
                took = time.perf_counter() - began
                told = took, _proof(first)
                deque(batches, maxlen=0)
                pipe.send((True, told))
            else:
                pipe.send((True, _timed(epoch())))
        except Exception as error:  # noqa: BLE001 - told to the parent, which goes on without this reader
            traceback.print_exc()
            pipe.send((False, f"{type(error).__name__}: {error}"))
            break
    os._exit(0)  # not every library ends its own processes


def _timed(batches: Iterator[dict[str, Any]]) -> tuple[int, float, float]:
    cpu, began = cpu_seconds(os.getpid()), time.perf_counter()
    rows = [one["row"] for one in batches]
    seconds, cpu = time.perf_counter() - began, cpu_seconds(os.getpid()) - cpu
    found = [int(row) for part in rows for row in part]
    assert len(set(found)) == len(found), "a sample came twice"
    return len(found), seconds, cpu


def _proof(batch: dict[str, Any]) -> dict[str, Any]:
    """Of the first sample: its row, and of each part shape and sum, by which readers are compared."""
    row = int(batch["row"][0])
    parts = {name: value[0] for name, value in batch.items() if name != "row" and hasattr(value, "shape")}
    return {"row": row} | {name: (tuple(one.shape), float(one.double().sum())) for name, one in parts.items()}
