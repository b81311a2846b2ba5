"""Image statistics: mean, standard deviation, 10th and 90th percentile of every band. The floor of every table."""

from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import any_bands
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.networks.floors import ImageStatistics

NUMBERS = ("mean", "std", "p10", "p90")
NAN = float("nan")  # what was not measured must not enter a statistic

CARDS = (
    BackboneCard(
        id="image-statistics",
        family="statistics",
        title="Image statistics",
        inputs=any_bands((), "raw values, not normalised", fill=NAN),
        embed_dim=0,
        size=0,
        multiple_of=1,
        pooling="mean, standard deviation, 10th and 90th percentile of the valid pixels of each band",
        code_licence="Apache-2.0",
        availability="none needed",
        source="this project",
        verified=("package",),
        trainable=False,
        variant=(("floor", "image statistics"),),
    ),
)


def _build(card: BackboneCard) -> "ImageStatistics":
    from seamo_bench.networks.floors import ImageStatistics

    return ImageStatistics(tuple(spec.sensor for spec in card.inputs))


FAMILY = Family(cards=CARDS, build=_build)
