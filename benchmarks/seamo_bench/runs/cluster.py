"""A plan on the workers of a dask scheduler: a task is a backbone on a store, with its cells in order.

What travels is small: rows of the suite, a name and paths. The worker plans the group anew, opens stores and weights
itself, and writes its records where all see them, a folder or an address; what comes back are keys. So nothing is lost
with a worker but the cell that it was at, and nothing with a scheduler: the same command goes on.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from seamo import __version__
from seamo.addresses import disk_path
from seamo.cluster import Lost, RemoteTask, check_resource, connected, place_of, run_tasks, workers_of
from seamo.errors import ProtocolError, SeamoError, StoreError, UsageError
from seamo_bench.facts import Budget, run_key
from seamo_bench.protocol import Progress, silent
from seamo_bench.records.record import Record
from seamo_bench.runs.cells import Cell, Impossible, Planned
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.results import Results, opened_results
from seamo_bench.runs.run import Machine, run_plan, write_blank, write_failure
from seamo_bench.runs.threads import limit_threads
from seamo_bench.suites.suite import Row, Suite
from seamo_bench.zoo.catalogue import cards

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)
GPU = "GPU"  # the resource that workers offer: `dask worker --resources GPU=1`
KEPT = "Finished records are kept: give the same command again"
_LOOK_S = 2.0  # between looks into the folder of results
_AGAIN_S = 5.0  # before cells that other runs are at are tried again
_SEEN_S = 30.0  # until a file that another machine has written is to be seen here
_LINES = 50  # of what a task logs, at most
_one_at_a_time = threading.Lock()  # networks draw from the random state of the process


@dataclass(frozen=True, slots=True)
class Group:
    """What travels to a worker.

    Args:
        version: Of this package.
        backbone: Name; of a run its absolute path.
        rows: Of the suite.
        keys: Of the records, so that another plan on the worker is noticed.
        places: Absolute folders, the same on every machine.
        budget: `full` or `demo`.
        machine: Where to run, on the worker.
        threads: CPU threads; 0: what the worker was started with.
    """

    version: str
    backbone: str
    rows: tuple[Row, ...]
    keys: tuple[str, ...]
    places: Places
    budget: Budget
    machine: Machine
    threads: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What comes back of a group.

    Args:
        there: Keys of the records that are there now, failed ones included: of all cells but those that other runs are
            at.
        lines: (level, text) of what was logged.
    """

    there: tuple[str, ...]
    lines: tuple[tuple[int, str], ...]


def run_on_cluster(
    cells: Sequence[Cell],
    places: Places,
    *,
    scheduler: str,
    budget: Budget,
    machine: Machine,
    threads: int,
    progress: Progress,
    say: Callable[[str], None],
) -> Iterator[Record]:
    """Run what has no record yet and yield every record as it is seen among the results.

    Args:
        cells: From `seamo_bench.runs.plan.make_plan`.
        places: Addresses, and folders that all workers see under the same paths.
        scheduler: Its address.
        budget: Of the plan.
        machine: Where to run, on each worker; the device `auto` means GPUs where workers offer them.
        threads: CPU threads of a worker; 0: what it was started with.
        progress: Called with (cells done, cells, what is going on).
        say: Called with each remark that a person should read.

    Raises:
        UsageError: If the scheduler's address is none, or the device one of several.
        StoreError: If the scheduler is lost, no worker offers a GPU, or a worker does not see the results.
        ProtocolError: If a worker sees other stores or weights.
    """
    places = places.absolute()
    make_results(places.results)
    with opened_results(places.results) as results:
        arrivals = _Arrivals(results, [cell for cell in cells if isinstance(cell, Planned)])
        if arrivals.groups():
            yield from _run_groups(
                arrivals, places, len(cells), scheduler=scheduler, budget=budget, machine=machine, threads=threads,
                progress=progress, say=say,
            )  # fmt: skip
        for cell in cells:  # last, as `run_plan` does
            if isinstance(cell, Impossible):
                yield write_blank(cell, results, Machine())
    progress(len(cells), len(cells), "")


def _run_groups(
    arrivals: "_Arrivals",
    places: Places,
    num_cells: int,
    *,
    scheduler: str,
    budget: Budget,
    machine: Machine,
    threads: int,
    progress: Progress,
    say: Callable[[str], None],
) -> Iterator[Record]:
    """Have the scheduler's workers do the groups, until none has anything left; see `run_on_cluster`."""
    groups = arrivals.groups()
    where, waits = place_of(scheduler), False
    with connected(scheduler, kept=KEPT, say=say) as client:
        device = device_there(client, machine.device, where=where)
        machine = replace(machine, device=device)
        while groups:
            run = secrets.token_hex(4)  # no task of another run, or of a try before, is taken for this one
            given = {}
            for number, group in enumerate(groups):
                value = _group(group, places, budget=budget, machine=machine, threads=threads)
                given[f"cells-{run}-{number}"] = value
            tasks = [RemoteTask(key, run_group, (value,)) for key, value in given.items()]
            for ended in run_tasks(client, tasks, where=where, kept=KEPT, resources=resources_of(device), tick=_LOOK_S):
                if ended is None:
                    yield from arrivals.noticed()
                else:
                    del given[ended[0].key]
                    yield from arrivals.of(groups[int(ended[0].key.rpartition("-")[2])], ended[1])
                going = f"{len(given)} groups to do, {len(workers_of(client))} workers"
                progress(num_cells - arrivals.num_open(), num_cells, going)
            groups = arrivals.groups()
            if groups:
                if not waits:
                    say(f"waiting for {arrivals.num_open()} cells that other runs are at; what they do not end is done")
                waits = True
                time.sleep(_AGAIN_S)
                yield from arrivals.seen()
                groups = arrivals.groups()


class _Arrivals:
    """Records that are waited for, as they come to be seen among the results.

    Args:
        results: Where they come.
        cells: With seeds to do, or without.
    """

    def __init__(self, results: Results, cells: Sequence[Planned]) -> None:
        self._results = results
        self._cells = {cell: {run_key(cell.facts[seed]) for seed in cell.todo} for cell in cells if cell.todo}
        self._waiting = set().union(*self._cells.values())

    def groups(self) -> list[list[Planned]]:
        """Open cells that share a network and its features, those that take longest first, as far as that is known."""
        found: dict[str, list[Planned]] = {}
        for cell in self._cells:
            if self._is_open(cell):
                found.setdefault(cell.group, []).append(cell)
        return sorted(found.values(), key=lambda group: -sum(cell.seconds or 0.0 for cell in group))

    def num_open(self) -> int:
        """Cells without all of their records."""
        return sum(map(self._is_open, self._cells))

    def noticed(self) -> Iterator[Record]:
        """What has come to a disk meanwhile; an address is asked when a group has ended."""
        if self._results.is_here:
            yield from self.seen()

    def seen(self) -> Iterator[Record]:
        """What has ended well and was not there before."""
        for key in sorted(self._waiting):
            record = self._results.whole(key)
            if record is not None:
                self._waiting.remove(key)
                yield record

    def of(self, group: Sequence[Planned], outcome: Ended | SeamoError | Lost) -> Iterator[Record]:
        """What a worker has written, failed runs included, or why there is none.

        Raises:
            SeamoError: That the worker raised; StoreError if its records are not seen here.
        """
        if isinstance(outcome, SeamoError):
            raise outcome
        if isinstance(outcome, Lost):
            yield from self.seen()
            for cell in filter(self._is_open, group):
                log.warning("%s %s", cell.id, outcome)
                for record in write_failure(cell, self._results, f"{outcome}: probably out of memory", {}):
                    self._waiting.discard(record.key)
                    yield record
            return
        for level, line in outcome.lines:
            log.log(level, "%s", line)
        for key in outcome.there:
            if key in self._waiting:
                self._waiting.remove(key)
                yield self._read(key)

    def _is_open(self, cell: Planned) -> bool:
        return not self._waiting.isdisjoint(self._cells[cell])

    def _read(self, key: str) -> Record:
        """A record that a worker has written; file systems of a network show it some moments later."""
        end = time.monotonic() + _SEEN_S
        while (record := self._results.record(key)) is None:
            if time.monotonic() > end:
                raise StoreError(
                    "does not hold the record that a worker has written", self._results.where,
                    "All machines must see one folder under this path.",
                )  # fmt: skip
            time.sleep(0.2)
        return record


def device_there(client: "Client", asked: str, *, where: str) -> str:
    """Where workers compute: `cpu` or `cuda`; `auto` means GPUs where workers offer them.

    Raises:
        UsageError: If one GPU of several is asked for.
        StoreError: If GPUs are asked for and no worker offers one.
    """
    if ":" in asked:
        raise UsageError(f"no device {asked!r} of a worker", fix="Start each with its CUDA_VISIBLE_DEVICES.")
    client.wait_for_workers(1)
    workers = workers_of(client).values()
    offered = any(one["resources"].get(GPU) for one in workers)
    device = ("cuda" if offered else "cpu") if asked == "auto" else asked
    if device == "cuda":
        check_resource(client, GPU, where=where)
    elif any(one["nthreads"] > 1 for one in workers):
        log.warning("a worker does one group at a time: start several of --nthreads 1 instead of one with threads")
    return device


def resources_of(device: str) -> dict[str, float]:
    """What a task on this device takes of its worker."""
    return {GPU: 1.0} if device == "cuda" else {}


def make_results(results: Path) -> None:
    """Make the folder of results that workers must see; at an address there is nothing to make."""
    folder = disk_path(results)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)


def check_worker(results: Path, device: str) -> None:
    """Refuse, on a worker, what would fail there or land elsewhere.

    Raises:
        StoreError: If it does not see the results.
        UsageError: If it has no GPU that torch can use, and offers one.
    """
    where = "a worker"
    folder = disk_path(results)
    if folder is not None and not folder.is_dir():
        raise StoreError(f"does not see {folder}", where, "All machines must see one folder under this path.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"offers {GPU} and has none that torch can use", where, "Start it where there is one.")


def _group(cells: Sequence[Planned], places: Places, *, budget: Budget, machine: Machine, threads: int) -> Group:
    name = cells[0].backbone
    path, at, how = name.partition("@")
    if name not in cards() and Path(path).exists():  # a run
        path = os.path.abspath(path)  # noqa: PTH100 - links are not followed: what it is called is recorded
    rows = tuple(cell.row.model_copy(update={"backbones": ()}) for cell in cells)
    keys = tuple(run_key(facts) for cell in cells for facts in cell.facts.values())
    return Group(__version__, f"{path}{at}{how}", rows, keys, places, budget, machine, threads)


def run_group(group: Group) -> Ended | SeamoError:
    """Run the cells of a group, on a worker; what is wrong there is returned, as trying again would not help it."""
    with _one_at_a_time, _heard() as lines:
        try:
            cells = _plan(group)
            limit_threads(group.threads)
            records = run_plan(cells, group.places, machine=group.machine, progress=silent, inner=silent, wait=False)
            written = {record.key for record in records}
            with opened_results(group.places.results) as results:
                there = tuple(key for key in group.keys if key in written or results.whole(key) is not None)
            return Ended(there, tuple(lines[:_LINES]))
        except SeamoError as error:
            return error


def _plan(group: Group) -> list[Cell]:
    where = "a worker"
    if group.version != __version__:
        raise UsageError(f"has seamo {__version__}, this is {group.version}", where, "Install one version everywhere.")
    check_worker(group.places.results, group.machine.device)
    cells = make_plan(Suite(id="group", rows=group.rows), [group.backbone], group.places, group.budget, past=NOTHING)
    found = {run_key(facts) for cell in cells if isinstance(cell, Planned) for facts in cell.facts.values()}
    if not found >= set(group.keys):
        why = next((cell.reason for cell in cells if isinstance(cell, Impossible)), "its stores or weights are others")
        raise ProtocolError(f"does not plan {group.backbone} as it was planned here: {why}", where)
    return cells


@contextmanager
def _heard() -> Iterator[list[tuple[int, str]]]:
    """What our packages log meanwhile, from warnings on."""
    lines: list[tuple[int, str]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.levelno, record.getMessage()))

    handler = Lines(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("seamo", "seamo_bench")]
    for one in loggers:
        one.addHandler(handler)
    try:
        yield lines
    finally:
        for one in loggers:
            one.removeHandler(handler)
