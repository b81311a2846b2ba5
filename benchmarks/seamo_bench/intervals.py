"""How sure a score is: bootstrap over units nested with seeds, few scenes, repeated folds, differences, aggregates.

One idea for all of them: a `Sampling` holds an estimate and draws of where the truth may lie; an interval is
two percentiles of the draws, a difference is a `Sampling` of its own, an aggregate is computed draw by draw.

* Units. Samples, or scenes / spatial blocks where they are known (chips of one scene are not independent).
  Each draw gives every unit a multinomial weight and recomputes the metric under these weights: exact for
  mIoU, whose confusion counts are kept per tile.
* Many samples (over `MANY`): the standard error from 200 resamples and normal draws.
* Few units (under `FEW`): delete-one-unit jackknife and Student's t. `FEW_COVERAGE` says what it reaches.
* Seeds. With S runs the score is their mean; draws get an independent t(S - 1) term with the standard error of
  the mean over runs. Runs share the test samples, so part of their spread is disagreement on samples, which the
  units' level holds already; that part, estimated by resampling, is taken out of the seeds' variance. With 3
  runs the 95 % intervals reached 92.7-95.3 % (300 simulations a case). One run: seeds are not in the interval, and
  it says so.
* Folds. Nadeau and Bengio 2003 ("Inference for the generalization error", Machine Learning 52): the variance
  over k folds is multiplied by 1/k + n_test/n_train, because training sets overlap; with repeated folds as in
  Bouckaert and Frank 2004.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo_bench.distributions import mcnemar_exact, t_grid, t_quantile, wilson
from seamo_bench.measures import top_k_hits
from seamo_bench.metrics import compute, metric
from seamo_bench.predictions import ClassPredictions, Predictions, Scoring, TilePredictions, fold_parts, take

Floats = NDArray[np.floating[Any]]
LEVEL = 0.95
RESAMPLES = 2000
MANY = 20_000  # samples from which a normal shape replaces the percentiles
MANY_RESAMPLES = 200
FEW = 30  # units under which the bootstrap's intervals are too short
# Measured: mIoU of 4 classes over scenes that differ (2,000 simulations each); units -> share of intervals that held.
FEW_COVERAGE: Mapping[int, float] = {3: 0.94, 5: 0.93, 10: 0.95, 15: 0.94, 20: 0.95}
_BLOCK = 16_000_000  # weights held at once (128 MB)


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """An estimate and what is known of its error.

    Args:
        value: The estimate.
        draws: (R,) plausible values.
        method: In words.
        num_units: Independent units behind it.
        unit: `samples`, `scenes` or `folds`.
        num_seeds: Runs averaged.
        spread: Sd over folds (folds) or over seeds; None with one run.
        note: What the reader must know.
        successes: Set for a share of samples whose draws are all equal: the interval is Wilson's.
        bounds: Smallest and largest possible value; None for a difference or an aggregate.
    """

    value: float
    draws: Floats
    method: str
    num_units: int
    unit: str
    num_seeds: int
    spread: float | None = None
    note: str = ""
    successes: float | None = None
    bounds: tuple[float, float] | None = None


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
        resamples: Number of draws.
        seed: Of the draws; runs on the same units get the same weights.

    Raises:
        ProtocolError: If the runs do not hold the same samples with the same labels.
    """
    drawn = _sampling([runs], [1.0], [parents], name, scoring, resamples, seed)
    return replace(drawn, bounds=metric(name).bounds)


def interval(draws: Sampling, *, level: float = LEVEL) -> Interval:
    """The central interval of a sampling, cut at the bounds of the metric (no possible value is lost)."""
    low: float | None
    high: float | None
    if not len(draws.draws) or math.isnan(draws.value):
        low = high = None
    elif draws.successes is not None:
        low, high = wilson(draws.successes, draws.num_units, level)
    else:
        ends = np.quantile(draws.draws, [(1 - level) / 2, (1 + level) / 2])
        low, high = (float(one) for one in (ends if draws.bounds is None else np.clip(ends, *draws.bounds)))
    return Interval(
        draws.value,
        low,
        high,
        level,
        draws.method,
        draws.num_units,
        draws.unit,
        draws.num_seeds,
        draws.spread,
        draws.note,
    )


def paired_difference(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    name: str,
    scoring: Scoring,
    *,
    parents: tuple[Sequence[str], Sequence[str]] = ((), ()),
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Mean score of runs `a` minus that of runs `b` on the same samples.

    Both get the same weights in each draw, so what is hard for both cancels; the runs' seeds are
    independent levels. With one run each, top-1 and samples as units, p is the exact McNemar test's.

    Raises:
        ProtocolError: If the samples or labels differ.
    """
    both = _sampling([a, b], [1.0, -1.0], parents, name, scoring, resamples, seed)
    if len(a) == len(b) == 1 and name == "top1" and both.unit == "samples":
        first, second = _aligned([a[0], b[0]])
        assert isinstance(first, ClassPredictions)  # noqa: S101 - top1 is defined for nothing else
        assert isinstance(second, ClassPredictions)  # noqa: S101
        right = [top_k_hits(one.scores, one.labels, 1) > 0 for one in (first, second)]
        p = mcnemar_exact(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
        return Difference(interval(both, level=level), p, "exact McNemar")
    return Difference(interval(both, level=level), p_value(both), both.method)


def p_value(draws: Sampling) -> float | None:
    """Two-sided p of "the truth is 0": twice the smaller share of draws on either side, never 0."""
    count = len(draws.draws)
    if count == 0 or math.isnan(draws.value):
        return None
    below, above = int((draws.draws <= 0).sum()), int((draws.draws >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (count + 1))


# How the draws are made ----------------------------------------------------------------------------------


def _sampling(
    groups: Sequence[Sequence[Predictions]],
    signs: Sequence[float],
    parents: Sequence[Sequence[str]],
    name: str,
    scoring: Scoring,
    resamples: int,
    seed: int,
) -> Sampling:
    """Sum over groups of sign x mean over parents of the mean over their runs."""
    if any(len(group) == 0 for group in groups):
        raise ProtocolError("there is no run to take an interval of")
    codes = [_codes(group, given) for group, given in zip(groups, parents, strict=True)]
    shares = [1 / (np.bincount(code)[code] * (code.max() + 1)) for code in codes]
    if _folded(groups[0][0]):
        base, flat_values = _over_folds(groups, signs, shares, name, scoring, resamples, seed)
    else:
        flat = _aligned([run for group in groups for run in group])
        mix = np.concatenate([sign * share for share, sign in zip(shares, signs, strict=True)])
        flat_values = np.array([compute(name, run, scoring)[0] for run in flat])
        base = _over_units(flat, mix, name, scoring, resamples, np.random.default_rng(seed))
    values = np.split(flat_values, np.cumsum([len(group) for group in groups])[:-1])
    means = [np.bincount(code, one) / np.bincount(code) for code, one in zip(codes, values, strict=True)]
    noise = [
        0.0 if base.unit == "folds" else _sample_noise(group, code, name, scoring, seed)
        for group, code in zip(groups, codes, strict=True)
    ]
    return _with_seeds(base, means, noise, _own_rng(seed, flat_values))


def _sample_noise(group: Sequence[Predictions], code: Any, name: str, scoring: Scoring, seed: int) -> float:
    """Variance between parents that comes from the draw of test samples: where they disagree, sample by sample."""
    count = int(code.max()) + 1
    if count == 1:
        return 0.0
    flat = _aligned(group)
    units, _ = _units(flat[0])
    mix = np.eye(count)[code] / np.bincount(code)[code][:, None]

    def each(weights: Floats) -> Floats:
        return np.asarray(np.stack([compute(name, run, scoring, weights) for run in flat], axis=1) @ mix)

    drawn = _resampled(each, units, int(units.max()) + 1, MANY_RESAMPLES, np.random.default_rng(seed))
    drawn = drawn - drawn.mean(axis=1, keepdims=True)
    return float(np.nanvar(drawn, axis=0, ddof=1).sum() / (count - 1))


def _codes(group: Sequence[Predictions], parents: Sequence[str]) -> Any:
    names = list(parents) or [str(i) for i in range(len(group))]
    if len(names) != len(group):
        raise ProtocolError(f"{len(names)} parents for {len(group)} runs")
    return np.unique(names, return_inverse=True)[1]


def _own_rng(seed: int, values: Floats) -> np.random.Generator:
    """Draws that two backbones do not share, unlike the weights of their samples."""
    return np.random.default_rng([seed, zlib.crc32(np.round(values, 9).tobytes())])


def _over_units(
    runs: Sequence[Predictions], mix: Floats, name: str, scoring: Scoring, resamples: int, rng: np.random.Generator
) -> Sampling:
    codes, unit = _units(runs[0])
    num_units = int(codes.max()) + 1
    n = len(codes)

    def mixed(weights: Floats) -> Floats:
        return np.stack([compute(name, run, scoring, weights) for run in runs], axis=1) @ mix

    value = float(mixed(np.ones((1, n)))[0])
    result = Sampling(value, np.empty(0), "none", num_units, unit, 0)
    if num_units == 1:
        return replace(result, note=f"one of {unit} alone: no interval")
    if unit != "samples" and num_units < FEW:
        return _jackknife(result, mixed, codes, resamples, rng)
    many = n > MANY
    drawn = _resampled(mixed, codes, num_units, MANY_RESAMPLES if many else resamples, rng)
    drawn = drawn[~np.isnan(drawn)]
    # A resample spreads too little by the factor (U - 1) / U, and t replaces the normal: Hesterberg 2015, "What
    # teachers should know about the bootstrap", section 3.3 (expanded percentile interval). 1 for many units.
    stretch = t_quantile(0.975, num_units - 1) / t_quantile(0.975, math.inf) * math.sqrt(num_units / (num_units - 1))
    drawn = value + stretch * (drawn - value)
    method = f"bootstrap over {num_units:,} {unit}"
    if many:
        drawn = value + np.std(drawn, ddof=1) * rng.permutation(t_grid(math.inf, resamples))
        method += " (normal shape)"
    result = replace(result, draws=drawn, method=method)
    if len(runs) == 1 and name in ("top1", "top5") and len(drawn) and np.ptp(drawn) == 0:
        # All right or all wrong: resampling cannot see the next mistake.
        return replace(result, successes=value * num_units, method=f"Wilson over {num_units:,} {unit}")
    return result


def _resampled(mixed: Any, codes: Any, num_units: int, resamples: int, rng: np.random.Generator) -> Floats:
    """(R,) values under multinomial unit weights, a block of draws at a time."""
    step = max(1, min(resamples, _BLOCK // max(len(codes), 1) // 8))
    parts = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        hits = rng.integers(0, num_units, (count, num_units)) + num_units * np.arange(count)[:, None]
        weights = np.bincount(hits.ravel(), minlength=count * num_units).reshape(count, num_units)
        parts.append(mixed(weights[:, codes].astype(np.float64)))
    return np.concatenate(parts)


def _jackknife(base: Sampling, mixed: Any, codes: Any, resamples: int, rng: np.random.Generator) -> Sampling:
    """Delete one unit at a time: variance (U-1)/U x sum of squares (Tukey), Student's t with U - 1."""
    u = base.num_units
    without = mixed((codes[None, :] != np.arange(u)[:, None]).astype(np.float64))
    if np.isnan(without).any():
        return replace(base, note=f"undefined without one of {u} {base.unit}: no interval")
    error = math.sqrt((u - 1) / u * float(((without - without.mean()) ** 2).sum()))
    reached = [coverage for size, coverage in sorted(FEW_COVERAGE.items()) if size <= u]
    note = f"only {u} {base.unit}"
    if reached:
        note += f"; 95 % intervals of this kind reached {100 * reached[-1]:.0f} % in simulation"
    draws = base.value + error * rng.permutation(t_grid(u - 1, resamples))
    return replace(base, draws=draws, method=f"jackknife over {u} {base.unit}, t", note=note)


def _with_seeds(base: Sampling, groups: Sequence[Floats], noise: Sequence[float], rng: np.random.Generator) -> Sampling:
    """Add the seeds' level: t(S - 1) with the standard error of the mean over runs, group by group."""
    counts = [len(values) for values in groups]
    spread = base.spread
    if spread is None and len(groups) == 1 and counts[0] > 1:
        spread = float(np.std(groups[0], ddof=1))
    draws, methods = base.draws, [base.method]
    for values, shared in zip(groups, noise, strict=True):
        if len(values) > 1 and len(draws):
            # The samples' level holds the disagreement already; only the rest is the seeds' own.
            error = math.sqrt(max(0.0, float(np.var(values, ddof=1)) - shared) / len(values))
            grid = t_grid(len(values) - 1, len(draws))
            draws = draws + error * rng.permutation(grid)
    note = base.note
    if min(counts) == 1 and base.unit != "folds":
        note = "; ".join(part for part in (note, "one seed: the spread over seeds is not in the interval") if part)
    if max(counts) > 1:
        methods.append("nested with " + " and ".join(str(count) for count in counts) + " seeds")
    successes = None if max(counts) > 1 else base.successes
    return replace(
        base,
        draws=draws,
        method=", ".join(methods),
        num_seeds=min(counts),
        spread=spread,
        note=note,
        successes=successes,
    )


def fold_values(run: Predictions, name: str, scoring: Scoring) -> Floats:
    """(k,) score of each (repeat, fold) of one run."""
    if not isinstance(run, ClassPredictions) or not _folded(run):
        raise ProtocolError("has no folds, the other runs have", where="predictions")
    return np.array([compute(name, part, scoring)[0] for part in fold_parts(run)])


def _over_folds(
    groups: Sequence[Sequence[Predictions]],
    signs: Sequence[float],
    shares: Sequence[Floats],
    name: str,
    scoring: Scoring,
    resamples: int,
    seed: int,
) -> tuple[Sampling, Floats]:
    """The sampling over folds, and the mean of each run."""
    runs = [run for group in groups for run in group]
    table = np.stack([fold_values(run, name, scoring) for run in runs])
    folds = _num_folds(runs)
    mix = np.concatenate([sign * share for share, sign in zip(shares, signs, strict=True)])
    values = mix @ table
    k, sd, mean = len(values), float(np.std(values, ddof=1)), float(np.mean(values))
    error = sd * math.sqrt(1 / k + 1 / (folds - 1))  # n_test / n_train = (1 / folds) / (1 - 1 / folds)
    draws = mean + error * _own_rng(seed, values).permutation(t_grid(k - 1, resamples))
    method = f"{k} folds ({k // folds} x {folds}), corrected resampled t (Nadeau and Bengio 2003)"
    return Sampling(mean, draws, method, k, "folds", 0, spread=sd), table.mean(axis=1)


def _folded(run: Predictions) -> bool:
    return isinstance(run, ClassPredictions) and len(run.folds) > 0


def _num_folds(runs: Sequence[Predictions]) -> int:
    """Folds a repeat, the same samples in each of them for every run."""
    contents = []
    for run in runs:
        if not isinstance(run, ClassPredictions):
            raise ProtocolError("runs of two kinds of task cannot be compared", where="predictions")
        order = np.lexsort((run.keys, run.folds, run.repeats))
        contents.append((run.repeats[order], run.folds[order], run.keys[order], run.labels[order]))
    for content in contents[1:]:
        if not all(np.array_equal(a, b) for a, b in zip(contents[0], content, strict=True)):
            raise ProtocolError("the runs' folds do not hold the same samples and labels", where="predictions")
    return len(np.unique(contents[0][1]))


def _aligned(runs: Sequence[Predictions]) -> list[Predictions]:
    """The runs with their samples in the order of keys, refused unless keys and labels are the same."""
    ordered = [take(run, np.argsort(run.keys, kind="stable")) for run in runs]
    first = ordered[0]
    for run in ordered[1:]:
        if not np.array_equal(first.keys, run.keys):
            raise ProtocolError("the runs were not tested on the same samples", where="predictions")
        if isinstance(first, ClassPredictions) != isinstance(run, ClassPredictions):
            raise ProtocolError("runs of two kinds of task cannot be compared", where="predictions")
        if isinstance(first, ClassPredictions) and isinstance(run, ClassPredictions):
            same = np.array_equal(first.labels, run.labels)
        else:
            same = np.array_equal(_truth(first), _truth(run))
        if not same:
            raise ProtocolError("the runs were not scored against the same labels", where="predictions")
    return ordered


def _truth(run: Any) -> Any:
    return run.confusion.sum(axis=2)


def _units(run: Predictions) -> tuple[Any, str]:
    n = len(run.keys)
    # Stitched scenes are images and units at once; samples that each have a scene of their own are samples.
    if len(run.units) and (isinstance(run, TilePredictions) or len(np.unique(run.units)) < n):
        return np.unique(run.units, return_inverse=True)[1], "scenes"
    return np.arange(n), "samples"


# Over tasks ----------------------------------------------------------------------------------------------

RANGES_VERSION = "chance-to-one, version 1"


def score_range(name: str, num_classes: int) -> tuple[float, float]:
    """What 0 and 1 of a normalised score are: chance and perfection, frozen under `RANGES_VERSION`.

    Chance of top-k is k / K; of precision, IoU and F1 measures 0 is taken (their chance depends on the
    class frequencies).
    """
    if not metric(name).higher_is_better:
        raise ProtocolError(f"{name} is an error, it has no range to normalise to")
    k = {"top1": 1, "top5": 5, "balanced_accuracy": 1}.get(name, 0)
    if num_classes <= k:
        return 0.0, 1.0
    return k / num_classes, 1.0


def interquartile_mean(values: Floats) -> Floats:
    """Mean of the middle half along the last axis; a value cut by a quartile counts by its part."""
    ordered = np.sort(values, axis=-1)
    n = values.shape[-1]
    edges = np.arange(n + 1) / n
    part = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return np.asarray(ordered @ part / 0.5)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One backbone over all tasks that every backbone compared has."""

    iqm: Interval
    mean_rank: Interval
    tasks: tuple[str, ...]


def aggregate(
    tasks: Mapping[str, Mapping[str, Sampling]], ranges: Mapping[str, tuple[float, float]], *, level: float = LEVEL
) -> dict[str, Aggregate]:
    """Interquartile mean of normalised scores, and mean rank, with intervals, draw by draw.

    Args:
        tasks: Task -> backbone -> sampling (of a higher-is-better metric).
        ranges: Task -> `score_range`.
        level: Of the intervals.

    Returns:
        Backbone -> aggregate, over the tasks that all backbones have with an interval. Empty if there is none.
    """
    names = sorted({backbone for row in tasks.values() for backbone in row})
    shared = [task for task, row in tasks.items() if all(name in row and len(row[name].draws) for name in names)]
    if not shared or not names:
        return {}
    count = min(len(tasks[task][name].draws) for task in shared for name in names)
    scores = np.empty((count + 1, len(names), len(shared)))  # row 0: the estimates
    for j, task in enumerate(shared):
        low, high = ranges[task]
        for i, name in enumerate(names):
            known = tasks[task][name]
            scores[:, i, j] = (np.append(known.value, known.draws[:count]) - low) / (high - low)
    better = (scores[:, None, :, :] > scores[:, :, None, :]).sum(axis=2)
    tied = (scores[:, None, :, :] == scores[:, :, None, :]).sum(axis=2)
    ranks = (better + (tied + 1) / 2).mean(axis=-1)
    iqm = interquartile_mean(scores)
    method = f"over {len(shared)} tasks, draw by draw; {RANGES_VERSION}"

    def summary(column: Floats) -> Interval:
        return interval(Sampling(float(column[0]), column[1:], method, len(shared), "tasks", 0), level=level)

    return {name: Aggregate(summary(iqm[:, i]), summary(ranks[:, i]), tuple(shared)) for i, name in enumerate(names)}
