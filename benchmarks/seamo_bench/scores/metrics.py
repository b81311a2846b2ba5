"""Metrics by name: what there is, and the scores of predictions.

A metric is a `Metric` of a file in `measures/`; `metric.py` says what one is. NaN means: not defined here.
"""

import importlib
from functools import lru_cache

import numpy as np

from seamo.discovery import own_modules
from seamo.errors import ProtocolError
from seamo_bench.predictions import (
    ClassPredictions,
    Floats,
    Kind,
    Predictions,
    Scoring,
    TilePredictions,
    fold_parts,
)
from seamo_bench.scores import measures
from seamo_bench.scores.measures.classification import average_precision, class_ap, class_counts
from seamo_bench.scores.measures.dense import class_iou, pooled
from seamo_bench.scores.metric import Metric, Weighted, nanmean, ratio

PRIMARY: dict[Kind, str] = {
    "single-label": "top1",
    "multi-label": "micro_ap",
    "segmentation": "miou_present",
    "change": "f1_positive",
}


@lru_cache(maxsize=1)
def metrics() -> dict[str, Metric]:
    """Every metric by its id, in the order of the files' names and, inside a file, of its `METRICS`.

    Raises:
        ProtocolError: If two files claim one id.
    """
    listed: dict[str, Metric] = {}
    for module in own_modules(measures):
        own: tuple[Metric, ...] = importlib.import_module(module).METRICS
        for named in own:
            if named.id in listed:
                raise ProtocolError(f"metric {named.id} is there twice", module, "Give it another id.")
            listed[named.id] = named
    return listed


PER_BATCH = "micro_ap_per_batch_"  # and the size of a batch: a share that stands in no list


def metric(name: str) -> Metric:
    """One metric by name.

    Raises:
        ProtocolError: If there is none, with the names there are.
    """
    if name not in metrics():
        raise ProtocolError(f"no metric {name!r}", fix=f"There are {', '.join(metrics())}.")
    return metrics()[name]


def metrics_for(scoring: Scoring) -> tuple[str, ...]:
    """Names of the metrics that are defined for a task, in the order in which they are listed."""
    return tuple(
        name
        for name, named in metrics().items()
        if scoring.kind in named.kinds
        and not (named.needs == "background" and scoring.background is None)
        and not (named.needs == "positive" and scoring.positive is None)
    )


def prepare(name: str, predictions: Predictions, scoring: Scoring) -> Weighted:
    """One metric of N samples as a function from weights (R, N) to values (R,).

    Raises:
        ProtocolError: If the metric does not exist or is not defined for the task.
    """
    if name not in metrics_for(scoring):
        raise ProtocolError(f"metric {metric(name).title} ({name}) is not defined for this {scoring.kind} task")
    return metric(name).prepare(predictions, scoring)


def compute(name: str, predictions: Predictions, scoring: Scoring, weights: Floats | None = None) -> Floats:
    """One metric under weights.

    Args:
        name: Id of a metric.
        predictions: Of N samples.
        scoring: The task.
        weights: (R, N); all ones without.

    Returns:
        (R,), NaN where undefined.
    """
    if weights is None:
        weights = np.ones((1, len(predictions.keys)))
    return prepare(name, predictions, scoring)(weights)


def micro_ap_per_batch(predictions: ClassPredictions, batch: int) -> float:
    """Micro AP of each batch in stored order, averaged over batches: the definition of older codes.

    SeCo, SSL4EO-S12 and SpectralGPT report it (torchmetrics or scikit-learn per batch). It is higher than
    the pooled one for small batches, so it stands beside `micro_ap` for comparison and has no interval.
    A last, smaller batch counts as one; a batch without a positive counts nowhere.
    """
    values = []
    for start in range(0, len(predictions.keys), batch):
        part = slice(start, start + batch)
        flat = predictions.scores[part].ravel(), predictions.labels[part].ravel()
        values.append(average_precision(*flat, np.ones((1, flat[0].size)))[0])
    return float(nanmean(np.array(values)))


def mean_of_folds(values: Floats) -> float:
    """The score of a cross-validated run, (k,) -> the mean over the folds in which the metric is defined.

    Records and tables both take it; NaN if it is defined in no fold.
    """
    return float(nanmean(values))


def score(predictions: Predictions, scoring: Scoring, *, batches: tuple[int, ...] = ()) -> dict[str, float | None]:
    """All metrics of one run; with folds, the mean over folds of each.

    Args:
        predictions: Of the test split.
        scoring: The task.
        batches: Sizes for which `micro_ap_per_batch_<n>` is added (multi-label).

    Returns:
        Name -> value; None where undefined.
    """
    shares = [f"{PER_BATCH}{n}" for n in batches if scoring.kind == "multi-label"]
    return {name: score_one(name, predictions, scoring) for name in (*metrics_for(scoring), *shares)}


def score_one(name: str, predictions: Predictions, scoring: Scoring) -> float | None:
    """One metric of one run, or `micro_ap_per_batch_<n>`; with folds, its mean over them. None where undefined."""
    if name.startswith(PER_BATCH) and isinstance(predictions, ClassPredictions):
        value = micro_ap_per_batch(predictions, int(name.removeprefix(PER_BATCH)))
    else:
        folded = isinstance(predictions, ClassPredictions) and len(predictions.folds) > 0
        parts: list[Predictions] = list(fold_parts(predictions)) if folded else [predictions]  # type: ignore[arg-type]
        value = mean_of_folds(np.array([compute(name, part, scoring)[0] for part in parts]))
    return None if np.isnan(value) else value


def classes_tested(predictions: Predictions) -> int:
    """How many classes the labels hold: with one, whoever always names it is right."""
    if isinstance(predictions, TilePredictions):
        return int((predictions.confusion.sum(axis=(0, 2)) > 0).sum())
    labels = predictions.labels
    return int((labels > 0).any(axis=0).sum()) if labels.ndim == 2 else len(np.unique(labels))


def per_class(predictions: Predictions, scoring: Scoring) -> dict[str, tuple[float | None, ...]]:
    """Per-class values of one run: recall (single-label), AP (multi-label), IoU (dense); None where undefined."""
    weights = np.ones((1, len(predictions.keys)))
    if isinstance(predictions, TilePredictions):
        name, values = "iou", class_iou(pooled(predictions)(weights))[0]
    elif scoring.kind == "multi-label":
        name, values = "ap", class_ap(predictions)(weights)[0]
    else:
        hit, _, true = class_counts(predictions)(weights)
        name, values = "recall", ratio(hit, true)[0]
    return {name: tuple(None if np.isnan(value) else float(value) for value in values)}
