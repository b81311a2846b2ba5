"""The small-sample factors of intervals, worked out from docs/statistics.md with numpy and scipy alone.

Under 100 units they are a few per cent of an error: too small for a simulation of coverage to notice one that is left
out, and systematic in every table. `test_intervals.py` has those of the jackknife and of folds.
"""

import math

import numpy as np
import pytest
from scipy import stats

from seamo_bench.scores.intervals import interval, mean_of
from seamo_bench.scores.replicates import Replicates, replicate
from tests.bench.worlds import SINGLE, hits


def of_values(values: np.ndarray, kind: str, units: int, *, value: float = 0.7) -> Replicates:
    return Replicates(value, values, kind, "top1", 99, units, "samples", 0, "same samples", "same truth")


@pytest.mark.parametrize("units", [30, 31, 60])
def test_a_bootstrap_is_stretched_by_u_over_u_minus_1(units: int) -> None:
    """Variance = U / (U - 1) x sample variance of the replicates."""
    values = np.random.default_rng(0).normal(0.7, 0.05, 400)
    known = mean_of([of_values(values, "bootstrap", units)])
    want = math.sqrt(units / (units - 1) * np.var(values, ddof=1))
    assert known.error == pytest.approx(want, rel=1e-12)
    assert known.df == pytest.approx(units - 1)


def test_the_error_of_a_share_is_the_unbiased_one() -> None:
    """p (1 - p) / (U - 1), which a plain bootstrap misses by a factor (U - 1) / U: 3.4 % of 30 units' variance."""
    units, right = 30, 21
    run = hits(np.arange(units) < right)
    errors = [mean_of([replicate(run, "top1", SINGLE, resamples=2000, seed=seed)]).error for seed in range(60)]
    p = right / units
    unbiased, plain = p * (1 - p) / (units - 1), p * (1 - p) / units
    got = float(np.mean(np.square(errors)))  # noise of 120,000 resamples: 0.4 %
    assert got == pytest.approx(unbiased, rel=0.012)
    assert got > plain * 1.02


def test_runs_add_their_own_variance_and_their_own_degrees_of_freedom() -> None:
    """error^2 = shared + var(scores) / S; 1 / df = share_samples / (U - 1) + share_runs^1.25 / (S - 1)."""
    units, scores = 40, [0.70, 0.74, 0.66]
    centred = np.random.default_rng(2).normal(0, 0.03, 300)  # the samples do the same to all runs
    known = mean_of([of_values(score + centred, "bootstrap", units, value=score) for score in scores])
    shared = units / (units - 1) * np.var(centred, ddof=1)
    own = np.var(scores, ddof=1) / 3
    assert known.value == pytest.approx(0.70)
    assert known.error == pytest.approx(math.sqrt(shared + own), rel=1e-9)
    share = own / (shared + own)
    assert 1 / known.df == pytest.approx((1 - share) / (units - 1) + share**1.25 / 2, rel=1e-9)


@pytest.mark.parametrize("units", [3, 12, 30, 100])
def test_the_interval_is_student_s_t_and_not_the_normal_s(units: int) -> None:
    """logit(value) +- t(0.975; df) x error / (value (1 - value))."""
    values = np.random.default_rng(3).normal(0.8, 0.02, 200 if units >= 30 else units)
    known = mean_of([of_values(values, "bootstrap" if units >= 30 else "jackknife", units, value=0.8)])
    found = interval(known)
    t = stats.t.ppf(0.975, units - 1)
    assert t > stats.norm.ppf(0.975) * 1.005
    for end, sign in ((found.low, -1), (found.high, 1)):
        logit = math.log(0.8 / 0.2) + sign * t * known.error / (0.8 * 0.2)
        assert end == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-6)
