"""Running a plan: cell by cell, records written as soon as a seed is done; one failure stops nothing else.

Several runs on one folder of results, or one address, share the work: each claims the cell that it is at.
"""

import logging
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from seamo.errors import SeamoError
from seamo_bench.facts import run_key
from seamo_bench.features.cache import FeatureCache, Work, degenerate
from seamo_bench.features.forward import Forward, measure_forward
from seamo_bench.network import Backbone
from seamo_bench.protocol import Context, Outcome, Progress, Rows
from seamo_bench.protocols import runner
from seamo_bench.records.heads import keep_head
from seamo_bench.records.record import Cost, Flag, Record, write_record
from seamo_bench.runs.cells import Cell, Impossible, Planned
from seamo_bench.runs.claims import next_cell, renewing
from seamo_bench.runs.context import context_of
from seamo_bench.runs.limit import TimeLimit
from seamo_bench.runs.plan import Places
from seamo_bench.runs.results import Results, ResultsError, opened_results
from seamo_bench.tasks.locate import locate
from seamo_bench.zoo.loading import load_source

log = logging.getLogger(__name__)

# What the code of a backbone or a protocol may raise: a cell that fails is a record with its reason, and the
# suite goes on. Interrupts and exits are not in the list.
CELL_ERRORS = (
    SeamoError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_DEGENERATE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a suite runs; nothing here is part of a key.

    Args:
        device: `cpu`, `cuda` or `cuda:1`.
        batch_size: Images at a time, for features.
        workers: Reading threads.
        keep_models: Keep fine-tuned networks and heavy heads beside their records, too.
    """

    device: str = "cpu"
    batch_size: int = 64
    workers: int = 2
    keep_models: bool = False


def run_plan(
    cells: Sequence[Cell],
    places: Places,
    *,
    machine: Machine,
    progress: Progress,
    inner: Progress,
    wait: bool = True,
    limit: TimeLimit | None = None,
) -> Iterator[Record]:
    """Run what has no record yet and yield every record as it is written.

    Args:
        cells: From `seamo_bench.runs.plan.make_plan`.
        places: Folders, and addresses.
        machine: Where to run.
        progress: Called with (cells done, cells that can run, name of the cell) before each cell.
        inner: Called from inside a cell.
        wait: For cells that other runs are at, to take over what they do not end; without it those are left to them.
        limit: Of time; what it did not allow stands in its `left`.
    """
    blanks = [cell for cell in cells if isinstance(cell, Impossible)]
    left = [cell for cell in cells if isinstance(cell, Planned) and cell.todo]
    num = len(left)
    left = limit.ordered(left) if limit else left

    def say(left: int, name: str) -> None:
        progress(num - left, num, name)

    with opened_results(places.results) as results:
        yield from _run_cells(left, results, machine, say=say, inner=inner, wait=wait, limit=limit)
        if left and not limit:
            return
        # Last: a cell that ran removes the blank that it was, which another row (another policy for bands) may be.
        for blank in blanks:
            yield write_blank(blank, results, machine)
        results.sweep()
    progress(num, num, "")


def _run_cells(
    left: list[Planned],
    results: Results,
    machine: Machine,
    *,
    say: Callable[[int, str], None],
    inner: Progress,
    wait: bool,
    limit: TimeLimit | None,
) -> Iterator[Record]:
    """Run cells, and take each out of the list; without `wait` those that other runs are at stay in it."""
    loaded: _Loaded | None = None
    group, waits = "", False
    while left:
        chosen = next_cell(left, results.states, after="" if limit else group)
        if chosen is None:
            if not wait:
                return
            if not waits:
                log.warning("waiting for %d cells that other runs are at; what they do not end is done here", len(left))
            waits = True
            time.sleep(results.poll_s)
            left[:] = [cell for cell in left if missing_seeds(cell, results)]
            continue
        if limit and not limit.allows(chosen):  # nor would a later one, which is dearer
            limit.left = tuple(left)
            return
        say(len(left), chosen.id)
        with results.claimed(chosen.claim) as claim:
            if claim is None:
                continue
            left.remove(chosen)
            cell = replace(chosen, todo=missing_seeds(chosen, results))
            if not cell.todo:  # another run was faster
                continue
            group, started = cell.group, time.monotonic()
            try:
                wanted = repr((cell.source, cell.wiring))
                if loaded is None or loaded.wanted != wanted:
                    loaded = None  # the old network goes before the new one comes
                    loaded = _Loaded(wanted, load_source(cell.source, cell.wiring))
                yield from _run_cell(cell, loaded, results, machine, renewing(claim, inner), started)
            except ResultsError:
                raise
            except CELL_ERRORS as error:
                log.warning("%s failed: %s", cell.id, error, exc_info=log.isEnabledFor(logging.DEBUG))
                reason = str(error) if isinstance(error, SeamoError) else f"{type(error).__name__}: {error}"
                yield from write_failure(cell, results, reason or type(error).__name__, environment(machine))
            if limit:
                limit.took(cell, time.monotonic() - started)


def missing_seeds(cell: Planned, results: Results) -> tuple[int, ...]:
    """Which of the seeds to do have no whole record by now."""
    return tuple(seed for seed in cell.todo if results.whole(run_key(cell.facts[seed])) is None)


def write_blank(cell: Impossible, results: Results, machine: Machine) -> Record:
    """The record that says why a cell cannot run."""
    write = partial(
        write_record, facts=cell.facts, about=cell.about, status="impossible", reason=cell.reason,
        environment=environment(machine),
    )  # fmt: skip
    return results.put(run_key(cell.facts), None, write)


@dataclass(slots=True, eq=False)
class _Loaded:
    """A network that several cells share, and what a pass through it costs, measured with the first of them.

    What was wanted is kept as text: a fill of NaN is not equal to itself.
    """

    wanted: str
    backbone: Backbone
    forward: Forward | None = None


def _run_cell(
    cell: Planned, loaded: _Loaded, results: Results, machine: Machine, inner: Progress, started: float
) -> Iterator[Record]:
    store, backbone = cell.store, loaded.backbone
    device = torch.device(machine.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seeds = tuple(cell.facts) if cell.protocol.together else cell.todo
    work = Work(device, machine.batch_size, machine.workers, inner)
    facts = cell.facts[seeds[0]]
    cache = FeatureCache(results.features, store, backbone, facts=facts.backbone, work=work, shared=results.shared)
    context = context_of(
        backbone,
        store,
        cache,
        task=facts.task,
        labels=cell.labels,
        splits={seed: cell.trials[seed] for seed in seeds},
        params=facts.protocol.params,
        work=work,
        budget=facts.budget,
        precision=facts.precision,
    )
    flags = cell.flags
    if cell.protocol.needs == "features":
        flags += _feature_flags(context, cache)
    if loaded.forward is None:
        test = next(iter(cell.trials.values()))[0].test
        loaded.forward = measure_forward(backbone, store, test, device=device, batch_size=machine.batch_size)
    for raw in runner(cell.protocol.id)(context):
        outcome = replace(raw, predictions=locate(raw.predictions, store))
        cost = _cost(loaded, outcome, device, started)
        write = partial(_write_outcome, cell=cell, outcome=outcome, flags=flags, cost=cost, machine=machine)
        yield results.put(run_key(cell.facts[outcome.seed]), outcome.predictions, write)
        started = time.monotonic()
    results.forget([run_key(blank) for blank in cell.blanks])  # it is not impossible any more


def _write_outcome(
    folder: Path, *, cell: Planned, outcome: Outcome, flags: tuple[Flag, ...], cost: Cost, machine: Machine
) -> Record:
    facts = cell.facts[outcome.seed]
    head = keep_head(
        folder, run_key(facts), outcome.head, store=cell.store, wiring=cell.wiring, heavy=machine.keep_models
    )
    return write_record(
        folder,
        facts,
        about=cell.about.model_copy(update={"chosen": dict(outcome.chosen)}),
        predictions=outcome.predictions,
        head=head,
        flags=flags + tuple(Flag(kind="data-check", text=note) for note in outcome.notes),
        cost=cost,
        environment=environment(machine),
    )


def write_failure(cell: Planned, results: Results, reason: str, environment: Mapping[str, str]) -> Iterator[Record]:
    """Records of the seeds of a cell that failed; those that were done before it did keep theirs.

    Args:
        cell: Of a plan.
        results: Where they go.
        reason: As a sentence without a full stop.
        environment: What the records note of the machine.
    """
    for seed in missing_seeds(cell, results):
        write = partial(
            write_record, facts=cell.facts[seed], about=cell.about, status="failed", reason=reason, flags=cell.flags,
            environment=environment,
        )  # fmt: skip
        yield results.put(run_key(cell.facts[seed]), None, write)


def _feature_flags(context: Context, cache: FeatureCache) -> tuple[Flag, ...]:
    """Looks at a sample of the training features: they are computed here, before the protocol asks for them."""
    trials = [trial for one in context.splits.values() for trial in one]
    rows: Rows = np.unique(np.concatenate([trial.train for trial in trials]))
    # All at once, in one pass over the store, and in an order that does not depend on the protocol.
    cache.fill(np.union1d(rows, np.concatenate([part for trial in trials for part in (trial.val, trial.test)])))
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _DEGENERATE_ROWS)).astype(np.int64)]
    flags = [Flag(kind="out-of-range", text=note) for note in cache.notes]
    found = degenerate(context.features(sample).read())
    if found:
        flags.append(Flag(kind="degenerate-features", text=found))
    return tuple(flags)


def _cost(loaded: _Loaded, outcome: Outcome, device: torch.device, started: float) -> Cost:
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(
        seconds=round(time.monotonic() - started, 3),
        peak_memory_mib=round(peak, 1),
        samples_per_second=None if loaded.forward is None else round(loaded.forward.images_per_second, 1),
        parameters=sum(one.numel() for one in loaded.backbone.network.parameters()),
        trainable_parameters=outcome.trainable_parameters,
        flops_per_sample=None if loaded.forward is None else loaded.forward.flops,
        notes="of this seed; features that were cached before cost nothing here",
    )


def environment(machine: Machine) -> dict[str, str]:
    """What a record notes beside its facts."""
    device = torch.device(machine.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "seamo": version("seamo"),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "scikit-learn": version("scikit-learn"),
        "timm": version("timm"),
        "python": platform.python_version(),
        "device": f"{device.type}: {name}",
        "threads": str(torch.get_num_threads()),
    }
