"""Networks of the floors: statistics and pixels as they are, and what is trained from scratch.

All of them take the bands of every sensor that the card lists, side by side as channels of one image.
"""

from collections.abc import Mapping, Sequence

import timm
import torch
from torch import Tensor, nn

from seamo.model.tokenizer import Tokenizer, patchify
from seamo_bench.network import Features, Network


class ImageStatistics(Network):
    """(B, C, H, W) -> (B, 4 C): band by band mean, std (population), p10, p90; 0 for a band without a pixel.

    Args:
        sensors: In the order of the features.
        tails: Whether the percentiles are among them; without them (B, 2 C).
    """

    def __init__(self, sensors: tuple[str, ...], *, tails: bool = True) -> None:
        super().__init__()
        self.sensors, self.tails = sensors, tails

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """The statistics of every sensor, one after the other; no dense levels."""
        parts = []
        for sensor in self.sensors:
            pixels = inputs[sensor].flatten(2).double()
            mean = pixels.nanmean(dim=2)
            found = [mean, (pixels - mean[..., None]).square().nanmean(dim=2).sqrt()]
            if self.tails:
                found += torch.nanquantile(pixels, pixels.new_tensor([0.1, 0.9]), dim=2).unbind()
            parts.append(torch.stack(found, dim=2).flatten(1))
        return Features(torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0).float())


class TokenizerStatistics(Network):
    """SeaMo's patch embedding before any training: mean and std (population) of its tokens over an image's patches.

    A pixel that is NaN makes its patch's token NaN, which the pooling leaves out; features are 0 where no patch is
    left. Rows and columns beyond the last whole patch are not read.

    Args:
        channels: Sensor -> number of its bands, in the order of the features.
        patch: Side of a patch in pixels.
        width: Length of a token.
        seed: Of the weights, drawn as SeaMo draws them (xavier uniform, no bias); each sensor's from the same seed.
    """

    def __init__(self, channels: Mapping[str, int], *, patch: int, width: int, seed: int) -> None:
        super().__init__()
        self.sensors, self.patch = tuple(channels), patch
        self.tokenizers = nn.ModuleDict(
            {sensor: Tokenizer(count * patch * patch, width, bias=False) for sensor, count in channels.items()}
        )
        for sensor, count in channels.items():
            drawn = torch.empty((width, count * patch * patch), device="cpu")
            nn.init.xavier_uniform_(drawn, generator=torch.Generator("cpu").manual_seed(seed))
            self.tokenizers[sensor].weight = nn.Parameter(drawn, requires_grad=False)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """(B, 2 * width * sensors): of each sensor the means, then the deviations; no dense levels."""
        parts = []
        for sensor in self.sensors:
            images = inputs[sensor]
            height, width = (side // self.patch * self.patch for side in images.shape[-2:])
            patches = patchify(images[:, None, :, :height, :width], self.patch)[:, 0]
            tokens: Tensor = self.tokenizers[sensor](patches).double()
            mean = tokens.nanmean(dim=1)
            parts += [mean, (tokens - mean[:, None]).square().nanmean(dim=1).sqrt()]
        return Features(torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0).float())


class PixelValues(Network):
    """Bands of all sensors as one level of stride 1."""

    def __init__(self, sensors: tuple[str, ...]) -> None:
        super().__init__()
        self.sensors = sensors

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """The mean of each band, and the bands."""
        x = torch.cat([inputs[sensor] for sensor in self.sensors], dim=1)
        return Features(x.mean(dim=(2, 3)), (x,))


class ResNet18(Network):
    """ResNet-18 of timm.

    Args:
        sensors: In channel order.
        channels: Bands of all of them together.
    """

    def __init__(self, sensors: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.sensors = sensors
        self.trunk: nn.Module = timm.create_model("resnet18", pretrained=False, num_classes=0, in_chans=channels)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """The mean of the last map, and the maps of the four stages."""
        x = torch.cat([inputs[sensor] for sensor in self.sensors], dim=1)
        levels: list[Tensor] = self.trunk.forward_intermediates(  # type: ignore[operator]
            x, indices=[1, 2, 3, 4], intermediates_only=True
        )
        return Features(levels[-1].mean(dim=(2, 3)), tuple(levels))


class UNet(Network):
    """A small U-Net: two convolutions a scale, transposed convolutions on the way up.

    Args:
        sensors: In channel order.
        channels: Bands of all of them together.
        widths: Channels of each scale, shallow to deep, each twice the one before.
    """

    def __init__(self, sensors: tuple[str, ...], channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.sensors = sensors
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * chans, chans, 2, stride=2) for chans in widths[:-1])
        self.up = nn.ModuleList(_twice(2 * chans, chans) for chans in widths[:-1])

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """The mean of the deepest map, and the last map at full resolution."""
        x = torch.cat([inputs[sensor] for sensor in self.sensors], dim=1)
        passed = []
        for scale, block in enumerate(self.down):
            x = block(x if scale == 0 else nn.functional.max_pool2d(x, 2))
            passed.append(x)
        pooled = x.mean(dim=(2, 3))
        for scale in reversed(range(len(self.up))):
            x = self.up[scale](torch.cat([passed[scale], self.grow[scale](x)], dim=1))
        return Features(pooled, (x,))


def _twice(channels: int, out: int) -> nn.Module:
    layers: list[nn.Module] = []
    for count in (channels, out):
        layers += [nn.Conv2d(count, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)
