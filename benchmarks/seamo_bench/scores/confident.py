"""Which labels models contradict: confident learning. Numpy only.

After Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels" (JAIR 70). The
threshold of a class is how sure a model is of it on average, over the samples that are labelled so:

    t_k = mean of p_k over {x : label(x) = k}

A model contradicts a label where the best class that reaches its threshold is another one (their equation 1). Samples
are ranked by the normalised margin of Kuan and Mueller 2022, "Model-agnostic label quality scoring to detect real-world
label errors" (DataPerf workshop at ICML), with thresholds taken off, so that a class of which models are never sure is
not suspected as a whole:

    margin(x) = p_label - t_label - max over k other than the label of (p_k - t_k)

The code is ours. Several labels a sample are as many questions of two answers, as in Thyagarajan et al. 2022,
"Identifying incorrect annotations in multi-label classification data" (arXiv 2211.13895).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seamo_bench.predictions import Floats, Ints

NO_CLASS = -1
_SMALLEST = 1e-6  # probabilities of 0 (votes of neighbours) are raised to it before they are calibrated
_COLDEST, _HOTTEST, _HALVINGS = 0.05, 20.0, 30  # temperatures, and 1e-8 of their range


@dataclass(frozen=True, slots=True, eq=False)
class LabelReading:
    """What one model says of N labels.

    Args:
        says: (N,) best class that reaches its threshold, `NO_CLASS` where none does.
        margin: (N,) below 0 where another class leads, thresholds taken off.
        leads: (N, K) p - t; minus infinity for a class that no label names.
    """

    says: Ints
    margin: Floats
    leads: Floats


def calibrated(chance: Floats, labels: Ints) -> Floats:
    """Probabilities as sure as they are right: temperature scaling (Guo et al. 2017, arXiv 1706.04599).

    One number, T, that makes softmax(log p / T) most likely. It is fitted on the very labels that are judged: one
    number of thousands of samples hides no single one. The likelihood is convex in 1 / T, so its root is halved for.

    Args:
        chance: (N, K), a row sums to 1, of models that were not trained on these samples.
        labels: (N,) class ids.

    Returns:
        (N, K).
    """
    logs = np.log(np.clip(chance, _SMALLEST, None))
    logs -= logs.max(axis=1, keepdims=True)
    right = float(logs[np.arange(len(labels)), labels].mean())
    low, high = math.log(1 / _HOTTEST), math.log(1 / _COLDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        soft = _soft(logs * math.exp(middle))
        low, high = (low, middle) if float((soft * logs).sum(axis=1).mean()) > right else (middle, high)
    return _soft(logs * math.exp((low + high) / 2))


def _soft(logs: Floats) -> Floats:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def thresholds(chance: Floats, labels: Ints) -> Floats:
    """(K,) mean probability of each class over the samples labelled so; infinity where none is."""
    count = np.bincount(labels, minlength=chance.shape[1])
    total = np.bincount(labels, weights=chance[np.arange(len(labels)), labels], minlength=chance.shape[1])
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.inf), where=count > 0))


def read_labels(chance: Floats, labels: Ints) -> LabelReading:
    """Hold labels against the probabilities of a model that was not trained on them.

    Args:
        chance: (N, K).
        labels: (N,) class ids.
    """
    bars = thresholds(chance, labels)
    leads = chance - bars
    sure = np.where(leads >= 0, chance, -1.0)
    says = np.where(sure.max(axis=1) >= 0, sure.argmax(axis=1), NO_CLASS)
    rows = np.arange(len(labels))
    others = leads.copy()
    others[rows, labels] = -np.inf
    return LabelReading(says, leads[rows, labels] - others.max(axis=1), leads)


def wrong_share(says: Ints, labels: Ints, weights: Floats, num_classes: int) -> Floats:
    """Estimated share of wrong labels: what is off the diagonal of the calibrated confident joint (JAIR 70, eq. 2-3).

        sum over classes i of (share of samples labelled i) x (1 - C_ii / sum_j C_ij)

    with C_ij the samples labelled i of which a model says j. It counts what models confuse as well as what annotators
    did: it is no count of errors where models err together.

    Args:
        says: (N,) as in `LabelReading`.
        labels: (N,).
        weights: (R, N) of the samples.
        num_classes: K.

    Returns:
        (R,).
    """
    named = np.eye(num_classes)[labels]
    total, sure = weights @ named, weights @ (named * (says != NO_CLASS)[:, None])
    right = weights @ (named * (says == labels)[:, None])
    kept = np.divide(right, sure, out=np.ones_like(right), where=sure > 0)
    return np.asarray((total * (1 - kept)).sum(axis=1) / total.sum(axis=1))


def upper_tail(count: int, trials: int, chance: float) -> float:
    """P(X >= count), X binomial(trials, chance): the sum of its terms."""
    if count <= 0:
        return 1.0
    if chance <= 0 or chance >= 1:
        return float(chance >= 1)
    logs = [
        math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1)
        + i * math.log(chance) + (trials - i) * math.log1p(-chance)
        for i in range(count, trials + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(math.exp(one) for one in logs))


def swap_tests(given: Ints, suggested: Ints, sizes: Sequence[int]) -> list[tuple[int, int, int, float, float]]:
    """Pairs of classes among suspects, and whether one goes into the other more often than its size makes it.

    Were wrong labels blind, a suspect labelled a would be b with the share that b has among samples of other labels:
    n_b / (N - n_a). p is the binomial upper tail, before correction for many pairs.

    Args:
        given: (M,) labels of the suspects.
        suggested: (M,) what they are said to be, never the label.
        sizes: Samples of each class, suspects and others.

    Returns:
        (given, suggested, count, expected count, p) of every pair that could be, in the order of classes.
    """
    total = sum(sizes)
    found = []
    for a in np.unique(given).tolist():
        mine = suggested[given == a]
        for b, size in enumerate(sizes):
            if b != a and size and total > sizes[a]:
                share = size / (total - sizes[a])
                count = int((mine == b).sum())
                found.append((a, b, count, share * len(mine), upper_tail(count, len(mine), share)))
    return found
