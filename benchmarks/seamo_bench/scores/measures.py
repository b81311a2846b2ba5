"""What metrics compute, prepared once per set of predictions and evaluated under many weights. Numpy only.

A measure takes the predictions of N samples and returns a function from weights (R, N) to values (R,), NaN where
the metric is not defined. Sorting and counting happen once, when it is prepared.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from seamo_bench.predictions import ClassPredictions, Floats, Ints, Scoring, TilePredictions, probabilities

ECE_BINS = 15
_BLOCK = 2_000_000  # ranked entries held at once (16 MB an array)
Weighted = Callable[[Floats], Floats]


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where below is 0."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out


def nanmean(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN if all is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))


def weighted_mean(values: Floats) -> Weighted:
    """Mean of (N,) values under weights."""
    return lambda weights: ratio(weights @ values, weights.sum(axis=1))


# Classification ------------------------------------------------------------------------------------------


def top_k_hits(scores: Floats, labels: Ints, k: int) -> Floats:
    """(N,) 1 where fewer than k classes rank before the true one; of equal scores the lower id ranks first."""
    true = np.take_along_axis(scores, labels[:, None].astype(np.int64), axis=1)
    ids = np.arange(scores.shape[1])
    before = (scores > true) | ((scores == true) & (ids < labels[:, None]))
    return np.asarray(before.sum(axis=1) < k, dtype=np.float64)


def top1(p: ClassPredictions, _: Scoring) -> Weighted:
    """Share of samples whose best class is the true one."""
    return weighted_mean(top_k_hits(p.scores, p.labels, 1))


def top5(p: ClassPredictions, _: Scoring) -> Weighted:
    """Share of samples whose true class is among the best five."""
    return weighted_mean(top_k_hits(p.scores, p.labels, 5))


def class_counts(p: ClassPredictions) -> Callable[[Floats], tuple[Floats, Floats, Floats]]:
    """Weights -> weighted true positives, predicted and true counts, each (R, K)."""
    k = p.scores.shape[1]
    if p.labels.ndim == 1:
        predicted = np.eye(k)[p.scores.argmax(axis=1)]
        true = np.eye(k)[p.labels]
    else:
        predicted = (p.scores > (0.0 if p.scale == "logits" else 0.5)).astype(np.float64)
        true = p.labels.astype(np.float64)
    hit = predicted * true
    return lambda weights: (weights @ hit, weights @ predicted, weights @ true)


def balanced_accuracy(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean recall over the classes in the truth."""
    counts = class_counts(p)

    def value(weights: Floats) -> Floats:
        hit, _predicted, true = counts(weights)
        return nanmean(ratio(hit, true))

    return value


def f1_macro(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean F1 over classes in the truth or the predictions."""
    counts = class_counts(p)

    def value(weights: Floats) -> Floats:
        hit, predicted, true = counts(weights)
        return nanmean(ratio(2 * hit, predicted + true))

    return value


def f1_micro(p: ClassPredictions, _: Scoring) -> Weighted:
    """F1 of all decisions together."""
    counts = class_counts(p)

    def value(weights: Floats) -> Floats:
        hit, predicted, true = (one.sum(axis=1) for one in counts(weights))
        return ratio(2 * hit, predicted + true)

    return value


def ranking(scores: Floats, truth: Ints, *, share: int = 1) -> Weighted:
    """Average precision of one ranking: sum over thresholds of (recall gained) x (precision there).

    Entries of equal score share one threshold, as in scikit-learn. No positive: NaN. The entries are sorted
    once; under weights the numbers seen and hit at each threshold are cumulative sums, so every resample is exact
    and costs one pass over the ranking.

    Args:
        scores: (M,).
        truth: (M,) 0/1.
        share: Consecutive entries that belong to one sample and have its weight (K for pooled classes).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    sample = order // share
    positive = np.flatnonzero(truth[order] > 0)
    owner = sample[positive]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # the last entry of each threshold
    end = last[np.searchsorted(last, positive)]
    last_hit = np.searchsorted(positive, end, side="right") - 1
    step = max(1, _BLOCK // max(len(sample), 1))

    def value(weights: Floats) -> Floats:
        parts = []
        for start in range(0, len(weights), step):
            block = weights[start : start + step]
            # take, not an index: it keeps rows contiguous, and cumulative sums along them are 3 times faster.
            seen = np.take(np.cumsum(np.take(block, sample, axis=1), axis=1, dtype=np.float64), end, axis=1)
            gained = np.take(block, owner, axis=1)
            hits = np.cumsum(gained, axis=1, dtype=np.float64)
            found = hits[:, -1] if hits.shape[1] else np.zeros(len(block))
            precision = np.divide(np.take(hits, last_hit, axis=1), seen, out=np.zeros_like(hits), where=seen > 0)
            parts.append(ratio((gained * precision).sum(axis=1), found))
        return np.concatenate(parts)

    return value


def average_precision(scores: Floats, truth: Ints, weights: Floats) -> Floats:
    """Average precision (R,) of one ranking of N samples under weights (R, N), as `ranking` defines it."""
    return ranking(scores, truth)(weights)


def class_ap(p: ClassPredictions) -> Weighted:
    """Average precision of each class: weights (R, N) -> (R, K)."""
    classes = [ranking(p.scores[:, k], p.labels[:, k]) for k in range(p.scores.shape[1])]
    return lambda weights: np.stack([one(weights) for one in classes], axis=1)


def macro_ap(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean over classes of average precision."""
    each = class_ap(p)
    return lambda weights: nanmean(each(weights))


def micro_ap(p: ClassPredictions, _: Scoring) -> Weighted:
    """Average precision of all (sample, class) pairs ranked together."""
    return ranking(p.scores.ravel(), p.labels.ravel(), share=p.scores.shape[1])


def ece(p: ClassPredictions, _: Scoring) -> Weighted:
    """Expected calibration error of the best class over bins of equal width."""
    chance = probabilities(p)
    confidence = chance.max(axis=1)
    right = (chance.argmax(axis=1) == p.labels).astype(np.float64)
    # Bin b holds confidences in (b / 15, (b + 1) / 15], as Guo et al. 2017 define it.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gap = np.eye(ECE_BINS)[bins] * (right - confidence)[:, None]
    return lambda weights: ratio(np.abs(weights @ gap).sum(axis=1), weights.sum(axis=1))


def ece_labels(p: ClassPredictions, _: Scoring) -> Weighted:
    """Expected calibration error of each (sample, class) probability over bins of equal width, pooled."""
    n, k = p.scores.shape
    chance = probabilities(p)
    bins = np.clip(np.ceil(chance * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gap = np.zeros((n, ECE_BINS))
    np.add.at(gap, (np.arange(n)[:, None], bins), p.labels - chance)
    return lambda weights: ratio(np.abs(weights @ gap).sum(axis=1), k * weights.sum(axis=1))


def nll(p: ClassPredictions, _: Scoring) -> Weighted:
    """Mean negative log-likelihood, nats; multi-label: mean over classes."""
    tiny = np.finfo(np.float32).tiny  # a probability that float32 holds, so that a vote of 0 stays finite
    chance = probabilities(p)
    if p.labels.ndim == 1:
        own = np.take_along_axis(chance, p.labels[:, None].astype(np.int64), axis=1)[:, 0]
        return weighted_mean(-np.log(np.maximum(own, tiny)))
    own = np.where(p.labels > 0, chance, 1 - chance)
    return weighted_mean(-np.log(np.maximum(own, tiny)).mean(axis=1))


# Dense tasks ---------------------------------------------------------------------------------------------


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


def _per_image(values: Floats) -> Weighted:
    there = ~np.isnan(values)
    return lambda weights: ratio(weights[:, there] @ values[there], weights[:, there].sum(axis=1))


def iou_positive_per_image(p: TilePredictions, s: Scoring) -> Weighted:
    """Mean over images of the positive class's IoU."""
    return _per_image(_iou(*_one_class(p.confusion.astype(np.float64), s.positive)))


def f1_positive_per_image(p: TilePredictions, s: Scoring) -> Weighted:
    """Mean over images of the positive class's F1."""
    return _per_image(_f1(*_one_class(p.confusion.astype(np.float64), s.positive)))


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
