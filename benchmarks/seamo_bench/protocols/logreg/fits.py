"""Logistic regression: the linear probe's convex twin. Standardised features, the penalty chosen on validation.

The objective is that of scikit-learn's `LogisticRegression` on `StandardScaler` features: the mean log loss plus
|w|^2 / (2 C n), the bias free. It is minimised here because scikit-learn needs all samples in memory as float64; loss
and gradient are sums over samples, so blocks of them do, in float64. It is strictly convex and the tolerance tight, so
that the numbers depend neither on the blocks nor on who minimises.

How strong a penalty must be follows from the width and the noise of features: one C for all favours some backbones over
others. It is chosen on validation; in cross-validation, where there is none, on the training folds, each left out of
the others in turn. What is compared is near its optimum alone; the model with the chosen C is then fitted to all
training rows, so that its numbers are those of a run with that one C.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.functional import softplus

from seamo.errors import ProtocolError
from seamo_bench.facts import Scalar
from seamo_bench.protocol import Context, Outcome, Rows, Split, number, numbers
from seamo_bench.protocols._choice import best, merit, predictions_of
from seamo_bench.protocols._source import FeatureSource, held, memory_of, moments, spread

TOLERANCE = 3e-6  # of the gradient's largest entry, in scaled coordinates; probabilities are then good to about 2e-5
ROUGH = 1e-4  # the same where penalties are compared: half the iterations at C = 1, a third at C = 10
CERTAIN = 1e4  # logit of a class that is always there, and minus that of one that never is: probability 1, or 0


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted model, as an affine map on features as they are.

    Args:
        weight: (D, K) float64.
        bias: (K,).
        converged: Whether the gradient vanished.
    """

    weight: Tensor
    bias: Tensor
    converged: bool

    def head(self) -> dict[str, NDArray[np.float32]]:
        """For `Outcome.head`."""
        return {"weight": self.weight.float().cpu().numpy(), "bias": self.bias.float().cpu().numpy()}

    def probabilities(self, x: Tensor, *, multi: bool) -> Tensor:
        """(n, K) of features (n, D)."""
        logits = x.double() @ self.weight + self.bias
        return logits.sigmoid() if multi else logits.softmax(dim=1)


def fit(
    x: FeatureSource,
    labels: NDArray[Any],
    *,
    num_classes: int,
    penalties: Sequence[float],
    max_iter: int,
    progress: Callable[[int], None],
    tolerance: float = TOLERANCE,
) -> list[Fit]:
    """Fit a model for each penalty; of a multi-label task, all classes at once, each a problem of its own.

    A class without a training sample has probability 0; of a multi-label task, one that is always there 1. Two
    classes are one sigmoid, as in scikit-learn: a softmax would halve the penalty.

    Args:
        x: Training features (n, D).
        labels: (n,) class ids or (n, K) multi-hot.
        num_classes: K.
        penalties: C, the inverse strength of the penalty, of each model; each starts where the one before it ended.
        max_iter: Iterations of L-BFGS.
        progress: Called with the number of iterations after each.
        tolerance: Of the gradient's largest entry, in scaled coordinates.
    """
    weight = torch.zeros(x.table.width, num_classes, dtype=torch.float64, device=x.device)
    bias = torch.full((num_classes,), -CERTAIN, dtype=torch.float64, device=x.device)
    if labels.ndim == 2:
        share = labels.mean(axis=0)
        bias[np.flatnonzero(share == 1)] = CERTAIN
        fitted = np.flatnonzero((share > 0) & (share < 1))
        targets = labels[:, fitted]
    else:
        fitted, targets = np.unique(labels, return_inverse=True)
        bias[fitted] = 0.0
        if len(fitted) <= 2:
            fitted, targets = fitted[1:], targets[:, None]
    if not len(fitted):
        return [Fit(weight, bias, True)] * len(penalties)
    share = np.bincount(targets) / len(targets) if targets.ndim == 1 else targets.mean(axis=0)
    problem = _Problem(
        _rotated(x),
        torch.from_numpy(np.ascontiguousarray(targets)).to(x.device),
        torch.from_numpy(share).to(x.device),
    )
    fits = []
    begin = torch.zeros(len(problem.data.energy) + 1, len(fitted), dtype=torch.float64, device=x.device)
    for C in penalties:
        begin, converged = problem.minimise(begin, C, max_iter=max_iter, tolerance=tolerance, progress=progress)
        w, b = problem.data.raw(begin[:-1], begin[-1])
        own = Fit(weight.clone(), bias.clone(), converged)
        own.weight[:, fitted], own.bias[fitted] = w, b
        fits.append(own)
    return fits


@dataclass(frozen=True, slots=True, eq=False)
class _Rotated:
    """Training features in R coordinates in which the problem is nearly round.

    Args:
        kept: Blocks (b, R) of the coordinates; empty where they do not fit: `x` is then read each time.
        x: The features as they are.
        basis: (D, R): weights of coordinates -> weights of features as they are.
        mean: (D,) of those.
        energy: (R,) mean square of each coordinate.
    """

    kept: tuple[Tensor, ...]
    x: FeatureSource
    basis: Tensor
    mean: Tensor
    energy: Tensor

    def raw(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (D, P) and biases for features as they are."""
        weight = self.basis @ weight
        return weight, bias - self.mean @ weight

    def passed(self, weight: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One pass over all samples: the summed loss and its gradient by weight (R, P) and bias (P,)."""
        w, b = (weight, bias) if self.kept else self.raw(weight, bias)
        loss, by_w, by_b = torch.zeros_like(b[0]), torch.zeros_like(w), torch.zeros_like(b)
        start = 0
        for block in self.kept or self.x.blocks():
            rows = block.double()
            value, error = _loss(torch.addmm(b, rows, w), y[start : start + len(rows)])
            loss += value
            by_w.addmm_(rows.T, error)
            by_b += error.sum(dim=0)
            start += len(rows)
        return loss, by_w if self.kept else self.basis.T @ (by_w - torch.outer(self.mean, by_b)), by_b


def _rotated(x: FeatureSource) -> _Rotated:
    """Principal axes of the standardised training features: of their samples if these are few, else of the Gram matrix.

    Few samples: weights at the optimum are a combination of samples, so that there are no more coordinates than those.
    """
    mean, std = moments(x.blocks())
    scale = spread(mean, std)
    n, width = len(x.table), x.table.width

    def standardised() -> Iterator[Tensor]:
        return ((block.double() - mean) / scale for block in x.blocks())

    if n < width:
        few = torch.cat(list(standardised()))
        energy, own = torch.linalg.eigh(few @ few.T)
        there = energy > 1e-12 * energy[-1]
        energy = energy[there]
        axes = few.T @ (own[:, there] / energy.sqrt())
    else:
        gram = torch.zeros(width, width, dtype=torch.float64, device=x.device)
        for block in standardised():
            gram.addmm_(block.T, block)
        energy, axes = torch.linalg.eigh(gram)
        energy = energy.clamp_min(0.0)
    fits = 8 * n * len(energy) <= memory_of(x.device)
    kept = tuple(block @ axes for block in standardised()) if fits else ()
    return _Rotated(kept, x, axes / scale[:, None], mean, energy / n)


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What is minimised, for one penalty after the other.

    Coordinates are scaled by the curvature that the objective has where all samples get their classes' shares
    as probabilities. That changes nothing about the optimum, and takes ten iterations where raw features take hundreds.

    Args:
        data: Features in R coordinates.
        y: (n, P) 0/1 for sigmoids, (n,) positions of the class for a softmax.
        share: (P,) of the samples that have each class.
    """

    data: _Rotated
    y: Tensor
    share: Tensor

    def minimise(
        self, begin: Tensor, C: float, *, max_iter: int, tolerance: float, progress: Callable[[int], None]
    ) -> tuple[Tensor, bool]:
        """Weights and, in the last row, biases (R + 1, P) of the optimum, and whether it was reached.

        Args:
            begin: (R + 1, P) where to start.
            C: Inverse strength of the penalty.
            max_iter: Iterations.
            tolerance: See `fit`.
            progress: Called with the number of iterations.
        """
        n, decay = len(self.y), 1.0 / (C * len(self.y))
        curvature = self.share * (1 - self.share)
        steps = torch.cat([self.data.energy[:, None] * curvature + decay, curvature[None]]).rsqrt()

        def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            both = torch.from_numpy(theta).to(begin.device).view_as(steps) * steps
            weight, bias = both[:-1], both[-1]
            loss, by_weight, by_bias = self.data.passed(weight, bias, self.y)
            gradient = torch.cat([by_weight / n + decay * weight, by_bias[None] / n]) * steps
            return float(loss / n + decay / 2 * weight.square().sum()), gradient.ravel().cpu().numpy()

        done = count(1)
        found = minimize(
            objective,
            (begin / steps).ravel().cpu().numpy(),
            jac=True,
            method="L-BFGS-B",
            callback=lambda _: progress(next(done)),
            options={"maxiter": max_iter, "maxfun": 10 * max_iter, "maxls": 50, "gtol": tolerance, "ftol": 0.0},
        )
        end = torch.from_numpy(found.x).to(begin.device).view_as(steps) * steps
        return end, bool(np.abs(found.jac).max() <= tolerance)


def _loss(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Summed log loss of a block, and its gradient by the logits."""
    if y.ndim == 2:
        hot = y.double()
        return (softplus(logits) - hot * logits).sum(), logits.sigmoid() - hot
    log = logits.log_softmax(dim=1)
    own = y[:, None]
    return -log.gather(1, own).sum(), log.exp().scatter_add_(1, own, -torch.ones_like(log[:, :1]))


def run_fits(context: Context) -> Iterator[Outcome]:
    """A chosen model a trial: one with train / val / test, 25 with `cv5x5`."""
    given = context.params["C"]
    penalties = sorted(numbers(context.params, "C")) if isinstance(given, tuple) else [number(context.params, "C")]
    max_iter = int(number(context.params, "max_iter"))
    multi = context.task.kind == "multi-label"

    def iterations(done: int) -> None:
        context.progress(done, max_iter, "iterations at most")

    def fitted(rows: Rows, some: Sequence[float], tolerance: float) -> list[Fit]:
        return fit(
            held(context.features(rows), context.device),
            context.labels[rows],
            num_classes=len(context.task.classes),
            penalties=some,
            max_iter=max_iter,
            progress=iterations,
            tolerance=tolerance,
        )

    for seed in context.seeds:
        trials = context.splits[seed]
        scores: list[NDArray[np.float32]] = []
        fits: list[Fit] = []
        chosen: list[tuple[float, float]] = []
        compared = _once(lambda rows: fitted(rows, penalties, ROUGH))
        # Of numpy and scipy, whose vectors are short here: two threads spend their time waiting for one another.
        with threadpool_limits(1, "blas"):
            for trial in trials:
                C, good = _choose(context, trial, trials, penalties=penalties, compared=compared)
                (model,) = fitted(trial.train, [C], TOLERANCE)
                test = FeatureSource(context.features(trial.test), context.device)
                scores += [model.probabilities(block, multi=multi).float().cpu().numpy() for block in test.blocks()]
                fits.append(model)
                chosen.append((C, good))
                context.progress(len(fits), len(trials), "fits")
        yield Outcome(
            seed,
            predictions_of(
                context,
                [trial.test for trial in trials],
                scores,
                scale="probabilities",
                trials=[(trial.repeat, trial.fold) for trial in trials] if len(trials) > 1 else [],
            ),
            chosen=_told(chosen) if len(penalties) > 1 else {},
            notes=_notes(fits, [C for C, _ in chosen], penalties, max_iter),
            head=fits[0].head() if len(fits) == 1 else {},
        )


def _once(make: Callable[[Rows], list[Fit]]) -> Callable[[Rows], list[Fit]]:
    """The same, kept: without folds i and j the rows are those without j and i."""
    made: dict[bytes, list[Fit]] = {}

    def kept(rows: Rows) -> list[Fit]:
        name = rows.tobytes()
        if name not in made:
            made[name] = make(rows)
        return made[name]

    return kept


def _choose(
    context: Context,
    trial: Split,
    trials: Sequence[Split],
    *,
    penalties: Sequence[float],
    compared: Callable[[Rows], list[Fit]],
) -> tuple[float, float]:
    """C of one of the trials, and how good it was where it was chosen. No row of `trial.test` is looked at.

    Raises:
        ProtocolError: If there are no rows to choose on.
    """
    if len(penalties) == 1:
        return penalties[0], math.nan
    if len(trial.val):
        held_out = [(trial.train, trial.val)]
    else:
        folds = [one.test for one in trials if one.repeat == trial.repeat and not np.isin(one.test, trial.test).any()]
        held_out = [(np.setdiff1d(trial.train, fold), fold) for fold in folds]
    if not held_out:
        raise ProtocolError("has neither validation rows nor folds to choose C on", "logreg", "Give one number for C.")
    logits = [_logits(context, compared(rows), tried) for rows, tried in held_out]
    labels = context.labels[np.concatenate([tried for _, tried in held_out])]
    merits = [merit(np.concatenate(parts), labels) for parts in zip(*logits, strict=True)]
    where = best(merits)
    return penalties[where], merits[where][0]


def _logits(context: Context, fits: Sequence[Fit], rows: Rows) -> list[NDArray[np.float32]]:
    """(n, K) of each model."""
    x = FeatureSource(context.features(rows), context.device)
    parts = [[(block.double() @ one.weight + one.bias).float().cpu().numpy() for one in fits] for block in x.blocks()]
    return [np.concatenate(own) for own in zip(*parts, strict=True)]


def _told(chosen: Sequence[tuple[float, float]]) -> dict[str, Scalar]:
    """For `Outcome.chosen`: of several trials how often each C, and the mean of what it was chosen by."""
    counts = sorted(Counter(C for C, _ in chosen).items())
    named: Scalar = counts[0][0] if len(chosen) == 1 else ", ".join(f"{C:g} ({times} x)" for C, times in counts)
    return {"C": named, "validation": sum(good for _, good in chosen) / len(chosen)}


def _notes(fits: Sequence[Fit], chosen: Sequence[float], penalties: Sequence[float], max_iter: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if not all(one.converged for one in fits):
        notes += (f"L-BFGS did not converge within {max_iter} iterations",)
    if len(penalties) > 1 and 2 * sum(C in (penalties[0], penalties[-1]) for C in chosen) > len(chosen):
        notes += ("the chosen C is the edge of the grid",)
    return notes
