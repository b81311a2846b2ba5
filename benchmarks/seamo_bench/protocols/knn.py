"""k nearest neighbours: cosine similarity, votes weighted by exp(similarity / temperature), as in DINO and its kin."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from seamo_bench.protocol import Context, Outcome, Protocol, number
from seamo_bench.protocols._choice import predictions_of

PROTOCOL = Protocol(
    id="knn",
    version=1,
    title="Nearest neighbours (k = 20, cosine, weighted)",
    tasks=("single-label", "multi-label"),
    needs="features",
    defaults={"k": 20, "temperature": 0.07, "centre": True},
    cross_validation=True,
)
_CHUNK = 1024


def vote(train: Tensor, y: Tensor, test: Tensor, *, k: int, temperature: float) -> Tensor:
    """Share of the votes (n, K) that the k nearest training samples give each class.

    Args:
        train: (N, D).
        y: (N, K) 0/1, one-hot for a single label.
        test: (n, D).
        k: Neighbours; all of them if there are fewer.
        temperature: Votes weigh exp(cosine / temperature) (Wu et al. 2018).
    """
    k = min(k, len(train))
    train = torch.nn.functional.normalize(train, dim=1)
    test = torch.nn.functional.normalize(test, dim=1)
    parts = []
    for start in range(0, len(test), _CHUNK):
        near, where = (test[start : start + _CHUNK] @ train.T).topk(k, dim=1)
        weight = (near / temperature).softmax(dim=1)
        parts.append((weight[..., None] * y[where]).sum(dim=1))
    return torch.cat(parts)


def run(context: Context) -> Iterator[Outcome]:
    """Neighbours and votes; with `centre`, after the training mean was taken off (a cosine needs an origin)."""
    k, temperature = int(number(context.params, "k")), number(context.params, "temperature")
    num_classes = len(context.task.classes)
    for seed in context.seeds:
        trials = context.splits[seed]
        scores = []
        for trial in trials:
            train = torch.from_numpy(context.features(trial.train).read()).to(context.device)
            test = torch.from_numpy(context.features(trial.test).read()).to(context.device)
            labels = context.labels[trial.train]
            hot = np.eye(num_classes, dtype=np.float32)[labels] if labels.ndim == 1 else labels.astype(np.float32)
            y = torch.from_numpy(hot).to(context.device)
            centre = train.mean(dim=0) if context.params["centre"] else torch.zeros_like(train[0])
            found = vote(train - centre, y, test - centre, k=k, temperature=temperature)
            scores.append(found.clamp(0.0, 1.0).cpu().numpy())
        folds = [(trial.repeat, trial.fold) for trial in trials] if len(trials) > 1 else []
        yield Outcome(
            seed, predictions_of(context, [t.test for t in trials], scores, scale="probabilities", trials=folds)
        )
