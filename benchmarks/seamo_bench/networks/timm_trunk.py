"""Any timm model as a backbone: its own pooled feature, and up to four dense maps.

Shape suffixes: B batch, C channels, H/W pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from seamo_bench.network import Features, Network
from seamo_bench.networks.vit import level_blocks

NUM_LEVELS = 4


class TimmTrunk(Network):
    """A timm model fed with the channels of one sensor, or of several side by side.

    Args:
        trunk: Made with `num_classes=0`.
        sensors: Sensors in channel order; with `shared`, alternatives for the same channels.
        shared: Whether each sensor fills all channels (RGB, or the red, green and blue of Sentinel-2).
    """

    def __init__(self, trunk: nn.Module, sensors: tuple[str, ...], *, shared: bool) -> None:
        super().__init__()
        self.trunk = trunk
        self.sensors = sensors
        self.shared = shared
        strides = [info["reduction"] for info in trunk.feature_info]  # type: ignore[union-attr]
        self.isotropic = len(set(strides)) == 1 and len(strides) >= NUM_LEVELS
        first = max(0, len(strides) - NUM_LEVELS)
        self.taken = list(level_blocks(len(strides))) if self.isotropic else list(range(first, len(strides)))

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Feature before the classifier; maps of four evenly spaced blocks after the norm, or of the last stages."""
        given = [inputs[name] for name in self.sensors if name in inputs]
        x = given[0] if self.shared else torch.cat(given, dim=1)
        tokens, maps = self.trunk.forward_intermediates(x, indices=self.taken, norm=self.isotropic)  # type: ignore[operator]
        pooled: Tensor = self.trunk.forward_head(tokens, pre_logits=True)  # type: ignore[operator]
        return Features(pooled, tuple(maps))


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a timm model gives, as a card needs it.

    Args:
        embed_dim: Width of the pooled feature.
        levels: (channels, stride) of each map.
        any_size: Whether it takes other image sizes than its own.
        multiple_of: What image sizes must be multiples of.
    """

    embed_dim: int
    levels: tuple[tuple[int, int], ...]
    any_size: bool
    multiple_of: int


def make_trunk(model: str, *, in_chans: int, size: int) -> nn.Module:
    """A timm model without classifier; position embeddings of plain ViTs follow the image.

    Args:
        model: timm's name.
        in_chans: Channels of the image.
        size: Side of the grid that position embeddings are stored for; 0 = the model's own.
    """
    stored = size or None  # timm leaves out what is None
    try:
        trunk: nn.Module = timm.create_model(
            model, num_classes=0, in_chans=in_chans, img_size=stored, dynamic_img_size=True
        )
    except TypeError:  # not a plain ViT
        trunk = timm.create_model(model, num_classes=0, in_chans=in_chans, img_size=stored)
    return trunk


def shapes_of(model: str, *, size: int, fixed: bool, stored: int = 0) -> Shapes:
    """Shapes of a timm model's features, found on the meta device: no memory, no arithmetic.

    Args:
        model: timm's name.
        size: Image side that the card will state.
        fixed: Whether timm says that the model takes no other size.
        stored: See `make_trunk`, `size`.
    """
    with torch.device("meta"):
        trunk = make_trunk(model, in_chans=3, size=stored).eval()
        features = TimmTrunk(trunk, ("rgb",), shared=True).forward_features({"rgb": torch.empty(1, 3, size, size)})
    levels = tuple((level.shape[1], round(size / level.shape[2])) for level in features.levels)
    stride = max((one for _, one in levels), default=1)
    any_size = not fixed or bool(getattr(trunk, "dynamic_img_size", False))
    return Shapes(features.pooled.shape[1], levels, any_size, stride if size % stride == 0 else 1)


def widen_stem(trunk: nn.Module, where: str, channels: int) -> None:
    """Give the first convolution of an RGB model other channels, by timm's own rule (repeat, keep the sum).

    Args:
        trunk: Changed in place.
        where: Name of the convolution.
        channels: Of the image.
    """
    stem = trunk.get_submodule(where)
    assert isinstance(stem, nn.Conv2d)  # noqa: S101 (narrows the type)
    stem.weight = nn.Parameter(adapt_input_conv(channels, stem.weight.detach()))
    stem.in_channels = channels
