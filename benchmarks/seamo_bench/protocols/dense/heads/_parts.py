"""What the heads share: what they know about a level, convolution blocks, pyramid pooling and the feature pyramid."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

POOL_SIZES = (1, 2, 3, 6)  # Zhao et al. 2017, arXiv 1612.01105
Block = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, kernel side) -> convolution, norm, activation."""


@dataclass(frozen=True, slots=True)
class Level:
    """One dense level: channels, the size of its map for the images at hand, and image pixels a map pixel."""

    channels: int
    height: int
    width: int
    stride: int


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to another size, pixel centres aligned."""
    if tuple(x.shape[-2:]) == size:
        return x
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def batch_norm_block(channels: int, out: int, side: int) -> nn.Module:
    """Convolution, batch norm, ReLU: mmsegmentation's default."""
    conv = nn.Conv2d(channels, out, side, padding=side // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


def group_norm_block(channels: int, out: int, side: int) -> nn.Module:
    """Convolution, group norm, GELU."""
    conv = nn.Conv2d(channels, out, side, padding=side // 2, bias=False)
    return nn.Sequential(conv, group_norm(out), nn.GELU())


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups (Wu and He 2018), of fewer where a group would have less than eight channels.

    A map pooled to one pixel has no variance within a group of one channel.
    """
    return nn.GroupNorm(math.gcd(32, max(1, channels // 8)), channels)


class PyramidPooling(nn.Module):
    """The map beside what it gives when pooled to several sizes, joined by a 3x3 convolution."""

    def __init__(self, channels: int, width: int, *, pool: Literal["mean", "max"], block: Block) -> None:
        super().__init__()
        self.pool = pool
        self.reduce = nn.ModuleList(block(channels, width, 1) for _ in POOL_SIZES)
        self.join = block(channels + len(POOL_SIZES) * width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h, w)."""
        size = (x.shape[-2], x.shape[-1])
        pooling = functional.adaptive_max_pool2d if self.pool == "max" else functional.adaptive_avg_pool2d
        pooled = [enlarge(one(pooling(x, side)), size) for one, side in zip(self.reduce, POOL_SIZES, strict=True)]
        joined: Tensor = self.join(torch.cat([x, *pooled], dim=1))
        return joined


class Pyramid(nn.Module):
    """UperNet on maps of falling size (Xiao et al. 2018, arXiv 1807.10221).

    Pyramid pooling on the deepest map, a feature pyramid over all, its maps enlarged to the largest and joined, and
    a classifier.

    Args:
        channels: Of each map, largest map first.
        width: Channels inside.
        num_classes: K.
        pool: How the pyramid pooling pools.
        block: Convolution, norm, activation.
        dropout: Share of channels dropped before the classifier.
        classifier: Side of the classifier's kernel.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        num_classes: int,
        *,
        pool: Literal["mean", "max"],
        block: Block,
        dropout: float,
        classifier: int,
    ) -> None:
        super().__init__()
        self.top = PyramidPooling(channels[-1], width, pool=pool, block=block)
        self.lateral = nn.ModuleList(block(count, width, 1) for count in channels[:-1])
        self.smooth = nn.ModuleList(block(width, width, 3) for _ in channels[:-1])
        self.join = block(len(channels) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, classifier, padding=classifier // 2)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, largest first -> logits on the largest map's grid."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps[:-1], strict=True)]
        merged.append(self.top(maps[-1]))
        for level in range(len(merged) - 1, 0, -1):
            above = merged[level - 1]
            merged[level - 1] = above + enlarge(merged[level], (above.shape[-2], above.shape[-1]))
        smoothed = [smooth(x) for smooth, x in zip(self.smooth, merged[:-1], strict=True)] + [merged[-1]]
        largest = (smoothed[0].shape[-2], smoothed[0].shape[-1])
        joined = self.join(torch.cat([enlarge(x, largest) for x in smoothed], dim=1))
        logits: Tensor = self.classify(self.dropout(joined))
        return logits
