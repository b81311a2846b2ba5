"""Linear probe: frozen features, BatchNorm without affine, one linear layer; a grid of settings trained at once.

The head is MAE's (He et al. 2022, section A.1): BatchNorm without affine parameters, linear weights N(0, 0.01),
zero bias. Learning rate and weight decay are chosen on validation, the test split is looked at once. All settings
of a seed see the same batches, so one pass trains the whole grid: logits of G settings are one matrix product.

Shapes: S seed, G setting, B sample of a batch, D feature, K class.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from seamo_bench.protocol import Context, Outcome, Protocol, number, numbers
from seamo_bench.protocols._choice import best, merit, predictions_of

PROTOCOL = Protocol(
    id="linear",
    version=1,
    title="Linear probe: frozen features, batch norm + linear, settings chosen on validation",
    tasks=("single-label", "multi-label"),
    needs="features",
    defaults={
        "epochs": 100,
        "batch": 512,
        "lrs": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "weight_decays": (0.0, 1e-4, 1e-3),
        "momentum": 0.9,
    },
    demo={"epochs": 2},
    num_seeds=3,
    together=True,
)
BN_MOMENTUM, BN_EPS, INIT_STD = 0.1, 1e-5, 0.01
_CHUNK = 4096


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

    def scores(self, x: Tensor, seed: int, setting: int | None = None) -> Tensor:
        """Logits (N, K) of one setting, or (G, N, K) of all."""
        weight, bias = self.weight[seed], self.bias[seed]
        if setting is not None:
            weight, bias = weight[:, setting : setting + 1], bias[setting : setting + 1]
        parts = []
        for start in range(0, len(x), _CHUNK):
            normed = (x[start : start + _CHUNK] - self.mean[seed]) / (self.var[seed] + BN_EPS).sqrt()
            parts.append(torch.einsum("nd,dgk->gnk", normed, weight) + bias[:, None])
        found = torch.cat(parts, dim=1)
        return found if setting is None else found[0]


def train_heads(
    x: Tensor,
    y: Tensor,
    orders: Tensor,
    *,
    num_classes: int,
    settings: Sequence[tuple[float, float]],
    init: Tensor,
    batch: int,
    epochs: int,
    momentum: float,
) -> Heads:
    """Train S x G heads by SGD with momentum and a half-cycle cosine, one batch of each seed at a time.

    Args:
        x: (N, D) features.
        y: (N,) int64 class ids or (N, K) float 0/1.
        orders: (S, epochs, n) positions in `x`: the training samples of each seed in the order of each epoch.
        num_classes: K.
        settings: (learning rate, weight decay) of each setting; the bias is not decayed.
        init: (S, D, K) first weights, shared by the settings of a seed.
        batch: B; all of them if there are fewer. What does not fill a batch waits for the next epoch.
        epochs: Passes.
        momentum: Of SGD.

    Returns:
        The heads.
    """
    S, _, n = orders.shape
    D, G, K = x.shape[1], len(settings), num_classes
    B = min(batch, n)
    steps = n // B
    rate = x.new_tensor([one[0] for one in settings])[:, None]
    decay = x.new_tensor([one[1] for one in settings])[:, None]
    weight = init[:, :, None, :].expand(S, D, G, K).clone()
    bias = x.new_zeros(S, G, K)
    speed_w, speed_b = torch.zeros_like(weight), torch.zeros_like(bias)
    mean, var = x.new_zeros(S, D), x.new_ones(S, D)
    for step in range(epochs * steps):
        epoch, place = divmod(step, steps)
        chosen = orders[:, epoch, place * B : (place + 1) * B]
        x_SBD, y_SB = x[chosen], y[chosen]
        batch_var, batch_mean = torch.var_mean(x_SBD, dim=1, correction=0)
        normed = (x_SBD - batch_mean[:, None]) / (batch_var[:, None] + BN_EPS).sqrt()
        mean.lerp_(batch_mean, BN_MOMENTUM)
        var.lerp_(batch_var * (B / max(B - 1, 1)), BN_MOMENTUM)  # torch keeps the unbiased one
        logits = torch.bmm(normed, weight.view(S, D, G * K)).view(S, B, G, K) + bias[:, None]
        error = _gradient(logits, y_SB)
        grad_w = torch.bmm(normed.transpose(1, 2), error.view(S, B, G * K)).view(S, D, G, K)
        speed_w.mul_(momentum).add_(grad_w + decay * weight)
        speed_b.mul_(momentum).add_(error.sum(dim=1))
        now = 0.5 * (1.0 + math.cos(math.pi * step / (epochs * steps)))
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


def run(context: Context) -> Iterator[Outcome]:
    """Train the grid for all seeds, choose on validation, test once."""
    p = context.params
    epochs, batch, momentum = int(number(p, "epochs")), int(number(p, "batch")), number(p, "momentum")
    settings = list(product(numbers(p, "lrs"), numbers(p, "weight_decays")))
    seeds = context.seeds
    trials = [context.splits[seed][0] for seed in seeds]
    train = np.unique(np.concatenate([trial.train for trial in trials]))
    x = torch.from_numpy(context.features(train).read()).to(context.device)
    labels = torch.from_numpy(np.ascontiguousarray(context.labels[train]))
    y = (labels if labels.ndim == 1 else labels.float()).to(context.device)
    num_classes = len(context.task.classes)
    size = min(len(trial.train) for trial in trials)  # strata give every salt the same number
    orders = np.empty((len(seeds), epochs, size), dtype=np.int64)
    init = torch.empty(len(seeds), x.shape[1], num_classes)
    for s, (seed, trial) in enumerate(zip(seeds, trials, strict=True)):
        rng = np.random.default_rng([seed, 0])
        own = np.searchsorted(train, trial.train)
        for epoch in range(epochs):
            orders[s, epoch] = rng.permutation(own)[:size]
        init[s].normal_(0.0, INIT_STD, generator=torch.Generator().manual_seed(seed))
    heads = train_heads(
        x,
        y,
        torch.from_numpy(orders).to(context.device),
        num_classes=num_classes,
        settings=settings,
        init=init.to(context.device),
        batch=batch,
        epochs=epochs,
        momentum=momentum,
    )
    for s, (seed, trial) in enumerate(zip(seeds, trials, strict=True)):
        val = torch.from_numpy(context.features(trial.val).read()).to(context.device)
        scores = heads.scores(val, s).cpu().numpy()
        finite = [bool(np.isfinite(one).all()) for one in scores]
        merits = [
            merit(one, context.labels[trial.val]) if good else (-1.0, 0.0)
            for one, good in zip(scores, finite, strict=True)
        ]
        chosen = best(merits)
        test = torch.from_numpy(context.features(trial.test).read()).to(context.device)
        final = heads.scores(test, s, chosen).cpu().numpy()
        notes: tuple[str, ...] = (
            () if all(finite) else (f"{len(finite) - sum(finite)} of {len(finite)} settings diverged",)
        )
        lr, wd = settings[chosen]
        rates = numbers(p, "lrs")
        if lr in (min(rates), max(rates)):
            notes += (f"the chosen learning rate {lr:g} is the edge of the grid",)
        yield Outcome(
            seed,
            predictions_of(context, [trial.test], [final], scale="logits"),
            chosen={"lr": lr, "weight_decay": wd, "validation": merits[chosen][0]},
            notes=notes,
            trainable_parameters=(x.shape[1] + 1) * num_classes,
        )
        context.progress(s + 1, len(seeds), "seeds")
