"""ResNet trunk of torchvision's blocks at any width, with torchvision's parameter names.

Shape suffixes: B batch, C channels, H/W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.variant import whole, wholes, word
from seamo_bench.networks.vit import Taps, keep

Kind = Literal["basic", "bottleneck"]


class ResNet(Network):
    """ResNet (He et al. 2016) without its classifier.

    Args:
        in_chans: Channels of the image.
        layers: Blocks of each of the four stages.
        width: Channels of the stem (64 as published).
        kind: Basic blocks (ResNet-18) or bottlenecks (ResNet-50).
        bottleneck_factor: Width of the 3x3 convolution over the usual one (2 in Wide ResNet-50-2).
    """

    def __init__(
        self, in_chans: int, *, layers: Sequence[int], width: int, kind: Kind, bottleneck_factor: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        stages = []
        channels = width
        for index, count in enumerate(layers):
            planes, stride = width * 2**index, 1 if index == 0 else 2
            stages.append(_stage(channels, planes, count, stride=stride, kind=kind, factor=bottleneck_factor))
            channels = planes * (1 if kind == "basic" else 4)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def run(self, x_BCHW: Tensor, taps: Taps = None) -> list[Tensor]:
        """Outputs of the four stages, strides 4, 8, 16, 32."""
        x = self.conv1(x_BCHW)
        keep(taps, "stem.conv1", x)
        x = self.bn1(x).relu()
        keep(taps, "stem.relu", x)
        x = self.maxpool(x)
        keep(taps, "stage.0", x)
        stages = []
        for index, layer in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), start=1):
            x = layer(x)
            keep(taps, f"stage.{index}", x)
            stages.append(x)
        return stages

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Global average of the last stage, and the pyramid. The one sensor given is the image."""
        (x,) = inputs.values()
        stages = self.run(x)
        return Features(stages[-1].mean((2, 3)), tuple(stages))


def _stage(channels: int, planes: int, count: int, *, stride: int, kind: Kind, factor: int) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for index in range(count):
        out = planes * (1 if kind == "basic" else 4)
        shortcut = None
        if index == 0 and (stride != 1 or channels != out):
            shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        step = stride if index == 0 else 1
        if kind == "basic":
            blocks.append(BasicBlock(channels, planes, step, shortcut))
        else:
            blocks.append(Bottleneck(channels, planes, step, shortcut, base_width=64 * factor))
        channels = out
    return nn.Sequential(*blocks)


def resnet(card: BackboneCard) -> ResNet:
    """The ResNet that a card's inputs and variant describe."""
    kind: Kind = "basic" if word(card, "block") == "basic" else "bottleneck"
    return ResNet(
        len(card.inputs[0].bands),
        layers=wholes(card, "layers"),
        width=whole(card, "width"),
        kind=kind,
        bottleneck_factor=whole(card, "bottleneck_factor"),
    )
