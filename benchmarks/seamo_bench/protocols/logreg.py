"""Logistic regression: the linear probe's convex twin. Standardised features, C fixed, one seed, nothing to choose."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from seamo_bench.protocol import Context, Outcome, Protocol, number
from seamo_bench.protocols._choice import predictions_of

PROTOCOL = Protocol(
    id="logreg",
    version=1,
    title="Logistic regression on standardised features (scikit-learn lbfgs, C = 1)",
    tasks=("single-label", "multi-label"),
    needs="features",
    defaults={"C": 1.0, "max_iter": 2000},
    cross_validation=True,
)


def fit_scores(
    x: NDArray[Any], y: NDArray[Any], test: NDArray[Any], *, num_classes: int, C: float, max_iter: int
) -> tuple[NDArray[np.float64], bool]:
    """Probabilities (n, K) of the test features, and whether every fit converged.

    A class without a training sample has probability 0; of a multi-label task, each class is a fit of its own
    and one that is always or never there keeps its frequency.
    """
    scaler = StandardScaler().fit(x)
    x, test = scaler.transform(x), scaler.transform(test)
    scores = np.zeros((len(test), num_classes))
    if y.ndim == 1:
        if len(np.unique(y)) == 1:
            scores[:, int(y[0])] = 1.0
            return scores, True
        model = LogisticRegression(C=C, max_iter=max_iter).fit(x, y)
        scores[:, model.classes_] = model.predict_proba(test)
        return scores, bool((model.n_iter_ < max_iter).all())
    converged = True
    for k in range(num_classes):
        if y[:, k].min() == y[:, k].max():
            scores[:, k] = y[0, k]
            continue
        model = LogisticRegression(C=C, max_iter=max_iter).fit(x, y[:, k])
        scores[:, k] = model.predict_proba(test)[:, 1]
        converged = converged and bool((model.n_iter_ < max_iter).all())
    return scores, converged


def run(context: Context) -> Iterator[Outcome]:
    """One fit a trial: one with train / val / test (validation is not used), 25 with `cv5x5`."""
    C, max_iter = number(context.params, "C"), int(number(context.params, "max_iter"))
    num_classes = len(context.task.classes)
    for seed in context.seeds:
        trials = context.splits[seed]
        scores, converged = [], True
        for place, trial in enumerate(trials):
            found, good = fit_scores(
                context.features(trial.train).read().astype(np.float64),
                context.labels[trial.train],
                context.features(trial.test).read().astype(np.float64),
                num_classes=num_classes,
                C=C,
                max_iter=max_iter,
            )
            scores.append(found)
            converged = converged and good
            context.progress(place + 1, len(trials), "fits")
        folds = [(trial.repeat, trial.fold) for trial in trials] if len(trials) > 1 else []
        yield Outcome(
            seed,
            predictions_of(context, [t.test for t in trials], scores, scale="probabilities", trials=folds),
            notes=() if converged else (f"lbfgs did not converge within {max_iter} iterations",),
        )
