"""AdamW, its schedule and one exact optimiser step over micro-batches and ranks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seamo.model.seamo import Output, SeaMo, undecayed
from seamo.pretrain.recipe import OptimiserPart, StagePart


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then half a cosine down to 0 (MAE, SimMIM and their kin), step by step.

    Args:
        peak: Learning rate after the warm-up.
        warmup: Steps of the warm-up.
        total: Steps of the stage.
    """

    peak: float
    warmup: int
    total: int

    def __call__(self, step: int) -> float:
        """Learning rate of a step of the stage, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        return self.peak * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / (self.total - self.warmup)))


def schedule_of(optimiser: OptimiserPart, stage: StagePart, steps_per_epoch: int) -> Schedule:
    """The schedule of a stage."""
    warmup = round(stage.warmup_epochs * steps_per_epoch)
    return Schedule(optimiser.lr, warmup, stage.epochs * steps_per_epoch)


def adamw(model: SeaMo, recipe: OptimiserPart, *, fused: bool) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: none on biases, norms, tokens and positions."""
    without = undecayed(model)
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in model.named_parameters() if name not in without]},
        {"params": [p for name, p in model.named_parameters() if name in without], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=fused)


def weighted_loss(output: Output, *, hidden: int, places: int, weight_of: Callable[[str], float]) -> Tensor:
    """A micro-batch's part of the loss of a global batch.

    The loss is the sum over sensors and seasons of the mean squared error of the hidden patches, times the weight of
    the sensor. Here every hidden patch weighs 1 / (places * hidden), whether or not all images are there: no
    micro-batch and no rank has to ask the others how many they have, so accumulation is exact, and an absent image
    counts nowhere (nor does it make the other images of its season weigh more).

    Args:
        output: Of the micro-batch.
        hidden: Patches hidden in an image.
        places: Places of the global batch on this rank.
        weight_of: Weight of a sensor (`SeaMoConfig.weight_of`).
    """
    parts = [term * output.counts[name] * weight_of(name[0]) for name, term in output.terms.items()]
    return torch.stack(parts).sum() / (places * hidden)


@dataclass(slots=True, eq=False)
class Tally:
    """Sums of one optimiser step, for the log: squared errors and counts of every term.

    Args:
        names: (sensor, season) of each term.
        sums: (n, 2) float64: sum of the errors, number of patches.
    """

    names: tuple[tuple[str, int], ...]
    sums: Tensor

    def add(self, output: Output) -> None:
        """Add a micro-batch."""
        with torch.no_grad():
            counts = torch.stack([output.counts[name] for name in self.names]).double()
            terms = torch.stack([output.terms[name] for name in self.names]).double()
            self.sums += torch.stack([terms * counts, counts], dim=1)

    def with_flag(self, flag: bool) -> Tensor:
        """The sums and, in a last row, a flag: what the ranks add up at the end of a step, (n + 1, 2)."""
        row = torch.full((1, 2), float(flag), dtype=self.sums.dtype, device=self.sums.device)
        return torch.cat([self.sums, row])
