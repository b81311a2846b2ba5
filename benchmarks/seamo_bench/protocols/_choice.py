"""What the protocols share: predictions of rows, and how settings are compared on validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo_bench.predictions import ClassPredictions, Scale, probabilities
from seamo_bench.protocol import Context, Rows
from seamo_bench.scores.measures.classification import average_precision
from seamo_bench.tasks.trials import units_of


def predictions_of(
    context: Context,
    rows: Sequence[Rows],
    scores: Sequence[NDArray[Any]],
    *,
    scale: Scale,
    trials: Sequence[tuple[int, int]] = (),
) -> ClassPredictions:
    """Predictions of one or several trials' test rows, in order.

    Args:
        context: Of the run.
        rows: Test rows of each trial.
        scores: (n, K) of each.
        scale: Of the scores.
        trials: (repeat, fold) of each, in cross-validation.
    """
    every = np.concatenate(list(rows))
    units = units_of(context.store)
    numbers = [
        np.full(len(one), trial, dtype=np.int16) for one, trial in zip(rows, [t[0] for t in trials], strict=False)
    ]
    folds = [np.full(len(one), trial, dtype=np.int16) for one, trial in zip(rows, [t[1] for t in trials], strict=False)]
    nothing = np.empty(0, dtype=np.int16)
    return ClassPredictions(
        keys=context.store.index["key"].iloc[every].to_numpy(dtype=np.str_),
        labels=context.labels[every],
        scores=np.concatenate(list(scores)).astype(np.float32),
        scale=scale,
        units=units[every] if len(units) else units,
        repeats=np.concatenate(numbers) if numbers else nothing,
        folds=np.concatenate(folds) if folds else nothing,
    )


def merit(scores: NDArray[Any], labels: NDArray[Any]) -> tuple[float, float]:
    """How good logits are on validation: (top-1 or macro average precision, minus the loss that breaks ties)."""
    chance = probabilities(ClassPredictions(np.empty(len(scores), np.str_), labels, scores))
    tiny = np.finfo(np.float32).tiny
    if labels.ndim == 1:
        right = float((scores.argmax(axis=1) == labels).mean())
        own = chance[np.arange(len(labels)), labels]
        return right, float(np.log(np.maximum(own, tiny)).mean())
    weights = np.ones((1, len(labels)))
    values = [float(average_precision(scores[:, k], labels[:, k], weights)[0]) for k in range(labels.shape[1])]
    there = [value for value in values if not np.isnan(value)]
    own = np.where(labels > 0, chance, 1 - chance)
    return float(np.mean(there)) if there else 0.0, float(np.log(np.maximum(own, tiny)).mean())


def best(merits: Sequence[tuple[float, float]]) -> int:
    """Position of the best setting; the first of equals."""
    return max(range(len(merits)), key=lambda position: (merits[position], -position))


def rate_notes(rates: Sequence[float], chosen: float, *, diverged: int, of: int, what: str) -> tuple[str, ...]:
    """What a reader must know of a choice: settings that diverged, a chosen rate that nothing larger or smaller checks.

    Args:
        rates: Learning rates of the grid.
        chosen: One of them.
        diverged: Number of settings whose loss or scores were not finite.
        of: Number of settings.
        what: What a setting is called.
    """
    notes: tuple[str, ...] = (f"{diverged} of {of} {what} diverged",) if diverged else ()
    if len(rates) > 1 and chosen in (min(rates), max(rates)):
        notes += (f"the chosen learning rate {chosen:g} is the edge of the grid",)
    return notes
