"""UperNet on several levels, as mmsegmentation and PANGAEA use it with plain ViTs and with pyramids.

Levels of one size (plain ViTs) are first brought to 4, 2, 1 and 1/2 times it: learned enlargement by transposed
convolutions, max pooling for the smaller one (Li et al. 2022, arXiv 2203.16527, and PANGAEA, arXiv 2412.04204).
No auxiliary head.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from seamo_bench.protocols.dense.heads._parts import Level, Pyramid, batch_norm_block

WIDTH = 512  # mmsegmentation and PANGAEA
MAX_LEVELS = 4
DROPOUT = 0.1  # mmsegmentation's default


class UperNetHead(nn.Module):
    """Necks for levels of one size, then the pyramid. Of more than four levels, four evenly spaced ones are used."""

    def __init__(self, levels: Sequence[Level], num_classes: int, *, width: int) -> None:
        super().__init__()
        self.used = _evenly(len(levels))
        chosen = [levels[position] for position in self.used]
        flat = len({(one.height, one.width) for one in chosen}) == 1
        factors = (4.0, 2.0, 1.0, 0.5)[-len(chosen) :] if len(chosen) > 1 else (1.0,)
        self.necks = nn.ModuleList(
            _neck(one.channels, factor if flat else 1.0) for one, factor in zip(chosen, factors, strict=True)
        )
        self.pyramid = Pyramid(
            [one.channels for one in chosen],
            width,
            num_classes,
            pool="mean",
            block=batch_norm_block,
            dropout=DROPOUT,
            classifier=1,
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, shallow to deep -> logits on the largest map's grid."""
        maps = [neck(levels[position]) for neck, position in zip(self.necks, self.used, strict=True)]
        logits: Tensor = self.pyramid(maps)
        return logits


def _evenly(count: int) -> tuple[int, ...]:
    if count <= MAX_LEVELS:
        return tuple(range(count))
    return tuple(round((k + 1) * count / MAX_LEVELS) - 1 for k in range(MAX_LEVELS))


def _neck(channels: int, factor: float) -> nn.Module:
    if factor == 1.0:
        return nn.Identity()
    if factor == 0.5:
        return nn.MaxPool2d(2, ceil_mode=True)
    once = nn.ConvTranspose2d(channels, channels, 2, stride=2)
    if factor == 2.0:
        return once
    again = nn.ConvTranspose2d(channels, channels, 2, stride=2)
    return nn.Sequential(once, nn.BatchNorm2d(channels), nn.GELU(), again)


def build(levels: Sequence[Level], num_classes: int, *, width: int) -> nn.Module:
    """The head, `width` channels inside (512 in mmsegmentation and PANGAEA)."""
    return UperNetHead(levels, num_classes, width=width)
