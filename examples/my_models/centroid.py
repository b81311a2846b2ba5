"""Nearest class centre: the pattern of a protocol."""

from collections.abc import Iterator

import numpy as np

from seamo_bench.predictions import ClassPredictions
from seamo_bench.protocol import Context, Outcome, Protocol, number

PROTOCOL = Protocol(
    id="centroid",
    version=1,
    title="Nearest class centre of standardised features",
    tasks=("single-label",),
    needs="features",
    defaults={"temperature": 1.0},
)


def run(context: Context) -> Iterator[Outcome]:
    """Scores: minus the distance to the mean feature of each class."""
    temperature = number(context.params, "temperature")
    num_classes = len(context.task.classes)
    for seed, (trial,) in context.splits.items():
        x, y = context.features(trial.train).read(), context.labels[trial.train]
        mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
        x, test = (x - mean) / std, (context.features(trial.test).read() - mean) / std
        scores = np.full((len(test), num_classes), -1e6, dtype=np.float32)  # classes without a training sample
        for label in np.unique(y):
            scores[:, label] = -np.linalg.norm(test - x[y == label].mean(axis=0), axis=1) / temperature
        keys = context.store.index["key"].iloc[trial.test].to_numpy(dtype=np.str_)
        yield Outcome(seed, ClassPredictions(keys, context.labels[trial.test], scores))
