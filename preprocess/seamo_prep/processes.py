"""Work in processes of this machine, a task at a time each: what they return, and which task one died at.

The pool of the standard library tells of a lost process only that there was one, and its processes outlive a parent
that was killed. Here every process has a pipe of its own, so that what it was at is known, and a thread that ends it
with its parent. They are forked from a server that has imported what they need once.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar, cast

from seamo_prep.workers import deaf_workers

Key = TypeVar("Key")
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Died:
    """What became of a task instead of a result: its process ended.

    Args:
        code: Exit code; of a signal its negative number.
    """

    code: int

    def __str__(self) -> str:
        names = {-one.value: f"was killed by {one.name}" for one in signal.Signals}
        return names.get(self.code, f"ended with status {self.code}")


def in_processes(
    call: Callable[..., Any], tasks: Iterator[tuple[Key, tuple[Any, ...]]], *, workers: int, preload: Sequence[str]
) -> Generator[tuple[Key, Any]]:
    """Every task with what it returned, or `Died`, as they end.

    When the generator is closed, or a task raises, every process is ended.

    Args:
        call: A function of a module.
        tasks: Key and arguments; the next one is asked for when a process is free. Arguments travel: small ones.
        workers: Processes, at least 1; each is started when there is a task for it.
        preload: Modules that are imported before the first fork.

    Raises:
        Exception: What a task raised.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    busy: dict[Connection, tuple[ForkServerProcess, Key]] = {}
    idle: list[tuple[ForkServerProcess, Connection]] = []
    everyone: list[tuple[ForkServerProcess, Connection]] = []
    try:
        while True:
            for key, arguments in islice(tasks, workers - len(busy)):
                if not idle:
                    idle.append(_started(context, call))
                    everyone += idle
                process, line = idle.pop()
                busy[line] = process, key
                with suppress(BrokenPipeError, ConnectionResetError):  # it died while it was idle: heard below
                    line.send(arguments)
            if not busy:
                return
            for line in cast("list[Connection]", wait(list(busy))):
                process, key = busy.pop(line)
                try:
                    is_result, outcome = line.recv()
                except (EOFError, ConnectionResetError):
                    process.join()
                    yield key, Died(process.exitcode or 0)
                    continue
                if not is_result:
                    raise outcome
                idle.append((process, line))
                yield key, outcome
    except BaseException:
        for process, _ in everyone:
            process.terminate()
        for process, _ in everyone:
            process.join(_PATIENCE_S)
            if process.is_alive():  # in a call that hears no signal
                process.kill()
        raise
    finally:
        for process, line in everyone:
            line.close()  # which says that there is nothing more
            process.join()


def _started(context: ForkServerContext, call: Callable[..., Any]) -> tuple[ForkServerProcess, Connection]:
    ours, theirs = context.Pipe()
    with deaf_workers(), theirs:
        process = context.Process(target=_work, args=(theirs, call), daemon=True)
        process.start()
    return process, ours


def _work(line: Connection, call: Callable[..., Any]) -> None:
    signal.signal(signal.SIGTERM, _leave)
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionResetError, BrokenPipeError):  # nothing more to do, or nobody to tell
        while True:
            arguments = line.recv()
            try:
                told = True, call(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in the parent
                told = False, _that_travels(error)
            line.send(told)


def _that_travels(error: Exception) -> Exception:
    """The error with its traceback as a note, which would stay here; in words where it cannot be sent and read."""
    told = traceback.format_exc()
    error.add_note(told)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever its making raises
        return RuntimeError(f"{error!r}\n{told}")
    return error


def _leave(_number: int, _frame: object) -> None:
    """End as after the last task, so that folders and semaphores of this process go with it."""
    sys.exit(1)


def _end_with_parent() -> None:
    """Wait for the parent's end: a killed one tells nobody, and a task may take minutes."""
    wait([cast(BaseProcess, parent_process()).sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_S)  # the main thread may be in a call that hears no signal
    os._exit(1)
