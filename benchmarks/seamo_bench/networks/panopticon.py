"""Panopticon's trunk: every channel its own patch tokens, fused by attention over channels, then a DINOv2 ViT.

Shape suffixes as in `vit`; L patches, A width of the channel attention.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.networks.dofa import sincos_1d
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import Block, Taps, ViT, keep

RADAR = {"VV": (0, 0), "VH": (0, 1)}  # transmitted, received: 0 vertical, 1 horizontal


class LayerScale(nn.Module):
    """Learned factor of every channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last axis."""
        return x * self.gamma


class ScaledBlock(Block):
    """Pre-norm block whose branches are scaled (DINOv2)."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: float) -> None:
        super().__init__(dim, heads, mlp_ratio=mlp_ratio)
        self.ls1 = LayerScale(dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x_BND: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention and MLP, each scaled and added to the residual stream."""
        x_BND = x_BND + self.ls1(self.attn(self.norm1(x_BND), mask))
        out: Tensor = x_BND + self.ls2(self.mlp(self.norm2(x_BND)))
        return out


class ChannelEmbed(nn.Module):
    """What a channel is: sine-cosine of its wavelength in nanometres, or learned parts for radar."""

    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // 3
        self.width = width
        self.embed_transmit = nn.Parameter(torch.zeros(2, part))
        self.embed_receive = nn.Parameter(torch.zeros(2, part))
        self.embed_orbit = nn.Parameter(torch.zeros(2, width - 2 * part))

    def forward(self, channels: Sequence[float | str]) -> Tensor:
        """(C, A) of wavelengths, or names of radar channels (orbit unknown: the mean of both)."""
        rows = []
        for channel in channels:
            if isinstance(channel, str):
                sent, received = RADAR[channel]
                parts = (self.embed_transmit[sent], self.embed_receive[received], self.embed_orbit.mean(0))
                rows.append(torch.cat(parts))
            else:
                wave = torch.tensor([channel], device=self.embed_orbit.device)
                rows.append(sincos_1d(wave, self.width)[0].to(self.embed_orbit))
        return torch.stack(rows)


class ChannelAttention(nn.Module):
    """One learned query attends to the channels of a patch."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.randn(1, 1, width))
        self.chnemb = ChannelEmbed(width)
        self.xattn = nn.ModuleDict(
            {"inproj_k": nn.Linear(width, width, bias=False), "inproj_v": nn.Linear(width, width, bias=False)}
        )

    def forward(self, x_BLCA: Tensor, channels: Sequence[float | str]) -> Tensor:
        """(B, L, C, A) -> (B, L, A)."""
        B, L, _, A = x_BLCA.shape
        x = (x_BLCA + self.chnemb(channels)).flatten(0, 1)

        def heads(y: Tensor) -> Tensor:
            return y.reshape(y.shape[0], y.shape[1], self.heads, A // self.heads).transpose(1, 2)

        keys, values = heads(self.xattn["inproj_k"](x)), heads(self.xattn["inproj_v"](x))
        query = heads(self.query.expand(B * L, -1, -1))
        fused: Tensor = nn.functional.scaled_dot_product_attention(query, keys, values)
        return fused.transpose(1, 2).reshape(B, L, A)


class Conv3d(nn.Module):
    """Every channel through the same patch projection."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(1, width, (1, patch, patch), (1, patch, patch))


class ChannelPatches(nn.Module):
    """Patches of every channel, fused, projected to the ViT's width."""

    def __init__(self, patch: int, width: int, dim: int, heads: int) -> None:
        super().__init__()
        self.conv3d = Conv3d(patch, width)
        self.chnfus = ChannelAttention(width, heads)
        self.proj = nn.Linear(width, dim)

    def forward(self, x_BCHW: Tensor, channels: Sequence[float | str]) -> Tensor:
        """(B, C, H, W) -> (B, L, D)."""
        planes = self.conv3d.conv3d(x_BCHW[:, None])  # B A C h w
        out: Tensor = self.proj(self.chnfus(planes.flatten(3).permute(0, 3, 2, 1), channels))
        return out


class Panopticon(ViT):
    """DINOv2 ViT behind channel attention.

    Args:
        card: Its variant has the constructor numbers.
        channels: Sensor -> wavelength in nanometres, or name of the radar channel, of each of its bands.
    """

    def __init__(self, card: BackboneCard, channels: Mapping[str, Sequence[float | str]]) -> None:
        self.channels = {sensor: list(known) for sensor, known in channels.items()}
        dim, depth, heads = whole(card, "embed_dim"), whole(card, "depth"), whole(card, "num_heads")
        super().__init__(
            {spec.sensor: len(spec.bands) for spec in card.inputs},
            img_size=whole(card, "img_size"),
            patch_size=whole(card, "patch_size"),
            embed_dim=dim,
            depth=0,
            num_heads=heads,
            mlp_ratio=number(card, "mlp_ratio"),
            pool="cls",
            pos_interp="none",
        )
        mlp_ratio = number(card, "mlp_ratio")
        self.blocks = nn.ModuleList(ScaledBlock(dim, heads, mlp_ratio=mlp_ratio) for _ in range(depth))
        self.patch_embed = ChannelPatches(self.patch_size, whole(card, "attn_dim"), dim, whole(card, "attn_heads"))

    def embed(self, x_BCHW: Tensor, taps: Taps = None) -> Tensor:
        """Class token and fused patches with their positions."""
        assert self.cls_token is not None  # noqa: S101 (narrows the type; this trunk always has one)
        table = self.positions(self.grid(x_BCHW))
        keep(taps, "pos_embed.used", table)
        channels = [channel for sensor in self.sensors for channel in self.channels[sensor]]
        patches = self.patch_embed(x_BCHW, channels)
        tokens: Tensor = torch.cat([self.cls_token.expand(len(x_BCHW), -1, -1), patches], dim=1) + table
        return tokens
