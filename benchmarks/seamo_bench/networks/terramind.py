"""TerraMind's encoder: a bias-free gated transformer over the patches of every modality given.

Shape suffixes as in `vit`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.bare import patches_of
from seamo_bench.networks.variant import whole
from seamo_bench.networks.vit import level_blocks, resize_table, to_map

MODALITIES = {"s2": "untok_sen2l2a@224", "s1": "untok_sen1grd@224"}
OTHER = MODALITIES["s2"]  # of any other sensor, whose projection is new


class GatedBlock(nn.Module):
    """Pre-norm block without biases; the MLP is fc2(silu(fc1(x)) * fc3(x))."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim, bias=False), "proj": nn.Linear(dim, dim, bias=False)})
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(dim, hidden, bias=False),
                "fc2": nn.Linear(hidden, dim, bias=False),
                "fc3": nn.Linear(dim, hidden, bias=False),
            }
        )

    def forward(self, x_BND: Tensor) -> Tensor:
        """Attention and gated MLP, each added to the residual stream."""
        B, N, D = x_BND.shape
        parts = self.attn["qkv"](self.norm1(x_BND)).chunk(3, dim=-1)
        q, k, v = (part.view(B, N, self.heads, -1).transpose(1, 2) for part in parts)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x_BND = x_BND + self.attn["proj"](y.transpose(1, 2).reshape(B, N, D))
        z = self.norm2(x_BND)
        out: Tensor = x_BND + self.mlp["fc2"](nn.functional.silu(self.mlp["fc1"](z)) * self.mlp["fc3"](z))
        return out


class ModalityEmbed(nn.Module):
    """Linear projection of flattened patches, a modality vector, a fixed position table."""

    def __init__(self, chans: int, patch: int, dim: int, num_patches: int) -> None:
        super().__init__()
        self.chans, self.patch = chans, patch
        self.mod_emb = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_emb = nn.Parameter(torch.randn(1, num_patches, dim) * 0.02)
        self.proj = nn.Linear(chans * patch * patch, dim, bias=False)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens, patch values flattened (row, column, channel), and the grid."""
        flat, grid = patches_of(x_BCHW, self.patch)
        last = flat.reshape(*flat.shape[:2], self.chans, -1).transpose(2, 3).flatten(2)
        tokens = self.proj(last) + self.mod_emb + resize_table(self.pos_emb, grid, "none")
        return tokens, grid


class TerraMind(Network):
    """TerraMind encoder of optical and radar patches.

    Args:
        card: Its variant has the constructor numbers.
        chans: Sensor -> number of bands.
    """

    def __init__(self, card: BackboneCard, chans: Mapping[str, int]) -> None:
        super().__init__()
        dim, patch = whole(card, "embed_dim"), whole(card, "patch_size")
        count = (whole(card, "img_size") // patch) ** 2
        self.encoder_embeddings = nn.ModuleDict(
            {MODALITIES[sensor]: ModalityEmbed(bands, patch, dim, count) for sensor, bands in chans.items()}
        )
        self.encoder = nn.ModuleList(
            GatedBlock(dim, whole(card, "num_heads"), whole(card, "hidden")) for _ in range(whole(card, "depth"))
        )
        self.encoder_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean token, and maps averaged over the modalities given."""
        tokens, grids = zip(
            *(self.encoder_embeddings[MODALITIES.get(sensor, OTHER)](x) for sensor, x in inputs.items()), strict=True
        )
        x, grid = torch.cat(tokens, dim=1), grids[0]
        stream = []
        for block in self.encoder:
            x = block(x)
            stream.append(x)
        maps = []
        for index in level_blocks(len(stream)):
            normed = self.encoder_norm(stream[index])
            per_modality = normed.reshape(len(x), len(tokens), grid[0] * grid[1], -1)
            maps.append(to_map(per_modality.mean(1), grid))
        return Features(self.encoder_norm(x).mean(1), tuple(maps))
