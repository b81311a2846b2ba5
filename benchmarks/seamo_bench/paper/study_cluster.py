"""A study on the workers of a dask scheduler: a task a pretraining, then the groups of cells of all rows together."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seamo.addresses import disk_path
from seamo.cluster import Lost, RemoteTask, connected, place_of, run_tasks, workers_of
from seamo.errors import StoreError
from seamo.pretrain.recipe import Recipe
from seamo.store.reader import Store, open_store
from seamo_bench.facts import Budget
from seamo_bench.paper.study import (
    ROW_ERRORS,
    Line,
    backbones_of,
    collect,
    folder_of,
    is_pretrained,
    plan_tasks,
    planned,
    pretrain_run,
    runs_of,
    tasks_of,
)
from seamo_bench.protocol import Progress
from seamo_bench.runs.cells import Cell
from seamo_bench.runs.cluster import check_worker, device_there, make_results, resources_of, run_on_cluster
from seamo_bench.runs.notes import read_past
from seamo_bench.runs.plan import Places
from seamo_bench.runs.run import Machine
from seamo_bench.suites.study_file import Study

KEPT = "Checkpoints and records are kept: give the same command again"


@dataclass(frozen=True, slots=True)
class _Job:
    """What travels to a worker: what is pretrained, on what, and where."""

    recipe: Recipe
    store: str
    content: str
    folder: Path
    device: str


def run_study_on_cluster(
    study: Study,
    store: Store,
    places: Places,
    *,
    scheduler: str,
    budget: Budget,
    machine: Machine,
    threads: int,
    say: Callable[[str], None],
    progress: Progress,
) -> list[Line]:
    """Pretrain what has no finished run, evaluate what has no record; a row that fails stops no other.

    Args:
        study: What to do.
        store: To pretrain on, at an address or where all workers see it under the same path.
        places: As of `seamo_bench.runs.cluster.run_on_cluster`.
        scheduler: Its address.
        budget: `demo` trains and evaluates the tiny version.
        machine: Where to compute, on each worker.
        threads: CPU threads of a worker, for the evaluation.
        say: Called with a line of news.
        progress: Called with (done, all, what is going on), first of pretrainings, then of cells.

    Raises:
        UsageError, StoreError, ProtocolError: As `seamo_bench.runs.cluster.run_on_cluster`.
    """
    places = places.absolute()
    make_results(places.results)
    make_results(runs_of(places))
    lines = list(planned(study, store, budget))
    _pretrain_all(lines, store, places, scheduler=scheduler, device=machine.device, say=say, progress=progress)
    cells = list(_cells(study, lines, places, budget))
    for record in run_on_cluster(
        cells, places, scheduler=scheduler, budget=budget, machine=machine, threads=threads, progress=progress, say=say
    ):
        if record.status == "failed":
            say(f"failed: {record.reason}")
    collect(study, lines, places, budget)
    return lines


def _cells(study: Study, lines: Sequence[Line], places: Places, budget: Budget) -> Iterator[Cell]:
    tasks, past = tasks_of(study), read_past(places.results)
    for line in lines:
        if not line.reason and (line.row is None or is_pretrained(line, places)):
            for name, sensors in backbones_of(study, line, lines, places):
                yield from plan_tasks(study, tasks, name, sensors, places, budget, past)


def _pretrain_all(
    lines: Sequence[Line],
    store: Store,
    places: Places,
    *,
    scheduler: str,
    device: str,
    say: Callable[[str], None],
    progress: Progress,
) -> None:
    lines_of: dict[str, list[Line]] = {}
    jobs = {}
    url = store.url if disk_path(store.url) is None else str(store.path.absolute())
    for line in lines:
        if line.row is not None and not line.reason and not is_pretrained(line, places):
            for run in line.runs:
                lines_of.setdefault(run.name, []).append(line)
                jobs[run.name] = _Job(run.recipe, url, store.content, folder_of(run, places), device)
    if not jobs:
        return
    where, token = place_of(scheduler), secrets.token_hex(4)
    with connected(scheduler, kept=KEPT, say=say) as client:
        there = device_there(client, device, where=where)
        tasks = [
            RemoteTask(f"pretrain-{token}-{name}", _pretrain_there, (replace(job, device=there),))
            for name, job in jobs.items()
        ]
        left = len(jobs)
        progress(0, len(jobs), "pretraining")
        for ended in run_tasks(client, tasks, where=where, kept=KEPT, resources=resources_of(there)):
            if ended is None:
                continue
            left -= 1
            name = ended[0].key.removeprefix(f"pretrain-{token}-")
            progress(len(jobs) - left, len(jobs), f"pretraining: {left} to do, {len(workers_of(client))} workers")
            if ended[1] is not None:
                reason = str(ended[1])
                say(f"failed: {name}: {reason}")
                for line in lines_of[name]:
                    line.reason = f"its workers died: {reason}" if isinstance(ended[1], Lost) else reason


def _pretrain_there(job: _Job) -> str | None:
    """Pretrain on a worker; why it failed, where it did."""
    try:
        check_worker(job.folder.parent, job.device)
        store = open_store(job.store)
        if store.content != job.content:
            raise StoreError("is another store on a worker", job.store, "All machines must see one store there.")
        pretrain_run(job.recipe, store, job.folder, device=job.device, shown=None)
    except ROW_ERRORS as error:
        return str(error) or type(error).__name__
    return None
