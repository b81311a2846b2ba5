"""How much of a score is nearness: the same model under a split without blocks of land, minus under one of blocks.

Where samples next to each other are alike, a split that ignores places tests what was nearly seen. Both scores come
from records alone. Their test samples differ, so the difference is no paired one: blocks of land are resampled for both
sides at once, and the part that each side's own training samples have in its score is added (docs/spatial.md).
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seamo.errors import ProtocolError
from seamo.store.spatial import parse_spatial
from seamo.store.splits import CV_SCHEME
from seamo_bench.board.compare import Column, by_seed, cell_sampling, check_comparable, column_of, load_runs, row_of
from seamo_bench.facts import Value, scoring_of
from seamo_bench.predictions import ClassPredictions, Predictions, Strings, take
from seamo_bench.records.record import Record
from seamo_bench.records.replicates import kept_replicates, replicate_parts
from seamo_bench.scores.blocks import SplitSide, share_units, split_difference
from seamo_bench.scores.intervals import LEVEL, Difference, Interval, interval
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.scores.replicates import RESAMPLES, Replicates

KIND, VERSION = "spatial", 2  # of the answers that hold distances, and of the method that measures them
HALF_WAY_KM = 20_038.0  # no two places are farther apart
UNIT_KM = 20  # blocks that intervals resample where the split scheme names none
_NAMED = 3  # rows in a sentence
FEW_SAMPLES = 30  # in a bin of distances; with fewer there is no interval


class DistanceBin(Value):
    """The score of test samples whose nearest training sample is about so far away.

    Args:
        row: Whose it is (`seamo_bench.board.compare.row_of`).
        column: Its column's id.
        scheme: Split scheme.
        records: Keys of the runs behind it, all with the same training samples.
        low_km, high_km: Distances from one to below the other.
        samples: Test samples in it.
        unplaced: Test samples of the same runs whose distance is unknown: they are in no bin.
        metric: Of the score.
        value: Mean over runs; None where it is not defined.
        low, high: 95 % interval; None where there is none.
        note: What the reader must know.
    """

    row: str
    column: str
    scheme: str
    records: tuple[str, ...]
    low_km: float
    high_km: float
    samples: int
    unplaced: int
    metric: str
    value: float | None
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class SpatialGap:
    """One model's score under a split without blocks of land minus its score under one of whole blocks.

    Args:
        row: Whose it is.
        column: Of the spatial side.
        other: The scheme of the other side.
        metric: Of both.
        scores: Under the other scheme, and under the spatial one.
        difference: The first minus the second.
        common: The same on the test samples of both sides, which is a paired difference; None where there are few.
        common_samples: How many these are, few or not.
        train, test: Samples under the other scheme, and under the spatial one; 0: records do not say.
        synthetic, subset: Whether any store is.
    """

    row: str
    column: Column
    other: str
    metric: str
    scores: tuple[Interval, Interval]
    difference: Difference
    common: Difference | None
    common_samples: int
    train: tuple[int, int]
    test: tuple[int, int]
    synthetic: bool
    subset: bool


@dataclass(frozen=True, slots=True)
class SpatialGaps:
    """What could be compared.

    Args:
        gaps: In the order of columns.
        left_out: Pairs of which there is no difference, and why, a sentence each.
    """

    gaps: tuple[SpatialGap, ...]
    left_out: tuple[str, ...]


def spatial_gaps(
    records: Sequence[Record],
    results: Path,
    *,
    metric: str = "",
    resamples: int = RESAMPLES,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> SpatialGaps:
    """Every model and question that has records under a spatial scheme and under one that is none.

    A pair whose records cannot be compared, or whose predictions are missing, is left out.

    Args:
        records: Of a results folder.
        results: The folder.
        metric: The task's primary one if empty.
        resamples: Of the bootstrap.
        tell: Called with (done, total).
    """
    wanted = list(_sides(records))
    found, left_out = [], []
    for number, (others, spatial) in enumerate(wanted):
        tell(number, len(wanted))
        try:
            found.append(_gap(others, spatial, results, metric, resamples))
        except ProtocolError as error:  # one pair of many
            schemes = [one[0].facts.split.scheme for one in (others, spatial)]
            left_out.append(f"{row_of(spatial[0])} on {column_of(spatial[0]).id}, {' and '.join(schemes)}: {error}")
    tell(len(wanted), len(wanted))
    return SpatialGaps(tuple(found), tuple(left_out))


def _sides(records: Sequence[Record]) -> Iterator[tuple[list[Record], list[Record]]]:
    """Records of one question and model under another scheme and under a spatial one, in the order of columns."""
    questions: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        if record.status == "ok" and record.facts.split.scheme != CV_SCHEME:
            schemes = questions.setdefault(_question(record), {})
            schemes.setdefault(record.facts.split.scheme, []).append(record)
    ordered = sorted(questions.values(), key=lambda one: _place(next(iter(one.values()))[0]))
    for schemes in ordered:
        for spatial in sorted(filter(parse_spatial, schemes)):
            for other in sorted(schemes):
                if not parse_spatial(other):
                    yield schemes[other], schemes[spatial]


def _place(record: Record) -> tuple[Any, ...]:
    return replace(column_of(record), scheme=""), row_of(record)


def _question(record: Record) -> str:
    """What is the same on both sides: everything but the split and what follows from it."""
    facts, column = record.facts, column_of(record)
    pixels = [one.get("pixels", "") for one in record.about.identity]
    content = pixels if pixels and all(pixels) else [store.content for store in facts.stores]
    return json.dumps(
        [
            row_of(record),
            [column.dataset, column.protocol, column.params, column.fraction, column.budget, column.inputs],
            [facts.protocol.version, facts.task.label_space, facts.precision, content],
        ]
    )


def _gap(others: list[Record], spatial: list[Record], results: Path, metric: str, resamples: int) -> SpatialGap:
    for side in (others, spatial):
        check_comparable(side, column_of(side[0]).id)
    models = {one.facts.backbone for one in (*others, *spatial)}
    if len(models) > len({one.id for one in models}):
        raise ProtocolError("the weights or the card differ between the two splits")
    first, scheme = spatial[0], parse_spatial(spatial[0].facts.split.scheme)
    side_km = scheme.block_km if scheme else UNIT_KM
    name, scoring = metric or PRIMARY[first.facts.task.kind], scoring_of(first.facts)
    *sides, unit = share_units(_side(others, results), _side(spatial, results), side_km)
    keys = _common(*sides)
    parts = [_only(side, keys) for side in sides] if len(keys) >= FEW_SAMPLES else []
    stores = [store for record in (*others, *spatial) for store in record.facts.stores]
    known = [[replicate_parts(one, name, resamples) for one in by_seed(side)] for side in (others, spatial)]

    def score(side: Sequence[Record]) -> Interval:
        return interval(cell_sampling(side, results, name, block_km=side_km, resamples=resamples))

    def minus(a: SplitSide, b: SplitSide, which: str) -> Difference:
        def keep(side: int, at: int, make: Callable[[], Replicates]) -> Replicates:
            # What is drawn depends on the samples of both sides, which the first run of each tells.
            firsts = [*known[0][0], *known[1][0]]
            drawn = ["difference of two splits", which, side, unit, f"blocks of {side_km} km"]
            return kept_replicates(results, [*known[side][at], *drawn, *firsts], make)

        return split_difference(a, b, name, scoring, unit=unit, resamples=resamples, keep=keep)

    return SpatialGap(
        row=row_of(first),
        column=column_of(first),
        other=others[0].facts.split.scheme,
        metric=name,
        scores=(score(others), score(spatial)),
        difference=minus(sides[0], sides[1], "all samples"),
        common=minus(parts[0], parts[1], "samples of both") if parts else None,
        common_samples=len(keys),
        train=(sides[0].train, sides[1].train),
        test=(sides[0].test, sides[1].test),
        synthetic=any(store.synthetic for store in stores),
        subset=any(store.subset for store in stores),
    )


def _side(records: list[Record], results: Path) -> SplitSide:
    runs = load_runs(records, results)
    told = [record.about.samples for record in records]
    known = all(one.get("train") and one.get("test") for one in told)
    train, test = (int(np.mean([one[name] for one in told])) if known else 0 for name in ("train", "test"))
    salts = {record.facts.split.salt for record in records}
    return SplitSide(runs.predictions, runs.parents, train, test, redrawn=len(salts) > 1)


def _common(a: SplitSide, b: SplitSide) -> Strings:
    """Keys of the samples that both sides tested.

    Of a scene that was put together from other tiles on either side the pixels differ: it is none of them.

    Raises:
        ProtocolError: If a sample has two labels.
    """
    truths = [_truths(side.runs[0]) for side in (a, b)]
    both = truths[0].keys() & truths[1].keys()
    same = {key for key in both if truths[0][key] == truths[1][key]}
    if same != both and isinstance(a.runs[0], ClassPredictions):
        raise ProtocolError("the two splits were not scored against the same labels", where="predictions")
    return np.array(sorted(same), dtype=np.str_)


def _only(side: SplitSide, keys: Strings) -> SplitSide:
    """A side on some of its samples; of scenes, as many of the tiles as of the scenes."""
    test = side.test * len(keys) / len(side.runs[0].keys)
    runs = [take(run, np.flatnonzero(np.isin(run.keys, keys))) for run in side.runs]
    return replace(side, runs=runs, test=max(1, round(test)) if side.test else 0)


def _truths(run: Predictions) -> dict[str, bytes]:
    labels = run.labels if isinstance(run, ClassPredictions) else run.confusion.sum(axis=2)
    return {key: one.tobytes() for key, one in zip(run.keys.tolist(), labels.astype(np.int64), strict=True)}


def distance_text(one: DistanceBin) -> str:
    """A bin's distances in km, for readers."""
    return f"over {one.low_km:g}" if one.high_km >= HALF_WAY_KM else f"{one.low_km:g} to {one.high_km:g}"


def bin_interval(one: DistanceBin) -> Interval:
    """A bin's score with its interval, for what shows intervals."""
    value = math.nan if one.value is None else one.value
    return Interval(value, one.low, one.high, LEVEL, "", one.samples, "samples", 1, None, one.note)


def list_names(bins: Sequence[DistanceBin]) -> Mapping[tuple[str, ...], str]:
    """Records behind a curve -> `training list 1 of 3`, where a model has several in one column; else nothing."""
    curves: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for one in bins:
        curves.setdefault((one.row, one.column), set()).add(one.records)
    return {
        records: f"training list {number} of {len(lists)}"
        for lists in curves.values()
        if len(lists) > 1
        for number, records in enumerate(sorted(lists), start=1)
    }


def unplaced_texts(bins: Sequence[DistanceBin]) -> tuple[str, ...]:
    """Which curves are without some of the test samples, a sentence each."""
    rows: dict[tuple[str, int], dict[str, None]] = {}
    for one in bins:
        if one.unplaced:
            rows.setdefault((one.scheme, one.unplaced), {})[one.row] = None
    return tuple(
        f"{_some(list(names))} on {scheme}: {count:,} test {'sample is' if count == 1 else 'samples are'} of unknown "
        "distance, and in no line"
        for (scheme, count), names in rows.items()
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
