"""Logistic regression: the linear probe's convex twin. Standardised features, C fixed, one seed, nothing to choose.

The objective is that of scikit-learn's `LogisticRegression` on `StandardScaler` features: the mean log loss plus
|w|^2 / (2 C n), the bias free. It is minimised here because scikit-learn needs all samples in memory as float64; loss
and gradient are sums over samples, so blocks of them do, in float64. It is strictly convex and the tolerance tight, so
that the numbers depend neither on the blocks nor on who minimises.
"""

from collections.abc import Callable, Iterator
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

from seamo_bench.protocol import Context, Outcome, number
from seamo_bench.protocols._choice import predictions_of
from seamo_bench.protocols._source import FeatureSource, held, memory_of, moments, spread

TOLERANCE = 3e-6  # of the gradient's largest entry, in scaled coordinates; probabilities are then good to about 2e-5
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
    C: float,
    max_iter: int,
    progress: Callable[[int], None],
) -> Fit:
    """Fit one model; of a multi-label task, all classes at once, each a problem of its own.

    A class without a training sample has probability 0; of a multi-label task, one that is always there 1. Two
    classes are one sigmoid, as in scikit-learn: a softmax would halve the penalty.

    Args:
        x: Training features (n, D).
        labels: (n,) class ids or (n, K) multi-hot.
        num_classes: K.
        C: Inverse strength of the penalty.
        max_iter: Iterations of L-BFGS.
        progress: Called with the number of iterations after each.
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
        return Fit(weight, bias, True)
    share = np.bincount(targets) / len(targets) if targets.ndim == 1 else targets.mean(axis=0)
    w, b, converged = _minimise(
        x,
        torch.from_numpy(np.ascontiguousarray(targets)).to(x.device),
        torch.from_numpy(share).to(x.device),
        C=C,
        max_iter=max_iter,
        progress=progress,
    )
    weight[:, fitted], bias[fitted] = w, b
    return Fit(weight, bias, converged)


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


def _minimise(
    x: FeatureSource, y: Tensor, share: Tensor, *, C: float, max_iter: int, progress: Callable[[int], None]
) -> tuple[Tensor, Tensor, bool]:
    """Weights (D, P) and biases (P,) of the optimum, and whether it was reached: P sigmoids, or a softmax of P classes.

    Coordinates are scaled by the curvature that the objective has where all samples get their classes' shares
    as probabilities. That changes nothing about the optimum, and takes ten iterations where raw features take hundreds.

    Args:
        x: Features.
        y: (n, P) 0/1 for sigmoids, (n,) positions of the class for a softmax.
        share: (P,) of the samples that have each class.
        C: Inverse strength of the penalty.
        max_iter: Iterations.
        progress: Called with the number of iterations.
    """
    data = _rotated(x)
    n, decay = len(y), 1.0 / (C * len(y))
    curvature = share * (1 - share)
    steps = torch.cat([data.energy[:, None] * curvature + decay, curvature[None]]).rsqrt()

    def split(theta: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        both = torch.from_numpy(theta).to(x.device).view_as(steps) * steps
        return both[:-1], both[-1]

    def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = split(theta)
        loss, by_weight, by_bias = data.passed(weight, bias, y)
        gradient = torch.cat([by_weight / n + decay * weight, by_bias[None] / n]) * steps
        return float(loss / n + decay / 2 * weight.square().sum()), gradient.ravel().cpu().numpy()

    done = count(1)
    found = minimize(
        objective,
        np.zeros(steps.numel()),
        jac=True,
        method="L-BFGS-B",
        callback=lambda _: progress(next(done)),
        options={"maxiter": max_iter, "maxfun": 10 * max_iter, "maxls": 50, "gtol": TOLERANCE, "ftol": 0.0},
    )
    return *data.raw(*split(found.x)), bool(np.abs(found.jac).max() <= TOLERANCE)


def _loss(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Summed log loss of a block, and its gradient by the logits."""
    if y.ndim == 2:
        hot = y.double()
        return (softplus(logits) - hot * logits).sum(), logits.sigmoid() - hot
    log = logits.log_softmax(dim=1)
    own = y[:, None]
    return -log.gather(1, own).sum(), log.exp().scatter_add_(1, own, -torch.ones_like(log[:, :1]))


def run_fits(context: Context) -> Iterator[Outcome]:
    """One fit a trial: one with train / val / test (validation is not used), 25 with `cv5x5`."""
    C, max_iter = number(context.params, "C"), int(number(context.params, "max_iter"))
    multi = context.task.kind == "multi-label"

    def iterations(done: int) -> None:
        context.progress(done, max_iter, "iterations at most")

    for seed in context.seeds:
        trials = context.splits[seed]
        scores: list[NDArray[np.float32]] = []
        fits: list[Fit] = []
        # Of numpy and scipy, whose vectors are short here: two threads spend their time waiting for one another.
        with threadpool_limits(1, "blas"):
            for trial in trials:
                fitted = fit(
                    held(context.features(trial.train), context.device),
                    context.labels[trial.train],
                    num_classes=len(context.task.classes),
                    C=C,
                    max_iter=max_iter,
                    progress=iterations,
                )
                test = FeatureSource(context.features(trial.test), context.device)
                scores += [fitted.probabilities(block, multi=multi).float().cpu().numpy() for block in test.blocks()]
                fits.append(fitted)
                context.progress(len(fits), len(trials), "fits")
        converged = all(one.converged for one in fits)
        yield Outcome(
            seed,
            predictions_of(
                context,
                [trial.test for trial in trials],
                scores,
                scale="probabilities",
                trials=[(trial.repeat, trial.fold) for trial in trials] if len(trials) > 1 else [],
            ),
            notes=() if converged else (f"L-BFGS did not converge within {max_iter} iterations",),
            head=fits[0].head() if len(fits) == 1 else {},
        )
