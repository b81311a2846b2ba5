"""k nearest neighbours: cosine similarity, votes weighted by exp(similarity / temperature), as in DINO and its kin."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from seamo_bench.protocol import Context, Outcome, number
from seamo_bench.protocols._choice import predictions_of
from seamo_bench.protocols._source import BLOCK, FeatureSource, held, moments


def nearest(train: Iterator[Tensor], test: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and positions (n, k) of the k nearest training samples, nearest first.

    Only one block of the training samples and its similarities are in memory: what is nearest so far goes on.

    Args:
        train: Blocks (b, D).
        test: (n, D).
        k: Neighbours; all of them if there are fewer.
    """
    test = normalize(test, dim=1)
    best = test.new_empty(len(test), 0)
    where = torch.empty(len(test), 0, dtype=torch.int64, device=test.device)
    seen = 0
    for block in train:
        near, at = (test @ normalize(block, dim=1).T).topk(min(k, len(block)), dim=1)
        near, at = torch.cat([best, near], dim=1), torch.cat([where, at + seen], dim=1)
        best, kept = near.topk(min(k, near.shape[1]), dim=1)
        where = at.gather(1, kept)
        seen += len(block)
    return best, where


def vote(near: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Share of the votes (n, K) that neighbours give each class.

    Args:
        near: Cosines (n, k).
        y: Classes (n, k, K) 0/1 of the neighbours, one-hot for a single label.
        temperature: Votes weigh exp(cosine / temperature) (Wu et al. 2018).
    """
    return ((near / temperature).softmax(dim=1)[..., None] * y).sum(dim=1)


def votes(
    train: FeatureSource,
    labels: NDArray[Any],
    test: FeatureSource,
    *,
    num_classes: int,
    k: int,
    temperature: float,
    centre: bool,
) -> Iterator[NDArray[np.float32]]:
    """Votes (b, K) for the test samples, block by block.

    Args:
        train: Features (N, D).
        labels: Of the training samples: (N,) class ids or (N, K) multi-hot.
        test: Features.
        num_classes: K.
        k: See `nearest`.
        temperature: See `vote`.
        centre: Whether the training mean is taken off first: a cosine needs an origin.
    """
    known = torch.from_numpy(np.ascontiguousarray(labels)).to(train.device)
    off = moments(train.blocks())[0].float() if centre else torch.zeros((), device=train.device)
    for block in test.blocks():
        near, where = nearest((one - off for one in train.blocks(2 * BLOCK)), block - off, k)
        y = known[where]
        hot = torch.nn.functional.one_hot(y, num_classes) if labels.ndim == 1 else y
        yield vote(near, hot.to(near.dtype), temperature).clamp(0.0, 1.0).cpu().numpy()


def run_trials(context: Context) -> Iterator[Outcome]:
    """Neighbours and votes of every trial."""
    k, temperature = int(number(context.params, "k")), number(context.params, "temperature")
    for seed in context.seeds:
        trials = context.splits[seed]
        tests = [trial.test for trial in trials]
        parts: list[NDArray[np.float32]] = []
        for trial in trials:
            for part in votes(
                held(context.features(trial.train), context.device),
                context.labels[trial.train],
                FeatureSource(context.features(trial.test), context.device),
                num_classes=len(context.task.classes),
                k=k,
                temperature=temperature,
                centre=bool(context.params["centre"]),
            ):
                parts.append(part)
                context.progress(sum(map(len, parts)), sum(map(len, tests)), "samples")
        folds = [(trial.repeat, trial.fold) for trial in trials] if len(trials) > 1 else []
        yield Outcome(seed, predictions_of(context, tests, parts, scale="probabilities", trials=folds))
