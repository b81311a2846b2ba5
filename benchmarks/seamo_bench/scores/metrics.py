"""Metrics by name, the definition in the name: functions of stored predictions, numpy only.

Every metric takes predictions of N samples and weights (R, N) and returns (R,) values; weight 2 counts a
sample twice. The plain score is the one with all weights 1 and a bootstrap resample is another row of
weights, so a score and its interval can never follow two definitions. NaN means: not defined here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

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
from seamo_bench.scores.measures import Weighted, average_precision, nanmean, ratio


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Args:
        title: As tables print it.
        definition: One sentence.
        kinds: Task kinds it is defined for.
        prepare: (predictions, scoring) -> weights (R, N) -> values (R,).
        higher_is_better: False for errors.
        needs: Field of `Scoring` that must be set.
        bounds: Smallest and largest possible value.
    """

    title: str
    definition: str
    kinds: tuple[Kind, ...]
    prepare: Callable[[Any, Scoring], Weighted]
    higher_is_better: bool = True
    needs: Literal["", "background", "positive"] = ""
    bounds: tuple[float, float] = (0.0, 1.0)


PRIMARY: dict[Kind, str] = {
    "single-label": "top1",
    "multi-label": "micro_ap",
    "segmentation": "miou_present",
    "change": "f1_positive",
}

_CLASSES: tuple[Kind, ...] = ("single-label", "multi-label")
_DENSE: tuple[Kind, ...] = ("segmentation", "change")
_ABSENT = "a class that the truth does not hold"
_NOWHERE = "images without it in truth and prediction are left out."
_TILES = "counted tile by tile without stitching, so that pixels in overlaps count more than once (older codes)."

METRICS: dict[str, Metric] = {
    "top1": Metric(
        "Top-1", "Share of samples whose best class is the true one; of equal scores the lower id wins.",
        ("single-label",), measures.top1,
    ),
    "top5": Metric(
        "Top-5", "Share of samples whose true class is among the best five.", ("single-label",), measures.top5,
    ),
    "balanced_accuracy": Metric(
        "Balanced acc.", "Mean recall over the classes in the truth.", ("single-label",), measures.balanced_accuracy,
    ),
    "micro_ap": Metric(
        "micro mAP", "Average precision of all (sample, class) pairs ranked together, pooled over the split.",
        ("multi-label",), measures.micro_ap,
    ),
    "macro_ap": Metric(
        "macro mAP", "Mean over classes of average precision, pooled over the split; " + _ABSENT + " is left out.",
        ("multi-label",), measures.macro_ap,
    ),
    "f1_micro": Metric(
        "micro F1", "F1 of all decisions together (probability > 0.5).", ("multi-label",), measures.f1_micro,
    ),
    "f1_macro": Metric(
        "macro F1", "Mean F1 over classes in the truth or the predictions (best class, or probability > 0.5).",
        _CLASSES, measures.f1_macro,
    ),
    "ece_15": Metric(
        "ECE (15 bins)", "Expected calibration error of the best class, 15 bins of equal width.",
        ("single-label",), measures.ece, higher_is_better=False,
    ),
    "ece_15_labels": Metric(
        "ECE (15 bins)", "Expected calibration error of all (sample, class) probabilities, 15 bins of equal width.",
        ("multi-label",), measures.ece_labels, higher_is_better=False,
    ),
    "nll": Metric(
        "NLL", "Mean negative log-likelihood, nats (multi-label: mean over classes).",
        _CLASSES, measures.nll, higher_is_better=False, bounds=(0.0, math.inf),
    ),
    "miou_present": Metric(
        "mIoU (present)", "Mean over the classes in the truth of IoU from the pooled confusion matrix.",
        _DENSE, measures.miou_present,
    ),
    "miou_all": Metric(
        "mIoU (all)", "Mean over all classes of pooled IoU; " + _ABSENT + " and nobody predicts counts 0.",
        _DENSE, measures.miou_all,
    ),
    "miou_present_no_background": Metric(
        "mIoU (present, no bg)", "As miou_present, the background class left out of the mean.",
        _DENSE, measures.miou_present_no_background, needs="background",
    ),
    "miou_all_no_background": Metric(
        "mIoU (all, no bg)", "As miou_all, the background class left out of the mean.",
        _DENSE, measures.miou_all_no_background, needs="background",
    ),
    "oa": Metric("OA", "Share of pixels with the right class, pooled.", _DENSE, measures.oa),
    "iou_positive": Metric(
        "IoU (pooled)", "IoU of the positive class, pixels of all images pooled.",
        _DENSE, measures.iou_positive, needs="positive",
    ),
    "f1_positive": Metric(
        "F1 (pooled)", "F1 of the positive class, pixels of all images pooled.",
        _DENSE, measures.f1_positive, needs="positive",
    ),
    "iou_positive_per_image": Metric(
        "IoU (per image)", "Mean over images of the positive class's IoU; " + _NOWHERE,
        _DENSE, measures.iou_positive_per_image, needs="positive",
    ),
    "f1_positive_per_image": Metric(
        "F1 (per image)", "Mean over images of the positive class's F1; " + _NOWHERE,
        _DENSE, measures.f1_positive_per_image, needs="positive",
    ),
    "miou_present_tilewise": Metric("mIoU (present, tiles)", "As miou_present, " + _TILES, _DENSE,
        measures.miou_present_tilewise,
    ),
    "iou_positive_tilewise": Metric("IoU (tiles)", "As iou_positive, " + _TILES, _DENSE, measures.iou_positive_tilewise,
        needs="positive",
    ),
    "f1_positive_tilewise": Metric("F1 (tiles)", "As f1_positive, " + _TILES, _DENSE, measures.f1_positive_tilewise,
        needs="positive",
    ),
}  # fmt: skip


def metric(name: str) -> Metric:
    """One metric by name.

    Raises:
        ProtocolError: If there is none, with the names there are.
    """
    if name not in METRICS:
        raise ProtocolError(f"no metric {name!r}", fix=f"There are {', '.join(METRICS)}.")
    return METRICS[name]


def metrics_for(scoring: Scoring) -> tuple[str, ...]:
    """Names of the metrics that are defined for a task, in the order in which they are listed."""
    return tuple(
        name
        for name, one in METRICS.items()
        if scoring.kind in one.kinds
        and not (one.needs == "background" and scoring.background is None)
        and not (one.needs == "positive" and scoring.positive is None)
    )


def prepare(name: str, predictions: Predictions, scoring: Scoring) -> Weighted:
    """One metric of N samples as a function from weights (R, N) to values (R,).

    Raises:
        ProtocolError: If the metric does not exist or is not defined for the task.
    """
    if name not in metrics_for(scoring):
        raise ProtocolError(f"metric {metric(name).title} ({name}) is not defined for this {scoring.kind} task")
    return METRICS[name].prepare(predictions, scoring)


def compute(name: str, predictions: Predictions, scoring: Scoring, weights: Floats | None = None) -> Floats:
    """One metric under weights.

    Args:
        name: Key of `METRICS`.
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


def score(predictions: Predictions, scoring: Scoring, *, batches: tuple[int, ...] = ()) -> dict[str, float | None]:
    """All metrics of one run; with folds, the mean over folds of each.

    Args:
        predictions: Of the test split.
        scoring: The task.
        batches: Sizes for which `micro_ap_per_batch_<n>` is added (multi-label).

    Returns:
        Name -> value; None where undefined.
    """
    names = metrics_for(scoring)
    folded = isinstance(predictions, ClassPredictions) and len(predictions.folds) > 0
    parts: list[Predictions] = list(fold_parts(predictions)) if folded else [predictions]  # type: ignore[arg-type]
    values = {name: float(nanmean(np.array([compute(name, part, scoring)[0] for part in parts]))) for name in names}
    if scoring.kind == "multi-label" and isinstance(predictions, ClassPredictions):
        values.update({f"micro_ap_per_batch_{n}": micro_ap_per_batch(predictions, n) for n in batches})
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def per_class(predictions: Predictions, scoring: Scoring) -> dict[str, tuple[float | None, ...]]:
    """Per-class values of one run: recall (single-label), AP (multi-label), IoU (dense); None where undefined."""
    weights = np.ones((1, len(predictions.keys)))
    if isinstance(predictions, TilePredictions):
        name, values = "iou", measures.class_iou(measures.pooled(predictions)(weights))[0]
    elif scoring.kind == "multi-label":
        name, values = "ap", measures.class_ap(predictions)(weights)[0]
    else:
        hit, _, true = measures.class_counts(predictions)(weights)
        name, values = "recall", ratio(hit, true)[0]
    return {name: tuple(None if np.isnan(value) else float(value) for value in values)}
