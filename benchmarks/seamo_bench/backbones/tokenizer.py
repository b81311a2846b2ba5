"""Tokenizer statistics: an untrained patch embedding, pooled by mean and standard deviation over an image's patches.

SeaMo's own tokenizer as it is before any training: one linear map of 4 x 4 patches to 96 numbers a sensor, its weights
drawn with seed 0 and never trained; no encoder follows. The deviations of random projections hold contrast and texture,
so what pretraining gives a frozen probe must show above them.
"""

from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import any_bands
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.network import Network

PATCH, WIDTH, SEED = 4, 96, 0  # patch and width of the recipe seamo-demo

CARDS = (
    BackboneCard(
        id="tokenizer-statistics",
        family="tokenizer",
        title="Tokenizer statistics (untrained)",
        # NaN: a patch with a pixel that was not measured is left out whole
        inputs=any_bands(fill=float("nan")),
        embed_dim=0,
        size=0,
        multiple_of=PATCH,
        pooling="mean and standard deviation of each sensor's tokens over the patches that were measured whole",
        code_licence="Apache-2.0",
        availability="none needed",
        source="this project",
        verified=("package",),
        trainable=False,
        variant=(("floor", "random init"), ("patch", PATCH), ("width", WIDTH), ("seed", SEED)),
    ),
)


def _build(card: BackboneCard) -> "Network":
    from seamo_bench.networks.floors import TokenizerStatistics

    return TokenizerStatistics(
        {spec.sensor: len(spec.bands) for spec in card.inputs}, patch=PATCH, width=WIDTH, seed=SEED
    )


FAMILY = Family(cards=CARDS, build=_build)
