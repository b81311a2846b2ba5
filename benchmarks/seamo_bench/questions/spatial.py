"""How scores fall with the distance to the nearest training sample: needs the stores, and keeps its answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from seamo.earth import nearest_km
from seamo.errors import ProtocolError, SeamoError
from seamo.store.samples import Samples
from seamo.store.spatial import parse_spatial
from seamo.store.splits import CV_SCHEME
from seamo_bench.board.compare import check_comparable, column_of, load_runs, row_of
from seamo_bench.board.spatial import FEW_SAMPLES, HALF_WAY_KM, KIND, UNIT_KM, VERSION, DistanceBin
from seamo_bench.facts import Facts, Scalar, scoring_of
from seamo_bench.predictions import Floats, Predictions, TilePredictions, take
from seamo_bench.protocol import Split
from seamo_bench.records.answers import Answer, write_answer
from seamo_bench.records.record import Record
from seamo_bench.scores.blocks import in_blocks, land_interval
from seamo_bench.scores.intervals import finite_or_none
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.tasks.locate import centres_of
from seamo_bench.tasks.stores import open_facts
from seamo_bench.tasks.trials import labels_of, make_trials, split_facts
from seamo_bench.tasks.truth import scored_images

EDGES_KM = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, HALF_WAY_KM)
RESAMPLES = 400  # 4 % of noise in a standard error; there are many bins, and none of them is the result


@dataclass(frozen=True, slots=True)
class Curves:
    """Scores by distance.

    Args:
        bins: Of every model and question, nearest first.
        left_out: Why there are none of some, a sentence each.
    """

    bins: tuple[DistanceBin, ...]
    left_out: tuple[str, ...]


def distance_curves(
    records: Sequence[Record],
    results: Path,
    stores: str | Path,
    *,
    metric: str = "",
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> Curves:
    """Score of the test samples by the distance to the nearest training sample, kept beside the records.

    Args:
        records: Of a results folder.
        results: The folder.
        stores: Address of a folder of stores, in which those of the records are.
        metric: The task's primary one if empty.
        tell: Called with (done, total).
    """
    groups = list(_groups(records))
    measured = _Measured(stores)
    found: dict[str, list[DistanceBin]] = {}
    left_out: dict[str, None] = {}
    for number, group in enumerate(groups):
        tell(number, len(groups))
        try:
            found.setdefault(column_of(group[0]).id, []).extend(_bins(group, results, measured, metric))
        except SeamoError as error:
            left_out[f"{row_of(group[0])} on {column_of(group[0]).id}: {error}"] = None
    tell(len(groups), len(groups))
    for column, bins in found.items():
        keys = tuple(sorted({key for one in bins for key in one.records}))
        if keys:
            made_by = "seamo-bench spatial RESULTS --stores STORES" + (f" --metric {metric}" if metric else "")
            asked: dict[str, Scalar] = {"column": column, "metric": metric}
            write_answer(results, Answer(KIND, VERSION, made_by, asked, keys, tuple(bins)))
    return Curves(tuple(one for bins in found.values() for one in bins), tuple(left_out))


def _groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Runs of one model, question and training list, by store; folds train on nearly everything and have none."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        split = record.facts.split
        if record.status == "ok" and split.scheme != CV_SCHEME:
            groups.setdefault((column_of(record), row_of(record), split.lists.get("train", "")), []).append(record)
    for name in sorted(groups, key=str):
        yield groups[name]


def _bins(group: list[Record], results: Path, measured: "_Measured", metric: str) -> list[DistanceBin]:
    first, facts = group[0], group[0].facts
    check_comparable(group, column_of(first).id)
    runs = load_runs(group, results)
    name, scheme = metric or PRIMARY[facts.task.kind], parse_spatial(facts.split.scheme)
    side_km = scheme.block_km if scheme else UNIT_KM
    away = [measured.away(run, facts) for run in runs.predictions]
    nowhere = int((~np.isfinite(away[0])).sum())
    if nowhere == len(away[0]):
        raise ProtocolError("of no test sample the distance to a training sample is known", facts.stores[0].id)
    pairs = [in_blocks(run, side_km) for run in runs.predictions]
    made = []
    for low, high in pairwise(EDGES_KM):
        parts = [take(run, np.flatnonzero((km >= low) & (km < high))) for (run, _), km in zip(pairs, away, strict=True)]
        count = len(parts[0].keys)
        if not count:
            continue
        one = land_interval(parts, name, scoring_of(facts), unit=pairs[0][1], parents=runs.parents, resamples=RESAMPLES)
        if count < FEW_SAMPLES:
            one = replace(one, low=None, high=None, note=f"n = {count}: no interval")
        made.append(
            DistanceBin(
                row=row_of(first),
                column=column_of(first).id,
                scheme=facts.split.scheme,
                records=tuple(sorted(record.key for record in group)),
                low_km=low,
                high_km=high,
                samples=count,
                unplaced=nowhere,
                metric=name,
                value=finite_or_none(one.value),
                low=finite_or_none(one.low),
                high=finite_or_none(one.high),
                note=one.note,
            )
        )
    return made


@dataclass(frozen=True, slots=True, eq=False)
class _Away:
    """What a store says of a split: sha256 of its lists, and km of each test sample to the nearest training sample."""

    lists: Mapping[str, str]
    km: Mapping[str, float]


@dataclass(slots=True, eq=False)
class _Measured:
    """Distances of test samples, each store, split and list measured once."""

    root: str | Path
    _stores: dict[str, Samples] = field(default_factory=dict)
    _away: dict[str, _Away] = field(default_factory=dict)

    def away(self, run: Predictions, facts: Facts) -> Floats:
        """(N,) km from each sample, or the nearest tile of an image, to the nearest training sample; NaN: unknown.

        Raises:
            ProtocolError: If the record was made of other lists of samples than the store has.
        """
        is_image = isinstance(run, TilePredictions)
        split = facts.split
        data = f"{[one.model_dump() for one in facts.stores]} {facts.task.label_space}"
        name = f"{data} {split.scheme} {split.fraction} {split.salt} {facts.budget} {is_image}"
        if name not in self._away:
            if data not in self._stores:
                self._stores[data] = open_facts(self.root, facts)
            self._away[name] = _measure(self._stores[data], facts, is_image=is_image)
        known = self._away[name]
        wrong = sorted(one for one in {*known.lists, *split.lists} if known.lists.get(one) != split.lists.get(one))
        if wrong:
            what = f"its split lists are not the store's: {', '.join(wrong)}"
            raise ProtocolError(what, facts.stores[0].id, "Was it made of another build of the store?")
        strange = [key for key in run.keys.tolist() if key not in known.km]
        if strange:
            raise ProtocolError(f"{len(strange)} predictions are of no test sample, first {strange[0]}", "predictions")
        return np.array([known.km[key] for key in run.keys.tolist()])


def _measure(store: Samples, facts: Facts, *, is_image: bool) -> _Away:
    split = facts.split
    trials = make_trials(
        store,
        labels_of(store, facts.task),
        scheme=split.scheme,
        fraction=split.fraction,
        salt=split.salt,
        budget=facts.budget,
    )
    lists = split_facts(store, trials, scheme=split.scheme, fraction=split.fraction, salt=split.salt).lists
    test = trials[0].test
    away = _of_rows(store, trials[0])
    if is_image:
        images = scored_images(store, facts.task, test)
        return _Away(lists, {one.key: float(np.min([away[int(row)] for row in one.rows])) for one in images})
    keys = store.read_columns(["key"]).column("key").combine_chunks().take(test).to_pylist()
    return _Away(lists, {key: away[int(row)] for key, row in zip(keys, test, strict=True)})


def _of_rows(store: Samples, trial: Split) -> dict[int, float]:
    places = centres_of(store)
    away = nearest_km(places[trial.test], places[trial.train])
    return {int(row): float(km) for row, km in zip(trial.test, away, strict=True)}
