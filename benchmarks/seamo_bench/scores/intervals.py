"""How sure a score is: a mean over runs, or a difference of two, with its standard error and t interval.

One formula for all of them. The runs of one cell share their test samples, so the variance of their mean has two parts:

    shared  = what the samples do to all runs alike     (covariance of the runs' replicates: see `replicates`)
    own     = what is each run's own, seed and noise    (sample variance of the run scores / number of runs)
    error^2 = shared + own

as in the analysis of readers and cases (Obuchowski and Rockette 1995; Hillis 2014): seeds are the readers. The
interval is Student's t on the logit scale of a metric between 0 and 1 (on its own scale for a difference, on the log
scale for a metric without upper bound). `docs/statistics.md` has the formulas and the coverage that was simulated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seamo.errors import ProtocolError
from seamo_bench.predictions import ClassPredictions, Floats, Predictions, Scoring, take
from seamo_bench.scores.distributions import mcnemar_exact, t_cdf, t_quantile, wilson
from seamo_bench.scores.measures.classification import top_k_hits
from seamo_bench.scores.metric import Metric
from seamo_bench.scores.metrics import metric
from seamo_bench.scores.replicates import RESAMPLES, Replicates, check_paired, replicate

LEVEL = 0.95
_SHARE_POWER = 1.25
# Measured: mIoU of 3 classes over scenes that differ (2,000 simulations each); units -> share of intervals that held.
FEW_COVERAGE: Mapping[int, float] = {3: 0.95, 5: 0.96, 10: 0.94, 15: 0.95, 20: 0.95}


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """An estimate and what is known of its error.

    Args:
        value: The estimate.
        error: Its standard error; NaN where none can be had (`note` says why).
        df: Degrees of freedom of `error`.
        shared: (R,) parts of the error that all scores on these samples share: the sum of their squares is its
            variance, and of products with another sampling's, their covariance.
        own: Standard error of what is the runs' own.
        samples: Digest of the samples: samplings with equal digests go together.
        method: In words.
        num_units: Independent units behind it.
        unit: `samples`, `scenes` or `folds`.
        num_seeds: Runs averaged (of the smaller group).
        spread: Sd over folds (folds) or over runs; None with one run.
        note: What the reader must know.
        successes: Right answers, set for a share of samples: with an error of 0 the interval is Wilson's.
        bounds: Smallest and largest possible value; None for a difference.
        has_gaps: Whether a replicate is undefined: what the score is of lies in few of the units.
    """

    value: float
    error: float
    df: float
    shared: Floats
    own: float
    samples: str
    method: str
    num_units: int
    unit: str
    num_seeds: int
    spread: float | None = None
    note: str = ""
    successes: float | None = None
    bounds: tuple[float, float] | None = None
    has_gaps: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval; `low` and `high` are None where none can be had (`note` says why)."""

    value: float
    low: float | None
    high: float | None
    level: float
    method: str
    num_units: int
    unit: str
    num_seeds: int
    spread: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Difference:
    """a - b with its interval and two-sided p value, before correction for many comparisons."""

    interval: Interval
    p: float | None
    test: str


def sampling(
    runs: Sequence[Predictions],
    name: str,
    scoring: Scoring,
    *,
    parents: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Sampling:
    """What is known of the mean score of runs that differ only in their seed.

    Args:
        runs: Predictions of the same samples, one a run.
        name: Metric.
        scoring: The task.
        parents: The pretraining run each belongs to. Runs of one parent are averaged first, and the seed
            level is that of the parents. Empty: every run is its own.
        resamples: Of the bootstrap.
        seed: Of the resamples.

    Raises:
        ProtocolError: If the runs do not hold the same samples with the same labels.
    """
    return mean_of([replicate(run, name, scoring, resamples=resamples, seed=seed) for run in runs], parents=parents)


def mean_of(runs: Sequence[Replicates], *, parents: Sequence[str] = (), definition: Metric | None = None) -> Sampling:
    """`sampling` from replicates; `definition`: of a metric that is in no list."""
    made = _combine([runs], [1.0], [parents])
    named = definition or metric(runs[0].metric)
    # Shares of samples may have Wilson's interval; so may units that hold samples, where all are right, or none. Folds
    # share their training samples and are no draws of anything.
    is_counted = made.unit == "samples" or (made.unit != "folds" and made.value in (0.0, 1.0))
    right = made.value * made.num_units if named.hits and is_counted else None
    return replace(made, bounds=named.bounds, successes=right)


def number_of(
    runs: Sequence[Replicates], *, parents: Sequence[str] = (), bounds: tuple[float, float] | None = None
) -> Sampling:
    """Mean over runs of a number that is no metric, from `replicate_mean`.

    Args:
        runs: One a run, on the same samples.
        parents: As in `sampling`.
        bounds: Its smallest and largest possible value; None: it is a difference. Of a share that is nought or all the
            interval is Wilson's over the units.
    """
    made = replace(_combine([runs], [1.0], [parents]), bounds=bounds)
    sure = bounds == (0.0, 1.0) and made.value in (0.0, 1.0)
    return replace(made, successes=made.value * made.num_units) if sure else made


def difference_of(
    a: Sequence[Replicates], b: Sequence[Replicates], *, parents: tuple[Sequence[str], Sequence[str]] = ((), ())
) -> Sampling:
    """Mean score of runs `a` minus that of runs `b`: what is hard for both cancels, the runs' own parts add up."""
    return _combine([a, b], [1.0, -1.0], parents)


def interval(known: Sampling, *, level: float = LEVEL) -> Interval:
    """The central interval of a sampling: Student's t on the scale where the metric has no bounds."""
    low: float | None = None
    high: float | None = None
    note = known.note
    if known.error > 0:
        half = t_quantile((1 + level) / 2, known.df) * known.error
        low, high = _ends(known.value, half, known.bounds)
    elif known.error == 0 and known.successes is not None:
        # All right or all wrong: no resample can show the next mistake.
        low, high = wilson(known.successes, known.num_units, level)
        known = replace(known, method=f"Wilson over {known.num_units:,} {known.unit}")
    elif known.error == 0 and known.bounds is None and known.value == 0:
        low = high = 0.0  # the same predictions on both sides
    elif known.error == 0:
        note = "; ".join(part for part in (note, "every resample gives the same value: no interval") if part)
    return Interval(
        known.value,
        low,
        high,
        level,
        known.method,
        known.num_units,
        known.unit,
        known.num_seeds,
        known.spread,
        note,
    )


def _ends(value: float, half: float, bounds: tuple[float, float] | None) -> tuple[float, float]:
    """Value +- half on the scale of the metric, logit(value) +- half / slope between bounds, log with one bound."""
    if bounds is None or not bounds[0] < value < bounds[1]:
        ends = np.array([value - half, value + half])
        low, high = ends if bounds is None else np.clip(ends, *bounds)
        return float(low), float(high)
    if math.isinf(bounds[1]):
        factor = math.exp(half / (value - bounds[0]))
        return bounds[0] + (value - bounds[0]) / factor, bounds[0] + (value - bounds[0]) * factor
    width = bounds[1] - bounds[0]
    share = (value - bounds[0]) / width
    centre, step = math.log(share / (1 - share)), half / width / (share * (1 - share))
    low, high = (0.5 * (1 + math.tanh((centre + sign * step) / 2)) for sign in (-1, 1))
    return bounds[0] + width * low, bounds[0] + width * high


def finite_or_none(value: float | None) -> float | None:
    """A number as answers keep it, which are JSON: None where it is undefined or without end."""
    return value if value is not None and math.isfinite(value) else None


def paired_difference(
    a: Sequence[Replicates],
    b: Sequence[Replicates],
    first_runs: Callable[[], tuple[Predictions, Predictions]],
    *,
    parents: tuple[Sequence[str], Sequence[str]] = ((), ()),
    level: float = LEVEL,
) -> Difference:
    """Mean score of runs `a` minus that of runs `b` on the same samples.

    With one run each, top-1 and samples as units, p is the exact McNemar test's; else the t test's.

    Args:
        a: Replicates of the one cell's runs.
        b: Of the other's, under the same metric.
        first_runs: The predictions of the first run of each; asked for by McNemar's test alone.
        parents: The pretraining run of each run of `a` and of `b`; empty: each its own.
        level: Of the interval.

    Raises:
        ProtocolError: If the samples or labels differ.
    """
    known = difference_of(a, b, parents=parents)
    if is_mcnemar(a, b):
        return Difference(interval(known, level=level), mcnemar(*first_runs()), "exact McNemar")
    return by_t_test(known, level=level)


def by_t_test(known: Sampling, *, level: float) -> Difference:
    """A difference with the p value of its t test."""
    p = p_value(known)
    how = f"t test, {known.df:.0f} degrees of freedom"
    if p is None:
        how = "no test: there is no error to measure with"
    elif known.error == 0 and known.value != 0:
        how = f"sign test: all {known.num_units:,} {known.unit} say the same"
    return Difference(interval(known, level=level), p, how)


def is_mcnemar(a: Sequence[Replicates], b: Sequence[Replicates]) -> bool:
    """Whether McNemar's exact test applies: top-1 of one run each over single samples."""
    return len(a) == len(b) == 1 and a[0].metric == "top1" and a[0].unit == "samples"


def mcnemar(a: Predictions, b: Predictions) -> float:
    """P value of the exact McNemar test of two runs on the same samples.

    Raises:
        ProtocolError: If they are of masks.
    """
    right = []
    for run in (a, b):
        ordered = take(run, np.argsort(run.keys, kind="stable"))
        if not isinstance(ordered, ClassPredictions):
            raise ProtocolError("McNemar's test is for class predictions", where="predictions")
        right.append(top_k_hits(ordered.scores, ordered.labels, 1) > 0)
    return mcnemar_exact(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))


def p_value(known: Sampling) -> float | None:
    """Two-sided p of "the truth is 0" by Student's t; None where there is no error to measure with.

    Where every resample gives the same difference, t has nothing to divide by; it is the surest difference of all, not
    an unknown one. Each unit says the same then, and p is the sign test's: 2 of the 2^U ways in which U coins fall.
    """
    if known.error > 0:
        return min(1.0, 2 * t_cdf(-abs(known.value) / known.error, known.df))
    if known.error != 0 or (known.value != 0 and known.has_gaps):
        return None
    return 1.0 if known.value == 0 else 2.0 ** (1 - known.num_units)


# The two parts of the error ------------------------------------------------------------------------------


def _combine(
    groups: Sequence[Sequence[Replicates]], signs: Sequence[float], parents: Sequence[Sequence[str]]
) -> Sampling:
    """Sum over groups of sign x mean over parents of the mean over their runs."""
    if any(len(group) == 0 for group in groups):
        raise ProtocolError("there is no run to take an interval of")
    flat = [run for group in groups for run in group]
    check_paired(flat)
    first = flat[0]
    mixes = [_mix(group, given) for group, given in zip(groups, parents, strict=True)]
    scores = [np.array([run.value for run in group]) @ mix for group, mix in zip(groups, mixes, strict=True)]
    value = float(sum(sign * one.mean() for sign, one in zip(signs, scores, strict=True)))
    counts = [len(one) for one in scores]
    spread = float(np.std(scores[0], ddof=1)) if len(groups) == 1 and counts[0] > 1 else None
    made = Sampling(
        value, math.nan, math.inf, np.empty(0), 0.0, first.samples, "none", first.num_units, first.unit, min(counts)
    )
    note, used = _usable(flat)
    if not used.any() or math.isnan(value):
        return replace(made, note=note, spread=spread)
    # (R, parents) centred and scaled: sums of products over R are covariances.
    parts = [_scaled(group, used) @ mix for group, mix in zip(groups, mixes, strict=True)]
    together = np.asarray(sum(sign * part.mean(axis=1) for sign, part in zip(signs, parts, strict=True)))
    whole = float(together @ together)
    own, noise = [], 0.0
    for score, part in zip(scores, parts, strict=True):
        if len(score) > 1:
            own.append((float(np.var(score, ddof=1)) / len(score), len(score) - 1))
            # What the samples do to single runs is in the spread of their scores: it is not counted twice.
            noise += float(((part - part.mean(axis=1, keepdims=True)) ** 2).sum()) / (len(score) - 1) / len(score)
    shared, runs = max(0.0, whole - noise), sum(variance for variance, _ in own)
    if first.kind == "folds" and len(groups) == 1:
        spread = float(np.std(np.mean([run.values for run in flat], axis=0), ddof=1))
    return replace(
        made,
        error=math.sqrt(shared + runs),
        df=_degrees(shared, first.num_units - 1, own),
        shared=together * math.sqrt(shared / whole) if whole > 0 else together,
        own=math.sqrt(runs),
        method=_method(first, counts),
        spread=spread,
        note="; ".join(part for part in (note, _about_seeds(first, counts)) if part),
        has_gaps=not used.all(),
    )


def _mix(group: Sequence[Replicates], parents: Sequence[str]) -> Any:
    """(runs, parents): each column averages the runs of one parent."""
    names = list(parents) or [str(i) for i in range(len(group))]
    if len(names) != len(group):
        raise ProtocolError(f"{len(names)} parents for {len(group)} runs")
    code = np.unique(names, return_inverse=True)[1]
    return np.eye(int(code.max()) + 1)[code] / np.bincount(code)[code][:, None]


def _usable(runs: Sequence[Replicates]) -> tuple[str, Any]:
    """What there is to say about the replicates, and (R,) which of them are defined for all runs."""
    first = runs[0]
    used = ~np.isnan(np.sum([run.values for run in runs], axis=0))
    undefined = int((~used).sum())
    if first.kind == "none":
        return f"one of {first.unit} alone: no interval", used
    if first.kind == "bootstrap" and 2 * undefined <= len(used):
        return f"{undefined} of {len(used):,} resamples undefined, left out" if undefined else "", used
    if undefined:
        one = f"without one of {first.num_units} {first.unit}"
        place = {"jackknife": one, "folds": "in a fold", "bootstrap": "in most resamples"}[first.kind]
        return f"undefined {place}: no interval", np.zeros_like(used)
    if first.kind == "jackknife":
        reached = [coverage for size, coverage in sorted(FEW_COVERAGE.items()) if size <= first.num_units]
        words = [f"only {first.num_units} {first.unit}"]
        if reached:
            words.append(f"95 % intervals of this kind reached {100 * reached[-1]:.0f} % in simulation")
        return "; ".join(words), used
    return "", used


def _scaled(group: Sequence[Replicates], used: Any) -> Any:
    """(R, runs) centred replicates times the root of their factor; 0 where a replicate is undefined."""
    table = np.stack([np.where(used, run.values, 0.0) for run in group], axis=1)
    table = (table - table[used].mean(axis=0)) * used[:, None]
    return table * math.sqrt(group[0].factor * len(used) / used.sum())


def _degrees(shared: float, units: int, own: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom: 1 / df = share of the samples' part / its df + (share of the runs' part)^1.25 / its df.

    The runs' part of two groups has Welch's (1947). Satterthwaite (1946) squares the shares, which is too bold with
    few runs (3 runs: 92 % where seeds dominate) because a small variance also looks well known; the plain share is too
    timid (up to 97 %). `_SHARE_POWER` is between, set by simulation (docs/statistics.md).
    """
    runs = sum(variance for variance, _ in own)
    total = shared + runs
    if total == 0:
        return math.inf
    inverse = shared / total / units
    if runs > 0:
        known = [df for _, df in own]
        welch = 1 / sum((variance / runs) ** 2 / (df + 2) for variance, df in own) - 2
        inverse += (runs / total) ** _SHARE_POWER / min(sum(known), max(min(known), welch))
    return 1 / inverse


def _method(first: Replicates, counts: Sequence[int]) -> str:
    many = f"{first.num_units:,} {first.unit}"
    words = {
        "bootstrap": f"bootstrap over {many}, t",
        "jackknife": f"jackknife over {many}, t",
        "folds": f"{first.num_units} folds ({first.num_units // max(first.folds, 1)} x {first.folds}), "
        "corrected resampled t (Nadeau and Bengio 2003)",
        "none": "none",
    }[first.kind]
    if max(counts) > 1:
        words += ", nested with " + " and ".join(str(count) for count in counts) + " seeds"
    return words


def _about_seeds(first: Replicates, counts: Sequence[int]) -> str:
    if min(counts) == 1 and first.kind != "folds":
        return "one seed: the spread over seeds is not in the interval"
    return "two seeds: an interval can reach as little as 90 %" if min(counts) == 2 else ""
