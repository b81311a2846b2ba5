"""What else goes by the name of a metric: averages that papers and codes take and records do not hold. Numpy only.

They are `Metric`s outside the list of metrics: no record is scored by them, and no leaderboard is sorted by them. Each
is what scikit-learn or torchmetrics compute under the named option, so that a number from there can be recognised.
"""

import numpy as np

from seamo_bench.predictions import ClassPredictions, Floats, Scoring, TilePredictions
from seamo_bench.scores.measures.classification import average_precision, class_ap, class_counts
from seamo_bench.scores.measures.dense import DENSE, class_iou, pooled
from seamo_bench.scores.metric import Metric, Weighted, mean_of_known, nanmean, ratio, weighted_mean


def _class_f1(confusion: Floats) -> Floats:
    """(..., K) F1 of every class; NaN for one in neither truth nor prediction."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return ratio(2 * hit, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def _by_support(values: Floats, support: Floats) -> Floats:
    """Mean over classes, each as often as the truth holds it; a class without a value counts 0."""
    return ratio((np.nan_to_num(values, nan=0.0) * support).sum(axis=-1), support.sum(axis=-1))


def f1_macro_pixels(p: TilePredictions, _: Scoring) -> Weighted:
    """Mean over all classes, the background or no change among them, of pooled F1."""
    counts = pooled(p)
    return lambda weights: nanmean(_class_f1(counts(weights)))


def f1_weighted_pixels(p: TilePredictions, _: Scoring) -> Weighted:
    """Mean over all classes of pooled F1, each class as often as it has pixels."""
    counts = pooled(p)

    def value(weights: Floats) -> Floats:
        confusion = counts(weights)
        return _by_support(_class_f1(confusion), confusion.sum(axis=-1))

    return value


def iou_micro_pixels(p: TilePredictions, _: Scoring) -> Weighted:
    """Right pixels of all classes over the sum of their unions."""
    counts = pooled(p)

    def value(weights: Floats) -> Floats:
        confusion = counts(weights)
        hit = np.trace(confusion, axis1=1, axis2=2)
        return ratio(hit, 2 * confusion.sum(axis=(1, 2)) - hit)

    return value


def miou_per_image(p: TilePredictions, _: Scoring) -> Weighted:
    """Mean over images of each one's mean IoU over the classes in its truth or prediction."""
    return mean_of_known(nanmean(class_iou(p.confusion.astype(np.float64))))


def _f1_per_image_empty(p: TilePredictions, s: Scoring, *, empty: float) -> Weighted:
    """Mean over all images of the positive class's F1, those without it in truth and prediction counting `empty`."""
    confusion = p.confusion.astype(np.float64)
    c = s.positive
    hit, all_of_it = confusion[:, c, c], confusion[:, c, :].sum(axis=-1) + confusion[:, :, c].sum(axis=-1)
    return weighted_mean(np.nan_to_num(ratio(2 * hit, all_of_it), nan=empty))


def f1_per_image_zero(p: TilePredictions, s: Scoring) -> Weighted:
    """Mean over images of the positive class's F1; one without it in truth and prediction counts 0."""
    return _f1_per_image_empty(p, s, empty=0.0)


def f1_per_image_one(p: TilePredictions, s: Scoring) -> Weighted:
    """Mean over images of the positive class's F1; one without it in truth and prediction counts 1."""
    return _f1_per_image_empty(p, s, empty=1.0)


def ap_weighted(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean over classes of average precision, each class as often as the truth holds it."""
    each, true = class_ap(p), p.labels.astype(np.float64)
    return lambda weights: _by_support(each(weights), weights @ true)


def ap_samples(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean over samples of the average precision of their own ranking of classes; one without a class is left out."""
    one = np.ones((1, p.scores.shape[1]))
    own = [average_precision(scores, truth, one)[0] for scores, truth in zip(p.scores, p.labels, strict=True)]
    return mean_of_known(np.array(own))


def f1_weighted(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean F1 over classes, each as often as the truth holds it."""
    counts = class_counts(p)

    def value(weights: Floats) -> Floats:
        hit, predicted, true = counts(weights)
        return _by_support(ratio(2 * hit, predicted + true), true)

    return value


def f1_samples(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean over samples of the F1 of their own set of classes; nothing predicted and nothing true counts 0."""
    predicted = p.scores > (0.0 if p.scale == "logits" else 0.5)
    hit = (predicted & (p.labels > 0)).sum(axis=1).astype(np.float64)
    all_of_it = predicted.sum(axis=1) + p.labels.sum(axis=1).astype(np.float64)
    return weighted_mean(np.nan_to_num(ratio(2 * hit, all_of_it), nan=0.0))


READINGS: tuple[Metric, ...] = (
    Metric("f1_macro_pixels", "macro F1", f1_macro_pixels.__doc__ or "", DENSE, f1_macro_pixels),
    Metric("f1_weighted_pixels", "weighted F1", f1_weighted_pixels.__doc__ or "", DENSE, f1_weighted_pixels),
    Metric("iou_micro_pixels", "micro IoU", iou_micro_pixels.__doc__ or "", DENSE, iou_micro_pixels),
    Metric("miou_per_image", "mIoU (per image)", miou_per_image.__doc__ or "", DENSE, miou_per_image),
    Metric(
        "f1_per_image_zero",
        "F1 (per image, empty 0)",
        f1_per_image_zero.__doc__ or "",
        DENSE,
        f1_per_image_zero,
        needs="positive",
    ),
    Metric(
        "f1_per_image_one",
        "F1 (per image, empty 1)",
        f1_per_image_one.__doc__ or "",
        DENSE,
        f1_per_image_one,
        needs="positive",
    ),
    Metric("ap_weighted", "weighted mAP", ap_weighted.__doc__ or "", ("multi-label",), ap_weighted),
    Metric("ap_samples", "mAP over samples", ap_samples.__doc__ or "", ("multi-label",), ap_samples),
    Metric("f1_weighted", "weighted F1", f1_weighted.__doc__ or "", ("single-label", "multi-label"), f1_weighted),
    Metric("f1_samples", "F1 over samples", f1_samples.__doc__ or "", ("multi-label",), f1_samples),
)
