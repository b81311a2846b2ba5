"""What one run scores under replicate weights: the raw material of every interval, made once a run. Numpy only.

A replicate is the score with other weights on the units: a bootstrap resample, one unit left out, or one fold. The
variance of a score, and the covariance of two runs tested on the same samples, are sums of products of centred
replicates times `factor` (replicate weights: Wolter 2007, "Introduction to Variance Estimation", chapters 3-5).

* Units. Samples, or scenes / spatial blocks where they are known (chips of one scene are not independent).
* Bootstrap: multinomial weights, the metric recomputed under each; exact for mIoU, whose confusion counts are kept
  per image, and for average precision, whose ranking is sorted once.
* Few units (under `FEW`): delete-one-unit jackknife (Tukey 1958).
* Folds: Nadeau and Bengio 2003 ("Inference for the generalization error", Machine Learning 52): the variance over k
  folds is multiplied by 1/k + n_test/n_train, because training sets overlap; with repeated folds as in Bouckaert
  and Frank 2004.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo_bench.predictions import ClassPredictions, Floats, Ints, Predictions, Scoring, Strings, fold_parts, take
from seamo_bench.scores.metric import Weighted
from seamo_bench.scores.metrics import compute, mean_of_folds, prepare

# A standard error needs 50 to 200 resamples (Efron and Tibshirani 1993, section 6.4); 1,000 leave 2 % of noise in it.
RESAMPLES = 1000
MANY = 20_000  # samples from which 200 resamples (5 % of noise) have to do
MANY_RESAMPLES = 200
FEW = 30  # units under which the jackknife replaces the bootstrap
VERSION = 1  # of this file's numbers: part of the name under which replicates are cached
_BLOCK = 4_000_000  # weights held at once (32 MB)
_KEPT = 32_000_000  # draws kept for the next run, a byte each
Kind = Literal["bootstrap", "jackknife", "folds", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """One run under replicate weights.

    Args:
        value: The score.
        values: (R,) replicates; NaN where undefined.
        kind: How they were made; `none`: a single unit.
        metric: Name.
        num_samples: Test samples, each once.
        num_units: Independent units, or folds in all.
        unit: `samples`, `scenes` or `folds`.
        folds: Folds a repeat; 0 without.
        samples: Digest of keys, units and folds: equal digests share their weights.
        truth: Digest of the labels.
    """

    value: float
    values: Floats
    kind: Kind
    metric: str
    num_samples: int
    num_units: int
    unit: str
    folds: int
    samples: str
    truth: str

    @property
    def factor(self) -> float:
        """Variance = factor x sum of squared centred replicates."""
        count, units = len(self.values), self.num_units
        if self.kind == "bootstrap":
            return units / (units - 1) / (count - 1)  # a resample spreads too little by (U - 1) / U
        if self.kind == "jackknife":
            return (units - 1) / units
        return (1 / count + 1 / (self.folds - 1)) / (count - 1)  # n_test / n_train = (1 / folds) / (1 - 1 / folds)


def replicate(
    run: Predictions, name: str, scoring: Scoring, *, resamples: int = RESAMPLES, seed: int = 0
) -> Replicates:
    """Score one run under replicate weights.

    Args:
        run: Its predictions.
        name: Metric.
        scoring: The task.
        resamples: Number of bootstrap resamples (at most `MANY_RESAMPLES` for more than `MANY` samples).
        seed: Of the weights, with the samples themselves: runs on the same samples get the same weights, in any
            order of samples.
    """
    if is_folded(run):
        return _folds(run, name, scoring)
    return replicate_by(run, lambda part: prepare(name, part, scoring), name, resamples=resamples, seed=seed)


def replicate_by(
    run: Predictions,
    prepared: Callable[[Predictions], Weighted],
    name: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Replicates:
    """`replicate` for any number that weights on samples give, be it in the list of metrics or not.

    Args:
        run: Its predictions, not cross-validated.
        prepared: The run in the order of its keys -> weights (R, N) -> values (R,).
        name: Of the number.
        resamples: As in `replicate`.
        seed: As in `replicate`.

    Raises:
        ProtocolError: If the run was cross-validated: its folds are weighted, not its samples.
    """
    if is_folded(run):
        raise ProtocolError("is cross-validated, so weights on its samples say nothing", where="predictions")
    run = take(run, np.argsort(run.keys, kind="stable"))
    codes, unit = units_of(run)
    samples, truth = _digest(run.keys, codes), _digest(_truth(run))
    kind, value, values = _weighted(prepared(run), codes, samples, resamples=resamples, seed=seed)
    return Replicates(value, values, kind, name, len(codes), int(codes.max()) + 1, unit, 0, samples, truth)


def replicate_gap(
    run: Predictions,
    part: NDArray[np.bool_],
    name: str,
    scoring: Scoring,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Replicates:
    """Score of all samples minus the score of some of them, under replicate weights: both have the same ones.

    Args:
        run: Its predictions, not cross-validated.
        part: (N,) which samples are the part, in the order of the predictions.
        name: Metric.
        scoring: The task.
        resamples: As in `replicate`, whose weights these are.
        seed: Likewise.

    Raises:
        ProtocolError: If the run was cross-validated: a part of a fold is none of what the others were trained on.
    """
    kept = part[np.argsort(run.keys, kind="stable")].astype(np.float64)

    def prepared(ordered: Predictions) -> Weighted:
        weighted = prepare(name, ordered, scoring)
        return lambda weights: np.asarray(weighted(weights) - weighted(weights * kept))

    return replicate_by(run, prepared, name, resamples=resamples, seed=seed)


def replicate_mean(
    keys: Strings, numbers: Floats, units: Strings, name: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Replicates:
    """The mean of one number a sample under replicate weights, as `replicate` has it for metrics.

    Args:
        keys: (N,) what the numbers are of, each once.
        numbers: (N,) finite.
        units: (N,) the scene of each, which is resampled as a whole; empty: each stands for itself.
        name: Of the number.
        resamples: Of the bootstrap.
        seed: Of the weights, with the keys.
    """
    order = np.argsort(keys, kind="stable")
    ordered = numbers[order].astype(np.float64)
    several = len(units) > 0 and len(np.unique(units)) < len(keys)
    codes = np.unique(units[order], return_inverse=True)[1] if several else np.arange(len(keys))
    samples = _digest(keys[order], codes)

    def mean(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        return np.asarray(np.divide(weights @ ordered, total, out=np.full(len(weights), np.nan), where=total > 0))

    kind, value, values = _weighted(mean, codes, samples, resamples=resamples, seed=seed)
    unit = "scenes" if several else "samples"
    return Replicates(value, values, kind, name, len(codes), int(codes.max()) + 1, unit, 0, samples, "")


def _weighted(
    weighted: Weighted, codes: Ints, samples: str, *, resamples: int, seed: int
) -> tuple[Kind, float, Floats]:
    """How replicates are made of so many units; the value; the replicates.

    Args:
        weighted: (R, N) weights -> (R,) values.
        codes: (N,) unit of each sample.
        samples: Their digest.
        resamples: As `replicate`.
        seed: As `replicate`.
    """
    num_units, n = int(codes.max()) + 1, len(codes)
    value = float(weighted(np.ones((1, n)))[0])
    if num_units == 1:
        return "none", value, _nothing()
    if num_units < FEW:
        return "jackknife", value, weighted((codes[None, :] != np.arange(num_units)[:, None]).astype(np.float64))
    count = min(resamples, MANY_RESAMPLES) if n > MANY else resamples
    draw = _kept_draws if count * num_units <= _KEPT else _draws
    drawn = draw(seed, samples, num_units, count, max(1, _BLOCK // n))
    return "bootstrap", value, np.concatenate([weighted(block[:, codes].astype(np.float64)) for block in drawn])


def _nothing() -> Floats:
    return np.empty(0)


def _draws(seed: int, samples: str, num_units: int, count: int, step: int) -> Iterator[NDArray[Any]]:
    """(step, U) each: how often every unit is drawn in U draws with replacement, `count` times, in small integers."""
    rng = np.random.default_rng([seed, int(samples[:12], 16)])
    for start in range(0, count, step):
        rows = min(step, count - start)
        hits = rng.integers(0, num_units, (rows, num_units)) + num_units * np.arange(rows)[:, None]
        drawn = np.bincount(hits.ravel(), minlength=rows * num_units).reshape(rows, num_units)
        yield drawn.astype(np.min_scalar_type(int(drawn.max())))


@lru_cache(maxsize=1)
def _kept_draws(seed: int, samples: str, num_units: int, count: int, step: int) -> tuple[NDArray[Any], ...]:
    """The draws of the runs before, where this one was tested on the same samples: tables go column by column."""
    return tuple(_draws(seed, samples, num_units, count, step))


def is_folded(run: Predictions) -> bool:
    """Whether a run was cross-validated."""
    return isinstance(run, ClassPredictions) and len(run.folds) > 0


def fold_values(run: Predictions, name: str, scoring: Scoring) -> Floats:
    """(k,) score of each (repeat, fold) of one run.

    Raises:
        ProtocolError: If it was not cross-validated.
    """
    if not isinstance(run, ClassPredictions) or not is_folded(run):
        raise ProtocolError("has no folds, the other runs have", where="predictions")
    return np.array([compute(name, part, scoring)[0] for part in fold_parts(run)])


def _folds(run: Predictions, name: str, scoring: Scoring) -> Replicates:
    values = fold_values(run, name, scoring)
    assert isinstance(run, ClassPredictions)  # noqa: S101 - fold_values refuses everything else
    order = np.lexsort((run.keys, run.folds, run.repeats))
    samples = _digest(run.keys[order], run.folds[order], run.repeats[order])
    return Replicates(
        mean_of_folds(values),
        values,
        "folds",
        name,
        num_samples=len(np.unique(run.keys)),
        num_units=len(values),
        unit="folds",
        folds=len(np.unique(run.folds)),
        samples=samples,
        truth=_digest(run.labels[order]),
    )


def units_of(run: Predictions) -> tuple[Ints, str]:
    """(N,) unit number of each sample, and what a unit is."""
    n = len(run.keys)
    # Stitched scenes are images and units at once; samples that each have a scene of their own are samples.
    if len(run.units) and (not isinstance(run, ClassPredictions) or len(np.unique(run.units)) < n):
        return np.unique(run.units, return_inverse=True)[1], "scenes"
    return np.arange(n), "samples"


def _truth(run: Predictions) -> Any:
    return run.labels if isinstance(run, ClassPredictions) else run.confusion.sum(axis=2)


def _digest(*arrays: Any) -> str:
    """Sha256 of arrays' values, whatever their width."""
    known = hashlib.sha256()
    for array in arrays:
        plain = np.asarray(array)
        # Text of fixed width has its padding taken off by joining; counts are widened.
        data = "\n".join(plain.tolist()).encode() if plain.dtype.kind == "U" else plain.astype(np.int64).tobytes()
        known.update(f"{plain.shape}".encode() + data)
    return known.hexdigest()


def check_paired(runs: list[Replicates]) -> None:
    """Refuse runs that were not tested on the same samples with the same labels.

    Raises:
        ProtocolError: Saying which of the two differs.
    """
    first = runs[0]
    for run in runs[1:]:
        if (run.unit == "folds") != (first.unit == "folds"):
            raise ProtocolError("has no folds, the other runs have", where="predictions")
        if run.unit != first.unit and "blocks" in (run.unit, first.unit):
            units = f"some resample {first.unit} and others {run.unit}: not all predictions hold places"
            raise ProtocolError(units, "predictions", "Run those without places again, on a store that has them.")
        if run.samples != first.samples:
            what = "the runs' folds do not hold" if run.unit == "folds" else "the runs were not tested on"
            raise ProtocolError(f"{what} the same samples", where="predictions")
        if run.truth != first.truth:
            raise ProtocolError("the runs were not scored against the same labels", where="predictions")
        if run.metric != first.metric or len(run.values) != len(first.values):
            raise ProtocolError("replicates of two kinds cannot be compared", where="predictions")
