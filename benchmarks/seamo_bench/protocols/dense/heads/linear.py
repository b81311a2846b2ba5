"""Linear head: batch norm without affine parameters and a 1x1 convolution on the deepest level.

The dense twin of the linear probe; DINOv2's linear segmentation (Oquab et al. 2023, section 7.4) is the same.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from seamo_bench.protocols.dense.heads._parts import Level

WIDTH = 0  # there is nothing inside


class LinearHead(nn.Module):
    """Weights N(0, 0.01), zero bias, as the linear probe's."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.classify = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, shallow to deep -> logits on the deepest level's grid."""
        logits: Tensor = self.classify(self.norm(levels[-1]))
        return logits


def build(levels: Sequence[Level], num_classes: int, *, width: int) -> nn.Module:
    """The head; `width` means nothing here."""
    del width
    return LinearHead(levels[-1].channels, num_classes)
