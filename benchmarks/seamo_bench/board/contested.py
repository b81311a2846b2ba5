"""Contested numbers: what one record's predictions are worth by every reading that papers, codes and users take.

Two people who print "F1 on OSCD" or "mAP on 10 % of BigEarthNet" have often read the same predictions in two ways:
another average, another list of test samples, another tenth of the labels. Here the readings stand side by side.
Numpy only; of records and predictions alone, but for tenths that nobody has run (`seamo_bench.questions.contested`).
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from seamo_bench.board.citations import CONTESTED
from seamo_bench.board.compare import Column, cell_sampling, column_of, row_of
from seamo_bench.facts import Value, scoring_of
from seamo_bench.predictions import ClassPredictions, Ints, Predictions, Scoring, TilePredictions, take
from seamo_bench.records.answers import read_answers
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.scores.blocks import in_units, land_interval, scheme_km, with_unit
from seamo_bench.scores.intervals import Interval, finite_or_none, interval, mean_of
from seamo_bench.scores.metric import Metric
from seamo_bench.scores.metrics import PRIMARY, compute, metric, micro_ap_per_batch
from seamo_bench.scores.readings import READINGS
from seamo_bench.scores.replicates import is_folded, replicate_by

KIND, VERSION = "contested", 2  # of the answers that hold tenths drawn otherwise
Question = Literal["average", "test list", "labels", "split"]
QUESTIONS: dict[Question, str] = {
    "average": "which average",
    "test list": "which test samples",
    "labels": "which part of the training labels",
    "split": "which split",
}
RESAMPLES = 200  # there are many readings, and none of them is the result
DRAWS = 20  # of a tenth of the test list
SHARE_OF_TEST = 0.1
BATCH = 64
_FEW = 4  # readings that a note names
_TINY = 1e-12  # of a score: rounding
PER_BATCH = f"micro_ap_per_batch_{BATCH}"
# Task -> what is printed -> the readings of it.
_OWN: dict[str, dict[str, tuple[str, ...]]] = {
    "single-label": {"accuracy": ("top1", "balanced_accuracy"), "F1": ("top1", "f1_macro", "f1_weighted")},
    "multi-label": {
        "mAP": ("micro_ap", PER_BATCH, "macro_ap", "ap_weighted", "ap_samples"),
        "F1": ("f1_micro", "f1_macro", "f1_weighted", "f1_samples"),
    },
    "segmentation": {
        "mIoU": ("miou_present", "miou_all", "miou_present_tilewise", "miou_per_image", "iou_micro_pixels"),
        "F1": ("oa", "f1_macro_pixels", "f1_weighted_pixels"),
    },
    "change": {
        "F1": (
            "f1_positive", "f1_positive_tilewise", "f1_positive_per_image", "f1_per_image_zero", "f1_per_image_one",
            "f1_macro_pixels", "f1_weighted_pixels", "oa",
        ),
    },
}  # fmt: skip
# What the lists of metrics say of these is for their own pages.
_WORDS = {
    "f1_positive_tilewise": "F1 (tiles): tiles counted one by one without stitching, overlaps more than once",
    "miou_present_tilewise": "mIoU (tiles): tiles counted one by one without stitching, overlaps more than once",
    "oa": "micro F1, which is the share of right pixels",
}
_MICRO_F1 = {"top1": "micro F1, which is the share of right samples"}


class ReadAs(Value):
    """One number that the same predictions, or the same model, may be printed as.

    Args:
        id: Its name.
        title: In words.
        value: The number; None where it is undefined.
        low, high: Its 95 % interval; None where there is none (`note` says why).
        note: What a reader must know.
        users: Who reads it so; empty where we know of nobody in particular.
        source: Where that can be looked up.
        ours: Whether it is the number that a table here prints.
    """

    id: str
    title: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    users: str = ""
    source: str = ""
    ours: bool = False


class DrawnLabels(Value):
    """What one model scores on one draw of a part of the labels (`seamo_bench.questions.contested`).

    Args:
        fraction: Share of the labels.
        rule: By which it was drawn.
        title: In words.
        draw: Its number; None where the rule draws nothing.
        value: Of the task's own metric on the whole test list.
        low, high: Its 95 % interval.
        train, distinct: Training samples, and how many of them differ.
        classes: That they hold.
        users, source: As of `ReadAs`.
    """

    fraction: float = Field(gt=0, lt=1)
    rule: str
    title: str
    draw: int | None
    value: float | None
    low: float | None
    high: float | None
    train: int
    distinct: int
    classes: int
    users: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """The readings of one question about one record, or about records that differ in nothing else.

    Args:
        question: What differs between the readings.
        title: Row, data and protocol.
        printed: What all of them may be printed as: F1, mAP; the metric's title where that is one.
        readings: In order.
        records: Keys behind it.
        synthetic, subset: Of the data.
    """

    question: Question
    title: str
    printed: str
    readings: tuple[ReadAs, ...]
    records: tuple[str, ...]
    synthetic: bool
    subset: bool

    @property
    def ends(self) -> tuple[float, float] | None:
        """Lowest and highest reading; None with fewer than two."""
        values = [one.value for one in self.readings if one.value is not None]
        return (min(values), max(values)) if len(values) > 1 else None

    @property
    def spread(self) -> float:
        """How far apart they are; 0 with fewer than two, and where rounding alone is between them."""
        apart = self.ends[1] - self.ends[0] if self.ends else 0.0
        return apart if apart > _TINY else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, each once: of all readings, or of the one or the few that are named before it."""
        told: dict[str, list[str]] = {}
        for one in self.readings:
            if one.note:
                told.setdefault(one.note, []).append(one.title.partition(":")[0])
        return tuple(_note(note, names, len(self.readings)) for note, names in told.items())


def _note(note: str, names: Sequence[str], count: int) -> str:
    if len(names) == count:
        return note
    return f"{' and '.join(names) if len(names) < _FEW else f'{len(names)} of {count} readings'}: {note}"


def contests_of(
    record: Record, predictions: Predictions, *, seeds: int = 1, resamples: int = RESAMPLES
) -> tuple[Contest, ...]:
    """What one record's stored predictions answer: which average, and which test samples.

    Args:
        record: That ended well.
        predictions: Its own.
        seeds: Records whose mean tables print in its place (`seeds_of`): with several, no reading is that number.
        resamples: Of the bootstrap.
    """
    kind = record.facts.task.kind
    predictions, unit = in_units(predictions, scheme_km(record.facts.split.scheme))
    averages = [_averages(record, predictions, unit, printed, resamples) for printed in _OWN[kind]]
    made = (*averages, _lists(record, predictions, unit, resamples))
    return made if seeds == 1 else tuple(_of_one_seed(one, record, seeds) for one in made)


def seeds_of(records: Iterable[Record]) -> dict[str, int]:
    """Key of each record that ended well -> how many are in its cell of a table, itself among them."""
    cells: dict[tuple[Column, str], list[str]] = {}
    for record in records:
        if record.status == "ok":
            cells.setdefault((column_of(record), row_of(record)), []).append(record.key)
    return {key: len(mine) for mine in cells.values() for key in mine}


def _of_one_seed(made: Contest, record: Record, seeds: int) -> Contest:
    title = f"{made.title}, seed {record.facts.seed} alone of the {seeds} records that tables average"
    return replace(made, title=title, readings=tuple(one.model_copy(update={"ours": False}) for one in made.readings))


def contest(
    question: Question, record: Record, readings: Iterable[ReadAs], *, keys: Sequence[str] = (), printed: str = ""
) -> Contest:
    """A contest titled after a record; `printed`: what its readings are called, else the task's own metric."""
    facts = record.facts
    words = [facts.protocol.id, *([facts.inputs] if facts.inputs else [])]
    words += [f"{100 * facts.split.fraction:g} % of labels"] if question != "labels" else []
    words += [f"split {facts.split.scheme}"] if question != "split" else []
    stores = " + ".join(record.about.stores)
    return Contest(
        question,
        f"{row_of(record)} | {stores} | {', '.join(words)} ({record.key[:8]})",
        printed or metric(PRIMARY[facts.task.kind]).title,
        tuple(readings),
        tuple(keys) or (record.key,),
        any(store.synthetic for store in facts.stores),
        any(store.subset for store in facts.stores),
    )


# Which average -------------------------------------------------------------------------------------------


def _averages(record: Record, predictions: Predictions, unit: str, printed: str, resamples: int) -> Contest:
    scoring = scoring_of(record.facts)
    listed = {one.id: one for one in READINGS}
    readings = []
    for name in _OWN[scoring.kind][printed]:
        if name == PER_BATCH:
            if isinstance(predictions, ClassPredictions) and not is_folded(predictions):
                readings.append(_per_batch(predictions))
            continue
        if name.endswith("_tilewise") and isinstance(predictions, TilePredictions) and not len(predictions.tilewise):
            continue  # nothing was stitched
        named = listed.get(name) or metric(name)
        if (named.needs and getattr(scoring, named.needs) is None) or (is_folded(predictions) and name in listed):
            continue
        if name in listed:
            known = _by_reading(predictions, named, scoring, unit, resamples)
        else:
            known = land_interval([predictions], name, scoring, unit=unit, resamples=resamples)
        title = _WORDS.get(name) or (_MICRO_F1.get(name, "") if printed == "F1" else "")
        readings.append(_reading(named, known, title=title, ours=name == PRIMARY[scoring.kind]))
    return contest("average", record, readings, printed=printed)


def _by_reading(predictions: Predictions, named: Metric, scoring: Scoring, unit: str, resamples: int) -> Interval:
    made = replicate_by(predictions, lambda part: named.prepare(part, scoring), named.id, resamples=resamples)
    return interval(mean_of([with_unit(made, unit)], definition=named))


def _reading(named: Metric, known: Interval, *, title: str, ours: bool) -> ReadAs:
    users, source = CONTESTED.get(named.id, ("", ""))
    words = title or f"{named.title}: {named.definition.removesuffix('.')}"
    return ReadAs(id=named.id, title=words, **_numbers(known), note=known.note, users=users, source=source, ours=ours)


def _numbers(known: Interval) -> dict[str, Any]:
    return {
        "value": finite_or_none(known.value),
        "low": finite_or_none(known.low),
        "high": finite_or_none(known.high),
    }


def _per_batch(predictions: ClassPredictions) -> ReadAs:
    value = micro_ap_per_batch(predictions, BATCH)
    users, source = CONTESTED["micro_ap_per_batch"]
    return ReadAs(
        id=PER_BATCH,
        title=f"micro mAP a batch: that of each {BATCH} samples in stored order, averaged over batches",
        value=finite_or_none(value),
        note="follows the order of the samples: no interval",
        users=users,
        source=source,
    )


# Which test samples --------------------------------------------------------------------------------------


def _lists(record: Record, predictions: Predictions, unit: str, resamples: int) -> Contest:
    """The task's own metric on the whole list, on its halves, and on tenths of it. Nothing of folds."""
    name, scoring = PRIMARY[record.facts.task.kind], scoring_of(record.facts)
    measured = partial(land_interval, name=name, scoring=scoring, unit=unit, resamples=resamples)
    whole = measured([predictions])
    readings = [ReadAs(id="all", title="all test samples", **_numbers(whole), note=whole.note, ours=True)]
    n = len(predictions.keys)
    if not is_folded(predictions) and n >= 2 * DRAWS:
        order = np.argsort(predictions.keys, kind="stable")
        for words, rows in (("first", order[: n // 2]), ("second", order[n // 2 :])):
            part = measured([take(predictions, rows)])
            title = f"the {words} half of the list in the order of its keys"
            readings.append(ReadAs(id=f"{words} half", title=title, **_numbers(part), note=part.note))
        readings += _tenths(predictions, name, scoring)
    return contest("test list", record, readings)


def _tenths(predictions: Predictions, name: str, scoring: Scoring) -> list[ReadAs]:
    values = []
    for draw in range(DRAWS):
        value = float(compute(name, take(predictions, drawn(predictions.keys.tolist(), draw)), scoring)[0])
        values += [value] if math.isfinite(value) else []
    note = f"one of {DRAWS} draws: no interval"
    found = []
    for words, which in (("lowest", min), ("highest", max)):
        users, source = CONTESTED["test tenth"] if words == "lowest" else ("", "")
        title = f"a tenth of the list, the {words} of {DRAWS} draws"
        end = which(values) if values else None
        found.append(ReadAs(id=f"{words} tenth", title=title, value=end, note=note, users=users, source=source))
    return found


def drawn(keys: Sequence[str], draw: int) -> Ints:
    """Positions of a tenth of keys: those whose sha256 with the draw's number comes first."""
    order = sorted(range(len(keys)), key=lambda at: hashlib.sha256(f"contested:{draw}:{keys[at]}".encode()).digest())
    return np.sort(np.array(order[: math.ceil(SHARE_OF_TEST * len(keys))], dtype=np.int64))


# Which labels, which split -------------------------------------------------------------------------------


def between_records(records: Sequence[Record], results: Path, *, resamples: int = RESAMPLES) -> tuple[Contest, ...]:
    """Contests between records that differ in nothing but their draw of the labels, or in nothing but their split.

    Args:
        records: Of a results folder.
        results: The folder.
        resamples: Of the bootstrap.
    """
    done = [record for record in records if record.status == "ok"]
    draws: dict[str, list[Record]] = {}
    splits: dict[str, list[Record]] = {}
    for record in sorted(done, key=lambda one: (one.facts.split.salt, one.facts.seed, one.key)):
        if record.facts.split.fraction < 1:
            draws.setdefault(_but(record, "salt"), []).append(record)
        splits.setdefault(_but(record, "scheme"), []).append(record)
    found = [_draws(group, results, resamples) for group in draws.values() if len(group) > 1]
    for group in splits.values():
        schemes: dict[str, list[Record]] = {}
        for record in group:
            schemes.setdefault(record.facts.split.scheme, []).append(record)
        if len(schemes) > 1:
            found.append(_splits(schemes, results, resamples))
    return tuple(found)


def _but(record: Record, what: Literal["salt", "scheme"]) -> str:
    """All facts of a record but its seed and draw, or those and its split."""
    facts = record.facts
    test = facts.split.lists.get("test", "") if what == "salt" else ""
    scheme = facts.split.scheme if what == "salt" else ""
    split = facts.split.model_copy(update={"salt": 0, "lists": {"test": test}, "scheme": scheme})
    return facts.model_copy(update={"seed": 0, "split": split}).model_dump_json()


def _draws(group: Sequence[Record], results: Path, resamples: int) -> Contest:
    name = PRIMARY[group[0].facts.task.kind]
    readings = []
    for record in group:
        known = interval(cell_sampling([record], results, name, resamples=resamples))
        split = record.facts.split
        title = f"{100 * split.fraction:g} % by our rule, draw {split.salt}"
        readings.append(ReadAs(id=f"{split.rule} {split.salt}", title=title, **_numbers(known), note=known.note))
    return contest("labels", group[0], readings, keys=[record.key for record in group])


def _splits(schemes: dict[str, list[Record]], results: Path, resamples: int) -> Contest:
    some = next(iter(schemes.values()))[0]
    name = PRIMARY[some.facts.task.kind]
    readings = []
    for scheme, group in sorted(schemes.items(), key=lambda one: (one[0] != "official", one[0])):
        known = interval(cell_sampling(group, results, name, resamples=resamples))
        readings.append(ReadAs(id=scheme, title=f"split {scheme}", **_numbers(known), note=known.note))
    return contest("split", some, readings, keys=[record.key for group in schemes.values() for record in group])


def from_answers(records: Sequence[Record], results: Path) -> tuple[Contest, ...]:
    """Contests on parts of the labels that were drawn otherwise, as `seamo-bench contested --stores` left them.

    Args:
        records: Of a results folder.
        results: The folder.
    """
    by_key = {record.key: record for record in records}
    answers = read_answers(results, KIND, DrawnLabels, version=VERSION, known=tuple(by_key))
    return tuple(contest("labels", by_key[one.records[0]], map(_drawn, one.rows)) for one in answers)


def _drawn(one: DrawnLabels) -> ReadAs:
    share = f"{100 * one.fraction:g} %"
    twice = "" if one.distinct == one.train else f", {one.distinct:,} of them distinct"
    number = "" if one.draw is None else f", draw {one.draw}"
    return ReadAs(
        id=f"{share} {one.rule}{'' if one.draw is None else f' {one.draw}'}",
        title=f"{share} {one.title}{number}: {one.train:,} training samples{twice}, of {one.classes} classes",
        value=one.value,
        low=one.low,
        high=one.high,
        users=one.users,
        source=one.source,
    )


def of_record(record: Record, results: Path, *, seeds: int = 1, resamples: int = RESAMPLES) -> tuple[Contest, ...]:
    """`contests_of` with the predictions from the folder."""
    return contests_of(record, load_predictions(record, results), seeds=seeds, resamples=resamples)
