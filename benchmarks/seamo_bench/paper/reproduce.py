"""Published numbers beside ours: what was done differently, and whether the two may be compared at all."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from seamo.bands import SENSORS
from seamo.errors import UsageError
from seamo.escapes import csv_text, markdown
from seamo_bench.board.compare import (
    Column,
    cell_sampling,
    check_comparable,
    column_of,
    name_of,
    row_of,
    unreal,
    way_of,
)
from seamo_bench.facts import scoring_of
from seamo_bench.paper.identity import SEAMO, is_seamo
from seamo_bench.paper.needs import builds_there, needs_of
from seamo_bench.records.record import Record
from seamo_bench.scores.intervals import Interval, interval
from seamo_bench.scores.metrics import PRIMARY, metrics_for
from seamo_bench.scores.replicates import RESAMPLES
from seamo_bench.suites.published import Published, load_published
from seamo_bench.suites.suite import Row, load_suite
from seamo_bench.zoo.catalogue import cards

Verdict = Literal[
    "same protocol", "different", "cannot be run", "not run", "agrees", "disagrees", "not comparable"
]  # the last three of suite `calibrate` alone
TABLES = tuple(f"T{number}" for number in range(1, 10))
ELSEWHERE = "elsewhere"
_NOT_STATED = "not stated: how epoch and settings were chosen, statistics of the normalisation, number of runs"


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One published value and ours.

    Args:
        published: The value.
        verdict: Whether they may be compared.
        why: Differences from what the paper prints; or why there is nothing of ours.
        decided: Where ours follows a decision because the paper is silent.
        metric: Of ours.
        ours: Score with interval, None if there is none.
        backbone: Row of ours.
        column: Column of ours.
        store: Title of the store, with "synthetic" and "subset".
        records: Keys of the records behind it.
        missing: What is missing to run it for real; of the paper's rows.
        gpu_hours: What that takes by our estimate (`seamo_bench.paper.needs`).
    """

    published: Published
    verdict: Verdict
    why: tuple[str, ...]
    decided: tuple[str, ...] = ()
    metric: str = ""
    ours: Interval | None = None
    backbone: str = ""
    column: str = ""
    store: str = ""
    records: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    gpu_hours: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in points of percent."""
        if self.ours is None or self.published.value is None:
            return None
        return 100 * self.ours.value - self.published.value


def reproduce(
    records: Sequence[Record],
    results: Path,
    *,
    table: str = "",
    backbone: str = "",
    stores: str | Path | None = None,
    weights: Path | None = None,
    resamples: int = RESAMPLES,
) -> tuple[Reproduced, ...]:
    """Every row of Tables 1-9, and what others published, beside the closest of our records.

    Args:
        records: Of a results folder.
        results: The folder.
        table: `T1` ... `T9` or `elsewhere`; without, all tables, and of elsewhere what a record of ours is about.
        backbone: Row of ours that stands for SeaMo; without, whichever run is closest to the paper's protocol.
        stores: Folder of stores, or its address, where rows of the paper look for theirs; None: none is at hand.
        weights: Folder of checkpoint files, likewise.
        resamples: Of the bootstrap.

    Raises:
        UsageError: If there is no such table.
        ProtocolError: If predictions are missing or changed.
    """
    if table and table not in (*TABLES, ELSEWHERE):
        raise UsageError(f"no table {table.removeprefix('T')!r}", fix=f"Tables 1 to 9, {ELSEWHERE!r}, 'calibrate'.")
    suite = _paper_rows()
    wanted = [one for one in load_published() if one.table in ([table] if table else TABLES)]
    builds = {} if stores is None else builds_there(stores, {one.dataset for one in wanted})
    rows = []
    for one in wanted:
        recipe = _recipe(one, suite)
        needs = needs_of(one, recipe, builds=builds, weights=weights)
        made = _one(one, recipe, records, results, backbone, resamples)
        done = made.verdict == "same protocol"
        rows.append(replace(made, missing=() if done else needs.missing, gpu_hours=needs.gpu_hours))
    if table in ("", ELSEWHERE):
        others = [_one(one, None, records, results, backbone, resamples) for one in load_published(ELSEWHERE)]
        rows += [row for row in others if table or row.ours is not None]
    return tuple(rows)


def _recipe(one: Published, suite: Sequence[Row]) -> Row | None:
    """The first row of suite `paper` for a value: where a printed setting is implausible, the row that has it."""
    for row in suite:
        same = row.published == one.table and row.store == one.dataset and row.fraction == one.fraction
        if same and (not one.inputs or row.inputs == one.inputs):
            return row
    return None


def _one(
    one: Published, recipe: Row | None, records: Sequence[Record], results: Path, backbone: str, resamples: int
) -> Reproduced:
    if not one.backbone:
        unknown = "nothing here loads it" if one.table == ELSEWHERE else "the paper does not say which network this is"
        return Reproduced(one, "cannot be run", (unknown,))
    mine = [record for record in records if is_about(one, record, backbone)]
    done = [record for record in mine if record.status == "ok"]
    if not done:
        return _blank(one, mine)
    groups: dict[tuple[Column, str], list[Record]] = {}
    for record in done:
        groups.setdefault((column_of(record), row_of(record)), []).append(record)
    compared = {
        place: (_other_protocol(one, group[0]), ()) if one.table == ELSEWHERE else _differences(recipe, group[0])
        for place, group in groups.items()
    }
    place = min(compared, key=lambda key: (len(compared[key][0]), len(compared[key][1]), key))
    why, decided = compared[place]
    chosen = groups[place]
    check_comparable(chosen, place[0].id)
    facts = chosen[0].facts
    name = one.metric if one.metric in metrics_for(scoring_of(facts)) else PRIMARY[facts.task.kind]
    if name != one.metric:
        why = (*why, f"metric: {name} instead of {one.metric}")
    known = cell_sampling(chosen, results, name, resamples=resamples)
    if one.value is None:
        why = (*why, "the paper's value is lost")
    several = sorted({row for _, row in groups})
    if len(several) > 1:
        decided = (*decided, f"the closest of {', '.join(several)}; --backbone names one")
    return Reproduced(
        one,
        "different" if why else "same protocol",
        why,
        decided if one.table == ELSEWHERE else (*decided, _NOT_STATED),
        metric=name,
        ours=interval(known),
        backbone=place[1],
        column=place[0].id,
        store=" + ".join(chosen[0].about.stores),
        records=tuple(record.key for record in chosen),
    )


def recipe_of(one: Published) -> Row | None:
    """The row of suite `paper` that stands for a published value; None where it has none."""
    return _recipe(one, _paper_rows())


@lru_cache(maxsize=1)
def _paper_rows() -> tuple[Row, ...]:
    return load_suite("paper").rows


def stated_differences(one: Published, record: Record) -> tuple[str, ...]:
    """How a record differs from what is published about a number, then what was decided where nothing is."""
    if one.table == ELSEWHERE:
        return _other_protocol(one, record)
    why, decided = _differences(recipe_of(one), record)
    return (*why, *decided, _NOT_STATED)


def is_run_again(one: Published, record: Record) -> bool:
    """Whether a record has a score for what a published value was measured on, of the whole, real data.

    Of the paper's tables only by what it prints of the protocol. What others printed stands beside the protocol that is
    nearest to theirs; their split or selection must be ours.

    Args:
        one: The value.
        record: Of any backbone.
    """
    if record.status != "ok" or not is_about(one, record):
        return False
    if one.table == ELSEWHERE:
        return not _other_data(one, record)
    return not _differences(recipe_of(one), record)[0]


def is_about(one: Published, record: Record, backbone: str = "") -> bool:
    """Whether a record is of the backbone, data, sensors, protocol and share of labels of a published value.

    Args:
        one: The value.
        record: Scored or not.
        backbone: Row of ours that stands for SeaMo; without, any run of it does.
    """
    facts = record.facts
    if one.backbone != SEAMO:
        same = facts.backbone.id == one.backbone
    elif backbone:
        same = backbone in (name_of(record), row_of(record))
    else:
        same = is_seamo(record)
    return (
        same
        and "+".join(store.id for store in facts.stores) == one.dataset
        and facts.protocol.id == one.protocol
        and facts.split.fraction == one.fraction
        and (not one.inputs or _sensors(record) == set(one.inputs))
    )


def _sensors(record: Record) -> set[str]:
    if record.facts.adapter is not None:
        return {given.sensor for given in record.facts.adapter.inputs}
    return {word.partition(":")[0] for word in record.facts.inputs.split()} & set(SENSORS)


def _blank(one: Published, mine: Sequence[Record]) -> Reproduced:
    reasons = tuple(sorted({f"{record.status}: {record.reason}" for record in mine if record.reason}))
    if reasons:
        return Reproduced(one, "cannot be run", reasons)
    found = cards().get(one.backbone)
    if found is not None and found.card.availability == "quoted only":
        return Reproduced(one, "cannot be run", ("its weights are not public",))
    if one.backbone == SEAMO:
        how = "no weights of the paper are public, and no run of ours was evaluated: `run paper --backbones RUN`"
        return Reproduced(one, "not run", (how,))
    return Reproduced(one, "not run", (f"`run paper --backbones {one.backbone}`",))


def _other_protocol(one: Published, record: Record) -> tuple[str, ...]:
    """Differences from a number that others published: their whole protocol is another one."""
    return (*_other_data(one, record), f"theirs: {one.note}" if one.note else "another protocol")


def _other_data(one: Published, record: Record) -> list[str]:
    why, scheme = unreal(record), record.facts.split.scheme
    if one.variant and one.variant != scheme:
        why.append(f"split: {scheme} instead of {one.variant}")
    return why


def _differences(recipe: Row | None, record: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(differences from what the paper prints or implies, differences from what is decided where it is silent)."""
    facts, why, decided = record.facts, unreal(record), []
    if recipe is None:
        return (*why, "the paper's recipe is not among the rows of suite paper"), ()
    if recipe.split and recipe.split != facts.split.scheme:
        why.append(f"split: {facts.split.scheme} instead of {recipe.split}")
    if recipe.label_space and recipe.label_space != facts.task.label_space:
        why.append(f"classes: {facts.task.label_space} instead of {recipe.label_space}")
    if not any(text.startswith(("P", "I")) for text in recipe.basis.values()):
        why.append("the paper does not describe this protocol")
    for name, theirs in recipe.params.items():
        ours, basis = facts.protocol.params.get(name), recipe.basis.get(name, "D")
        if _plain(ours) == _plain(theirs):
            if basis.startswith("D"):
                decided.append(f"{name}: {_text(ours)}")
        elif basis.startswith(("P", "I")):
            kind = "printed" if basis.startswith("P") else "implied"
            why.append(f"{name}: {_text(ours)} instead of {_text(theirs)} ({kind})")
        else:
            decided.append(f"{name}: {_text(ours)} instead of {_text(theirs)}")
    if way_of(record) not in ("native", recipe.missing):
        why.append(f"fed otherwise than it was made to be: {way_of(record)}")
    if recipe.missing and facts.adapter is not None and facts.adapter.missing != recipe.missing:
        decided.append(f"missing bands: {facts.adapter.missing} instead of {recipe.missing}")
    # What a basis names beside the parameters (bands, classes, size) is settled by the row itself.
    decided += [f"{name}: {text}" for name, text in recipe.basis.items() if name not in recipe.params and "D:" in text]
    return tuple(why), tuple(decided)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value


def _text(value: object) -> str:
    return ", ".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)


def to_objects(rows: Sequence[Reproduced]) -> list[dict[str, Any]]:
    """Plain rows, each with an `id`."""
    return [
        {
            "id": row.published.id,
            "table": row.published.table,
            "model": row.published.model,
            "arch": row.published.arch,
            "dataset": row.published.dataset,
            "inputs": "+".join(row.published.inputs),
            "fraction": row.published.fraction,
            "protocol": row.published.protocol,
            "published_metric": row.published.metric,
            "published": row.published.value,
            "published_status": row.published.status,
            "metric": row.metric,
            "ours": None if row.ours is None else 100 * row.ours.value,
            "low": None if row.ours is None or row.ours.low is None else 100 * row.ours.low,
            "high": None if row.ours is None or row.ours.high is None else 100 * row.ours.high,
            "difference": row.difference,
            "verdict": row.verdict,
            "why": list(row.why),
            "decided": list(row.decided),
            "missing": list(row.missing),
            "gpu_hours": None if row.gpu_hours is None else round(row.gpu_hours, 3),
            "note": row.published.note,
            "backbone": row.backbone,
            "store": row.store,
            "column": row.column,
            "records": list(row.records),
            "source": row.published.source,
        }
        for row in rows
    ]


def to_csv(rows: Sequence[Reproduced]) -> str:
    """One line a published value; lists joined by `; `."""
    plain = to_objects(rows)
    buffer = io.StringIO()
    if plain:
        writer = csv.DictWriter(buffer, list(plain[0]), lineterminator="\n")
        writer.writeheader()
        for row in plain:
            joined = {key: "; ".join(map(str, v)) if isinstance(v, list) else v for key, v in row.items()}
            writer.writerow({key: csv_text(v) if isinstance(v, str) else v for key, v in joined.items()})
    return buffer.getvalue()


def to_markdown(rows: Sequence[Reproduced]) -> str:
    """One table a table of the paper, then what others published."""
    lines = ["# Published numbers and ours", "", "SeaMo: arXiv 2412.19237v1. Percent; ours with 95 % intervals.", ""]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    lines.append("; ".join(f"{name}: {count}" for name, count in sorted(counts.items())) + ".")
    for table in dict.fromkeys(row.published.table for row in rows):
        is_paper = table in TABLES
        about = _ABOUT_ELSEWHERE if table == ELSEWHERE else _ABOUT_CALIBRATION
        lines += ["", f"## Table {table.removeprefix('T')}" if is_paper else about, ""]
        heads = ["model", "data", "paper" if is_paper else "theirs", "ours", "difference", "verdict", "why"]
        heads += ["to run it", "GPU h", "note"] if is_paper else ["note"]
        lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        lines += ["| " + " | ".join(_md(row)) + " |" for row in rows if row.published.table == table]
    return "\n".join(lines) + "\n"


_ABOUT_ELSEWHERE = """## Published elsewhere

By other protocols, on other selections of the data: a range to expect, no number to beat."""

_ABOUT_CALIBRATION = """## Calibration

Cells of other authors, measured again by suite `calibrate`; tolerances were fixed before anything ran."""


def _md(row: Reproduced) -> list[str]:
    one = row.published
    share = "" if one.fraction in (1.0, None) else f" {one.fraction:.0%}"
    place = " ".join([one.dataset, *one.inputs]) + share + f" {one.metric}"
    note = one.note
    if one.table not in TABLES:
        place, note = f"{place}, {one.protocol}", one.source
    value = "lost" if one.value is None else f"{one.value:g}"
    ours = ""
    if row.ours is not None:
        ours = f"{100 * row.ours.value:.2f}"
        if row.ours.low is not None and row.ours.high is not None:
            ours += f" [{100 * row.ours.low:.2f}, {100 * row.ours.high:.2f}]"
        ours += f" ({row.backbone})"
    gap = "" if row.difference is None else f"{row.difference:+.2f}"
    cells = [f"{one.model} {one.arch}".strip(), place, value, ours, gap, row.verdict, "; ".join(row.why)]
    if one.table in TABLES:
        cells += ["; ".join(row.missing), "" if row.gpu_hours is None else _hours(row.gpu_hours)]
    cells.append(note)
    return [markdown(cell) for cell in cells]
