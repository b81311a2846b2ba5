"""Simulated test sets and runs whose true scores are known.

Items are easy or hard for every model; `model_share` of that variance is each model's own and shared by its runs
(pairs differ in it); runs are better or worse (`seed_sd`), and each has noise of its own on each item (`noise_sd`).
`draw(rng, groups)` takes (number of runs, mean) a model and returns the runs of each.
"""

import math

import numpy as np
from scipy import stats

from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions

SINGLE = Scoring("single-label")
MULTI = Scoring("multi-label")
DENSE = Scoring("segmentation", positive=1)
# Nodes and weights to average over a standard normal number.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def keys(n):
    return np.array([f"k{i:05d}" for i in range(n)])


def hits(right, units=None):
    """Two-class predictions that are right where `right` is."""
    n = len(right)
    scores = np.where(np.asarray(right)[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    return ClassPredictions(keys(n), np.zeros(n, int), scores, units=keys(0) if units is None else units)


def mixed(common, own, share):
    """Two arrays of the same variance mixed to that variance, `share` of it from `own`."""
    return math.sqrt(1 - share) * common + math.sqrt(share) * own


class Accuracy:
    """Right where ease + run + noise > 0; all normal, ease with sd 1."""

    name, scoring = "top1", SINGLE

    def __init__(self, n, *, mean, seed_sd, noise_sd, model_share=0.0):
        self.n, self.mean, self.seed_sd, self.noise_sd, self.model_share = n, mean, seed_sd, noise_sd, model_share

    def truth(self, mean):
        return stats.norm.cdf(mean / math.sqrt(1 + self.seed_sd**2 + self.noise_sd**2))

    def draw(self, rng, groups):
        common = rng.normal(0, 1, self.n)

        def runs(count, mean):
            ease = mean + mixed(common, rng.normal(0, 1, self.n), self.model_share)
            noise = rng.normal(0, self.seed_sd, (count, 1)) + rng.normal(0, self.noise_sd, (count, self.n))
            return [hits(one > 0) for one in ease + noise]

        return [runs(*group) for group in groups]


class Precision:
    """K classes; scores are N(0, 1) without the label and N(mean + run, 1) with it."""

    scoring = MULTI

    def __init__(self, n, *, name, mean, seed_sd, noise_sd, model_share=0.0, shares=(0.2, 0.3, 0.4)):
        self.n, self.name, self.mean = n, name, mean
        self.seed_sd, self.noise_sd, self.model_share = seed_sd, noise_sd, model_share
        self.shares = np.array(shares)

    def truth(self, mean):
        """Average precision of the population by integration, averaged over runs."""
        x = np.linspace(-9, 12, 4001)
        means = mean + self.seed_sd * NODES
        above, density = stats.norm.sf(x - means[:, None]), stats.norm.pdf(x - means[:, None])

        def one(share):
            return np.trapezoid(density * share * above / (share * above + (1 - share) * stats.norm.sf(x)), x, axis=1)

        if self.name == "micro_ap":
            return float(WEIGHTS @ one(self.shares.mean()))  # the classes have the same scores: one pooled ranking
        return float(WEIGHTS @ np.mean([one(share) for share in self.shares], axis=0))

    def draw(self, rng, groups):
        labels = (rng.random((self.n, len(self.shares))) < self.shares).astype(np.uint8)
        sd = math.sqrt(1 - self.noise_sd**2)
        common = rng.normal(0, sd, labels.shape)

        def runs(count, mean):
            ease = mixed(common, rng.normal(0, sd, labels.shape), self.model_share)
            for _ in range(count):
                noise = rng.normal(0, self.noise_sd, labels.shape)
                scores = labels * (mean + rng.normal(0, self.seed_sd)) + ease + noise
                yield ClassPredictions(keys(self.n), labels, scores.astype(np.float32))

        return [list(runs(*group)) for group in groups]


class Tiles:
    """Tiles of K classes in random shares; a pixel is right with a chance that tile, run and noise move, else it is any
    other class."""

    scoring = DENSE
    area = np.array([0.5, 0.3, 0.2])

    def __init__(self, n, *, name, mean, seed_sd, noise_sd, model_share=0.0, tile_sd=0.08, pixels=400):
        self.n, self.name, self.mean, self.model_share = n, name, mean, model_share
        self.seed_sd, self.noise_sd, self.tile_sd, self.pixels = seed_sd, noise_sd, tile_sd, pixels

    def truth(self, mean):
        k = len(self.area)
        right = (mean + self.seed_sd * NODES)[:, None]
        hit, missed = self.area * right, self.area * (1 - right)
        alarms = (missed.sum(axis=1, keepdims=True) - missed) / (k - 1)
        iou = hit / (self.area + alarms)
        f1 = 2 * hit / (self.area + hit + alarms)
        each = iou.mean(axis=1) if self.name == "miou_present" else f1[:, DENSE.positive]
        return float(WEIGHTS @ each)

    def draw(self, rng, groups):
        k = len(self.area)
        shares = rng.dirichlet(self.area * 5, self.n)
        counts = rng.multinomial(self.pixels, shares)  # the truth is the same for all runs
        common = rng.normal(0, self.tile_sd, self.n)

        def runs(count, mean):
            ease = mixed(common, rng.normal(0, self.tile_sd, self.n), self.model_share)
            for _ in range(count):
                right = mean + rng.normal(0, self.seed_sd) + ease + rng.normal(0, self.noise_sd, self.n)
                hit = rng.binomial(counts, np.clip(right, 0, 1)[:, None])
                confusion = np.zeros((self.n, k, k), dtype=np.int64)
                for c in range(k):
                    others = [j for j in range(k) if j != c]
                    confusion[:, c, c] = hit[:, c]
                    confusion[:, c, others] = rng.multinomial(counts[:, c] - hit[:, c], np.full(k - 1, 1 / (k - 1)))
                yield TilePredictions(keys(self.n), confusion)

        return [list(runs(*group)) for group in groups]
