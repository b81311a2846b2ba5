"""Scale-MAE's ViT: positions are sines and cosines of metres on the ground. Shape suffixes as in `vit`."""

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import PatchEmbed, ViT


class ScaleMAE(ViT):
    """ViT whose position table is computed from the grid and the ground sampling distance.

    Args:
        card: Its variant has the constructor numbers and `gsd_m`.
    """

    def __init__(self, card: BackboneCard) -> None:
        self.gsd_m = number(card, "gsd_m")
        super().__init__(
            {spec.sensor: len(spec.bands) for spec in card.inputs},
            img_size=whole(card, "img_size"),
            patch_size=whole(card, "patch_size"),
            embed_dim=whole(card, "embed_dim"),
            depth=whole(card, "depth"),
            num_heads=whole(card, "num_heads"),
            mlp_ratio=number(card, "mlp_ratio"),
            pool="cls",
            pos_interp="none",
            shared=True,
        )

    def make_embedding(self, img_size: int, embed_dim: int) -> None:  # noqa: ARG002 (the grid may be any)
        """Patch projection only."""
        self.embed_dim = embed_dim
        self.patch_embed: nn.Module = PatchEmbed(self.patch_size, self.in_chans, embed_dim)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Zero for the class token; for a patch, column then row, each index times the ground sampling distance."""
        quarter = self.embed_dim // 4
        frequency = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float32) / quarter)

        def axis(count: int) -> Tensor:
            angles = torch.arange(count, dtype=torch.float32)[:, None] * self.gsd_m * frequency
            return torch.cat([angles.sin(), angles.cos()], dim=1)

        h, w = grid
        columns, rows = axis(w)[None].expand(h, -1, -1), axis(h)[:, None].expand(-1, w, -1)
        patches = torch.cat([columns, rows], dim=-1).reshape(1, h * w, -1)
        table = torch.cat([patches.new_zeros(1, 1, self.embed_dim), patches], dim=1)
        return table.to(next(self.norm.parameters()))
