"""The "UperNet" of SeaMo's lineage: a pyramid made from the last level alone.

Four maps are made from the last level by a 1x1 convolution, group norm and a transposed convolution to 8, 4, 2 and
1 times its size (1, 2, 4 and 8 times `width` channels; 256 to 2,048 at the published width of 256); then pyramid
pooling with max pooling, a feature pyramid, group norm and GELU, dropout 0.5 and a 3x3 classifier. Written from a
description of the published code's architecture; there is no auxiliary head. A map is never made finer than the image:
levels of a stride below 8 are enlarged less.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from seamo_bench.protocols.dense.heads._parts import Level, Pyramid, group_norm, group_norm_block

WIDTH = 256  # as published
FACTORS = (8, 4, 2, 1)
DROPOUT = 0.5


class AuthorHead(nn.Module):
    """Maps from the last level, then the pyramid."""

    def __init__(self, level: Level, num_classes: int, *, width: int) -> None:
        super().__init__()
        factors = [min(factor, level.stride) for factor in FACTORS]
        counts = [width * 2**position for position in range(len(FACTORS))]
        self.maps = nn.ModuleList(
            _map(level.channels, count, factor) for count, factor in zip(counts, factors, strict=True)
        )
        self.pyramid = Pyramid(
            counts, width, num_classes, pool="max", block=group_norm_block, dropout=DROPOUT, classifier=3
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, of which the last is used -> logits on a grid 8 times as fine, or the image's."""
        logits: Tensor = self.pyramid([one(levels[-1]) for one in self.maps])
        return logits


def _map(channels: int, out: int, factor: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(channels, out, 1), group_norm(out), nn.GELU()]
    if factor > 1:
        layers.append(nn.ConvTranspose2d(out, out, factor, stride=factor))
    return nn.Sequential(*layers)


def build(levels: Sequence[Level], num_classes: int, *, width: int) -> nn.Module:
    """The head, `width` channels in its feature pyramid (256 as published)."""
    return AuthorHead(levels[-1], num_classes, width=width)
