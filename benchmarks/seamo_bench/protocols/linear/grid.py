"""Linear probe: frozen features, BatchNorm without affine, one linear layer; a grid of settings trained at once.

The head is MAE's (He et al. 2022, section A.1): BatchNorm without affine parameters, linear weights N(0, 0.01),
zero bias. Learning rate and weight decay are chosen on validation, the test split is looked at once. All settings
of a seed see the same batches, so one pass trains the whole grid: logits of G settings are one matrix product.
The number of steps is the same whatever the number of samples, as in DINOv2's linear evaluation (Oquab et al. 2023;
12,500 there): counted in epochs, a hundredth of the labels would be a hundredth of the training, too.
Training features are in memory if they fit (1 GiB, or half of a GPU's free memory), else each batch is read from the
cache while the last one is worked on; the numbers are the same.

Shapes: S seed, G setting, B sample of a batch, D feature, K class.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo_bench.protocol import Context, Outcome, Rows, number, numbers
from seamo_bench.protocols._choice import best, merit, predictions_of, rate_notes
from seamo_bench.protocols._source import FeatureSource, ahead, held

BN_MOMENTUM, BN_EPS, INIT_STD = 0.1, 1e-5, 0.01
_SCORES = 2**28  # bytes of validation scores in memory; more settings than these are scored in another pass


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Trained heads.

    Args:
        mean, var: (S, D) running statistics of the batch norm.
        weight: (S, D, G, K).
        bias: (S, G, K).
    """

    mean: Tensor
    var: Tensor
    weight: Tensor
    bias: Tensor

    def scores(self, x: Tensor, seed: int, settings: slice) -> Tensor:
        """Logits (G, N, K) that some settings of a seed give features (N, D)."""
        normed = (x - self.mean[seed]) / (self.var[seed] + BN_EPS).sqrt()
        return torch.einsum("nd,dgk->gnk", normed, self.weight[seed][:, settings]) + self.bias[seed, settings][:, None]

    def affine(self, seed: int, setting: int) -> dict[str, NDArray[np.float32]]:
        """One head as an affine map on features as they are: `weight` (D, K) and `bias` (K,)."""
        weight = self.weight[seed, :, setting].double() / (self.var[seed].double() + BN_EPS).sqrt()[:, None]
        bias = self.bias[seed, setting].double() - self.mean[seed].double() @ weight
        return {"weight": weight.float().cpu().numpy(), "bias": bias.float().cpu().numpy()}


def batches(
    x: FeatureSource, labels: NDArray[Any], trained: Sequence[Rows], *, seeds: Sequence[int], steps: int, batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch after batch of all seeds at once: features (S, B, D), and labels (S, B) or (S, B, K) float 0/1.

    Args:
        x: Features (N, D).
        labels: (N,) class ids or (N, K) multi-hot.
        trained: Positions in `x` that each seed trains on; of more than the shortest list has, some wait an epoch.
        seeds: Of the order in which each seed sees its samples, another one each epoch.
        steps: How many batches; the samples are gone through as often as that takes.
        batch: B; all of them if there are fewer. What does not fill a batch waits for the next epoch.
    """
    size = min(len(own) for own in trained)  # strata give every salt the same number
    batch = min(batch, size)
    rngs = [np.random.default_rng([seed, 0]) for seed in seeds]
    a_pass = size // batch
    for step in range(steps):
        start = step % a_pass * batch
        if start == 0:
            orders = np.stack([rng.permutation(own)[:size] for rng, own in zip(rngs, trained, strict=True)])
        chosen = orders[:, start : start + batch]
        y = torch.from_numpy(labels[chosen]).to(x.device)
        yield x.take(chosen.ravel()).view(*chosen.shape, -1), y if y.ndim == 2 else y.float()


def train_heads(
    examples: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    settings: Sequence[tuple[float, float]],
    init: Tensor,
    momentum: float,
) -> Heads:
    """Train S x G heads by SGD with momentum and a half-cycle cosine, one batch of each seed at a time.

    Args:
        examples: Batches: features (S, B, D), and class ids (S, B) or 0/1 (S, B, K).
        steps: How many there are.
        settings: (learning rate, weight decay) of each setting; the bias is not decayed.
        init: (S, D, K) first weights, shared by the settings of a seed.
        momentum: Of SGD.

    Returns:
        The heads.
    """
    S, D, K = init.shape
    G = len(settings)
    rate = init.new_tensor([one[0] for one in settings])[:, None]
    decay = init.new_tensor([one[1] for one in settings])[:, None]
    weight = init[:, :, None, :].expand(S, D, G, K).clone()
    bias = init.new_zeros(S, G, K)
    speed_w, speed_b = torch.zeros_like(weight), torch.zeros_like(bias)
    mean, var = init.new_zeros(S, D), init.new_ones(S, D)
    for step, (x_SBD, y_SB) in enumerate(examples):
        B = x_SBD.shape[1]
        batch_var, batch_mean = torch.var_mean(x_SBD, dim=1, correction=0)
        normed = (x_SBD - batch_mean[:, None]) / (batch_var[:, None] + BN_EPS).sqrt()
        mean.lerp_(batch_mean, BN_MOMENTUM)
        var.lerp_(batch_var * (B / max(B - 1, 1)), BN_MOMENTUM)  # torch keeps the unbiased one
        logits = torch.bmm(normed, weight.view(S, D, G * K)).view(S, B, G, K) + bias[:, None]
        error = _gradient(logits, y_SB)
        grad_w = torch.bmm(normed.transpose(1, 2), error.view(S, B, G * K)).view(S, D, G, K)
        speed_w.mul_(momentum).add_(grad_w + decay * weight)
        speed_b.mul_(momentum).add_(error.sum(dim=1))
        now = 0.5 * (1.0 + math.cos(math.pi * step / steps))
        weight -= now * rate * speed_w
        bias -= now * rate * speed_b
    return Heads(mean, var, weight, bias)


def _gradient(logits: Tensor, y: Tensor) -> Tensor:
    """Gradient of the mean loss of a batch: (S, B, G, K). Cross-entropy, or BCE averaged over classes too."""
    S, B, _, K = logits.shape
    if y.ndim == 2:
        error = logits.softmax(dim=3)
        error.scatter_add_(3, y[:, :, None, None].expand(S, B, logits.shape[2], 1), torch.full_like(error[..., :1], -1))
        return error / B
    return (logits.sigmoid() - y[:, :, None, :]) / (B * K)


def run_grid(context: Context) -> Iterator[Outcome]:
    """Train the grid for all seeds, choose on validation, test once."""
    settings = list(product(numbers(context.params, "lrs"), numbers(context.params, "weight_decays")))
    rates = numbers(context.params, "lrs")
    heads = _train(context, settings)
    for s, (seed, (trial,)) in enumerate(context.splits.items()):
        merits, diverged = _merits(heads, s, context, trial.val)
        chosen = best(merits)
        lr, wd = settings[chosen]
        test = FeatureSource(context.features(trial.test), context.device)
        final = _scores(heads, s, test, slice(chosen, chosen + 1))[0]
        head = heads.affine(s, chosen)
        yield Outcome(
            seed,
            predictions_of(context, [trial.test], [final], scale="logits"),
            chosen={"lr": lr, "weight_decay": wd, "validation": merits[chosen][0]},
            notes=rate_notes(rates, lr, diverged=diverged, of=len(merits), what="settings"),
            trainable_parameters=head["weight"].size + head["bias"].size,
            head=head,
        )
        context.progress(s + 1, len(context.splits), "seeds")


def _train(context: Context, settings: Sequence[tuple[float, float]]) -> Heads:
    p, seeds = context.params, context.seeds
    steps, batch = int(number(p, "steps")), int(number(p, "batch"))
    trials = [context.splits[seed][0] for seed in seeds]
    rows = np.unique(np.concatenate([trial.train for trial in trials]))
    x = held(context.features(rows), context.device)
    init = torch.empty(len(seeds), x.table.width, len(context.task.classes))
    for s, seed in enumerate(seeds):
        init[s].normal_(0.0, INIT_STD, generator=torch.Generator().manual_seed(seed))
    trained = [np.searchsorted(rows, trial.train) for trial in trials]
    examples = ahead(batches(x, context.labels[rows], trained, seeds=seeds, steps=steps, batch=batch))

    def shown() -> Iterator[tuple[Tensor, Tensor]]:
        for step, example in enumerate(examples):
            yield example
            context.progress(step + 1, steps, "steps")

    return train_heads(
        shown(), steps=steps, settings=settings, init=init.to(context.device), momentum=number(p, "momentum")
    )


def _merits(heads: Heads, seed: int, context: Context, rows: Rows) -> tuple[list[tuple[float, float]], int]:
    """How good each setting is on validation, and how many have no finite scores.

    Scores of as many settings as fit into `_SCORES` are in memory at a time.
    """
    G, K = heads.bias.shape[1:]
    together = max(1, _SCORES // (len(rows) * K * 4))
    labels, val = context.labels[rows], FeatureSource(context.features(rows), context.device)
    merits = []
    diverged = 0
    for first in range(0, G, together):
        for scores in _scores(heads, seed, val, slice(first, min(first + together, G))):
            good = bool(np.isfinite(scores).all())
            merits.append(merit(scores, labels) if good else (-1.0, 0.0))
            diverged += not good
    return merits, diverged


def _scores(heads: Heads, seed: int, x: FeatureSource, settings: slice) -> NDArray[np.float32]:
    """Logits (settings, n, K) of all rows of `x`, block by block."""
    out = np.empty((settings.stop - settings.start, len(x.table), heads.bias.shape[2]), dtype=np.float32)
    start = 0
    for block in x.blocks():
        out[:, start : start + len(block)] = heads.scores(block, seed, settings).cpu().numpy()
        start += len(block)
    return out
