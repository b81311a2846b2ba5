"""Metrics as pure functions of stored predictions: numpy only, the definition in the name.

Every metric takes predictions of N samples and weights (R, N) and returns (R,) values; weight 2 counts a
sample twice. The plain score is the one with all weights 1 and a bootstrap resample is another row of
weights, so a score and its interval can never follow two definitions. NaN means: not defined here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from seamo.errors import ProtocolError
from seamo_bench.predictions import (
    ClassPredictions,
    Floats,
    Ints,
    Kind,
    Predictions,
    Scoring,
    TilePredictions,
    fold_parts,
    probabilities,
)

ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Args:
        title: As tables print it.
        definition: One sentence.
        kinds: Task kinds it is defined for.
        compute: (predictions, scoring, weights (R, N)) -> (R,).
        higher_is_better: False for errors.
        needs: Field of `Scoring` that must be set.
        bounds: Smallest and largest possible value.
    """

    title: str
    definition: str
    kinds: tuple[Kind, ...]
    compute: Callable[[Any, Scoring, Floats], Floats]
    higher_is_better: bool = True
    needs: Literal["", "background", "positive"] = ""
    bounds: tuple[float, float] = (0.0, 1.0)


PRIMARY: dict[Kind, str] = {
    "single-label": "top1",
    "multi-label": "micro_ap",
    "segmentation": "miou_present",
    "change": "f1_positive",
}


# Classification ------------------------------------------------------------------------------------------


def top_k_hits(scores: Floats, labels: Ints, k: int) -> Floats:
    """(N,) 1 where fewer than k classes rank before the true one; of equal scores the lower id ranks first."""
    true = np.take_along_axis(scores, labels[:, None].astype(np.int64), axis=1)
    ids = np.arange(scores.shape[1])
    before = (scores > true) | ((scores == true) & (ids < labels[:, None]))
    return np.asarray(before.sum(axis=1) < k, dtype=np.float64)


def _weighted_mean(values: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1)
    return _ratio(weights @ values, total)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where below is 0."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out


def _nanmean(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN if all is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))


def _top1(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    return _weighted_mean(top_k_hits(p.scores, p.labels, 1), w)


def _top5(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    return _weighted_mean(top_k_hits(p.scores, p.labels, 5), w)


def _class_counts(p: ClassPredictions, w: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted true positives, predicted and true counts, each (R, K)."""
    k = p.scores.shape[1]
    if p.labels.ndim == 1:
        predicted = np.eye(k)[p.scores.argmax(axis=1)]
        true = np.eye(k)[p.labels]
    else:
        predicted = (p.scores > (0.0 if p.scale == "logits" else 0.5)).astype(np.float64)
        true = p.labels.astype(np.float64)
    return w @ (predicted * true), w @ predicted, w @ true


def _balanced(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    hit, _predicted, true = _class_counts(p, w)
    return _nanmean(_ratio(hit, true))


def _f1_macro(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    hit, predicted, true = _class_counts(p, w)
    return _nanmean(_ratio(2 * hit, predicted + true))


def _f1_micro(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    hit, predicted, true = (counts.sum(axis=1) for counts in _class_counts(p, w))
    return _ratio(2 * hit, predicted + true)


def average_precision(scores: Floats, truth: Ints, weights: Floats) -> Floats:
    """Average precision of one ranking: sum over thresholds of (recall gained) x (precision there).

    Samples of equal score share one threshold, as in scikit-learn. No positive: NaN.

    Args:
        scores: (N,).
        truth: (N,) 0/1.
        weights: (R, N).

    Returns:
        (R,).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = np.ascontiguousarray(weights[:, order], dtype=np.float64)
    positive = truth[order] > 0
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last sample of each threshold
    seen = np.cumsum(ranked, axis=1)[:, last]
    ranked[:, ~positive] = 0.0
    hits = np.cumsum(ranked, axis=1)[:, last]
    gained = np.diff(hits, axis=1, prepend=0.0)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return _ratio((gained * precision).sum(axis=1), hits[:, -1])


def _class_ap(p: ClassPredictions, w: Floats) -> Floats:
    return np.stack([average_precision(p.scores[:, k], p.labels[:, k], w) for k in range(p.scores.shape[1])], axis=1)


def _macro_ap(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    return _nanmean(_class_ap(p, w))


def _micro_ap(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    k = p.scores.shape[1]
    return average_precision(p.scores.ravel(), p.labels.ravel(), np.repeat(w, k, axis=1))


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
    return float(_nanmean(np.array(values)))


def _ece(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    chance = probabilities(p)
    confidence = chance.max(axis=1)
    right = (chance.argmax(axis=1) == p.labels).astype(np.float64)
    # Bin b holds confidences in (b / 15, (b + 1) / 15], as Guo et al. 2017 define it.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gap = np.eye(ECE_BINS)[bins] * (right - confidence)[:, None]
    return _ratio(np.abs(w @ gap).sum(axis=1), w.sum(axis=1))


def _nll(p: ClassPredictions, _: Scoring, w: Floats) -> Floats:
    tiny = np.finfo(np.float32).tiny  # a probability that float32 holds, so that a vote of 0 stays finite
    chance = probabilities(p)
    if p.labels.ndim == 1:
        own = np.take_along_axis(chance, p.labels[:, None].astype(np.int64), axis=1)[:, 0]
        return _weighted_mean(-np.log(np.maximum(own, tiny)), w)
    own = np.where(p.labels > 0, chance, 1 - chance)
    return _weighted_mean(-np.log(np.maximum(own, tiny)).mean(axis=1), w)


# Dense tasks ---------------------------------------------------------------------------------------------


def _pooled(p: TilePredictions, w: Floats) -> Floats:
    """(R, K, K) confusion of all images together."""
    n, k, _ = p.confusion.shape
    return (w @ p.confusion.reshape(n, k * k).astype(np.float64)).reshape(-1, k, k)


def class_iou(confusion: Floats) -> Floats:
    """(..., K) intersection over union per class; NaN for a class in neither truth nor prediction."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hit
    return _ratio(hit, union)


def _mean_iou(confusion: Floats, *, leave_out: int | None, absent: Literal["skip", "zero"]) -> Floats:
    iou = np.nan_to_num(class_iou(confusion), nan=0.0)
    if absent == "skip":
        iou[confusion.sum(axis=-1) == 0] = np.nan
    if leave_out is not None:
        iou = np.delete(iou, leave_out, axis=-1)
    return _nanmean(iou)


def _miou_present(p: TilePredictions, _: Scoring, w: Floats) -> Floats:
    return _mean_iou(_pooled(p, w), leave_out=None, absent="skip")


def _by_tile(p: TilePredictions) -> TilePredictions:
    return replace(p, confusion=p.tilewise) if len(p.tilewise) else p


def _miou_present_tilewise(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    return _miou_present(_by_tile(p), s, w)


def _miou_all(p: TilePredictions, _: Scoring, w: Floats) -> Floats:
    return _mean_iou(_pooled(p, w), leave_out=None, absent="zero")


def _miou_present_no_background(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    return _mean_iou(_pooled(p, w), leave_out=s.background, absent="skip")


def _miou_all_no_background(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    return _mean_iou(_pooled(p, w), leave_out=s.background, absent="zero")


def _oa(p: TilePredictions, _: Scoring, w: Floats) -> Floats:
    pooled = _pooled(p, w)
    return _ratio(np.trace(pooled, axis1=1, axis2=2), pooled.sum(axis=(1, 2)))


def _one_class(confusion: Floats, s: Scoring) -> tuple[Floats, Floats]:
    """Hits and misses + false alarms of the positive class."""
    c = s.positive
    hit = confusion[..., c, c]
    return hit, confusion[..., c, :].sum(axis=-1) + confusion[..., :, c].sum(axis=-1) - 2 * hit


def _iou_positive(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    hit, wrong = _one_class(_pooled(p, w), s)
    return _ratio(hit, hit + wrong)


def _f1_positive(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    hit, wrong = _one_class(_pooled(p, w), s)
    return _ratio(2 * hit, 2 * hit + wrong)


def _iou_positive_tilewise(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    return _iou_positive(_by_tile(p), s, w)


def _f1_positive_tilewise(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    return _f1_positive(_by_tile(p), s, w)


def _per_image(values: Floats, w: Floats) -> Floats:
    there = ~np.isnan(values)
    return _ratio(w[:, there] @ values[there], w[:, there].sum(axis=1))


def _iou_positive_per_image(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    hit, wrong = _one_class(p.confusion.astype(np.float64), s)
    return _per_image(_ratio(hit, hit + wrong), w)


def _f1_positive_per_image(p: TilePredictions, s: Scoring, w: Floats) -> Floats:
    hit, wrong = _one_class(p.confusion.astype(np.float64), s)
    return _per_image(_ratio(2 * hit, 2 * hit + wrong), w)


_CLASSES: tuple[Kind, ...] = ("single-label", "multi-label")
_DENSE: tuple[Kind, ...] = ("segmentation", "change")
_ABSENT = "a class that the truth does not hold"
_NOWHERE = "images without it in truth and prediction are left out."
_TILES = "counted tile by tile without stitching, so that pixels in overlaps count more than once (older codes)."

METRICS: dict[str, Metric] = {
    "top1": Metric(
        "Top-1", "Share of samples whose best class is the true one; of equal scores the lower id wins.",
        ("single-label",), _top1,
    ),
    "top5": Metric("Top-5", "Share of samples whose true class is among the best five.", ("single-label",), _top5),
    "balanced_accuracy": Metric(
        "Balanced acc.", "Mean recall over the classes in the truth.", ("single-label",), _balanced
    ),
    "micro_ap": Metric(
        "micro mAP", "Average precision of all (sample, class) pairs ranked together, pooled over the split.",
        ("multi-label",), _micro_ap,
    ),
    "macro_ap": Metric(
        "macro mAP", "Mean over classes of average precision, pooled over the split; " + _ABSENT + " is left out.",
        ("multi-label",), _macro_ap,
    ),
    "f1_micro": Metric("micro F1", "F1 of all decisions together (probability > 0.5).", ("multi-label",), _f1_micro),
    "f1_macro": Metric(
        "macro F1", "Mean F1 over classes in the truth or the predictions (best class, or probability > 0.5).",
        _CLASSES, _f1_macro,
    ),
    "ece_15": Metric(
        "ECE (15 bins)", "Expected calibration error of the best class, 15 bins of equal width.",
        ("single-label",), _ece, higher_is_better=False,
    ),
    "nll": Metric(
        "NLL", "Mean negative log-likelihood, nats (multi-label: mean over classes).",
        _CLASSES, _nll, higher_is_better=False, bounds=(0.0, math.inf),
    ),
    "miou_present": Metric(
        "mIoU (present)", "Mean over the classes in the truth of IoU from the pooled confusion matrix.",
        _DENSE, _miou_present,
    ),
    "miou_all": Metric(
        "mIoU (all)", "Mean over all classes of pooled IoU; " + _ABSENT + " and nobody predicts counts 0.",
        _DENSE, _miou_all,
    ),
    "miou_present_no_background": Metric(
        "mIoU (present, no bg)", "As miou_present, the background class left out of the mean.",
        _DENSE, _miou_present_no_background, needs="background",
    ),
    "miou_all_no_background": Metric(
        "mIoU (all, no bg)", "As miou_all, the background class left out of the mean.",
        _DENSE, _miou_all_no_background, needs="background",
    ),
    "oa": Metric("OA", "Share of pixels with the right class, pooled.", _DENSE, _oa),
    "iou_positive": Metric(
        "IoU (pooled)", "IoU of the positive class, pixels of all images pooled.",
        _DENSE, _iou_positive, needs="positive",
    ),
    "f1_positive": Metric(
        "F1 (pooled)", "F1 of the positive class, pixels of all images pooled.", _DENSE, _f1_positive, needs="positive"
    ),
    "iou_positive_per_image": Metric(
        "IoU (per image)", "Mean over images of the positive class's IoU; " + _NOWHERE,
        _DENSE, _iou_positive_per_image, needs="positive",
    ),
    "f1_positive_per_image": Metric(
        "F1 (per image)", "Mean over images of the positive class's F1; " + _NOWHERE,
        _DENSE, _f1_positive_per_image, needs="positive",
    ),
    "miou_present_tilewise": Metric("mIoU (present, tiles)", "As miou_present, " + _TILES, _DENSE,
        _miou_present_tilewise,
    ),
    "iou_positive_tilewise": Metric("IoU (tiles)", "As iou_positive, " + _TILES, _DENSE, _iou_positive_tilewise,
        needs="positive",
    ),
    "f1_positive_tilewise": Metric("F1 (tiles)", "As f1_positive, " + _TILES, _DENSE, _f1_positive_tilewise,
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
    if name not in metrics_for(scoring):
        raise ProtocolError(f"metric {metric(name).title} ({name}) is not defined for this {scoring.kind} task")
    if weights is None:
        weights = np.ones((1, len(predictions.keys)))
    return METRICS[name].compute(predictions, scoring, weights)


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
    values = {name: float(_nanmean(np.array([compute(name, part, scoring)[0] for part in parts]))) for name in names}
    if scoring.kind == "multi-label" and isinstance(predictions, ClassPredictions):
        values.update({f"micro_ap_per_batch_{n}": micro_ap_per_batch(predictions, n) for n in batches})
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def per_class(predictions: Predictions, scoring: Scoring) -> dict[str, tuple[float | None, ...]]:
    """Per-class values of one run: recall (single-label), AP (multi-label), IoU (dense); None where undefined."""
    weights = np.ones((1, len(predictions.keys)))
    if isinstance(predictions, TilePredictions):
        name, values = "iou", class_iou(_pooled(predictions, weights))[0]
    elif scoring.kind == "multi-label":
        name, values = "ap", _class_ap(predictions, weights)[0]
    else:
        hit, _, true = _class_counts(predictions, weights)
        name, values = "recall", _ratio(hit, true)[0]
    return {name: tuple(None if np.isnan(value) else float(value) for value in values)}
