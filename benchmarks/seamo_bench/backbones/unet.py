"""A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) from scratch: the supervised floor of dense tables.

Two convolutions a scale with batch norm and ReLU, four scales, transposed convolutions on the way up; padded
convolutions, so that maps keep the image's size. Its one dense level is the last map, at full resolution.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.backbones._variant import whole
from seamo_bench.card import BackboneCard, InputSpec, Step
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.network import Network

WIDTH, SCALES = 32, 4

CARDS = (
    BackboneCard(
        id="unet",
        family="unet",
        title="U-Net (supervised, from scratch)",
        inputs=tuple(
            InputSpec(sensor, (), unit, (Step("store-zscore"),), "store")
            for sensor, unit in (("s2", Unit.DN), ("s1", Unit.DB), ("rgb", Unit.UINT8))
        ),
        embed_dim=WIDTH * 2 ** (SCALES - 1),
        size=128,
        multiple_of=2 ** (SCALES - 1),
        pooling="mean of the deepest map",
        levels=((WIDTH, 1),),
        code_licence="Apache-2.0",
        availability="none needed",
        source="arXiv 1505.04597",
        verified=("package",),
        variant=(("floor", "supervised"), ("width", WIDTH)),
    ),
)


def demo_card(card: BackboneCard) -> BackboneCard:
    """The same at a quarter of the width."""
    width = whole(card, "width") // 4
    return replace(
        card,
        embed_dim=width * 2 ** (SCALES - 1),
        levels=((width, 1),),
        variant=(("floor", "supervised"), ("width", width)),
    )


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """The network, random from `seed`, or filled from a file of its own parameters."""
    import torch
    from torch import Tensor, nn

    from seamo_bench.network import Features, Network
    from seamo_bench.weights import assemble

    def twice(channels: int, out: int) -> nn.Module:
        layers: list[nn.Module] = []
        for count in (channels, out):
            layers += [nn.Conv2d(count, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(Network):
        """Bands of all sensors as channels of one image."""

        def __init__(self) -> None:
            super().__init__()
            bands = sum(len(one.bands) for one in card.inputs)
            widths = [whole(card, "width") * 2**scale for scale in range(SCALES)]
            self.down = nn.ModuleList(twice(a, b) for a, b in zip([bands, *widths], widths, strict=False))
            self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, 2, stride=2) for one in widths[:-1])
            self.up = nn.ModuleList(twice(2 * one, one) for one in widths[:-1])

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            x = torch.cat([inputs[one.sensor] for one in card.inputs], dim=1)
            passed = []
            for scale, block in enumerate(self.down):
                x = block(x if scale == 0 else nn.functional.max_pool2d(x, 2))
                passed.append(x)
            pooled = x.mean(dim=(2, 3))
            for scale in range(SCALES - 2, -1, -1):
                x = self.up[scale](torch.cat([passed[scale], self.grow[scale](x)], dim=1))
            return Features(pooled, (x,))

    return assemble(UNet, rules=KeyRules(), weights=weights, seed=seed, backbone=card.id)
