"""Which patches the encoder sees.

Shapes: B batch, T season, M sensor, L patches, N visible patches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from seamo.errors import UsageError
from seamo.model.config import SeaMoConfig


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Masks of a batch.

    Args:
        kept: Indices of the visible patches, ascending, (B, T, M, N).
        masked: True where a patch is hidden, (B, T, M, L).
    """

    kept: Tensor
    masked: Tensor


def noise_shape(config: SeaMoConfig, batch: int, seasons: int) -> tuple[int, ...]:
    """Shape of the noise that `draw_masks` ranks: (B, T, L) for consistent masks, else (B, T, M, L)."""
    if config.mask.kind == "consistent":
        return (batch, seasons, config.num_patches)
    return (batch, seasons, len(config.sensors), config.num_patches)


def draw_masks(noise: Tensor, config: SeaMoConfig) -> Masks:
    """Masks from noise: the N smallest of each image stay visible (ties: the earlier patch).

    Args:
        noise: Uniform numbers of `noise_shape`.
        config: Says N, and whether the sensors share.

    Raises:
        UsageError: If the noise has another shape.
    """
    want = noise_shape(config, noise.shape[0], noise.shape[1])
    if noise.shape != want:
        raise UsageError(f"noise is {tuple(noise.shape)} instead of {want}", where=f"mask.kind {config.mask.kind}")
    noise_BTML = noise.unsqueeze(2) if config.mask.kind == "consistent" else noise
    order = noise_BTML.argsort(dim=-1, stable=True)
    kept = order[..., : config.num_visible].sort(dim=-1).values
    masked = torch.ones(noise_BTML.shape, dtype=torch.bool, device=noise.device).scatter_(-1, kept, value=False)
    M = len(config.sensors)
    return Masks(kept.expand(-1, -1, M, -1), masked.expand(-1, -1, M, -1))
