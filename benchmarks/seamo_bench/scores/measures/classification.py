"""Metrics of class predictions: one label a sample, or several. Numpy only."""

import math
from collections.abc import Callable

import numpy as np

from seamo_bench.predictions import ClassPredictions, Floats, Ints, Kind, Scoring, probabilities
from seamo_bench.scores.metric import Metric, Weighted, nanmean, ratio, weighted_mean

ECE_BINS = 15
CLASSES: tuple[Kind, ...] = ("single-label", "multi-label")
_BLOCK = 2_000_000  # ranked entries held at once (16 MB an array)


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
        hit, predicted, true = (count.sum(axis=1) for count in counts(weights))
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
    return lambda weights: np.stack([own(weights) for own in classes], axis=1)


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


METRICS: tuple[Metric, ...] = (
    Metric(
        "top1",
        "Top-1",
        "Share of samples whose best class is the true one; of equal scores the lower id wins.",
        ("single-label",),
        top1,
        hits=True,
    ),
    Metric(
        "top5",
        "Top-5",
        "Share of samples whose true class is among the best five.",
        ("single-label",),
        top5,
        hits=True,
    ),
    Metric(
        "balanced_accuracy",
        "Balanced acc.",
        "Mean recall over the classes in the truth.",
        ("single-label",),
        balanced_accuracy,
    ),
    Metric(
        "micro_ap",
        "micro mAP",
        "Average precision of all (sample, class) pairs ranked together, pooled over the split.",
        ("multi-label",),
        micro_ap,
    ),
    Metric(
        "macro_ap",
        "macro mAP",
        "Mean over classes of average precision, pooled over the split; "
        "a class that the truth does not hold is left out.",
        ("multi-label",),
        macro_ap,
    ),
    Metric(
        "f1_micro",
        "micro F1",
        "F1 of all decisions together (probability > 0.5).",
        ("multi-label",),
        f1_micro,
    ),
    Metric(
        "f1_macro",
        "macro F1",
        "Mean F1 over classes in the truth or the predictions (best class, or probability > 0.5).",
        CLASSES,
        f1_macro,
    ),
    Metric(
        "ece_15",
        "ECE (15 bins)",
        "Expected calibration error of the best class, 15 bins of equal width.",
        ("single-label",),
        ece,
        higher_is_better=False,
    ),
    Metric(
        "ece_15_labels",
        "ECE (15 bins)",
        "Expected calibration error of all (sample, class) probabilities, 15 bins of equal width.",
        ("multi-label",),
        ece_labels,
        higher_is_better=False,
    ),
    Metric(
        "nll",
        "NLL",
        "Mean negative log-likelihood, nats (multi-label: mean over classes).",
        CLASSES,
        nll,
        higher_is_better=False,
        bounds=(0.0, math.inf),
        unit="nats",
    ),
)
