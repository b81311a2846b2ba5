"""A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) from scratch: the supervised floor of dense tables.

Two convolutions a scale with batch norm and ReLU, four scales, transposed convolutions on the way up; padded
convolutions, so that maps keep the image's size. Its one dense level is the last map, at full resolution.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import any_bands
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family
from seamo_bench.networks.variant import whole

if TYPE_CHECKING:
    from seamo_bench.networks.floors import UNet

WIDTH, SCALES = 32, 4

CARDS = (
    BackboneCard(
        id="unet",
        family="unet",
        title="U-Net (supervised, from scratch)",
        inputs=any_bands(),
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


def _narrow(card: BackboneCard) -> BackboneCard:
    width = whole(card, "width") // 4
    return replace(
        card,
        embed_dim=width * 2 ** (SCALES - 1),
        levels=((width, 1),),
        variant=(("floor", "supervised"), ("width", width)),
    )


def _build(card: BackboneCard) -> "UNet":
    from seamo_bench.networks.floors import UNet

    sensors, channels = tuple(spec.sensor for spec in card.inputs), sum(len(spec.bands) for spec in card.inputs)
    return UNet(sensors, channels, [whole(card, "width") * 2**scale for scale in range(SCALES)])


FAMILY = Family(cards=CARDS, build=_build, narrow=_narrow)
