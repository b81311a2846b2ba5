"""Metrics of masks, from the confusion counts of images. Numpy only."""

from dataclasses import replace
from typing import Literal

import numpy as np

from seamo_bench.predictions import Floats, Kind, Scoring, TilePredictions
from seamo_bench.scores.metric import Metric, Weighted, mean_of_known, nanmean, ratio

DENSE: tuple[Kind, ...] = ("segmentation", "change")
_NOWHERE = "images without it in truth and prediction are left out."
_TILES = "counted tile by tile without stitching, so that pixels in overlaps count more than once (older codes)."


def pooled(p: TilePredictions) -> Weighted:
    """Confusion of all images together: weights -> (R, K, K)."""
    n, k, _ = p.confusion.shape
    flat = p.confusion.reshape(n, k * k).astype(np.float64)
    return lambda weights: (weights @ flat).reshape(-1, k, k)


def class_iou(confusion: Floats) -> Floats:
    """(..., K) intersection over union per class; NaN for a class in neither truth nor prediction."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hit
    return ratio(hit, union)


def _mean_iou(p: TilePredictions, *, leave_out: int | None, absent: Literal["skip", "zero"]) -> Weighted:
    counts = pooled(p)

    def value(weights: Floats) -> Floats:
        confusion = counts(weights)
        iou = np.nan_to_num(class_iou(confusion), nan=0.0)
        if absent == "skip":
            iou[confusion.sum(axis=-1) == 0] = np.nan
        if leave_out is not None:
            iou = np.delete(iou, leave_out, axis=-1)
        return nanmean(iou)

    return value


def miou_present(p: TilePredictions, _: Scoring) -> Weighted:
    """Mean over the classes in the truth of pooled IoU."""
    return _mean_iou(p, leave_out=None, absent="skip")


def miou_all(p: TilePredictions, _: Scoring) -> Weighted:
    """Mean over all classes of pooled IoU."""
    return _mean_iou(p, leave_out=None, absent="zero")


def miou_present_no_background(p: TilePredictions, s: Scoring) -> Weighted:
    """As `miou_present`, the background class left out of the mean."""
    return _mean_iou(p, leave_out=s.background, absent="skip")


def miou_all_no_background(p: TilePredictions, s: Scoring) -> Weighted:
    """As `miou_all`, the background class left out of the mean."""
    return _mean_iou(p, leave_out=s.background, absent="zero")


def oa(p: TilePredictions, _: Scoring) -> Weighted:
    """Share of pixels with the right class."""
    counts = pooled(p)

    def value(weights: Floats) -> Floats:
        confusion = counts(weights)
        return ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))

    return value


def _one_class(confusion: Floats, c: int | None) -> tuple[Floats, Floats]:
    """Hits and misses + false alarms of class c."""
    hit = confusion[..., c, c]
    return hit, confusion[..., c, :].sum(axis=-1) + confusion[..., :, c].sum(axis=-1) - 2 * hit


def _iou(hit: Floats, wrong: Floats) -> Floats:
    return ratio(hit, hit + wrong)


def _f1(hit: Floats, wrong: Floats) -> Floats:
    return ratio(2 * hit, 2 * hit + wrong)


def iou_positive(p: TilePredictions, s: Scoring) -> Weighted:
    """IoU of the positive class, pixels pooled."""
    counts = pooled(p)
    return lambda weights: _iou(*_one_class(counts(weights), s.positive))


def f1_positive(p: TilePredictions, s: Scoring) -> Weighted:
    """F1 of the positive class, pixels pooled."""
    counts = pooled(p)
    return lambda weights: _f1(*_one_class(counts(weights), s.positive))


def iou_positive_per_image(p: TilePredictions, s: Scoring) -> Weighted:
    """Mean over images of the positive class's IoU."""
    return mean_of_known(_iou(*_one_class(p.confusion.astype(np.float64), s.positive)))


def f1_positive_per_image(p: TilePredictions, s: Scoring) -> Weighted:
    """Mean over images of the positive class's F1."""
    return mean_of_known(_f1(*_one_class(p.confusion.astype(np.float64), s.positive)))


def _by_tile(p: TilePredictions) -> TilePredictions:
    return replace(p, confusion=p.tilewise) if len(p.tilewise) else p


def miou_present_tilewise(p: TilePredictions, s: Scoring) -> Weighted:
    """As `miou_present`, tiles counted without stitching."""
    return miou_present(_by_tile(p), s)


def iou_positive_tilewise(p: TilePredictions, s: Scoring) -> Weighted:
    """As `iou_positive`, tiles counted without stitching."""
    return iou_positive(_by_tile(p), s)


def f1_positive_tilewise(p: TilePredictions, s: Scoring) -> Weighted:
    """As `f1_positive`, tiles counted without stitching."""
    return f1_positive(_by_tile(p), s)


METRICS: tuple[Metric, ...] = (
    Metric(
        "miou_present",
        "mIoU (present)",
        "Mean over the classes in the truth of IoU from the pooled confusion matrix.",
        DENSE,
        miou_present,
    ),
    Metric(
        "miou_all",
        "mIoU (all)",
        "Mean over all classes of pooled IoU; a class that the truth does not hold and nobody predicts counts 0.",
        DENSE,
        miou_all,
    ),
    Metric(
        "miou_present_no_background",
        "mIoU (present, no bg)",
        "As miou_present, the background class left out of the mean.",
        DENSE,
        miou_present_no_background,
        needs="background",
    ),
    Metric(
        "miou_all_no_background",
        "mIoU (all, no bg)",
        "As miou_all, the background class left out of the mean.",
        DENSE,
        miou_all_no_background,
        needs="background",
    ),
    Metric("oa", "OA", "Share of pixels with the right class, pooled.", DENSE, oa),
    Metric(
        "iou_positive",
        "IoU (pooled)",
        "IoU of the positive class, pixels of all images pooled.",
        DENSE,
        iou_positive,
        needs="positive",
    ),
    Metric(
        "f1_positive",
        "F1 (pooled)",
        "F1 of the positive class, pixels of all images pooled.",
        DENSE,
        f1_positive,
        needs="positive",
    ),
    Metric(
        "iou_positive_per_image",
        "IoU (per image)",
        "Mean over images of the positive class's IoU; " + _NOWHERE,
        DENSE,
        iou_positive_per_image,
        needs="positive",
    ),
    Metric(
        "f1_positive_per_image",
        "F1 (per image)",
        "Mean over images of the positive class's F1; " + _NOWHERE,
        DENSE,
        f1_positive_per_image,
        needs="positive",
    ),
    Metric(
        "miou_present_tilewise",
        "mIoU (present, tiles)",
        "As miou_present, " + _TILES,
        DENSE,
        miou_present_tilewise,
    ),
    Metric(
        "iou_positive_tilewise",
        "IoU (tiles)",
        "As iou_positive, " + _TILES,
        DENSE,
        iou_positive_tilewise,
        needs="positive",
    ),
    Metric(
        "f1_positive_tilewise",
        "F1 (tiles)",
        "As f1_positive, " + _TILES,
        DENSE,
        f1_positive_tilewise,
        needs="positive",
    ),
)
