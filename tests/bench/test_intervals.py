"""Intervals: each formula against a hand-worked or scipy value. Coverage is in `test_intervals_coverage.py`."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from seamo.errors import ProtocolError
from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions, take
from seamo_bench.scores import distributions as d
from seamo_bench.scores import intervals as iv
from seamo_bench.scores import replicates as rp
from seamo_bench.scores.metrics import compute, score
from tests.bench.worlds import DENSE, SINGLE, Tiles, hits, keys

# Distribution functions


@pytest.mark.parametrize("df", [1, 1.7, 2, 4, 9, 24, 199.3, 5399])
def test_student_t_equals_scipy(df):
    for x in (-40.0, -3.0, -0.5, 0.0, 0.1, 2.0, 12.0):
        assert d.t_cdf(x, df) == pytest.approx(stats.t.cdf(x, df), rel=1e-9, abs=1e-14)
    for p in (0.001, 0.025, 0.5, 0.9, 0.975, 0.9995):
        assert d.t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-8, abs=1e-9)


def test_normal_is_the_limit():
    assert d.t_quantile(0.975, math.inf) == pytest.approx(1.959963985, abs=1e-8)
    assert d.t_cdf(-1.0, math.inf) == pytest.approx(stats.norm.cdf(-1.0))


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


def test_comparisons_with_the_chosen_best_count_pairs():
    # 4 others and the best: 10 pairs, then 6, 3, 1 among what is left.
    assert d.adjusted_to_best([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.12, 0.10, 0.5, 0.12])
    assert d.adjusted_to_best([0.04]) == pytest.approx([0.04])  # two models are one pair


# Formulas


def paired(a, b, name, scoring):
    """The difference of two cells of runs, as tables have it."""
    sides = [[rp.replicate(run, name, scoring) for run in side] for side in (a, b)]
    return iv.paired_difference(*sides, lambda: (a[0], b[0]))


def test_bootstrap_of_accuracy_is_the_binomial_standard_error():
    p = hits(np.arange(1000) % 5 > 0)
    s = iv.sampling([p], "top1", SINGLE)
    assert s.value == pytest.approx(0.8)
    assert s.error == pytest.approx(math.sqrt(0.8 * 0.2 / 999), rel=0.06)
    assert (s.unit, s.num_units, s.num_seeds, s.df) == ("samples", 1000, 1, pytest.approx(999))
    assert "one seed" in s.note


def test_interval_is_t_on_the_logit_scale():
    s = iv.sampling([hits(np.arange(400) % 20 > 0)], "top1", SINGLE)
    ci = iv.interval(s)
    centre, half = math.log(0.95 / 0.05), stats.t.ppf(0.975, 399) * s.error / (0.95 * 0.05)
    assert (ci.low, ci.high) == pytest.approx(tuple(1 / (1 + math.exp(-(centre + k * half))) for k in (-1, 1)))
    assert ci.value - ci.low > ci.high - ci.value  # no symmetric interval near 100 %
    loss = iv.interval(iv.sampling([hits(np.arange(400) % 20 > 0)], "nll", SINGLE))
    assert loss.value**2 == pytest.approx(loss.low * loss.high)  # log scale: the geometric middle


def test_replicates_are_deterministic_and_independent_of_the_order_of_samples():
    rng = np.random.default_rng(0)
    p = hits(rng.random(300) < 0.7)
    shuffled = take(p, rng.permutation(300))
    one, two = (rp.replicate(run, "top1", SINGLE, seed=3) for run in (p, shuffled))
    assert np.array_equal(one.values, two.values)
    assert one.samples == two.samples
    assert not np.array_equal(one.values, rp.replicate(p, "top1", SINGLE, seed=4).values)
    other = ClassPredictions(np.char.add("x", p.keys), p.labels, p.scores)
    assert not np.array_equal(one.values, rp.replicate(other, "top1", SINGLE, seed=3).values)


def test_blocks_of_weights_change_nothing(monkeypatch):
    p = hits(np.random.default_rng(0).random(300) < 0.7)
    whole = rp.replicate(p, "top1", SINGLE, resamples=50).values
    monkeypatch.setattr(rp, "_BLOCK", 300 * 7)
    assert len(rp.replicate(p, "top1", SINGLE, resamples=50).values) == 50
    assert np.array_equal(whole, rp.replicate(p, "top1", SINGLE, resamples=50).values)


def test_seed_level_is_t_of_the_mean_over_runs():
    # Each run is wrong on other samples: what it shares with the others is small, what is its own is in its score.
    runs = [hits(np.arange(4000) < 4000 * share) for share in (0.78, 0.80, 0.85)]
    s = iv.sampling(runs, "top1", SINGLE)
    sd = np.std([0.78, 0.80, 0.85], ddof=1)
    assert s.value == pytest.approx(0.81)
    assert s.spread == pytest.approx(sd)
    assert s.own == pytest.approx(sd / math.sqrt(3))
    assert s.num_seeds == 3
    # Runs i <= j right on shares p_i <= p_j of the same samples: covariance p_i (1 - p_j) / (n - 1).
    covariance = np.mean([0.78 * 0.20, 0.78 * 0.15, 0.80 * 0.15]) / 3999
    assert s.shared @ s.shared == pytest.approx(covariance, rel=0.15)
    assert s.error == pytest.approx(math.hypot(s.own, math.sqrt(s.shared @ s.shared)))
    part = s.own**2 / s.error**2
    assert s.df == pytest.approx(1 / (part**1.25 / 2 + (1 - part) / 3999))


def test_the_two_parts_equal_the_analysis_of_variance():
    # Readers and cases (Obuchowski and Rockette 1995): shared = mean covariance of the runs' scores.
    rng = np.random.default_rng(4)
    ease = rng.normal(0.8, 1, 500)
    right = [ease + rng.normal(0, 0.8, 500) > 0 for _ in range(5)]
    s = iv.sampling([hits(one) for one in right], "top1", SINGLE, resamples=4000)
    table = np.cov(np.array(right, float)) / 500
    assert s.shared @ s.shared == pytest.approx(np.mean(table[~np.eye(5, dtype=bool)]), rel=0.12)
    assert s.own**2 == pytest.approx(np.var([one.mean() for one in right], ddof=1) / 5)


def test_seeds_of_one_pretraining_are_averaged_first():
    shares = (0.78, 0.80, 0.85, 0.87)
    runs = [hits(np.arange(4000) < 4000 * share) for share in shares]
    ci = iv.interval(iv.sampling(runs, "top1", SINGLE, parents=["a", "a", "b", "b"]))
    assert ci.num_seeds == 2
    assert "two seeds" in ci.note
    assert ci.spread == pytest.approx(np.std([0.79, 0.86], ddof=1))
    uneven = iv.sampling(runs, "top1", SINGLE, parents=["a", "a", "a", "b"])
    assert uneven.value == pytest.approx((np.mean(shares[:3]) + shares[3]) / 2)


def test_perfect_scores_keep_an_interval():
    ci = iv.interval(iv.sampling([hits(np.ones(50, bool))], "top1", SINGLE))
    assert (ci.low, ci.high) == pytest.approx(d.wilson(50, 50, 0.95))
    assert ci.low < 0.95
    assert "Wilson" in ci.method
    several = iv.interval(iv.sampling([hits(np.ones(50, bool))] * 3, "top1", SINGLE))
    assert (several.low, several.high) == (ci.low, ci.high)
    other = iv.interval(iv.sampling([hits(np.ones(50, bool))], "f1_macro", SINGLE))
    assert other.low is None
    assert "every resample gives the same value" in other.note


def test_undefined_resamples_are_left_out_and_said():
    labels = np.zeros((40, 1), np.uint8)
    labels[:2] = 1  # a resample without either has no average precision: chance (38 / 40)^40 = 13 %
    p = ClassPredictions(keys(40), labels, np.arange(40.0, 0, -1, dtype=np.float32)[:, None])
    s = iv.sampling([p], "micro_ap", Scoring("multi-label"))
    assert s.value == 1
    assert 80 < int(s.note.split()[0]) < 180
    assert "resamples undefined, left out" in s.note


def test_few_scenes_use_a_jackknife_t_interval():
    rng = np.random.default_rng(2)
    right = rng.random(60) < np.repeat([0.9, 0.7, 0.6, 0.8, 0.95, 0.5], 10)
    units = np.repeat(keys(6), 10)
    s = iv.sampling([hits(right, units)], "top1", SINGLE)
    ci = iv.interval(s)
    means = right.reshape(6, 10).mean(axis=1)  # equal scenes: the jackknife is the t interval of their means
    assert s.error == pytest.approx(means.std(ddof=1) / math.sqrt(6))
    assert s.df == pytest.approx(5)
    v = means.mean()
    half = stats.t.ppf(0.975, 5) * s.error / (v * (1 - v))
    assert math.log(ci.high / (1 - ci.high)) - math.log(v / (1 - v)) == pytest.approx(half)
    assert ci.unit == "scenes"
    assert "6 scenes" in ci.note
    assert "in simulation" in ci.note


def test_one_scene_gives_no_interval():
    ci = iv.interval(iv.sampling([hits(np.arange(20) > 3, np.repeat(keys(1), 20))], "top1", SINGLE))
    assert ci.value == 0.8
    assert ci.low is None
    assert "no interval" in ci.note


def test_many_samples_use_fewer_resamples():
    p = hits(np.arange(30_000) % 10 > 0)
    made = rp.replicate(p, "top1", SINGLE)
    assert len(made.values) == rp.MANY_RESAMPLES
    assert iv.mean_of([made]).error == pytest.approx(math.sqrt(0.09 / 30_000), rel=0.15)


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
    assert s.error == pytest.approx(math.sqrt((1 / 25 + 1 / 4) * np.var(means, ddof=1)))
    assert s.df == pytest.approx(24)
    assert ci.value == pytest.approx(np.mean(means))
    assert ci.value == pytest.approx(score(p, SINGLE)["top1"])
    assert ci.spread == pytest.approx(np.std(means, ddof=1))
    assert (ci.unit, ci.num_units) == ("folds", 25)


def test_folds_that_are_all_right_have_no_interval():
    """They share their training samples: twenty-five of them are no twenty-five draws."""
    found = iv.interval(iv.sampling([folded(0, edge=50.0)], "top1", SINGLE))
    assert (found.value, found.unit, found.low, found.high) == (1.0, "folds", None, None)
    assert "no interval" in found.note


def test_paired_folds_and_mismatched_folds():
    a, b = folded(0, edge=0.8), folded(1)
    diff = paired([a], [b], "top1", SINGLE)
    means = rp.fold_values(a, "top1", SINGLE) - rp.fold_values(b, "top1", SINGLE)
    t = means.mean() / math.sqrt((1 / 25 + 1 / 4) * means.var(ddof=1))
    assert diff.p == pytest.approx(2 * stats.t.sf(abs(t), 24))
    shuffled = ClassPredictions(b.keys[::-1], b.labels, b.scores, repeats=b.repeats, folds=b.folds)
    with pytest.raises(ProtocolError, match="do not hold the same samples"):
        paired([a], [shuffled], "top1", SINGLE)


def test_paired_difference_cancels_what_both_share():
    rng = np.random.default_rng(0)
    shared = rng.random(1000) < 0.7
    better = shared | (rng.random(1000) < 0.05)
    a, b = hits(better), hits(shared)
    diff = paired([a], [b], "top1", SINGLE)
    assert diff.test == "exact McNemar"
    only = int((better & ~shared).sum())
    assert diff.p == pytest.approx(stats.binomtest(only, only).pvalue)
    assert diff.interval.low > 0
    apart = iv.interval(iv.sampling([a], "top1", SINGLE)), iv.interval(iv.sampling([b], "top1", SINGLE))
    assert diff.interval.high - diff.interval.low < 0.5 * (apart[0].high - apart[0].low)
    back = paired([b], [a], "top1", SINGLE)
    assert back.interval.value == pytest.approx(-diff.interval.value)


def test_paired_difference_over_seeds_knows_both_groups():
    rng = np.random.default_rng(1)
    a = [hits(rng.random(600) < share) for share in (0.80, 0.82, 0.84)]
    b = [hits(rng.random(600) < share) for share in (0.60, 0.62, 0.58)]
    diff = paired(a, b, "top1", SINGLE)
    means = [np.mean([score(run, SINGLE)["top1"] for run in group]) for group in (a, b)]
    assert diff.interval.value == pytest.approx(means[0] - means[1])
    assert diff.interval.low > 0
    assert diff.p < 0.05
    assert "3 and 3 seeds" in diff.interval.method


def test_difference_of_groups_is_a_t_test_with_its_interval():
    rng = np.random.default_rng(3)
    ease = rng.normal(0.8, 1, 300)
    a, b = ([hits(ease + shift + rng.normal(0, 0.6, 300) > 0) for _ in range(3)] for shift in (0.15, 0))
    diff = paired(a, b, "top1", SINGLE)
    known = iv.difference_of(*[[rp.replicate(run, "top1", SINGLE) for run in side] for side in (a, b)])
    assert diff.p == pytest.approx(2 * stats.t.sf(abs(known.value) / known.error, known.df))
    half = stats.t.ppf(0.975, known.df) * known.error
    assert (diff.interval.low, diff.interval.high) == pytest.approx((known.value - half, known.value + half))
    assert (diff.p < 0.05) == (diff.interval.low > 0 or diff.interval.high < 0)
    same = paired(a, a, "top1", SINGLE)
    assert same.interval.value == 0


def test_identical_predictions_differ_by_nothing():
    run = hits(np.arange(50) % 3 > 0)
    diff = paired([run], [run], "nll", SINGLE)
    assert (diff.interval.low, diff.interval.high, diff.p) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("units", [2, 5, 12, 40])
def test_where_all_units_say_the_same_p_is_the_sign_tests(units):
    rows = np.arange(4 * units)
    sides = [[hits(np.full(len(rows), right), np.char.mod("u%03d", rows // 4))] for right in (True, False)]
    diff = paired(sides[0], sides[1], "top1", SINGLE)
    assert diff.interval.value == 1
    assert diff.p == pytest.approx(stats.binomtest(units, units).pvalue)
    assert diff.test == f"sign test: all {units} scenes say the same"


def test_one_image_that_decides_all_is_no_sure_difference():
    """Resamples without the one image of change are undefined; all others say the same, of that image."""
    sides = []
    for hit in ([[5, 0], [0, 5]], [[5, 0], [5, 0]]):
        sides.append([TilePredictions(keys(40), np.array([hit, *[[[10, 0], [0, 0]]] * 39]))])
    diff = paired(sides[0], sides[1], "f1_positive", Scoring("change", positive=1))
    assert (diff.interval.value, diff.p) == (1, None)


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
    ((p,),) = Tiles(200, name="miou_present", mean=0.75, seed_sd=0, noise_sd=0.06).draw(
        np.random.default_rng(0), [(1, 0.75)]
    )
    weights = np.random.default_rng(1).integers(0, 4, (3, 200)).astype(float)
    for row, value in zip(weights, compute("miou_present", p, DENSE, weights), strict=True):
        total = sum(w * tile for w, tile in zip(row, p.confusion, strict=True))
        iou = [total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c]) for c in range(3)]
        assert value == pytest.approx(np.mean(iou))


def test_ends_stay_within_the_metric():
    few = hits([True, True, False])
    one = iv.interval(iv.sampling([few], "top1", SINGLE))
    assert 0 < one.low < 2 / 3 < one.high < 1
    both = paired([few], [hits([False, True, False])], "top1", SINGLE).interval
    assert both.low < 0.0  # differences are not cut at 0


def test_a_fold_in_which_a_metric_is_undefined_counts_nowhere():
    p = folded(0)
    multi = Scoring("multi-label")
    labels = np.eye(3, dtype=np.int8)[p.labels] * (p.folds[:, None] != 2)  # in one fold of each repeat nothing is there
    p = ClassPredictions(p.keys, labels.astype(p.labels.dtype), p.scores, repeats=p.repeats, folds=p.folds)
    want = np.mean([
        average_precision_score(labels[mine].ravel(), p.scores[mine].ravel())
        for r in range(5) for f in (0, 1, 3, 4) for mine in [(p.repeats == r) & (p.folds == f)]
    ])  # fmt: skip
    assert score(p, multi)["micro_ap"] == pytest.approx(want)
    assert rp.replicate(p, "micro_ap", multi).value == pytest.approx(want)
