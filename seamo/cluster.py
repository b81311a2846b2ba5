"""Work on the workers of a dask scheduler: small tasks that can be given again, and what happens when one is lost.

Nothing is scattered: what a task needs it opens itself, from small arguments, so that whatever a lost worker held can
be made again. What a task makes lies in files that all see; a future holds no more than what to say of it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError  # dask's FutureCancelledError is one
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamo.errors import StoreError, UsageError

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as Remote

_RETRIES = 2  # of a task that raised: what is no fault of its own may pass
_TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """A piece of work.

    Args:
        key: The same for the same work; no two tasks of one run share it.
        call: What does it, on a worker.
        arguments: Small: they travel with it.
    """

    key: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The outcome of a task whose workers died, again and again.

    Args:
        workers: How many of them, each of the two times that it was given.
    """

    workers: int

    def __str__(self) -> str:
        return f"was on each of {self.workers} workers that died, twice"


def place_of(scheduler: str) -> str:
    """How messages name a scheduler."""
    return f"scheduler {scheduler}"


@contextmanager
def connected(scheduler: str, *, kept: str, say: Callable[[str], None]) -> "Iterator[Client]":
    """Be a client of a scheduler.

    Args:
        scheduler: Its address, or the file that `dask scheduler --scheduler-file` has written.
        kept: What a person does after a loss, as a sentence without a full stop.
        say: Called with each remark that a person should read.

    Raises:
        UsageError: If the address is none.
        StoreError: If nothing answers there.
    """
    from distributed import Client  # half a second, and only where there is a scheduler

    where = place_of(scheduler)
    try:
        address = json.loads(Path(scheduler).read_bytes())["address"] if scheduler.endswith(".json") else scheduler
        client = Client(address)  # type: ignore[no-untyped-call]
    except FileNotFoundError as error:
        raise StoreError("has not been written", where, "Start `dask scheduler --scheduler-file` first.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"is no address ({error})", where, "Write it as tcp://HOST:PORT.") from error
    except OSError as error:  # TimeoutError and CommClosedError are some
        raise StoreError("does not answer", where, f"Start it, or name another. {kept}.") from error
    with client:
        if not workers_of(client):
            say(f"{where} has no workers yet; waiting for the first")
        yield client


def workers_of(client: "Client") -> Mapping[str, Mapping[str, Any]]:
    """What the scheduler knows of its workers: address -> facts, `resources` and `nthreads` among them."""
    found: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def check_resource(client: "Client", name: str, *, where: str) -> None:
    """Refuse what would wait for ever: a resource that no worker has. Waits for the first worker.

    Raises:
        StoreError: If none of the workers has it.
    """
    client.wait_for_workers(1)
    workers = workers_of(client)
    if not any(one["resources"].get(name, 0) >= 1 for one in workers.values()):
        raise StoreError(
            f"none of its {len(workers)} workers offers {name}=1",
            where,
            f"Start them with `dask worker --resources {name}=1 --nthreads 1`, or choose --device cpu.",
        )


def run_tasks(
    client: "Client",
    tasks: Iterable[RemoteTask],
    *,
    where: str,
    kept: str,
    resources: Mapping[str, float] | None = None,
    tick: float | None = None,
) -> Iterator[tuple[RemoteTask, Any] | None]:
    """Every task with what it returned, or `Lost`, as they end.

    Two tasks a worker are given ahead. A task whose worker dies goes to another one by itself; dask gives up on it
    after some, also on those that only waited there, so it is given once more.

    Args:
        client: From `connected`.
        tasks: In the order in which they are given.
        where: The scheduler, for messages.
        kept: As of `connected`.
        resources: What each takes of its worker.
        tick: Seconds after which None is yielded where nothing has ended; None: never.

    Raises:
        StoreError: If the scheduler goes away.
        Exception: What a task raised, three times.
    """
    from distributed import KilledWorker, as_completed

    waiting = iter(tasks)
    running: dict[Remote[Any], RemoteTask] = {}
    again: set[str] = set()
    of_task = False  # whether what is raised comes from a task

    def submit(task: RemoteTask) -> "Remote[Any]":
        key = f"{task.key}-again" if task.key in again else task.key
        future = client.submit(
            task.call, *task.arguments, key=key, pure=False, retries=_RETRIES, resources=dict(resources or {}) or None
        )
        running[future] = task
        return future

    try:
        ahead = 2 * max(1, len(workers_of(client)))
        queue = as_completed([submit(task) for task in islice(waiting, ahead)])  # type: ignore[no-untyped-call]
        told = time.monotonic()
        while not queue.is_empty():  # type: ignore[no-untyped-call]
            if tick is not None and not queue.has_ready():  # type: ignore[no-untyped-call]
                time.sleep(_TICK_S)
                if time.monotonic() - told >= tick:
                    told = time.monotonic()
                    yield None
                continue
            future = next(queue)
            task = running.pop(future)
            of_task = future.status == "error"
            try:
                outcome = future.result()
            except KilledWorker as error:
                if task.key not in again:
                    again.add(task.key)  # whatever waited at a worker that died is blamed for it, too
                    of_task = False
                    queue.add(submit(task))  # type: ignore[no-untyped-call]
                    continue
                outcome = Lost(error.allowed_failures + 1)
            of_task = False
            for following in islice(waiting, 1):
                queue.add(submit(following))  # type: ignore[no-untyped-call]
            yield task, outcome
    except (CancelledError, OSError) as error:
        if of_task:
            raise
        raise StoreError("went away while it was being used", where, f"{kept}.") from error
