"""The contamination map: which test samples lie where a backbone was pretrained, and what they do to its score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError, StoreError
from seamo.store.placelist import Footprints, footprints_of
from seamo.store.samples import Samples
from seamo_bench.board.compare import Column, Runs, cell_sampling, check_comparable, column_of, load_runs, row_of
from seamo_bench.board.geography import Geography, make_grid
from seamo_bench.board.overlap import (
    KIND,
    LEVEL,
    VERSION,
    OverlapCell,
    OverlapRow,
    PartScore,
    SeenData,
    TouchedSample,
    are_folded,
    gap_beyond,
    gap_of,
    gaps_of,
    part_score,
)
from seamo_bench.facts import Scalar, keys_sha256, scoring_of
from seamo_bench.predictions import Ints, Strings
from seamo_bench.protocol import Progress
from seamo_bench.questions.seen import SeenPlaces, SeenShelf, seen_by
from seamo_bench.questions.touching import touching
from seamo_bench.records.answers import Answer
from seamo_bench.records.record import Record, RecordSet
from seamo_bench.scores.intervals import interval
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.scores.replicates import RESAMPLES
from seamo_bench.tasks.stores import open_facts

EXAMPLES = 20  # touched samples that a row names
_CLEAN, _TOUCHED, _UNKNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """Test samples of a column.

    Args:
        keys: (N,) sorted.
        footprints: (M,) of samples, or of the tiles of scenes.
        of: (M,) which key each footprint belongs to.
        met: Corpus -> (N,) one of its footprints that each key touches, or -1.
    """

    keys: Strings
    footprints: Footprints
    of: Ints
    met: dict[int, Ints] = field(default_factory=dict)


def overlaps(
    found: RecordSet,
    results: Path,
    shelf: SeenShelf,
    *,
    days: int | None = None,
    resamples: int = RESAMPLES,
    progress: Progress = lambda _done, _total, _what: None,
) -> tuple[Answer[OverlapRow], tuple[str, ...]]:
    """Every backbone on every column: touched test samples, and the score with and without them.

    Args:
        found: Records of a folder of results.
        results: The folder.
        shelf: Where footprints are.
        days: Only images that are at most so many days apart touch; None: days do not count.
        resamples: Of the bootstrap.
        progress: Called with (done, total, what).

    Returns:
        The answer, and which columns are not in it, and why.

    Raises:
        ProtocolError: If no column can be judged.
        UsageError: If a list of footprints is none.
    """
    columns: dict[Column, dict[str, list[Record]]] = {}
    for record in found.records:
        if record.status == "ok":
            columns.setdefault(column_of(record), {}).setdefault(row_of(record), []).append(record)
    rows: list[OverlapRow] = []
    left = []
    tested: dict[tuple[str, ...], _Tested] = {}
    for number, (column, sides) in enumerate(sorted(columns.items())):
        progress(number, len(columns), f"overlaps of {column.dataset}")
        every = [record for side in sides.values() for record in side]
        try:
            check_comparable(every, column.id)
            rows += _column_rows(column, sides, results, shelf, tested, days=days, resamples=resamples)
        except (StoreError, ProtocolError) as error:
            left.append(f"{column.id}: {error}")
    if not rows:
        raise ProtocolError("no column can be judged", str(results), " ".join(left) or "There is no score yet.")
    judged = tuple(sorted(key for row in rows for key in row.records))
    command = "seamo-bench overlap RESULTS --stores STORES"
    command += " --footprints LISTS" if shelf.lists is not None else ""
    command += "" if days is None else f" --days {days}"
    command += " --backbones RUN,..." if shelf.named else ""
    lists = ", ".join(f"{name} (sha256 {sha256})" for name, sha256 in sorted(shelf.digests.items()))
    asked: dict[str, Scalar] = {"days": days, "lists": lists, "backbones": ", ".join(sorted(shelf.named))}
    return Answer(KIND, VERSION, command, asked, judged, tuple(rows)), tuple(left)


def _column_rows(
    column: Column,
    sides: Mapping[str, Sequence[Record]],
    results: Path,
    shelf: SeenShelf,
    tested: dict[tuple[str, ...], _Tested],
    *,
    days: int | None,
    resamples: int,
) -> list[OverlapRow]:
    runs = {row: load_runs(records, results) for row, records in sides.items()}
    keys = np.unique(next(iter(runs.values())).predictions[0].keys)
    first = next(iter(sides.values()))[0]
    known = (*(one.content for one in first.facts.stores), keys_sha256(keys.tolist()))  # tiles, or scenes of them
    if known not in tested:
        tested[known] = _tested(open_facts(shelf.root, first.facts), keys)
    seen = {row: _seen(shelf, records) for row, records in sides.items()}
    floors = {row: one for row, one in runs.items() if not seen[row]}
    made = []
    for row, records in sorted(sides.items()):
        base = _counted(column, row, records, seen[row], tested[known], days)
        made.append(_scored(*base, results, records, runs=runs[row], floors=floors, resamples=resamples))
    return made


def _seen(shelf: SeenShelf, records: Sequence[Record]) -> tuple[SeenPlaces, ...]:
    """What any of the pretrainings of a row saw, each corpus once."""
    places = [place for record in records for place in seen_by(shelf, record)]
    return tuple({place.corpus if place.footprints is None else id(place): place for place in places}.values())


def _tested(store: Samples, keys: Strings) -> _Tested:
    frame = store.read_index(["key", "scene"])
    named = {name: frame[name].fillna("").to_numpy(dtype=np.str_) for name in ("key", "scene")}
    by_scene = ~np.isin(keys, named["key"])
    rows = np.concatenate(
        [np.flatnonzero(np.isin(named[name], keys[mine])) for name, mine in (("key", ~by_scene), ("scene", by_scene))]
    )
    whose = np.where(np.isin(named["key"][rows], keys), named["key"][rows], named["scene"][rows])
    at = np.searchsorted(keys, whose)
    found, placed = footprints_of(store, rows)
    order = np.argsort(rows, kind="stable")
    of = at[order[np.searchsorted(rows[order], placed)]]
    return _Tested(keys, found, of)


def _met(tested: _Tested, place: SeenPlaces, days: int | None) -> Ints:
    """(N,) one footprint of a corpus for each test sample that touches one, else -1."""
    assert place.footprints is not None  # noqa: S101 - asked only of those
    number = id(place)
    if number not in tested.met:
        pairs = touching(tested.footprints, place.footprints, days=days)
        met = np.full(len(tested.keys), -1, dtype=np.int64)
        hit = np.flatnonzero(pairs >= 0)[::-1]
        met[tested.of[hit]] = pairs[hit]
        tested.met[number] = met
    return tested.met[number]


def _counted(
    column: Column, row: str, records: Sequence[Record], seen: Sequence[SeenPlaces], tested: _Tested, days: int | None
) -> tuple[OverlapRow, Strings]:
    """A row without scores, and the keys of touched samples."""
    number = len(tested.keys)
    placed = np.zeros(number, dtype=bool)
    placed[tested.of] = True
    lost = any(one.corpus.is_partly_unknown for one in seen)
    state = np.full(number, _UNKNOWN if lost else _CLEAN)
    if any(one.footprints is not None for one in seen):
        state[~placed] = _UNKNOWN
    corpora, examples = [], dict[str, TouchedSample]()
    spots = _centres(tested)
    for one in seen:
        if one.footprints is None:
            corpora.append(one.corpus)
            continue
        met = _met(tested, one, days)
        hit = np.flatnonzero(met >= 0)
        state[hit] = _TOUCHED
        corpora.append(one.corpus.model_copy(update={"touched": len(hit)}))
        for at in hit[:EXAMPLES].tolist():
            key, (lon, lat) = str(tested.keys[at]), spots[at].tolist()
            on = str(one.footprints.ids[met[at]])
            examples.setdefault(
                key, TouchedSample(key=key, corpus=one.corpus.id, footprint=on, longitude=lon, latitude=lat)
            )
    first = records[0]
    step, cells = _cells(tested.keys, spots, state)
    made = OverlapRow(
        column=column.id,
        dataset=" + ".join(first.about.stores),
        protocol=column.protocol,
        metric=PRIMARY[first.facts.task.kind],
        row=row,
        title=first.about.group or first.about.backbone,
        synthetic=any(store.synthetic for store in first.facts.stores),
        subset=any(store.subset for store in first.facts.stores),
        records=tuple(sorted(record.key for record in records)),
        corpora=tuple(corpora),
        samples=number,
        touched=int((state == _TOUCHED).sum()),
        clean=int((state == _CLEAN).sum()),
        unknown=int((state == _UNKNOWN).sum()),
        flag=_flag(corpora, state, days),
        examples=tuple(examples[key] for key in sorted(examples))[:EXAMPLES],
        step=step,
        cells=cells,
    )
    return made, tested.keys[state == _TOUCHED]


def _flag(corpora: Sequence[SeenData], state: Ints, days: int | None) -> str:
    said = []
    touched, unknown = int((state == _TOUCHED).sum()), int((state == _UNKNOWN).sum())
    if touched:
        where = " and ".join(one.id for one in corpora if one.touched)
        when = "" if days is None else f", at most {days} days apart"
        share = 100 * touched / len(state)
        said.append(f"{touched:,} of {len(state):,} test samples ({share:.3g} %) lie where {where} has images{when}")
    if unknown:
        lost = [f"where {one.id} lies is not known here" for one in corpora if one.origin == "unknown"]
        lost += [f"{one.unplaced:,} images of {one.id} have no place" for one in corpora if one.unplaced]
        why = " and ".join(lost) or "they have no place"
        many = "whether the others were seen" if touched else "whether test samples were seen"
        said.append(f"{many} cannot be said of {unknown:,}: {why}")
    return "; ".join(said)


def _scored(
    row: OverlapRow,
    touched: Strings,
    results: Path,
    records: Sequence[Record],
    *,
    runs: Runs,
    floors: Mapping[str, Runs],
    resamples: int,
) -> OverlapRow:
    """A row with its scores: of all samples, of the touched ones, of the others, and the gap between them."""
    name, scoring = row.metric, scoring_of(records[0].facts)
    known = interval(cell_sampling(records, results, name, resamples=resamples), level=LEVEL)
    value = None if np.isnan(known.value) else known.value
    whole = PartScore(samples=row.samples, value=value, low=known.low, high=known.high)
    if not row.touched:
        return row.model_copy(update={"whole": whole})
    if are_folded(runs):
        return row.model_copy(update={"whole": whole, "note": "cross-validated: parts of its samples have no score"})
    part = part_score(runs, touched, name, scoring, resamples=resamples)
    others = np.setdiff1d(runs.predictions[0].keys, touched)
    if not len(others):
        note = "every test sample is touched: nothing is left to compare with"
        return row.model_copy(update={"whole": whole, "part": part, "note": note})
    gaps = gaps_of(runs, touched, name, scoring, resamples=resamples)
    bare = [
        (one, floor)
        for floor, own in floors.items()
        for one in gaps_of(own, touched, name, scoring, resamples=resamples)
    ]
    beyond = gap_beyond(gaps, runs.parents, [gap for gap, _ in bare], [floor for _, floor in bare]) if bare else None
    return row.model_copy(
        update={
            "whole": whole,
            "part": part,
            "rest": part_score(runs, others, name, scoring, resamples=resamples),
            "gap": gap_of(gaps, runs.parents),
            "beyond": beyond,
            "floors": tuple(floors),
        }
    )


def _centres(tested: _Tested) -> NDArray[np.float64]:
    """(N, 2) mean corner of each sample's first footprint, NaN without one."""
    spots = np.full((len(tested.keys), 2), np.nan)
    spots[tested.of[::-1]] = tested.footprints.corners.mean(axis=1)[::-1]
    spots[:, 0] = (spots[:, 0] + 180) % 360 - 180
    return spots.round(5)


def _cells(keys: Strings, spots: NDArray[np.float64], state: Ints) -> tuple[float, tuple[OverlapCell, ...]]:
    if not np.isfinite(spots).any():
        return 1.0, ()
    grid = make_grid(Geography(keys, spots, np.full(len(keys), "")))
    counts = np.zeros((len(grid.corners), 3), dtype=np.int64)
    there = grid.cell >= 0
    np.add.at(counts, (grid.cell[there], state[there]), 1)
    return grid.step, tuple(
        OverlapCell(west=west, south=south, clean=clean, touched=touched, unknown=unknown)
        for (west, south), (clean, touched, unknown) in zip(grid.corners.tolist(), counts.tolist(), strict=True)
    )
