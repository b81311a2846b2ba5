"""From tokens back to pixels: one decoder per sensor, and what it has to hit.

Shapes: B images, N visible patches, L patches, D width, P values of a patch.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from seamo.model.config import SeaMoConfig
from seamo.model.encoder import Norm, make_blocks, run_block
from seamo.model.tokenizer import Positions

EPSILON = 1e-6  # added to a patch's variance (MAE)


class Decoder(nn.Module):
    """Visible tokens and learned mask tokens, through a few narrow blocks, to the values of every patch."""

    def __init__(self, config: SeaMoConfig, sensor: str) -> None:
        super().__init__()
        shape = config.decoder
        self.grid, self.num_patches = config.grid, config.num_patches
        self.embed = nn.Linear(config.dim, shape.width)
        self.mask_token = nn.Parameter(torch.empty(shape.width))
        self.positions = Positions(config.grid, shape.width, learned=config.pos == "learned")
        self.blocks = make_blocks(shape.depth, shape.width, shape.heads)
        self.norm = Norm(shape.width)
        self.head = nn.Linear(shape.width, config.patch_values(sensor))
        self.recompute = False

    def forward(self, tokens_BND: Tensor, kept_BN: Tensor) -> Tensor:
        """Prediction (B, L, P) from the visible tokens and their patch indices."""
        x = self.embed(tokens_BND)
        width = x.shape[-1]
        canvas = self.mask_token.to(x.dtype).expand(len(x), self.num_patches, width)
        x = canvas.scatter(1, kept_BN[..., None].expand(-1, -1, width), x)
        x = x + self.positions(self.grid, self.grid).to(x.dtype)
        for block in self.blocks:
            x = run_block(block, x, None, recompute=self.recompute)
        out: Tensor = self.head(self.norm(x))
        return out


def patch_moments(
    patches: Tensor, kind: Literal["none", "joint", "per_channel"], num_bands: int
) -> tuple[Tensor, Tensor]:
    """Mean and scale by which a patch (..., P) is normalised as a target, both (..., P).

    joint: over all values of the patch; per_channel: over those of each band; none: 0 and 1. The variance
    is the unbiased one, as in MAE's code.
    """
    if kind == "none":
        return torch.zeros_like(patches), torch.ones_like(patches)
    groups = patches.reshape(*patches.shape[:-1], 1 if kind == "joint" else num_bands, -1)
    mean = groups.mean(dim=-1, keepdim=True)
    scale = (groups.var(dim=-1, keepdim=True) + EPSILON).sqrt()
    return mean.expand_as(groups).flatten(-2), scale.expand_as(groups).flatten(-2)
