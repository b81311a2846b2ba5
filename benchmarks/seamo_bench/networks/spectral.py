"""SpectralGPT's trunk: tokens are cubes of three bands by 8 x 8 pixels, attention has separate q, k and v.

Written from the published description and the names of its files. Shape suffixes as in `vit`, G band triplets.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features
from seamo_bench.networks.variant import flag, number, whole
from seamo_bench.networks.vit import Taps, ViT, keep, level_blocks, resize_table, to_map


class CubeEmbed(nn.Module):
    """3-D convolution over (bands, rows, columns) with kernel = stride."""

    def __init__(self, bands: int, patch: int, dim: int) -> None:
        super().__init__()
        kernel = (bands, patch, patch)
        self.proj = nn.Conv3d(1, dim, kernel, kernel)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, G*L, D), triplet by triplet, each row-major."""
        out: Tensor = self.proj(x_BCHW[:, None]).flatten(2).transpose(1, 2)
        return out


class SpectralViT(ViT):
    """ViT over spectral cubes without a class token.

    Args:
        card: Its variant has `t_patch_size` (bands a token) and two switches of the official code, off by default:
            `no_positions` and `pool_without_first`.
    """

    def __init__(self, card: BackboneCard) -> None:
        self.bands_a_token = whole(card, "t_patch_size")
        self.no_positions = flag(card, "no_positions")
        self.pool_without_first = flag(card, "pool_without_first")
        super().__init__(
            {spec.sensor: len(spec.bands) for spec in card.inputs},
            img_size=whole(card, "img_size"),
            patch_size=whole(card, "patch_size"),
            embed_dim=whole(card, "embed_dim"),
            depth=whole(card, "depth"),
            num_heads=whole(card, "num_heads"),
            mlp_ratio=number(card, "mlp_ratio"),
            pool="mean-norm",
            pos_interp="none",
            cls=False,
            split_qkv=True,
        )

    def make_embedding(self, img_size: int, embed_dim: int) -> None:
        """Cube projection, and one table a patch and one a band triplet."""
        side = img_size // self.patch_size
        self.num_groups = self.in_chans // self.bands_a_token
        self.patch_embed = CubeEmbed(self.bands_a_token, self.patch_size, embed_dim)
        self.pos_embed_spatial = nn.Parameter(torch.randn(1, side * side, embed_dim) * 0.02)
        self.pos_embed_temporal = nn.Parameter(torch.randn(1, self.num_groups, embed_dim) * 0.02)

    def embed(self, x_BCHW: Tensor, taps: Taps = None) -> Tensor:
        """Cubes and their positions: token = triplet * L + row * columns + column."""
        grid = self.grid(x_BCHW)
        tokens: Tensor = self.patch_embed(x_BCHW)
        if self.no_positions:
            return tokens
        spatial = resize_table(self.pos_embed_spatial, grid, self.pos_interp)
        table = spatial.repeat(1, self.num_groups, 1)
        table = table + self.pos_embed_temporal.repeat_interleave(spatial.shape[1], dim=1)
        keep(taps, "pos_embed.used", table)
        return tokens + table

    def pooled_mean(self, tokens_BND: Tensor) -> Tensor:
        """Mean of the tokens, then the norm."""
        if self.pool_without_first:
            tokens_BND = tokens_BND[:, 1:]
        out: Tensor = self.norm(tokens_BND.mean(1))
        return out

    def per_group(self, tokens_BND: Tensor) -> Tensor:
        """(B, G*L, D) -> (B, G, L, D)."""
        return tokens_BND.reshape(len(tokens_BND), self.num_groups, -1, tokens_BND.shape[-1])

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Pooled feature; maps are the mean over band triplets, without the final norm as in its dense trunks."""
        x = self.stack(inputs)
        grid = self.grid(x)
        stream = self.run(x)
        maps = tuple(to_map(self.per_group(stream[index]).mean(1), grid) for index in level_blocks(len(stream)))
        return Features(self.pooled_mean(stream[-1]), maps)
