"""Prithvi-EO-2.0's encoder for one date, without time and place. Shape suffixes as in `vit`."""

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.networks.dofa import sincos_1d
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import ViT


class Scale(nn.Module):
    """Learned factor of an embedding of time or place; read from the file, used only where those are given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 0.1))


class TubeEmbed(nn.Module):
    """3-D convolution over one date."""

    def __init__(self, patch: int, chans: int, dim: int) -> None:
        super().__init__()
        kernel = (1, patch, patch)
        self.proj = nn.Conv3d(chans, dim, kernel, kernel)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w)."""
        out: Tensor = self.proj(x_BCHW[:, :, None])[:, :, 0]
        return out


class Prithvi(ViT):
    """ViT with a 3-D patch projection.

    Args:
        card: Its variant has the constructor numbers.
    """

    def __init__(self, card: BackboneCard) -> None:
        super().__init__(
            {spec.sensor: len(spec.bands) for spec in card.inputs},
            img_size=whole(card, "img_size"),
            patch_size=whole(card, "patch_size"),
            embed_dim=whole(card, "embed_dim"),
            depth=whole(card, "depth"),
            num_heads=whole(card, "num_heads"),
            mlp_ratio=number(card, "mlp_ratio"),
            pool="mean",
            pos_interp="none",
        )
        self.temporal_embed_enc = Scale()
        self.location_embed_enc = Scale()

    def make_embedding(self, img_size: int, embed_dim: int) -> None:  # noqa: ARG002 (the grid may be any)
        """Patch projection only."""
        self.embed_dim = embed_dim
        self.patch_embed: nn.Module = TubeEmbed(self.patch_size, self.in_chans, embed_dim)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Fixed 3-D sines and cosines of date 0: 6/16 of the width for columns, 6/16 for rows, 4/16 for the date."""
        unit = self.embed_dim // 16

        def axis(count: int, width: int) -> Tensor:
            return sincos_1d(torch.arange(count, dtype=torch.float32), width)

        h, w = grid
        columns = axis(w, 6 * unit)[None].expand(h, -1, -1)
        rows = axis(h, 6 * unit)[:, None].expand(-1, w, -1)
        date = axis(1, 4 * unit).expand(h, w, -1)
        patches = torch.cat([columns, rows, date], dim=-1).reshape(1, h * w, -1)
        table = torch.cat([patches.new_zeros(1, 1, self.embed_dim), patches], dim=1)
        return table.to(next(self.norm.parameters()))
