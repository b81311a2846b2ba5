"""Readings of "10 % of the labels" that nobody has run: one model, one protocol, and tenths drawn as others draw them.

The features of a record's backbone are computed once; the protocol then runs on each tenth. Of protocols alone that
draw nothing themselves, so that the tenth is all that differs, and of tasks with class labels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.store.subsets import take_seco
from seamo_bench.board.citations import CONTESTED
from seamo_bench.board.contested import KIND, VERSION, DrawnLabels
from seamo_bench.facts import Scalar, scoring_of
from seamo_bench.features.cache import FeatureCache, Work
from seamo_bench.predictions import Predictions
from seamo_bench.protocol import Rows, Split
from seamo_bench.protocols import find_protocol, runner
from seamo_bench.records.answers import Answer
from seamo_bench.records.record import Record
from seamo_bench.runs.cells import Planned
from seamo_bench.runs.context import context_of
from seamo_bench.scores.blocks import in_units, land_interval, scheme_km
from seamo_bench.scores.intervals import finite_or_none
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.tasks.trials import make_trials
from seamo_bench.why.between import Bench, plan_facts
from seamo_bench.zoo.loading import load_source

DRAWS = 5
RESAMPLES = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A way to draw a part of the training samples.

    Args:
        id: Its name.
        title: In words.
        draws: How many there are; 1 where nothing is drawn.
        rows: (training rows in the order of their keys, their labels, number to draw, number of the draw) -> rows.
        cites: Its place in `CONTESTED`; empty for none.
    """

    id: str
    title: str
    draws: int
    rows: Callable[[Rows, NDArray[Any], int, int], Rows]
    cites: str = ""


def _at_random(rows: Rows, _: NDArray[Any], count: int, draw: int) -> Rows:
    return np.sort(np.random.default_rng(draw).permutation(rows)[:count])


def _class_equal(rows: Rows, labels: NDArray[Any], count: int, draw: int) -> Rows:
    """The same number of every class, or all of a class that has fewer."""
    order = np.random.default_rng(draw).permutation(len(rows))
    classes = np.unique(labels)
    each = max(1, round(count / len(classes)))
    return np.sort(np.concatenate([rows[order[labels[order] == one][:each]] for one in classes]))


def _first(rows: Rows, _labels: NDArray[Any], count: int, _draw: int) -> Rows:
    return np.sort(rows[:count])


def _seco(rows: Rows, _labels: NDArray[Any], count: int, _draw: int) -> Rows:
    return np.asarray(rows[take_seco(len(rows), count / len(rows))])


_RULES = (
    _Rule("random", "drawn from all, whatever the class", DRAWS, _at_random),
    _Rule("class-equal", "the same number of every class", DRAWS, _class_equal),
    _Rule("first", "the first of the list in the order of its keys", 1, _first),
    _Rule("seco", "with replacement, seed 42, in the order of the index", 1, _seco, "seco"),
)


def can_be_drawn(record: Record) -> bool:
    """Whether the tenth would be all that differs between the readings of a record.

    Raises:
        ProtocolError: If its protocol is not known here.
    """
    facts = record.facts
    return (
        record.status == "ok"
        and facts.task.kind in ("single-label", "multi-label")
        and facts.split.fraction == 1.0
        and facts.split.scheme != "cv5x5"
        and facts.budget == "full"
        and find_protocol(facts.protocol.id).num_seeds == 1
        and find_protocol(facts.protocol.id).needs == "features"
    )


def drawn_otherwise(record: Record, bench: Bench, *, fraction: float) -> Answer[DrawnLabels]:
    """What a record's model scores on a fraction of the labels, by every rule.

    Args:
        record: For which `can_be_drawn` holds.
        bench: Where the runs are made.
        fraction: Share of the training labels.

    Raises:
        ProtocolError: If the record's cell cannot be had here, or a rule leaves no sample.
        StoreError: If its store is not there.
    """
    cell = plan_facts(record.facts, bench)
    readings = _readings(cell, record, fraction)
    rows = []
    with TemporaryDirectory(prefix="seamo-contested-") as scratch:
        made = _predicted(cell, bench, Path(scratch), [split for _, _, split in readings])
        for (rule, draw, split), predictions in zip(readings, made, strict=True):
            rows.append(_row(record, fraction, rule, draw, split=split, predictions=predictions, labels=cell.labels))
    asked: dict[str, Scalar] = {"fraction": fraction, "draws": DRAWS}
    say = f"seamo-bench contested RESULTS --stores STORES --fraction {fraction:g}"
    return Answer(KIND, VERSION, say, asked, (record.key,), tuple(rows))


def _readings(cell: Planned, record: Record, fraction: float) -> list[tuple[_Rule, int, Split]]:
    """Every rule and draw with its split; ours first."""
    (trials,) = cell.trials.values()
    whole = trials[0]
    scheme = record.facts.split.scheme
    found = []
    for draw in range(DRAWS):
        (split,) = make_trials(
            cell.store, cell.labels, scheme=scheme, fraction=fraction, salt=draw, budget=record.facts.budget
        )
        found.append((_Rule("ours", "by our rule: of every class its share", DRAWS, _first), draw, split))
    index = np.sort(whole.train)
    keys = cell.store.index["key"].to_numpy(dtype=np.str_)
    listed = index[np.argsort(keys[index], kind="stable")]
    count = max(1, math.floor(fraction * len(listed)))
    for rule in _RULES:
        if rule.id == "class-equal" and cell.labels.ndim == 2:
            continue  # a sample has several classes
        rows = index if rule.id == "seco" else listed
        found += [
            (rule, draw, replace(whole, train=rule.rows(rows, cell.labels[rows], count, draw)))
            for draw in range(rule.draws)
        ]
    return found


def _predicted(cell: Planned, bench: Bench, scratch: Path, splits: Sequence[Split]) -> list[Predictions]:
    """The test predictions on each split: one network, its features computed once."""
    (facts,) = cell.facts.values()
    backbone = load_source(cell.source, cell.wiring)
    work = Work(torch.device(bench.machine.device), bench.machine.batch_size, bench.machine.workers, bench.inner)
    cache = FeatureCache(scratch, cell.store, backbone, facts=facts.backbone, work=work)
    context = context_of(
        backbone,
        cell.store,
        cache,
        task=facts.task,
        labels=cell.labels,
        splits={number: (split,) for number, split in enumerate(splits)},
        params=facts.protocol.params,
        work=work,
        precision=facts.precision,
    )
    made = {outcome.seed: outcome.predictions for outcome in runner(cell.protocol.id)(context)}
    if len(made) != len(splits):
        raise ProtocolError(f"answered {len(made)} of {len(splits)} splits", f"protocol {cell.protocol.id}")
    return [made[number] for number in range(len(splits))]


def _row(
    record: Record,
    fraction: float,
    rule: _Rule,
    draw: int,
    *,
    split: Split,
    predictions: Predictions,
    labels: NDArray[Any],
) -> DrawnLabels:
    name, scoring = PRIMARY[record.facts.task.kind], scoring_of(record.facts)
    run, unit = in_units(predictions, scheme_km(record.facts.split.scheme))
    known = land_interval([run], name, scoring, unit=unit, resamples=RESAMPLES)
    own = labels[split.train]
    held = int((own.sum(axis=0) > 0).sum()) if own.ndim == 2 else len(np.unique(own))
    users, source = CONTESTED.get(rule.cites, ("", "")) if draw == 0 else ("", "")
    return DrawnLabels(
        fraction=fraction,
        rule=rule.id,
        title=rule.title,
        draw=draw if rule.draws > 1 else None,
        value=finite_or_none(known.value),
        low=known.low,
        high=known.high,
        train=len(split.train),
        distinct=len(np.unique(split.train)),
        classes=held,
        users=users,
        source=source,
    )
