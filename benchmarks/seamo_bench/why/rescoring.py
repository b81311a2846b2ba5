"""Stored predictions scored anew: by another metric, or on some of their samples."""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from seamo.errors import UsageError
from seamo_bench.facts import Facts, scoring_of
from seamo_bench.predictions import ClassPredictions, Predictions, take
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.scores.metrics import PER_BATCH, metrics_for, score_one

_PER_BATCH = re.compile(rf"{PER_BATCH}([1-9]\d*)")


def check_metric(name: str, facts: Facts) -> None:
    """Refuse a metric that a task does not have.

    Raises:
        UsageError: Names those that it has.
    """
    scoring = scoring_of(facts)
    names = metrics_for(scoring)
    per_batch = scoring.kind == "multi-label"
    if name not in names and not (per_batch and _PER_BATCH.fullmatch(name)):
        more = ", micro_ap_per_batch_<size of a batch>" if per_batch else ""
        raise UsageError(f"no metric {name!r} of a {scoring.kind} task", fix=f"There are {', '.join(names)}{more}.")


def scored(record: Record, results: Path, metric: str, only: Collection[str] | None = None) -> float | None:
    """One metric of stored predictions; None where it is undefined, or a sample that is asked for is not among them.

    Args:
        record: That ended well.
        results: Its folder.
        metric: Its id, or `micro_ap_per_batch_<n>`.
        only: Keys of the samples that count; None: all.
    """
    predictions = load_predictions(record, results)
    if only is not None:
        found = _only(predictions, only)
        if found is None:
            return None
        predictions = found
    return score_one(metric, predictions, scoring_of(record.facts))


def keys_of(record: Record, results: Path) -> frozenset[str]:
    """Keys of the samples that were tested."""
    return frozenset(load_predictions(record, results).keys.tolist())


def _only(predictions: Predictions, keys: Collection[str]) -> Predictions | None:
    if isinstance(predictions, ClassPredictions) and len(predictions.folds):
        return None  # folds of a part are no folds
    place = {key: row for row, key in enumerate(predictions.keys.tolist())}
    if not keys or not set(keys) <= place.keys():
        return None
    return take(predictions, np.array(sorted(place[key] for key in keys), dtype=np.int64))
