"""Studies: pretrain the rows of an ablation table, evaluate them downstream, say what the intervals allow.

Runs lie in `<results>/runs/<name>`, records in `<results>`, the report in `<results>/studies/<id>.md` and `.json`.
Everything that is done is skipped; a run that was killed goes on from its last checkpoint.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch

from seamo.errors import SeamoError
from seamo.escapes import markdown
from seamo.identity import write_atomically
from seamo.inputs.wiring import parse_inputs
from seamo.pretrain.loop import pretrain
from seamo.pretrain.places import LOCK
from seamo.pretrain.ranks import Ranks
from seamo.pretrain.recipe import Recipe
from seamo.seal import MANIFEST
from seamo.store.reader import Store
from seamo_bench.board.compare import cell_sampling, paired_group_difference
from seamo_bench.board.leaderboard import ALPHA
from seamo_bench.facts import Budget
from seamo_bench.protocol import Progress
from seamo_bench.records.record import Record, find_record
from seamo_bench.runs.cells import Cell, Impossible
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.scores.distributions import holm
from seamo_bench.scores.intervals import Difference, Interval, interval
from seamo_bench.scores.metrics import PRIMARY, metric
from seamo_bench.suites.published import Published, load_published
from seamo_bench.suites.study_file import RUNS, Pretraining, Study, StudyRow, pretrainings
from seamo_bench.suites.suite import Row, Suite, load_suite

REPORTS = "studies"
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
    tasks = tasks_of(study)
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
            cells = plan_tasks(study, tasks, name, sensors, places, budget)
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


def folder_of(run: Pretraining, places: Places) -> Path:
    """Where a pretraining of a study lies."""
    return places.results / RUNS / run.name


def pretrain_run(recipe: Recipe, store: Store, folder: Path, *, device: str, shown: TextIO | None) -> None:
    """Pretrain, or go on; nothing where it has ended and nobody was killed since."""
    if (folder / MANIFEST).is_file() and not (folder / LOCK).exists():
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
    folder = places.results / RUNS
    if line.row is not None:
        yield from ((str(folder / run.name), run.sensors) for run in line.runs)
        return
    for other in lines:
        if other.row is not None and other.row.id == study.reference and not other.reason:
            yield f"{folder / other.runs[0].name}@random:0", other.runs[0].sensors


def plan_tasks(
    study: Study, tasks: Sequence[Task], name: str, sensors: Sequence[str], places: Places, budget: Budget
) -> list[Cell]:
    """The cells of one backbone: the tasks whose sensors it knows."""
    rows = tuple(task.row for task in tasks if set(parse_inputs(task.row.inputs)) <= set(sensors))
    if not rows:
        return []
    return make_plan(Suite(id=study.id, rows=rows), [name], places, budget)


def collect(study: Study, lines: Sequence[Line], places: Places, budget: Budget) -> None:
    """Find the records of every line, whether they were made now or before."""
    tasks = tasks_of(study)
    for line in lines:
        if line.reason or (line.row is not None and not is_pretrained(line, places)):
            line.reason = line.reason or "not pretrained yet"
            continue
        for name, sensors in backbones_of(study, line, lines, places):
            for cell in plan_tasks(study, tasks, name, sensors, places, budget):
                facts = [cell.facts] if isinstance(cell, Impossible) else list(cell.facts.values())
                found = [find_record(places.results, one) for one in facts]
                mine = line.records.setdefault(Task(cell.row).id, [])
                mine.extend(record for record in found if record is not None)


def is_pretrained(line: Line, places: Places) -> bool:
    """Whether all of its runs have a final model."""
    return all((places.results / RUNS / run.name / "final").is_dir() for run in line.runs)


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


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [f"# {markdown(report['title'])} ({report['table']}, recipe {markdown(report['recipe'])})", ""]
    lines += [f"- {markdown(note)}" for note in report["notes"]]
    tasks = list(report["rows"][0]["scores"])
    for task in tasks:
        lines += ["", f"## {markdown(task)}", ""]
        lines += ["| row | kind | score | difference | p | so | paper | paper's difference |", "|" + "---|" * 8]
        for row in report["rows"]:
            lines.append(_bar(_cells(row, row["scores"][task])))
    lines += ["", "## Rows", "", "| row | id | epochs of stage 2 | images | FLOPs | why |", "|" + "---|" * 6]
    for row in report["rows"]:
        size = [str(row["stage2_epochs"] or ""), f"{row['images']:,}", f"{row['flops']:.3g}"]
        why = row["reason"] or (f"{row['kind']}: {row['why']}" if row["why"] else "")
        lines.append(_bar([row["label"], row["id"], *size, why]))
    return "\n".join(lines) + "\n"


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(markdown, cells)) + " |"


def _cells(row: Mapping[str, Any], cell: Mapping[str, Any]) -> list[str]:
    head = [row["label"], row["kind"]]
    paper = ["" if cell["paper"] is None else f"{cell['paper']:.2f}", _signed(cell.get("paper_difference"), 1.0)]
    if "value" not in cell:
        return [*head, cell["reason"], "", "", "", *paper]
    score = f"{100 * cell['value']:.2f}" + _range(cell["low"], cell["high"])
    if "difference" not in cell:
        return [*head, score, "", "", cell["verdict"], *paper]
    gap = _signed(cell["difference"], 100.0) + _range(cell["difference_low"], cell["difference_high"])
    p = "" if cell["p"] is None else f"{cell['p']:.3f}"
    return [*head, score, gap, p, cell["verdict"], *paper]


def _signed(value: float | None, scale: float) -> str:
    return "" if value is None else f"{scale * value:+.2f}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{100 * low:.2f}, {100 * high:.2f}]"


def write_report(report: Mapping[str, Any], results: Path) -> Path:
    """Write `studies/<id>.json` and `.md`; the Markdown's path is given back."""
    folder = results / REPORTS
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{report['id']}.json", (json.dumps(report, indent=1) + "\n").encode("utf-8"))
    path = folder / f"{report['id']}.md"
    write_atomically(path, to_markdown(report).encode("utf-8"))
    return path
