"""The leaderboard as a value: one row a backbone, one column a task x protocol x fraction, from records alone."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seamo.errors import ProtocolError
from seamo.store.spatial import parse_spatial
from seamo_bench.board.compare import (
    Column,
    cell_difference,
    cell_runs,
    check_comparable,
    column_of,
    differences,
    row_of,
    way_of,
)
from seamo_bench.facts import scoring_of
from seamo_bench.records.record import ONE_CLASS, Damage, Flag, Record, RecordSet, Status, is_of_one_class
from seamo_bench.scores.aggregate import RANGES_VERSION, Aggregate, Scored, aggregate, ranges, rows_and_columns
from seamo_bench.scores.distributions import adjusted_to_best
from seamo_bench.scores.intervals import Interval, Sampling, interval, mean_of
from seamo_bench.scores.metrics import PRIMARY, metric, metrics_for
from seamo_bench.scores.replicates import RESAMPLES

ALPHA = 0.05
FLOORS = ("image statistics", "random init", "supervised")


@dataclass(frozen=True, slots=True)
class BoardCell:
    """One backbone in one column.

    Args:
        status: `ok`, or why there is no number.
        reason: Of a blank.
        interval: The score.
        p_worse: Adjusted p of the paired difference from the best of its kind; None for that one itself.
        best: Best of its kind in the column, or not worse beyond chance (`p_worse` at least 0.05). Rows are of one kind
            that met the store in the same way; one alone that was not fed natively is no best.
        num_test: Test samples.
        flags: What a reader must know, each once.
        records: Behind the cell: several seeds, several pretrainings.
        state: Of a results repository: what its referee says of the records, in words; else empty.
    """

    status: Status
    reason: str
    interval: Interval | None
    p_worse: float | None
    best: bool
    num_test: int
    flags: tuple[Flag, ...]
    records: tuple[Record, ...]
    state: str = ""


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One backbone or group, fed in one way.

    Args:
        id: As `row_of`.
        title: With the way, if it is not `native`.
        floor: What kind of floor it is, if any.
        way: How it met the bands of the stores.
    """

    id: str
    title: str
    floor: str
    way: str = "native"


@dataclass(frozen=True, slots=True)
class Head:
    """A column with what tables print above it."""

    column: Column
    metric: str
    dataset: str
    protocol: str
    synthetic: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, columns and cells; `notes` belong above every rendering.

    Args:
        heads: Columns in order.
        rows: Backbones, best mean rank first, then those that were fed in another way than natively, floors last.
        cells: (row id, column) -> cell; what was never run has no entry.
        notes: Synthetic data, subsets, demo budget, missing floors, damaged files.
        aggregates: Row id -> interquartile mean and mean rank over the columns that all rows have; of rows that were
            fed natively alone.
        damaged: Files that could not be read.
    """

    heads: tuple[Head, ...]
    rows: tuple[BoardRow, ...]
    cells: Mapping[tuple[str, Column], BoardCell]
    notes: tuple[str, ...]
    aggregates: Mapping[str, Aggregate]
    damaged: tuple[Damage, ...]

    def __repr__(self) -> str:
        from seamo_bench.board.tables import to_text  # which reads this module

        return to_text(self).rstrip()

    def _repr_html_(self) -> str:
        from seamo_bench.board.tables import to_html

        return to_html(self)


def build_table(
    found: RecordSet, results: str | Path, *, metric_name: str = "", mixed: bool = False, resamples: int = RESAMPLES
) -> Table:
    """Make the leaderboard of a results folder.

    Args:
        found: `read_records(results)`.
        results: The folder, for the predictions.
        metric_name: One metric for all columns that have it (others are left out); the primary ones if empty.
        mixed: Put records that differ in a number-changing fact into one column all the same, and say so.
        resamples: Of the bootstrap.

    Raises:
        ProtocolError: If there is nothing to show, if records of one column cannot be compared, or if
            predictions are missing or changed.
    """
    results = Path(results)
    if metric_name:
        metric(metric_name)
    groups: dict[Column, list[Record]] = {}
    for record in found.records:
        if not metric_name or metric_name in metrics_for(scoring_of(record.facts)):
            groups.setdefault(column_of(record), []).append(record)
    if not groups:
        hint = f" with the metric {metric_name}" if metric_name else ""
        unread = "; ".join(f"{one.path.name} {one.reason}" for one in found.damaged[:3])
        more = f"{len(found.damaged)} file(s) cannot be used: {unread}." if unread else "Run a suite first."
        raise ProtocolError(f"there is no record{hint} to show", str(results), more)
    cells: dict[tuple[str, Column], BoardCell] = {}
    heads = []
    scored: dict[Column, Scored] = {}
    unranged = []
    for column, records in sorted(groups.items()):
        done = [record for record in records if record.status == "ok"]
        if not mixed:
            check_comparable(done, column.id)
        name = metric_name or PRIMARY[records[0].facts.task.kind]
        heads.append(_head(column, name, records, groups, differences(done)))
        made, known = _column_cells(records, results, name, resamples, mixed)
        cells.update({(row, column): _with_state(cell, found.states) for row, cell in made.items()})
        native = {row_of(record) for record in done if way_of(record) == "native"}
        there = {row: one for row, one in known.items() if row in native and one.error == one.error}
        scale = ranges().get((column.dataset, name))
        if there and scale is not None:
            scored[column] = Scored(column.dataset, scale, there)
        elif there and metric(name).higher_is_better:
            unranged.append(f"{heads[-1].dataset} ({metric(name).title})")
    heads = _told_apart(heads)
    rows = _rows(found.records, cells, heads)
    shown = tuple(row for row in rows if any((row.id, head.column) in cells for head in heads))
    aggregates, said = ({}, ()) if mixed else _aggregates(scored, heads, unranged)
    notes = _notes(heads, shown, found, [record for group in groups.values() for record in group])
    return Table(tuple(heads), shown, cells, (*notes, *_on_land(cells), *said), aggregates, found.damaged)


def _on_land(cells: Mapping[tuple[str, Column], BoardCell]) -> Iterator[str]:
    """What intervals resample under each split scheme of whole blocks of land."""
    units: dict[str, set[str]] = {}
    for (_, column), cell in cells.items():
        if cell.interval is not None and parse_spatial(column.scheme):
            units.setdefault(column.scheme, set()).add(cell.interval.unit)
    for scheme, found in sorted(units.items()):
        names = [f"{one} of land" if one == "blocks" else one for one in sorted(found)]
        yield f"Intervals under {scheme} resample {' or '.join(names)}."


def _aggregates(
    scored: Mapping[Column, Scored], heads: Sequence[Head], unranged: Sequence[str]
) -> tuple[dict[str, Aggregate], tuple[str, ...]]:
    """Aggregates over data sets, and what must be said of them. Demo or synthetic columns never join real ones."""
    unreal = {head.column for head in heads if head.synthetic or head.column.budget == "demo"}
    chosen = [one for column, one in scored.items() if column not in unreal] or list(scored.values())
    made = aggregate(chosen)
    if not made:
        return {}, ()
    said = []
    names, kept = rows_and_columns(chosen)
    if any(column in unreal for column, one in scored.items() if one in chosen):
        said.append("IQM and mean rank are over demo or synthetic columns and rank nothing.")
    elif len(chosen) < len(scored):
        said.append("IQM and mean rank leave demo and synthetic columns out.")
    rows = sorted({row for one in chosen for row in one.scores} - set(names))
    if rows:
        said.append(f"No IQM or mean rank, a column is missing: {', '.join(rows)}.")
    if len(kept) < len(chosen):
        tasks = sorted({one.task for one in chosen} - {one.task for one in kept})
        words = f" ({', '.join(tasks)})" if tasks else ""
        said.append(f"IQM and mean rank leave {len(chosen) - len(kept)} columns out that few rows have{words}.")
    if unranged:
        listed = ", ".join(dict.fromkeys(unranged))
        said.append(f"IQM and mean rank leave out what has no range in {RANGES_VERSION}: {listed}.")
    return made, tuple(said)


def _column_cells(
    records: Sequence[Record], results: Path, name: str, resamples: int, mixed: bool
) -> tuple[dict[str, BoardCell], dict[str, Sampling]]:
    by_row: dict[str, list[Record]] = {}
    for record in records:
        by_row.setdefault(row_of(record), []).append(record)
    done = {row: [one for one in mine if one.status == "ok"] for row, mine in by_row.items()}
    runs = {row: cell_runs(mine, results, name, resamples=resamples) for row, mine in done.items() if mine}
    known = {row: mean_of(one.replicates, parents=one.parents) for row, one in runs.items()}
    sign = 1 if metric(name).higher_is_better else -1
    defined = {row: one for row, one in known.items() if one.value == one.value}
    kinds: dict[str, list[str]] = {}
    for row in sorted(defined):
        kinds.setdefault(way_of(by_row[row][0]), []).append(row)
    leaders: set[str] = set()
    p_values: dict[str, float] = {}
    for way, rows in kinds.items():
        best = max(rows, key=lambda row: sign * defined[row].value)
        if way == "native" or len(rows) > 1:
            leaders.add(best)
        if not mixed:  # records on other samples have no paired difference
            found = {row: cell_difference(runs[best], runs[row], results).p for row in rows if row != best}
            # What cannot be tested (one test image) is not told apart: nobody is worse for want of samples.
            raw = {row: 1.0 if p is None else p for row, p in found.items()}
            p_values |= dict(zip(raw, adjusted_to_best(list(raw.values())), strict=True))
    cells = {}
    for row, mine in by_row.items():
        good = row in known
        shown = done[row] if good else mine
        flags = {flag: None for one in shown for flag in one.flags}
        lone = any(is_of_one_class(one) for one in shown)  # no row of such a column is better than another
        flags |= {ONE_CLASS: None} if lone else {}
        cells[row] = BoardCell(
            "ok" if good else shown[0].status,
            "" if good else "; ".join(sorted({one.reason for one in mine})),
            interval(known[row]) if good else None,
            p_values.get(row),
            not lone and (row in leaders or p_values.get(row, 0.0) >= ALPHA),
            runs[row].replicates[0].num_samples if good else 0,
            tuple(flags),
            tuple(mine),
        )
    return cells, known


def _with_state(cell: BoardCell, states: Mapping[str, str]) -> BoardCell:
    """The cell with the state of its records: one for all, or how many have which."""
    mine = Counter(states[record.key] for record in cell.records if record.key in states)
    if len(mine) > 1:
        return replace(cell, state=", ".join(f"{count} of {mine.total()} {state}" for state, count in mine.items()))
    return replace(cell, state=next(iter(mine), ""))


def _head(
    column: Column, name: str, records: Sequence[Record], groups: Mapping[Column, object], mixed: Sequence[str]
) -> Head:
    stores = " + ".join(records[0].about.stores)
    words = [column.protocol, *([column.inputs] if column.inputs else [])]
    siblings = [other for other in groups if other.dataset == column.dataset and other.protocol == column.protocol]
    own = json.loads(column.params)
    words += [
        f"{key}={own.get(key, 'default')}"
        for key in sorted({key for other in siblings for key in json.loads(other.params)})
        if len({json.dumps(json.loads(other.params).get(key)) for other in siblings}) > 1
    ]
    words.append(f"{100 * column.fraction:g} % of labels")
    words.append(f"split {column.scheme}")
    if column.budget == "demo":
        words.append("demo budget")
    notes = tuple(f"{stores}, {column.protocol}: MIXED records, {sentence}" for sentence in mixed)
    return Head(column, name, stores, ", ".join(words), any(s.synthetic for s in records[0].facts.stores), notes)


def _told_apart(heads: Sequence[Head]) -> list[Head]:
    """The same columns; where two would have one heading, each names its data set.

    Titles are free text, and two stores may have one.
    """
    told = [(head.dataset, head.protocol, head.metric) for head in heads]
    return [
        replace(head, dataset=f"{head.dataset} [{head.column.dataset}]") if told.count(one) > 1 else head
        for head, one in zip(heads, told, strict=True)
    ]


def _rows(
    records: Sequence[Record], cells: Mapping[tuple[str, Column], BoardCell], heads: Sequence[Head]
) -> list[BoardRow]:
    about = {row_of(record): record.about for record in records}
    ways = {row_of(record): way_of(record) for record in records}
    places: dict[str, list[float]] = {row: [] for row in about}
    for head in heads:
        sign = 1 if metric(head.metric).higher_is_better else -1
        values = {
            row: sign * cell.interval.value
            for (row, where), cell in cells.items()
            if where == head.column and cell.interval
        }
        for row, value in values.items():
            alike = [other for name, other in values.items() if ways[name] == ways[row]]
            places[row].append(sum(other > value for other in alike) / max(1, len(alike) - 1))

    def order(row: str) -> tuple[bool, bool, float, str]:
        mine = places[row]
        return bool(about[row].floor), ways[row] != "native", sum(mine) / len(mine) if mine else 2.0, row

    marks = {row: "" if way == "native" else f" [{way}]" for row, way in ways.items()}
    titles = {row: f"{one.group or one.backbone}{marks[row]}" for row, one in about.items()}
    twice = [title for title in titles.values() if list(titles.values()).count(title) > 1]
    return [
        BoardRow(row, f"{titles[row]} [{row}]" if titles[row] in twice else titles[row], about[row].floor, ways[row])
        for row in sorted(about, key=order)
    ]


def _notes(
    heads: Sequence[Head], rows: Sequence[BoardRow], found: RecordSet, records: Sequence[Record]
) -> tuple[str, ...]:
    notes = []
    synthetic, subsets = set(), set()
    for record in records:
        for title, store in zip(record.about.stores, record.facts.stores, strict=False):
            if store.synthetic:
                synthetic.add(title)
            if store.subset:
                subsets.add(title)
    if synthetic:
        notes.append(f"SYNTHETIC data, no statement about the real world: {', '.join(sorted(synthetic))}.")
    if subsets:
        notes.append(f"Subsets, not the full data sets: {', '.join(sorted(subsets))}.")
    if any(head.column.budget == "demo" for head in heads):
        notes.append("DEMO BUDGET (at most 2 epochs and 64 training samples): these scores rank nothing.")
    if otherwise := sorted({row.way for row in rows} - {"native"}):
        notes.append(
            f"Rows marked [{'], ['.join(otherwise)}] were fed otherwise than they were made to be: each kind is ranked "
            "by itself, and none has an IQM or a mean rank."
        )
    missing = [floor for floor in FLOORS if floor not in {row.floor for row in rows}]
    if missing:
        notes.append(f"Floors that were not run: {', '.join(missing)}.")
    notes.extend(note for head in heads for note in head.notes)
    notes.extend(found.notes)
    if found.damaged:
        told = "; ".join(f"{one.path.name} {one.reason}" for one in found.damaged)
        notes.append(f"{len(found.damaged)} DAMAGED file(s) left out: {told}.")
    return tuple(notes)
