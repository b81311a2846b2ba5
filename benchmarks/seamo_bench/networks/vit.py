"""The plain vision transformer that most published encoders are, with timm's parameter names.

Shape suffixes: B batch, N tokens, D width, C bands, H/W pixels, h/w patches.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from seamo.errors import SampleError
from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.variant import number, whole

PosInterp = Literal["bicubic", "dino", "none"]
Pool = Literal["cls", "cls-last4", "mean", "mean-norm", "cls-mean-interleaved"]
Taps = dict[str, Tensor] | None  # where a caller wants intermediate results, under the names of the reference outputs


class Attention(nn.Module):
    """Multi-head self-attention, q, k and v in one linear layer (`qkv`) or in three."""

    def __init__(self, dim: int, heads: int, *, split: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.split = split
        if split:
            self.q = nn.Linear(dim, dim)
            self.k = nn.Linear(dim, dim)
            self.v = nn.Linear(dim, dim)
        else:
            self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend; `mask` is True where a key may be seen, broadcast to (B, heads, N, N)."""
        B, N, D = x_BND.shape
        qkv = (self.q(x_BND), self.k(x_BND), self.v(x_BND)) if self.split else self.qkv(x_BND).chunk(3, dim=-1)
        q, k, v = (part.view(B, N, self.heads, D // self.heads).transpose(1, 2) for part in qkv)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(B, N, D))
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: float, eps: float = 1e-6, split: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, split=split)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x_BND: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention and MLP, each added to the residual stream."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), mask)
        out: Tensor = x_BND + self.mlp(self.norm2(x_BND))
        return out


class PatchEmbed(nn.Module):
    """Convolution with kernel = stride = patch; (B, C, H, W) -> (B, D, h, w)."""

    def __init__(self, patch: int, chans: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(chans, dim, patch, patch)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Embed patches."""
        out: Tensor = self.proj(x_BCHW)
        return out


def resize_table(table_1LD: Tensor, grid: tuple[int, int], how: PosInterp) -> Tensor:
    """Position table of a square grid (1, L, D) on another grid (1, h*w, D).

    Args:
        table_1LD: Stored table, no class entry.
        grid: Patches (h, w) of the image.
        how: `bicubic`: to the size, not antialiased (the MAE helper). `dino`: bicubic with the scale factor
            (h + 0.1) / sqrt(L) as the sampling step (the DINO code). `none`: another grid is refused.

    Raises:
        SampleError: With `none`, if the grid is not the stored one.
    """
    side = math.isqrt(table_1LD.shape[1])
    if grid == (side, side):
        return table_1LD
    if how == "none":
        raise SampleError(
            f"an image of {grid[0]} x {grid[1]} patches; this model takes {side} x {side} only",
            fix="Resize to its native size; its authors define no other.",
        )
    plane = table_1LD.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if how == "dino":
        factors = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
        plane = nn.functional.interpolate(plane, scale_factor=factors, mode="bicubic")
    else:
        plane = nn.functional.interpolate(plane, size=grid, mode="bicubic", align_corners=False)
    return plane.permute(0, 2, 3, 1).flatten(1, 2)


def level_blocks(depth: int) -> tuple[int, ...]:
    """Indices of the four blocks, evenly spaced to the last, that give dense levels (2, 5, 8, 11 of 12)."""
    return tuple(math.ceil(depth * quarter / 4) - 1 for quarter in (1, 2, 3, 4))


def to_map(tokens_BND: Tensor, grid: tuple[int, int]) -> Tensor:
    """Row-major patch tokens (B, h*w, D) as a map (B, D, h, w)."""
    return tokens_BND.transpose(1, 2).reshape(len(tokens_BND), -1, *grid)


def keep(taps: Taps, name: str, value: Tensor) -> None:
    """Hand an intermediate result to a caller who asked for it."""
    if taps is not None:
        taps[name] = value


class ViT(Network):
    """Plain vision transformer over the concatenated channels of its sensors.

    Args:
        sensors: Sensors in channel order, with their number of bands. A sensor that is not given is zero, which the
            cards of two-sensor models allow.
        img_size: Side in pixels of the grid that the position table is stored for.
        patch_size: Patch side in pixels.
        embed_dim: Width.
        depth: Blocks.
        num_heads: Heads.
        mlp_ratio: Width of the MLP over width.
        cls: Whether there is a class token.
        shared: The sensors are alternatives for the same channels (an RGB model fed from Sentinel-2).
        pool: How tokens become one vector.
        pos_interp: How the position table meets another grid.
        split_qkv: Three linear layers for q, k and v.
    """

    def __init__(
        self,
        sensors: Mapping[str, int],
        *,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        pool: Pool,
        pos_interp: PosInterp,
        cls: bool = True,
        shared: bool = False,
        split_qkv: bool = False,
    ) -> None:
        super().__init__()
        self.sensors = dict(sensors)
        self.shared = shared
        self.patch_size = patch_size
        self.pool = pool
        self.pos_interp = pos_interp
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if cls else None
        self.make_embedding(img_size, embed_dim)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio=mlp_ratio, split=split_qkv) for _ in range(depth)
        )
        self.norm: nn.Module = nn.LayerNorm(embed_dim, eps=1e-6)

    @property
    def in_chans(self) -> int:
        """Channels of the patch projection."""
        return max(self.sensors.values()) if self.shared else sum(self.sensors.values())

    def make_embedding(self, img_size: int, embed_dim: int) -> None:
        """Create what `embed` needs: patch projection and position table."""
        side = img_size // self.patch_size
        extra = 0 if self.cls_token is None else 1
        self.patch_embed: nn.Module = PatchEmbed(self.patch_size, self.in_chans, embed_dim)
        self.pos_embed = nn.Parameter(torch.randn(1, extra + side * side, embed_dim) * 0.02)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Position table really added, class entry first if there is one."""
        if self.cls_token is None:
            return resize_table(self.pos_embed, grid, self.pos_interp)
        return torch.cat([self.pos_embed[:, :1], resize_table(self.pos_embed[:, 1:], grid, self.pos_interp)], dim=1)

    def stack(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Concatenate the sensors' channels; an absent one is zero."""
        some = next(iter(inputs.values()))
        if self.shared:
            return some
        B, _, H, W = some.shape
        return torch.cat(
            [
                inputs[name] if name in inputs else some.new_zeros(B, chans, H, W)
                for name, chans in self.sensors.items()
            ],
            1,
        )

    def grid(self, x_BCHW: Tensor) -> tuple[int, int]:
        """Patches down and across.

        Raises:
            SampleError: If the image is not a whole number of patches.
        """
        H, W = x_BCHW.shape[-2:]
        if H % self.patch_size or W % self.patch_size:
            what = f"an image of {H} x {W} pixels is not whole patches of {self.patch_size}"
            raise SampleError(what, fix="Resize or crop it.")
        return H // self.patch_size, W // self.patch_size

    def embed(self, x_BCHW: Tensor, taps: Taps = None) -> Tensor:
        """Tokens that enter the first block."""
        table = self.positions(self.grid(x_BCHW))
        keep(taps, "pos_embed.used", table)
        tokens = self.patch_embed(x_BCHW).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return cast(Tensor, tokens + table)

    def run(self, x_BCHW: Tensor, taps: Taps = None) -> list[Tensor]:
        """The residual stream after every block."""
        x = self.embed(x_BCHW, taps)
        keep(taps, "tokens.embed", x)
        stream = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            keep(taps, f"block.{index:02d}", x)
            stream.append(x)
        if taps is not None:
            keep(taps, "tokens.final", self.norm(x))
        return stream

    def pooled(self, stream: Sequence[Tensor], pool: Pool) -> Tensor:
        """One vector an image from the residual stream."""
        first = 0 if self.cls_token is None else 1
        match pool:
            case "cls":
                return cast(Tensor, self.norm(stream[-1])[:, 0])
            case "cls-last4":
                return torch.cat([self.norm(x)[:, 0] for x in stream[-4:]], dim=-1)
            case "mean":
                return cast(Tensor, self.norm(stream[-1])[:, first:].mean(1))
            case "mean-norm":  # LayerNorm after the mean, weight 1 and bias 0: it is in no published file
                return nn.functional.layer_norm(stream[-1][:, first:].mean(1), stream[-1].shape[-1:], eps=1e-6)
            case "cls-mean-interleaved":
                x = self.norm(stream[-1])
                return torch.stack([x[:, 0], x[:, 1:].mean(1)], dim=-1).flatten(1)

    def levels(self, stream: Sequence[Tensor], grid: tuple[int, int]) -> tuple[Tensor, ...]:
        """Dense maps (B, D, h, w) of four blocks, each after the final norm."""
        count = grid[0] * grid[1]
        return tuple(to_map(self.norm(stream[index])[:, -count:], grid) for index in level_blocks(len(stream)))

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Pooled feature and four maps of the patch grid."""
        x = self.stack(inputs)
        stream = self.run(x)
        return Features(self.pooled(stream, self.pool), self.levels(stream, self.grid(x)))


def plain_vit(card: BackboneCard, *, pool: Pool, pos_interp: PosInterp, cls: bool = True, shared: bool = False) -> ViT:
    """The ViT that a card's inputs and variant describe."""
    return ViT(
        {spec.sensor: len(spec.bands) for spec in card.inputs},
        img_size=whole(card, "img_size"),
        patch_size=whole(card, "patch_size"),
        embed_dim=whole(card, "embed_dim"),
        depth=whole(card, "depth"),
        num_heads=whole(card, "num_heads"),
        mlp_ratio=number(card, "mlp_ratio"),
        pool=pool,
        pos_interp=pos_interp,
        cls=cls,
        shared=shared,
    )
