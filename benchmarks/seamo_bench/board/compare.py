"""Records side by side: which may be compared at all, and paired differences of two backbones or groups."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamo.errors import ProtocolError
from seamo.identity import digest
from seamo_bench.predictions import Predictions
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.records.replicates import replicates_of
from seamo_bench.scores.intervals import (
    LEVEL,
    Difference,
    Sampling,
    mean_of,
    paired_difference,
)
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.scores.replicates import RESAMPLES, Replicates

NEW_WAYS = ("8-bit", "rgb", "wavelength", "select")  # no older than the field that tells them


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """One task x protocol x label fraction: records of one column answer one question.

    Args:
        dataset: Store ids joined by `+`.
        protocol: Protocol id.
        params: Its parameters, as JSON.
        scheme: Split scheme.
        fraction: Of the training labels.
        budget: `full` or `demo`.
        inputs: Sensors, bands or size that the suite's row asked for.
    """

    dataset: str
    protocol: str
    params: str
    scheme: str
    fraction: float
    budget: str
    inputs: str = ""

    @property
    def id(self) -> str:
        """Short and stable, for links and files."""
        part = digest([self.params, self.scheme, self.budget, self.inputs])[:6]
        return f"{self.dataset}/{self.protocol}/{self.fraction:g}/{part}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Backbone or group `a` minus `b` in one column."""

    column: Column
    a: str
    b: str
    metric: str
    difference: Difference


def column_of(record: Record) -> Column:
    """The column a record belongs to."""
    facts = record.facts
    return Column(
        "+".join(store.id for store in facts.stores),
        facts.protocol.id,
        json.dumps(facts.protocol.model_dump(mode="json")["params"], sort_keys=True),
        facts.split.scheme,
        facts.split.fraction,
        facts.budget,
        facts.inputs,
    )


def name_of(record: Record) -> str:
    """Whose record it is: its group, else its backbone."""
    return record.about.group or record.facts.backbone.id


def way_of(record: Record) -> str:
    """How the network met the bands of the store: `native`, or how else (`seamo.inputs.ways`).

    Of records older than the field, as their flags tell.
    """
    if record.about.way or record.facts.adapter is None:
        return record.about.way or "native"
    missing = record.facts.adapter.missing
    made_up = any(flag.kind == "filled-bands" for flag in record.flags)
    return missing if made_up or missing in NEW_WAYS else "native"


def row_of(record: Record) -> str:
    """The row a record belongs to: whose it is, and how it was fed where that is not as it was made to be."""
    way = way_of(record)
    return name_of(record) if way == "native" else f"{name_of(record)} [{way}]"


def unreal(record: Record) -> list[str]:
    """Why a record is no measurement of the real, whole data with the full budget; empty if it is."""
    why = ["demo budget"] if record.facts.budget == "demo" else []
    for store, title in zip(record.facts.stores, record.about.stores, strict=False):
        if store.synthetic:
            why.append(f"synthetic data: {title}")
        elif store.subset:
            why.append(f"a subset: {title}")
    return why


def differences(records: Sequence[Record]) -> tuple[str, ...]:
    """What keeps records of one column from standing side by side, as sentences. Empty = nothing.

    Store content, label space, protocol version, precision and the test list must be the same for all; the
    training list for all of one salt; weights, card and adapter for all seeds of one backbone.
    """
    found = []

    def same(what: str, values: Iterable[tuple[str, str]]) -> None:
        seen: dict[str, str] = {}
        for value, row in values:
            seen.setdefault(value, row)
        if len(seen) > 1:
            listed = ", ".join(f"{value} ({row})" for value, row in sorted(seen.items()))
            found.append(f"they differ in {what}: {listed}")

    rows = [(record, row_of(record)) for record in records]
    same("the store's content", ((" ".join(s.content[:12] for s in r.facts.stores), row) for r, row in rows))
    same("the label space", ((f"{r.facts.task.label_space} {_short(r.facts.task)}", row) for r, row in rows))
    same("the protocol's version", ((f"version {r.facts.protocol.version}", row) for r, row in rows))
    same("precision", ((r.facts.precision, row) for r, row in rows))
    same("the test list", ((r.facts.split.lists.get("test", "none")[:12], row) for r, row in rows))
    for salt in sorted({r.facts.split.salt for r in records}):
        mine = [(r, row) for r, row in rows if r.facts.split.salt == salt]
        same(f"the lists of salt {salt}", ((_short([r.facts.split.rule, r.facts.split.lists]), row) for r, row in mine))
    for name in sorted({row for _, row in rows}):
        mine = [(r, row) for r, row in rows if row == name]
        same(f"the input of {name}", ((_short(_input(r)), row) for r, row in mine))
        for backbone in sorted({r.facts.backbone.id for r, _ in mine}):
            own = [(r, row) for r, row in mine if r.facts.backbone.id == backbone]
            same(
                f"the weights or the card of {backbone}",
                (((r.facts.backbone.weights or "none")[:12] + " " + r.facts.backbone.card[:12], row) for r, row in own),
            )
    return tuple(found)


def _short(value: object) -> str:
    plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    return digest(plain)[:12]


def _input(record: Record) -> object:
    return record.facts.adapter.model_dump(mode="json") if record.facts.adapter else None


def check_comparable(records: Sequence[Record], where: str) -> None:
    """Refuse records that differ in something that changes the number.

    Raises:
        ProtocolError: Naming the column and what differs.
    """
    found = differences(records)
    if found:
        raise ProtocolError(
            f"these records cannot share a column, {'; '.join(found)}",
            where,
            "Move the old records away, or ask for mixed=True, which shows the difference.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The predictions of one cell, run by run, and the pretraining run each belongs to."""

    predictions: tuple[Predictions, ...]
    parents: tuple[str, ...]


def load_runs(records: Sequence[Record], results: Path) -> Runs:
    """Load the predictions of a cell's records, several seeds or several pretrainings."""
    ordered = by_seed(records)
    return Runs(tuple(load_predictions(one, results) for one in ordered), _parents(ordered))


def by_seed(records: Iterable[Record]) -> list[Record]:
    """Records in the order in which people count: backbones by name, then seeds."""
    return sorted(records, key=lambda one: (one.facts.backbone.id, one.facts.seed, one.facts.split.salt, one.key))


def _parents(ordered: Sequence[Record]) -> tuple[str, ...]:
    """Without a group every record is its own run; in a group the runs of one backbone are one pretraining."""
    several = len({one.facts.backbone.id for one in ordered}) > 1
    return tuple(one.facts.backbone.id if several else one.key for one in ordered)


@dataclass(frozen=True, slots=True, eq=False)
class CellRuns:
    """One cell run by run, as intervals and differences need it: replicates, parents and the records behind."""

    records: tuple[Record, ...]
    replicates: tuple[Replicates, ...]
    parents: tuple[str, ...]


def cell_runs(
    records: Sequence[Record], results: Path, name: str, *, block_km: int | None = None, resamples: int = RESAMPLES
) -> CellRuns:
    """The replicates of a cell's records under one metric, kept in the results folder once they are made."""
    ordered = by_seed(records)
    made = tuple(replicates_of(one, results, name, block_km=block_km, resamples=resamples) for one in ordered)
    return CellRuns(tuple(ordered), made, _parents(ordered))


def cell_sampling(
    records: Sequence[Record], results: Path, name: str, *, block_km: int | None = None, resamples: int = RESAMPLES
) -> Sampling:
    """Mean score of a cell's records with what is known of its error.

    Args:
        records: Of one column and one row, all ok.
        results: Their folder.
        name: Metric.
        block_km: Side of the blocks of land that are resampled; None: as the records' split scheme says.
        resamples: Of the bootstrap.
    """
    cell = cell_runs(records, results, name, block_km=block_km, resamples=resamples)
    return mean_of(cell.replicates, parents=cell.parents)


def cell_difference(a: CellRuns, b: CellRuns, results: Path, *, level: float = LEVEL) -> Difference:
    """Mean score of one cell minus another's on the same test samples, by McNemar's test where it applies."""

    def first_runs() -> tuple[Predictions, Predictions]:
        return load_predictions(a.records[0], results), load_predictions(b.records[0], results)

    parents = (a.parents, b.parents)
    return paired_difference(a.replicates, b.replicates, first_runs, parents=parents, level=level)


def paired_group_difference(
    records_a: Sequence[Record],
    records_b: Sequence[Record],
    results: Path,
    *,
    metric: str = "",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Difference:
    """Mean score of one backbone or group minus another's on the same test samples, with its interval.

    Pretraining seeds are a level of the nesting: `seamo` (3 pretraining runs) against `seamo-random` (3 draws).

    Args:
        records_a: Records of one column and one row, all ok.
        records_b: Of the same column, another row.
        results: Their folder.
        metric: The task's primary one if empty.
        level: Of the interval.
        resamples: Of the bootstrap.

    Raises:
        ProtocolError: If the records do not belong to one column, or cannot be compared.
    """
    both = [*records_a, *records_b]
    if not records_a or not records_b:
        raise ProtocolError("there is no record on one side of the comparison")
    columns = {column_of(record) for record in both}
    if len(columns) > 1:
        raise ProtocolError(f"the records belong to {len(columns)} columns: {', '.join(sorted(c.id for c in columns))}")
    check_comparable(both, columns.pop().id)
    name = metric or PRIMARY[records_a[0].facts.task.kind]
    a, b = (cell_runs(side, results, name, resamples=resamples) for side in (records_a, records_b))
    return cell_difference(a, b, results, level=level)


def compare(
    records: Sequence[Record], results: Path, a: str, b: str, *, metric: str = "", resamples: int = RESAMPLES
) -> tuple[Comparison, ...]:
    """Every column in which both rows have a score: a - b.

    Args:
        records: Of a results folder.
        results: The folder.
        a: Backbone id or group.
        b: The other.
        metric: The task's primary one if empty.
        resamples: Of the bootstrap.

    Raises:
        ProtocolError: If one of them has no score at all.
    """
    done = [record for record in records if record.status == "ok"]
    rows = sorted({row_of(record) for record in done})
    for name in (a, b):
        if name not in rows:
            raise ProtocolError(
                f"no score of {name!r} among the records", fix=f"There are {', '.join(rows) or 'none'}."
            )
    cells: dict[Column, dict[str, list[Record]]] = {}  # grouped once: a column's id is text that takes a while to make
    for record in done:
        if row_of(record) in (a, b):
            cells.setdefault(column_of(record), {}).setdefault(row_of(record), []).append(record)
    found = []
    for column, sides in sorted(cells.items()):
        if a in sides and b in sides:
            name = metric or PRIMARY[sides[a][0].facts.task.kind]
            difference = paired_group_difference(sides[a], sides[b], results, metric=name, resamples=resamples)
            found.append(Comparison(column, a, b, name, difference))
    return tuple(found)
