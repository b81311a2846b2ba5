"""Studies: pretrain the rows of an ablation table, evaluate them downstream, say what the intervals allow.

Runs lie in `<results>/runs/<name>`, or in a place of their own, records in `<results>`; folders or addresses.
Everything that is done is skipped; a run that was killed goes on from its last checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import torch

from seamo.addresses import address_of, disk_path
from seamo.errors import SeamoError
from seamo.files import open_files
from seamo.inputs.wiring import parse_inputs
from seamo.pretrain.loop import pretrain
from seamo.pretrain.places import FINAL, LOCK
from seamo.pretrain.ranks import Ranks
from seamo.pretrain.recipe import Recipe
from seamo.seal import MANIFEST
from seamo.store.reader import Store
from seamo_bench.board.compare import cell_sampling, paired_group_difference
from seamo_bench.board.leaderboard import ALPHA
from seamo_bench.facts import Budget, run_key
from seamo_bench.protocol import Progress
from seamo_bench.records.fetched import results_on_disk
from seamo_bench.records.record import Record
from seamo_bench.runs.cells import Cell, Impossible
from seamo_bench.runs.notes import NOTHING, Past, read_past
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.results import opened_results
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.scores.distributions import holm
from seamo_bench.scores.intervals import Difference, Interval, interval
from seamo_bench.scores.metrics import PRIMARY, metric
from seamo_bench.suites.published import Published, load_published
from seamo_bench.suites.study_file import RUNS, Pretraining, Study, StudyRow, pretrainings
from seamo_bench.suites.suite import Row, Suite, load_suite

ROW_ERRORS = (
    SeamoError,
    ArithmeticError,
    MemoryError,
    OSError,
    RuntimeError,
)  # such a row fails, and the study goes on
RANDOM = "random init"


@dataclass(frozen=True, slots=True)
class Task:
    """One downstream column: a row of the suite, its sensors given."""

    row: Row

    @property
    def id(self) -> str:
        """As the report heads it."""
        share = f" {self.row.fraction:.0%}" if self.row.fraction < 1 else ""
        return f"{self.row.store}{share}{' ' + self.row.asks if self.row.asks else ''}"


@dataclass(slots=True, eq=False)
class Line:
    """One row of the report.

    Args:
        row: Of the study; None for the floor.
        runs: Behind it.
        reason: Why there is no model.
        records: Task id -> records, ok or not.
    """

    row: StudyRow | None
    runs: tuple[Pretraining, ...] = ()
    reason: str = ""
    records: dict[str, list[Record]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StudyScore:
    """One cell: score, and the paired difference from the reference with its Holm-adjusted p."""

    metric: str
    interval: Interval
    difference: Difference | None
    p: float | None

    @property
    def verdict(self) -> str:
        """What may be said: `better`, `worse` or `not told apart` (from the reference); empty for itself."""
        if self.difference is None:
            return ""
        if self.p is None or self.p >= ALPHA or self.difference.interval.value == 0:
            return "not told apart"
        sign = 1 if metric(self.metric).higher_is_better else -1
        return "better" if sign * self.difference.interval.value > 0 else "worse"


def tasks_of(study: Study) -> tuple[Task, ...]:
    """Downstream tasks: the rows of the study's suite that are marked with its table; all if it names none."""
    rows = load_suite(study.suite).rows
    return tuple(Task(row) for row in rows if not study.table or study.table in row.published.split())


def run_study(
    study: Study,
    store: Store,
    places: Places,
    *,
    budget: Budget,
    machine: Machine,
    say: Callable[[str], None],
    progress: Progress,
    inner: Progress,
    shown: TextIO | None = None,
) -> list[Line]:
    """Pretrain what has no finished run, evaluate what has no record; a row that fails stops no other.

    Args:
        study: What to do.
        store: To pretrain on.
        places: Stores to evaluate on, and the results.
        budget: `demo` trains and evaluates the tiny version.
        machine: Where to compute.
        say: Called with a line of news.
        progress: Of the evaluation, cell by cell.
        inner: From inside a cell.
        shown: Where the pretraining shows its progress.

    Raises:
        seamo.pretrain.loop.Stopped: After SIGTERM or SIGUSR1, once a checkpoint is written.
    """
    lines = list(planned(study, store, budget))
    tasks, past = tasks_of(study), read_past(places.results)
    for number, line in enumerate(lines):
        if line.row is not None and not line.reason:
            say(f"[{number + 1}/{len(lines)}] {study.id}: {line.row.label}")
            try:
                for run in line.runs:
                    pretrain_run(run.recipe, store, folder_of(run, places), device=machine.device, shown=shown)
            except ROW_ERRORS as error:
                line.reason = str(error) or type(error).__name__
                say(f"failed: {line.reason}")
                continue
        for name, sensors in backbones_of(study, line, lines, places):
            cells = plan_tasks(study, tasks, name, sensors, places, budget, past)
            for record in run_plan(cells, places, machine=machine, progress=progress, inner=inner):
                if record.status == "failed":
                    say(f"failed: {record.reason}")
    collect(study, lines, places, budget)
    return lines


def planned(study: Study, store: Store, budget: Budget) -> Iterator[Line]:
    """The lines of the report with their runs, the floor last; a row that cannot be has its reason."""
    for row in study.rows:
        try:
            yield Line(row, _runs(study, row, store, budget))
        except SeamoError as error:
            yield Line(row, reason=str(error))
    yield Line(None)


def _runs(study: Study, row: StudyRow, store: Store, budget: Budget) -> tuple[Pretraining, ...]:
    first = pretrainings(study, row, seasons=1, places=1, content=store.content, budget=budget)[0].recipe.data
    seasons = min(store.spec.num_times(stack) for stack in first.stacks.values() if stack in store.spec.stacks)
    places = len(store.rows(first.split))
    return pretrainings(study, row, seasons=seasons, places=places, content=store.content, budget=budget)


def runs_of(places: Places) -> Path:
    """Where the pretrainings of a study lie."""
    return places.results / RUNS if places.runs is None else places.runs


def folder_of(run: Pretraining, places: Places) -> Path:
    """Where a pretraining of a study lies."""
    return runs_of(places) / run.name


def pretrain_run(recipe: Recipe, store: Store, folder: Path, *, device: str, shown: TextIO | None) -> None:
    """Pretrain, or go on; nothing where it has ended and nobody was killed since."""
    files = open_files(folder)
    if files.exists(MANIFEST) and not files.exists(LOCK):
        return
    threads = torch.get_num_threads()
    try:
        pretrain(recipe, store, folder, resume=True, ranks=Ranks(device=torch.device(device)), progress=shown)
    finally:
        torch.set_num_threads(threads)  # the recipe's own number holds for the pretraining alone


def backbones_of(
    study: Study, line: Line, lines: Sequence[Line], places: Places
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of a line's backbones and the sensors they know; the floor is the reference's network, not trained."""
    if line.row is not None:
        yield from ((address_of(folder_of(run, places)), run.sensors) for run in line.runs)
        return
    for other in lines:
        if other.row is not None and other.row.id == study.reference and not other.reason:
            yield f"{address_of(folder_of(other.runs[0], places))}@random:0", other.runs[0].sensors


def plan_tasks(
    study: Study, tasks: Sequence[Task], name: str, sensors: Sequence[str], places: Places, budget: Budget, past: Past
) -> list[Cell]:
    """The cells of one backbone: the tasks whose sensors it knows."""
    rows = tuple(task.row for task in tasks if set(parse_inputs(task.row.inputs)) <= set(sensors))
    if not rows:
        return []
    return make_plan(Suite(id=study.id, rows=rows), [name], places, budget, past=past)


def collect(study: Study, lines: Sequence[Line], places: Places, budget: Budget) -> None:
    """Find the records of every line, whether they were made now or before."""
    tasks = tasks_of(study)
    with opened_results(places.results) as results:
        for line in lines:
            if line.reason or (line.row is not None and not is_pretrained(line, places)):
                line.reason = line.reason or "not pretrained yet"
                continue
            for name, sensors in backbones_of(study, line, lines, places):
                for cell in plan_tasks(study, tasks, name, sensors, places, budget, NOTHING):
                    facts = [cell.facts] if isinstance(cell, Impossible) else list(cell.facts.values())
                    found = [results.record(run_key(one)) for one in facts]
                    mine = line.records.setdefault(Task(cell.row).id, [])
                    mine.extend(record for record in found if record is not None)


def is_pretrained(line: Line, places: Places) -> bool:
    """Whether all of its runs have a final model."""
    return all(_has_model(folder_of(run, places)) for run in line.runs)


def _has_model(run: Path) -> bool:
    path = disk_path(run)
    return open_files(run).exists(MANIFEST) if path is None else (path / FINAL).is_dir()


def scores(study: Study, lines: Sequence[Line], places: Places) -> dict[tuple[str, str], StudyScore]:
    """(row id, task id) -> score, for what ran; the floor's row id is `random init`."""
    made: dict[tuple[str, str], StudyScore] = {}
    for task in tasks_of(study):
        done = {
            _name(line): [record for record in line.records.get(task.id, []) if record.status == "ok"] for line in lines
        }
        done = {name: records for name, records in done.items() if records}
        reference = done.get(study.reference)
        raw = {}
        for name, records in done.items():
            facts = records[0].facts
            title = PRIMARY[facts.task.kind]
            known = cell_sampling(records, places.results, title)
            difference = None
            if reference is not None and name != study.reference and not _same_records(records, reference):
                difference = paired_group_difference(records, reference, places.results, metric=title)
            raw[name] = title, interval(known), difference
        p_values = {name: one[2].p for name, one in raw.items() if one[2] is not None and one[2].p is not None}
        adjusted = dict(zip(p_values, holm([float(p) for p in p_values.values() if p is not None]), strict=True))
        for name, (title, one, difference) in raw.items():
            made[name, task.id] = StudyScore(title, one, difference, adjusted.get(name))
    return made


def _same_records(records: Sequence[Record], others: Sequence[Record]) -> bool:
    return {one.key for one in records} == {one.key for one in others}


def _name(line: Line) -> str:
    return RANDOM if line.row is None else line.row.id


def published_values(study: Study) -> Mapping[tuple[str, str], Published]:
    """(row id, data set and sensor) -> the paper's value."""
    found = {}
    for one in load_published():
        if one.table == study.table and one.variant and one.value is not None:
            found[one.variant, _place(one.dataset, one.inputs)] = one
    return found


def _place(dataset: str, inputs: Sequence[str]) -> str:
    # Data sets of one sensor are published without naming it.
    return f"{dataset} {'+'.join(inputs)}" if dataset == "bigearthnet-v1" else dataset


def report_of(study: Study, lines: Sequence[Line], places: Places, *, budget: Budget, store: str) -> dict[str, Any]:
    """`to_objects`, of results at an address from a copy of their predictions that is gone afterwards."""
    if not any(line.records for line in lines):
        return to_objects(study, lines, places, budget=budget, store=store)
    with results_on_disk(places.results) as folder:
        return to_objects(study, lines, replace(places, results=folder), budget=budget, store=store)


def to_objects(study: Study, lines: Sequence[Line], places: Places, *, budget: Budget, store: str) -> dict[str, Any]:
    """The report as plain values."""
    known, values = published_values(study), scores(study, lines, places)
    rows = []
    for line in lines:
        entry: dict[str, Any] = {
            "id": _name(line),
            "label": f"{RANDOM}, not pretrained" if line.row is None else line.row.label,
            "kind": "floor" if line.row is None else _kind(line.row),
            "why": "" if line.row is None else " ".join((line.row.control or line.row.extra).split()),
            "runs": [run.name for run in line.runs],
            "stage2_epochs": line.runs[0].stage2_epochs if line.runs else None,
            "images": sum(run.images for run in line.runs) // study.seeds,
            "flops": sum(run.flops for run in line.runs) / study.seeds,
            "reason": line.reason,
            "scores": {},
        }
        for task in tasks_of(study):
            place = _place(task.row.store, task.row.inputs)
            paper = known.get((entry["id"], place))
            base = known.get((study.reference, place))
            cell: dict[str, Any] = {"paper": None if paper is None else paper.value}
            if paper is not None and base is not None and paper.value is not None and base.value is not None:
                cell["paper_difference"] = round(paper.value - base.value, 2)
            one = values.get((entry["id"], task.id))
            if one is None:
                blanks = sorted({record.reason for record in line.records.get(task.id, []) if record.reason})
                cell["reason"] = "; ".join(blanks) or line.reason or "another sensor"
            else:
                cell |= {
                    "metric": one.metric,
                    "value": one.interval.value,
                    "low": one.interval.low,
                    "high": one.interval.high,
                    "p": one.p,
                    "verdict": one.verdict,
                    "records": [record.key for record in line.records[task.id] if record.status == "ok"],
                }
                if one.difference is not None:
                    gap = one.difference.interval
                    cell |= {"difference": gap.value, "difference_low": gap.low, "difference_high": gap.high}
            entry["scores"][task.id] = cell
        rows.append(entry)
    return {
        "id": study.id,
        "title": study.title,
        "table": study.table,
        "recipe": study.demo_recipe if budget == "demo" else study.recipe,
        "store": store,
        "reference": study.reference,
        "seeds": study.seeds,
        "budget": budget,
        "notes": notes(study, lines, budget=budget, store=store),
        "rows": rows,
    }


def notes(study: Study, lines: Sequence[Line], *, budget: Budget, store: str) -> list[str]:
    """What a reader must know before the numbers."""
    found = [f"Pretrained on {store}."]
    if budget == "demo":
        found.append("DEMO BUDGET (a tiny model, 5 epochs; at most 2 epochs and 64 samples downstream): ranks nothing.")
    titles = {
        title
        for line in lines
        for records in line.records.values()
        for record in records
        for title, facts in zip(record.about.stores, record.facts.stores, strict=False)
        if facts.synthetic
    }
    if titles:
        found.append(f"SYNTHETIC data, no statement about the real world: {', '.join(sorted(titles))}.")
    if study.seeds == 1:
        found.append(
            "One pretraining a row: the intervals hold test samples and downstream seeds, not the luck of pretraining. "
            "A difference is one between these two models; whether the switch makes it needs `seeds` of 3 or more."
        )
    found.append(
        f"Differences are from row {study.reference}, paired on test samples, p adjusted by Holm within a column. "
        "The paper prints one run a row and no intervals."
    )
    return found


def _kind(row: StudyRow) -> str:
    return "control" if row.control else "extra" if row.extra else "paper"
