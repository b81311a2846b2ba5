"""Intervals: coverage in simulation, and each formula against a hand-worked or scipy value."""

import math

import numpy as np
import pytest
from scipy import stats

from seamo.errors import ProtocolError
from seamo_bench import distributions as d
from seamo_bench import intervals as iv
from seamo_bench.metrics import compute, score
from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions, take

SINGLE = Scoring("single-label")
MULTI = Scoring("multi-label")
DENSE = Scoring("segmentation")


def keys(n):
    return np.array([f"k{i:05d}" for i in range(n)])


def hits(right, units=None):
    """Two-class predictions that are right where `right` is."""
    n = len(right)
    labels = np.zeros(n, int)
    scores = np.where(np.asarray(right)[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    return ClassPredictions(keys(n), labels, scores, units=keys(0) if units is None else units)


# Distribution functions


@pytest.mark.parametrize("df", [1, 2, 4, 9, 24, 199, 5399])
def test_student_t_equals_scipy(df):
    x = np.array([-40.0, -3.0, -0.5, 0.0, 0.1, 2.0, 12.0])
    np.testing.assert_allclose(d.t_cdf(x, df), stats.t.cdf(x, df), rtol=1e-9, atol=1e-14)
    for p in (0.001, 0.025, 0.5, 0.9, 0.975):
        assert d.t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-8, abs=1e-9)


def test_normal_grid_is_the_limit():
    assert d.t_quantile(0.975, math.inf) == pytest.approx(1.959963985, abs=1e-8)
    grid = d.t_grid(2, 999)
    np.testing.assert_allclose(grid, stats.t.ppf((np.arange(999) + 0.5) / 999, 2), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (5, 0), (3, 3), (10, 2), (400, 340)])
def test_mcnemar_equals_the_binomial_test(a, b):
    expected = stats.binomtest(a, a + b).pvalue if a + b else 1.0
    assert d.mcnemar_exact(a, b) == pytest.approx(expected)
    assert d.mcnemar_exact(b, a) == pytest.approx(expected)


def test_wilson_equals_scipy():
    for k, n in ((0, 10), (10, 10), (195, 200)):
        ci = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert d.wilson(k, n, 0.95) == pytest.approx((ci.low, ci.high))


def test_holm_by_hand():
    # sorted: .01 x 4, .02 x 3, .03 x 2 (raised to .06), .5 x 1
    assert d.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert d.holm([]) == []


# Coverage


def coverage(simulations, one):
    """Share of simulations whose interval holds the truth; one(rng) -> (runs, metric, scoring, truth)."""
    inside = 0
    for i in range(simulations):
        runs, name, scoring, truth = one(np.random.default_rng([7, i]))
        ci = iv.interval(iv.sampling(runs, name, scoring, resamples=400, seed=i))
        inside += ci.low <= truth <= ci.high
    return inside / simulations


def accuracy_world(rng):
    return [hits(rng.random(200) < 0.8)], "top1", SINGLE, 0.8


def seeds_world(rng):
    """Three trainings whose accuracies differ, on 200 shared samples of shared difficulty."""
    ease = rng.normal(0.9, 1.0, 200)
    runs = [hits(ease + rng.normal(0, 0.2) + rng.normal(0, 0.6, 200) > 0) for _ in range(3)]
    # P(N(.9, 1 + .04 + .36) > 0), the mean over samples, seeds and noise
    return runs, "top1", SINGLE, stats.norm.cdf(0.9 / math.sqrt(1.4))


CONFUSION = np.array([[0.36, 0.03, 0.01], [0.05, 0.22, 0.03], [0.04, 0.02, 0.24]])
TRUE_MIOU = np.mean([0.36 / (0.40 + 0.45 - 0.36), 0.22 / (0.30 + 0.27 - 0.22), 0.24 / (0.30 + 0.28 - 0.24)])


def miou_world(rng):
    """200 tiles whose pixels come from one confusion each, random around CONFUSION."""
    shares = rng.dirichlet(CONFUSION.ravel() * 20, 200)
    counts = np.stack([rng.multinomial(500, row) for row in shares])
    return [TilePredictions(keys(200), counts.reshape(200, 3, 3))], "miou_present", DENSE, TRUE_MIOU


def scenes_world(rng):
    """200 scenes of 4 chips that share a difficulty: chips are not independent, scenes are."""
    ease = np.repeat(rng.normal(1, 1, 200), 4)
    right = ease + rng.normal(0, 0.5, 800) > 0
    units = np.repeat(keys(200), 4)
    return [hits(right, units)], "top1", SINGLE, stats.norm.cdf(1 / math.sqrt(1.25))


def precision_world(rng):
    """Micro AP of one class with prevalence .3 and scores N(0,1) against N(1,1); the truth by integration."""
    labels = (rng.random(300) < 0.3).astype(np.uint8)
    scores = (rng.normal(size=300) + labels).astype(np.float32)
    return [ClassPredictions(keys(300), labels[:, None], scores[:, None])], "micro_ap", MULTI, TRUE_AP


def _true_ap():
    x = np.linspace(-8, 9, 20001)
    above = 0.3 * stats.norm.sf(x - 1)
    precision = above / (above + 0.7 * stats.norm.sf(x))
    return float(np.trapezoid(stats.norm.pdf(x - 1) * precision, x))


TRUE_AP = _true_ap()
WORLDS = [accuracy_world, miou_world, scenes_world, precision_world]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__)
def test_coverage_of_95_percent_intervals(world):
    # 400 simulations: binomial sd 1.1 %, so 92-98 % is 2.7 sd around the nominal value; the long version is soak.
    assert 0.92 <= coverage(400, world) <= 0.98


@pytest.mark.soak
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__)
def test_coverage_in_2000_simulations(world):
    assert 0.93 <= coverage(2000, world) <= 0.97


def test_coverage_with_three_seeds_and_what_one_seed_misses():
    reached = coverage(400, seeds_world)
    assert 0.91 <= reached <= 0.98  # 92.7-95.3 % in 300 simulations a case; binomial sd 1.1 %
    without = 0
    for i in range(400):  # the usual habit: one run, samples alone
        runs, name, scoring, truth = seeds_world(np.random.default_rng([7, i]))
        ci = iv.interval(iv.sampling(runs[:1], name, scoring, resamples=400))
        without += ci.low <= truth <= ci.high
    assert without / 400 < reached - 0.02


def test_ignoring_scenes_would_be_too_sure():
    inside = 0
    for i in range(300):
        (p,), name, scoring, truth = scenes_world(np.random.default_rng([7, i]))
        bare = ClassPredictions(p.keys, p.labels, p.scores)
        ci = iv.interval(iv.sampling([bare], name, scoring, resamples=400))
        inside += ci.low <= truth <= ci.high
    assert inside / 300 < 0.88


# Formulas


def test_bootstrap_of_accuracy_is_the_binomial_standard_error():
    p = hits(np.arange(1000) % 5 > 0)
    s = iv.sampling([p], "top1", SINGLE)
    assert s.value == pytest.approx(0.8)
    assert np.std(s.draws) == pytest.approx(math.sqrt(0.8 * 0.2 / 1000), rel=0.06)
    assert (s.unit, s.num_units, s.num_seeds) == ("samples", 1000, 1)
    assert "one seed" in s.note


def test_draws_are_deterministic_and_independent_of_the_order_of_samples():
    rng = np.random.default_rng(0)
    p = hits(rng.random(300) < 0.7)
    shuffled = take(p, rng.permutation(300))
    one, two = (iv.sampling([run], "top1", SINGLE, seed=3).draws for run in (p, shuffled))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, iv.sampling([p], "top1", SINGLE, seed=4).draws)


def test_seed_level_is_t_of_the_mean_over_runs():
    # Every run is right or wrong on the same share of identical samples: only the seeds vary.
    runs = [hits(np.arange(4000) < 4000 * share) for share in (0.78, 0.80, 0.85)]
    ci = iv.interval(iv.sampling(runs, "top1", SINGLE))
    sd = np.std([0.78, 0.80, 0.85], ddof=1)
    half = stats.t.ppf(0.975, 2) * sd / math.sqrt(3)
    assert ci.value == pytest.approx(0.81)
    assert ci.spread == pytest.approx(sd)
    assert (ci.high - ci.low) / 2 == pytest.approx(half, rel=0.08)  # samples add a little
    assert ci.num_seeds == 3


def test_seeds_of_one_pretraining_are_averaged_first():
    shares = (0.78, 0.80, 0.85, 0.87)
    runs = [hits(np.arange(4000) < 4000 * share) for share in shares]
    ci = iv.interval(iv.sampling(runs, "top1", SINGLE, parents=["a", "a", "b", "b"]))
    assert ci.num_seeds == 2
    assert ci.spread == pytest.approx(np.std([0.79, 0.86], ddof=1))
    uneven = iv.sampling(runs, "top1", SINGLE, parents=["a", "a", "a", "b"])
    assert uneven.value == pytest.approx((np.mean(shares[:3]) + shares[3]) / 2)


def test_perfect_scores_keep_an_interval():
    ci = iv.interval(iv.sampling([hits(np.ones(50, bool))], "top1", SINGLE))
    assert (ci.low, ci.high) == pytest.approx(d.wilson(50, 50, 0.95))
    assert ci.low < 0.95


def test_few_scenes_use_a_jackknife_t_interval():
    rng = np.random.default_rng(2)
    right = rng.random(60) < np.repeat([0.9, 0.7, 0.6, 0.8, 0.95, 0.5], 10)
    units = np.repeat(keys(6), 10)
    ci = iv.interval(iv.sampling([hits(right, units)], "top1", SINGLE))
    means = right.reshape(6, 10).mean(axis=1)  # equal scenes: the jackknife is the t interval of their means
    half = stats.t.ppf(0.975, 5) * means.std(ddof=1) / math.sqrt(6)
    high = min(means.mean() + half, 1.0)
    assert (ci.low, ci.high) == pytest.approx((means.mean() - half, high), rel=2e-3)
    assert ci.unit == "scenes"
    assert "6 scenes" in ci.note
    assert "in simulation" in ci.note


def test_one_scene_gives_no_interval():
    ci = iv.interval(iv.sampling([hits(np.arange(20) > 3, np.repeat(keys(1), 20))], "top1", SINGLE))
    assert ci.value == 0.8
    assert ci.low is None
    assert "no interval" in ci.note


def test_many_samples_use_the_normal_shape():
    p = hits(np.arange(30_000) % 10 > 0)
    ci = iv.interval(iv.sampling([p], "top1", SINGLE))
    assert (ci.high - ci.low) / 2 == pytest.approx(1.96 * math.sqrt(0.09 / 30_000), rel=0.15)
    assert "normal" in ci.method


def folded(seed, edge=0.0):
    rng = np.random.default_rng(99)  # the same samples and folds for every seed
    n = 100
    fold = np.concatenate([rng.permutation(np.arange(n) % 5) for _ in range(5)])
    repeat = np.repeat(np.arange(5), n)
    labels = np.tile(rng.integers(0, 3, n), 5)
    scores = np.random.default_rng(seed).normal(size=(5 * n, 3)) + (1.2 + edge) * np.eye(3)[labels]
    return ClassPredictions(np.tile(keys(n), 5), labels, scores.astype(np.float32), repeats=repeat, folds=fold)


def test_cv5x5_is_the_corrected_resampled_t():
    p = folded(0)
    right = p.scores.argmax(axis=1) == p.labels
    means = [right[(p.repeats == r) & (p.folds == f)].mean() for r in range(5) for f in range(5)]
    s = iv.sampling([p], "top1", SINGLE)
    ci = iv.interval(s)
    half = stats.t.ppf(0.975, 24) * math.sqrt((1 / 25 + 1 / 4) * np.var(means, ddof=1))
    assert ci.value == pytest.approx(np.mean(means))
    assert ci.value == pytest.approx(score(p, SINGLE)["top1"])
    assert ci.spread == pytest.approx(np.std(means, ddof=1))
    assert (ci.low, ci.high) == pytest.approx((ci.value - half, ci.value + half), rel=2e-3)
    assert (ci.unit, ci.num_units) == ("folds", 25)


def test_paired_folds_and_mismatched_folds():
    a, b = folded(0, edge=0.8), folded(1)
    diff = iv.paired_difference([a], [b], "top1", SINGLE)
    means = iv.fold_values(a, "top1", SINGLE) - iv.fold_values(b, "top1", SINGLE)
    t = means.mean() / math.sqrt((1 / 25 + 1 / 4) * means.var(ddof=1))
    assert diff.p == pytest.approx(2 * stats.t.sf(abs(t), 24), abs=2e-3)
    shuffled = ClassPredictions(b.keys[::-1], b.labels, b.scores, repeats=b.repeats, folds=b.folds)
    with pytest.raises(ProtocolError, match="do not hold the same samples"):
        iv.paired_difference([a], [shuffled], "top1", SINGLE)


def test_paired_difference_cancels_what_both_share():
    rng = np.random.default_rng(0)
    shared = rng.random(1000) < 0.7
    better = shared | (rng.random(1000) < 0.05)
    a, b = hits(better), hits(shared)
    diff = iv.paired_difference([a], [b], "top1", SINGLE)
    assert diff.test == "exact McNemar"
    only = int((better & ~shared).sum())
    assert diff.p == pytest.approx(stats.binomtest(only, only).pvalue)
    assert diff.interval.low > 0
    apart = iv.interval(iv.sampling([a], "top1", SINGLE)), iv.interval(iv.sampling([b], "top1", SINGLE))
    assert diff.interval.high - diff.interval.low < 0.5 * (apart[0].high - apart[0].low)
    back = iv.paired_difference([b], [a], "top1", SINGLE)
    assert back.interval.value == pytest.approx(-diff.interval.value)


def test_paired_difference_over_seeds_knows_both_groups():
    rng = np.random.default_rng(1)
    a = [hits(rng.random(600) < share) for share in (0.80, 0.82, 0.84)]
    b = [hits(rng.random(600) < share) for share in (0.60, 0.62, 0.58)]
    diff = iv.paired_difference(a, b, "top1", SINGLE)
    means = [np.mean([score(run, SINGLE)["top1"] for run in group]) for group in (a, b)]
    assert diff.interval.value == pytest.approx(means[0] - means[1])
    assert diff.interval.low > 0
    assert diff.p < 0.05
    assert "3 and 3 seeds" in diff.interval.method


def test_equal_models_are_rarely_called_different():
    called = 0
    for i in range(200):
        rng = np.random.default_rng([3, i])
        ease = rng.normal(0.8, 1, 200)
        a, b = (hits(ease + rng.normal(0, 0.7, 200) > 0) for _ in range(2))
        diff = iv.paired_difference([a], [b], "top1", SINGLE, resamples=300)
        called += diff.p < 0.05
    assert called / 200 <= 0.09  # exact McNemar is below 5 %; 0.09 is 2.6 sd above it


def test_runs_on_other_samples_or_labels_are_refused():
    a = hits(np.arange(30) > 5)
    with pytest.raises(ProtocolError, match="same samples"):
        iv.sampling([a, take(a, np.arange(29))], "top1", SINGLE)
    other = ClassPredictions(a.keys, 1 - a.labels, a.scores)
    with pytest.raises(ProtocolError, match="same labels"):
        iv.sampling([a, other], "top1", SINGLE)
    with pytest.raises(ProtocolError, match="no run"):
        iv.sampling([], "top1", SINGLE)


def test_miou_under_weights_is_exact():
    (p,), *_ = miou_world(np.random.default_rng(0))
    weights = np.random.default_rng(1).integers(0, 4, (3, 200)).astype(float)
    for row, value in zip(weights, compute("miou_present", p, DENSE, weights), strict=True):
        total = sum(w * tile for w, tile in zip(row, p.confusion, strict=True))
        iou = [total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c]) for c in range(3)]
        assert value == pytest.approx(np.mean(iou))


# Aggregates


def test_interquartile_mean_by_hand():
    assert iv.interquartile_mean(np.array([9.0, 1, 2, 3])) == pytest.approx(2.5)
    assert iv.interquartile_mean(np.array([0.0, 1, 5])) == pytest.approx(_iqm3())
    rng = np.random.default_rng(0).normal(size=(5, 40))
    assert iv.interquartile_mean(rng) == pytest.approx(np.sort(rng)[:, 10:30].mean(axis=1))


def _iqm3():
    # Thirds: the middle half takes 1/12 of the lowest, all 1/3 of the middle, 1/12 of the highest.
    return (0 / 12 + 1 / 3 + 5 / 12) / 0.5


def test_aggregate_ranks_and_normalises():
    tasks = {}
    for t, (best, worst) in enumerate([(0.9, 0.6), (0.8, 0.7), (0.95, 0.5)]):
        rng = np.random.default_rng(t)
        tasks[f"t{t}"] = {
            name: iv.sampling([hits(rng.random(400) < share)], "top1", SINGLE, seed=t)
            for name, share in (("good", best), ("bad", worst))
        }
    ranges = dict.fromkeys(tasks, iv.score_range("top1", 2))
    assert ranges["t0"] == (0.5, 1.0)
    found = iv.aggregate(tasks, ranges)
    expected = [(tasks[t]["good"].value - 0.5) / 0.5 for t in tasks]
    assert found["good"].iqm.value == pytest.approx(
        (sorted(expected)[0] / 12 + sorted(expected)[1] / 3 + sorted(expected)[2] / 12) / 0.5
    )
    assert found["good"].mean_rank.value == 1
    assert found["bad"].mean_rank.value == 2
    assert found["good"].iqm.low < found["good"].iqm.value < found["good"].iqm.high
    assert found["good"].tasks == ("t0", "t1", "t2")
    del tasks["t1"]["bad"]
    assert iv.aggregate(tasks, ranges)["good"].tasks == ("t0", "t2")
    assert iv.aggregate({}, {}) == {}


def test_ranges_start_at_chance():
    assert iv.score_range("top1", 10) == (0.1, 1.0)
    assert iv.score_range("top5", 10) == (0.5, 1.0)
    assert iv.score_range("micro_ap", 19) == (0.0, 1.0)
    with pytest.raises(ProtocolError, match="is an error"):
        iv.score_range("nll", 10)


def test_ends_stay_within_the_metric():
    few = hits([True, True, False])
    draws = iv.sampling([few], "top1", SINGLE)
    assert np.quantile(draws.draws, 0.975) > 1.0  # with 3 samples the t interval itself passes 100 %
    one = iv.interval(draws)
    assert one.low == 0.0
    assert one.high == 1.0
    both = iv.paired_difference([few], [hits([False, True, False])], "top1", SINGLE).interval
    assert both.low < 0.0  # differences are not cut at 0
