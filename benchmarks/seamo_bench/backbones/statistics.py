"""Image statistics: mean, standard deviation, 10th and 90th percentile of every band. The floor of every table.

`rgb-statistics` has mean and standard deviation of red, green and blue alone: what a score owes to colour and contrast.
"""

from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.backbones._inputs import S2_RGB, any_bands
from seamo_bench.card import BackboneCard, InputSpec
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.network import Network

NAN = float("nan")  # what was not measured must not enter a statistic
RAW = "raw values, not normalised"

CARDS = (
    BackboneCard(
        id="image-statistics",
        family="statistics",
        title="Image statistics",
        inputs=any_bands((), RAW, fill=NAN),
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
    BackboneCard(
        id="rgb-statistics",
        family="statistics",
        title="RGB statistics",
        inputs=(
            InputSpec("rgb", ("R", "G", "B"), Unit.UINT8, (), RAW, fill=NAN),
            InputSpec("s2", S2_RGB, Unit.DN, (), RAW, fill=NAN),
        ),
        embed_dim=0,
        size=0,
        multiple_of=1,
        pooling="mean and standard deviation of the valid pixels of red, green and blue",
        code_licence="Apache-2.0",
        availability="none needed",
        source="this project",
        verified=("package",),
        trainable=False,
        variant=(("floor", "image statistics"), ("tails", False)),
    ),
)


def _build(card: BackboneCard) -> "Network":
    from seamo_bench.networks.floors import ImageStatistics

    return ImageStatistics(
        tuple(spec.sensor for spec in card.inputs), tails=bool(dict(card.variant).get("tails", True))
    )


FAMILY = Family(cards=CARDS, build=_build)
