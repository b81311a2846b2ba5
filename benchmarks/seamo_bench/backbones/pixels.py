"""Pixel values: the standardised bands of a pixel and nothing around it. The floor of dense tables.

A linear head on it is a linear classifier of single spectra: what context adds must show above it.
"""

from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import any_bands
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.networks.floors import PixelValues

CARDS = (
    BackboneCard(
        id="pixel-values",
        family="pixels",
        title="Pixel values",
        inputs=any_bands(),
        embed_dim=0,
        size=0,
        multiple_of=1,
        pooling="mean of each standardised band",
        levels=((0, 1),),
        code_licence="Apache-2.0",
        availability="none needed",
        source="this project",
        verified=("package",),
        trainable=False,
        variant=(("floor", "image statistics"),),
    ),
)


def _build(card: BackboneCard) -> "PixelValues":
    from seamo_bench.networks.floors import PixelValues

    return PixelValues(tuple(spec.sensor for spec in card.inputs))


FAMILY = Family(cards=CARDS, build=_build)
