"""Checks and copies of stores by the workers of a dask scheduler: what travels are addresses, names and findings."""

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version as installed
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamo.addresses import address_of, disk_path
from seamo.cluster import Lost, RemoteTask, place_of, run_tasks
from seamo.errors import StoreError, UsageError
from seamo.files import open_files
from seamo.seal import SealedFile
from seamo.store.check import Found, Item, Spread
from seamo.store.reader import Store
from seamo.store.transfer import Ends, Meter, Move, Movers

if TYPE_CHECKING:
    from distributed import Client

KEPT = "Give the same command again"
_FILES = 32  # of a task of a copy at most
_LOAD = 64 * 2**20  # bytes of its files together, unless one is larger
Tell = Callable[[int, int, str], None]
"""Called with how many parts are done, how many there are, and what they are called."""


def seen_by_all(place: str | Path) -> str:
    """An address as workers take it, whatever folder they run in."""
    path = disk_path(place)
    return address_of(place) if path is None else str(path.absolute())


def checking(client: "Client", scheduler: str, tell: Tell) -> Spread:
    """Parts of a check on the workers, each of which opens the store by its address, anew for every check."""
    run, number = secrets.token_hex(8), count()

    def spread(
        store: Store, call: Callable[[Store, Sequence[Item]], Found], items: Sequence[Item], *, each: int
    ) -> Iterator[Found]:
        parts = [items[start : start + each] for start in range(0, len(items), each)]
        lead, url = f"check-{run}-{next(number)}", seen_by_all(store.url)
        tasks = [RemoteTask(f"{lead}-{i}", _check, (_version(), url, run, call, part)) for i, part in enumerate(parts)]
        yield from in_turn(client, tasks, scheduler, tell)

    return spread


def moving(client: "Client", scheduler: str) -> Movers:
    """Files moved by the workers, some small ones or one large one a task."""
    run, number = secrets.token_hex(8), count()

    def move_there(move: Move, ends: Ends, files: Mapping[str, SealedFile], *, meter: Meter, threads: int) -> None:
        del threads
        source, target = (open_files(seen_by_all(one.url)) for one in ends)
        lead = f"copy-{run}-{next(number)}"
        loads = list(_loads(files))
        given = [(_version(), move, (source, target), load) for load in loads]
        tasks = [RemoteTask(f"{lead}-{i}", _move, arguments) for i, arguments in enumerate(given)]
        for load, _ in zip(loads, in_turn(client, tasks, scheduler), strict=True):
            meter.add(sum(one.bytes for one in load.values()))

    return move_there


def _loads(files: Mapping[str, SealedFile]) -> Iterator[dict[str, SealedFile]]:
    """The files, in order of their names, as many at a time as are a task's."""
    load: dict[str, SealedFile] = {}
    for name, sealed in sorted(files.items()):
        if load and (len(load) == _FILES or sum(one.bytes for one in load.values()) + sealed.bytes > _LOAD):
            yield load
            load = {}
        load[name] = sealed
    if load:
        yield load


def _move(version: str, move: Move, ends: Ends, load: Mapping[str, SealedFile]) -> None:
    check_version(version)
    for name, sealed in load.items():
        move(*ends, name, sealed)


def in_turn(
    client: "Client", tasks: Sequence[RemoteTask], scheduler: str, tell: Tell = lambda *_: None
) -> Iterator[Any]:
    """What every task returns, in their order.

    Raises:
        StoreError: If a task's workers die, or the scheduler does.
        Exception: What a task raised.
    """
    found: dict[str, Any] = {}
    waiting = deque(task.key for task in tasks)
    done = 0
    for ended in run_tasks(client, tasks, where=place_of(scheduler), kept=KEPT):
        if ended is None:
            continue
        task, outcome = ended
        if isinstance(outcome, Lost):
            what = f"a part of the work {outcome}"
            raise StoreError(what, place_of(scheduler), f"Probably out of memory: give workers more. {KEPT}.")
        done += 1
        tell(done, len(tasks), "parts")
        found[task.key] = outcome
        while waiting and waiting[0] in found:
            yield found.pop(waiting.popleft())


def check_version(version: str) -> None:
    """Refuse to work for another version.

    Raises:
        UsageError: If it is another one.
    """
    if version != _version():
        what = f"a worker has seamo {_version()}, this is {version}"
        raise UsageError(what, "", "Install one version everywhere.")


def _version() -> str:
    return installed("seamo")


def _check(
    version: str, url: str, run: str, call: Callable[[Store, Sequence[Item]], Found], items: Sequence[Item]
) -> Found:
    check_version(version)
    return call(_opened(url, run), items)


@lru_cache(maxsize=4)
def _opened(url: str, run: str) -> Store:  # noqa: ARG001 - another check sees the store as it is by then
    return Store(url)
