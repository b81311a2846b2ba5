"""Coverage of 95 % intervals in simulation: every case of `docs/statistics.md` 2,000 times in soak, some in short.

The bands of the short versions are 3 binomial standard deviations around 95 %; the random numbers are fixed.
"""

import math

import numpy as np
import pytest

from seamo_bench.predictions import ClassPredictions
from seamo_bench.scores import intervals as iv
from seamo_bench.scores.distributions import adjusted_to_best, holm
from seamo_bench.scores.replicates import replicate
from tests.bench.worlds import SINGLE, Accuracy, Precision, Tiles, hits, keys

RESAMPLES = 100  # a tenth of what tables use: cheaper, and harder
# Spread over runs / noise of a run on an item: none, small, as large as the samples' error, larger.
SPREADS = {"no spread": (0.0, 0.6), "small spread": (0.1, 0.6), "spread": (0.2, 0.6), "large spread": (0.4, 0.4)}
SMALL, LARGE = "small spread", "large spread"
METRICS = ("top1", "micro_ap", "macro_ap", "miou_present", "f1_positive")


def world(metric, spread, *, n=200, model_share=0.0):
    seed_sd, noise_sd = SPREADS[spread]
    known = {"seed_sd": seed_sd, "noise_sd": noise_sd, "model_share": model_share}
    if metric == "top1":
        return Accuracy(n, mean=0.9, **known)
    if metric in ("micro_ap", "macro_ap"):
        return Precision(n, name=metric, mean=1.5, **known)
    return Tiles(n, name=metric, mean=0.75, seed_sd=seed_sd / 10, noise_sd=noise_sd / 10, model_share=model_share)


def replicates(made, runs):
    return [replicate(run, made.name, made.scoring, resamples=RESAMPLES) for run in runs]


def coverage(simulations, made, count):
    """Share of simulations whose interval holds the truth."""
    truth = made.truth(made.mean)
    inside = 0
    for i in range(simulations):
        (runs,) = made.draw(np.random.default_rng([7, i]), [(count, made.mean)])
        ci = iv.interval(iv.mean_of(replicates(made, runs)))
        inside += ci.low <= truth <= ci.high
    return inside / simulations


def pair_coverage(simulations, made, counts, step):
    """The same for the difference of two models that are `step` apart, and how often it is called significant."""
    means = (made.mean + step, made.mean)
    truth = made.truth(means[0]) - made.truth(means[1])
    inside = called = 0
    for i in range(simulations):
        sides = made.draw(np.random.default_rng([8, i]), list(zip(counts, means, strict=True)))
        known = iv.difference_of(*(replicates(made, side) for side in sides))
        ci = iv.interval(known)
        inside += ci.low <= truth <= ci.high
        called += iv.p_value(known) < 0.05
    return inside / simulations, called / simulations


def lost_stars(simulations, made, models, count, adjust):
    """Share of simulations in which one of equal models loses its star."""
    lost = 0
    for i in range(simulations):
        runs = made.draw(np.random.default_rng([9, i]), [(count, made.mean)] * models)
        made_of = [replicates(made, side) for side in runs]
        scores = [np.mean([one.value for one in side]) for side in made_of]
        best = int(np.argmax(scores))
        p_values = []
        for other in set(range(models)) - {best}:
            if iv.is_mcnemar(made_of[best], made_of[other]):
                p_values.append(iv.mcnemar(runs[best][0], runs[other][0]))
            else:
                p_values.append(iv.p_value(iv.difference_of(made_of[best], made_of[other])))
        lost += min(adjust(p_values)) < 0.05
    return lost / simulations


def band(simulations):
    half = 3 * math.sqrt(0.95 * 0.05 / simulations)
    return 0.95 - half, 0.95 + half


# In every `make test` -----------------------------------------------------------------------------------

SHORT = [
    ("top1", 1, "no spread"),
    ("micro_ap", 1, "no spread"),
    ("miou_present", 1, "no spread"),
    ("top1", 3, "spread"),
    ("miou_present", 3, "no spread"),
    ("top1", 5, "small spread"),
]


@pytest.mark.parametrize(("metric", "count", "spread"), SHORT)
def test_coverage(metric, count, spread):
    low, high = band(300)
    assert low <= coverage(300, world(metric, spread), count) <= high


def test_coverage_of_a_difference():
    reached, called = pair_coverage(300, world("top1", "small spread", model_share=0.5), (3, 3), 0.0)
    low, high = band(300)
    assert low <= reached <= high
    assert called == pytest.approx(1 - reached)  # the test and the interval agree


def test_equal_models_keep_their_stars():
    lost = lost_stars(150, world("top1", "no spread"), 6, 1, adjusted_to_best)
    assert lost <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_one_run_misses_what_three_hold():
    made = world("top1", "large spread")
    truth = made.truth(made.mean)
    inside = 0
    for i in range(200):  # the usual habit: one run, samples alone
        (runs,) = made.draw(np.random.default_rng([7, i]), [(1, made.mean)])
        ci = iv.interval(iv.mean_of(replicates(made, runs)))
        inside += ci.low <= truth <= ci.high
    assert inside / 200 < 0.6


class Scenes(Accuracy):
    """Scenes of 4 chips that share a difficulty: chips are not independent, scenes are."""

    def draw(self, rng, groups):
        ease = np.repeat(rng.normal(0, 1, self.n), 4)
        return [
            [hits(mean + ease + rng.normal(0, self.noise_sd, 4 * self.n) > 0, np.repeat(keys(self.n), 4))]
            for _, mean in groups
        ]


def test_ignoring_scenes_would_be_too_sure():
    made = Scenes(200, mean=1.0, seed_sd=0.0, noise_sd=0.5)
    low, high = band(300)
    assert low <= coverage(300, made, 1) <= high
    truth, inside = made.truth(made.mean), 0
    for i in range(300):
        ((p,),) = made.draw(np.random.default_rng([7, i]), [(1, made.mean)])
        bare = ClassPredictions(p.keys, p.labels, p.scores)
        ci = iv.interval(iv.sampling([bare], "top1", SINGLE, resamples=RESAMPLES))
        inside += ci.low <= truth <= ci.high
    assert inside / 300 < 0.88


# The long versions: every case that the documentation states ---------------------------------------------

SINGLE_CASES = [
    *((metric, 1, "no spread", 200) for metric in METRICS),
    *(("top1", count, spread, 200) for count in (3, 5) for spread in SPREADS),
    *((metric, count, spread, 200) for metric in METRICS[1:4] for count in (3, 5) for spread in (SMALL, LARGE)),
    *((metric, 3, "spread", 1000) for metric in ("top1", "miou_present")),
]
PAIR_CASES = [
    *((metric, (1, 1), "no spread") for metric in METRICS[:4]),
    *(("top1", counts, spread) for counts in ((3, 3), (3, 5), (5, 5)) for spread in SPREADS),
    *((metric, (3, 3), spread) for metric in METRICS[1:4] for spread in (SMALL, LARGE)),
]
STARS = [(models, *rest) for models in (2, 5, 10) for rest in ((1, "no spread"), (3, "no spread"), (3, "spread"))]


@pytest.mark.soak
@pytest.mark.parametrize(("metric", "count", "spread", "n"), SINGLE_CASES)
def test_coverage_in_2000_simulations(metric, count, spread, n, record_property):
    reached = coverage(2000, world(metric, spread, n=n), count)
    record_property("coverage", float(reached))
    assert 0.93 <= reached <= 0.97


@pytest.mark.soak
@pytest.mark.parametrize(("metric", "counts", "spread"), PAIR_CASES)
def test_coverage_of_differences_in_2000_simulations(metric, counts, spread, record_property):
    step = 0.01 if metric == "miou_present" else 0.1
    reached, _ = pair_coverage(2000, world(metric, spread, model_share=0.5), counts, step)
    record_property("coverage", float(reached))
    assert 0.93 <= reached <= 0.97


@pytest.mark.soak
@pytest.mark.parametrize(("models", "count", "spread"), STARS)
def test_equal_models_keep_their_stars_in_2000_simulations(models, count, spread, record_property):
    made = world("top1", spread, model_share=0.5)
    lost = lost_stars(2000, made, models, count, adjusted_to_best)
    record_property("lost", float(lost))
    assert lost <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    if models == 10 and count == 1:
        assert lost_stars(2000, made, models, count, holm) > 0.05  # why pairs are counted


@pytest.mark.soak
@pytest.mark.parametrize("scenes", sorted(iv.FEW_COVERAGE))
def test_what_the_note_on_few_scenes_says(scenes):
    made = Tiles(scenes, name="miou_present", mean=0.75, seed_sd=0.0, noise_sd=0.06)
    assert coverage(2000, made, 1) == pytest.approx(iv.FEW_COVERAGE[scenes], abs=0.01)
