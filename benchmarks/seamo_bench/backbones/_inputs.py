"""Inputs that several families share: what is expected, and how it is normalised. No torch here."""

from dataclasses import replace

from seamo.bands import S1, S2_L1C, Unit
from seamo_bench.backbones._steps import (
    BEN_MEAN,
    BEN_STD,
    DN_TO_8BIT,
    DN_TO_8BIT_WRAPPED,
    IMAGENET,
    SSL4EO_S1,
    TO_UNIT,
    TRUE_COLOUR,
    in_order,
    two_sigma_8bit,
)
from seamo_bench.card import BackboneCard, InputSpec, Step
from seamo_bench.family import Change

WRAP = "wrap-uint8: DN above 10000 wrap around as an unchecked 8-bit cast does, instead of being limited to 255"
S2_SSL4EO = InputSpec(
    sensor="s2",
    bands=S2_L1C,
    unit=Unit.DN,
    steps=DN_TO_8BIT,
    source="github.com/zhu-xlab/SSL4EO-S12, datasets/EuroSat/eurosat_dataset.py",
    product="L1C",
)
S1_SSL4EO = InputSpec(
    sensor="s1",
    bands=S1,
    unit=Unit.DB,
    steps=SSL4EO_S1,
    source="github.com/zhu-xlab/FGMAE, datasets/EuroSat/eurosat_dataset_s1.py (VV, VH; another says VH, VV)",
    product="GRD",
)
S2_RGB = ("B04", "B03", "B02")
UNITS = {"s2": Unit.DN, "s1": Unit.DB, "rgb": Unit.UINT8}  # in which stores hold them
# Fixed quantiles of SeCo's OSCD loader: B04 426..3698, B03 667..2969, B02 885..2620, then 8 bit.
OSCD_QUANTILES = (
    Step("affine", (426.0, 667.0, 885.0), (3698.0 - 426.0, 2969.0 - 667.0, 2620.0 - 885.0)),
    Step("clip", (0.0,), (1.0,)),
    Step("scale", (255.0,)),
    Step("truncate-uint8"),
    TO_UNIT,
)


def normalised_by(steps: tuple[Step, ...]) -> Change:
    """A quirk: every input of the card is normalised by other steps."""

    def change(card: BackboneCard) -> BackboneCard:
        return replace(card, inputs=tuple(replace(spec, steps=steps) for spec in card.inputs))

    return change


WRAP_QUIRK = {"wrap-uint8": normalised_by(DN_TO_8BIT_WRAPPED)}
OSCD_QUIRK = {"oscd-quantiles": normalised_by(OSCD_QUANTILES)}


def any_bands(
    steps: tuple[Step, ...] = (Step("store-zscore"),),
    source: str = "store",
    *,
    sensors: tuple[str, ...] = ("s2", "s1", "rgb"),
    fill: float = 0.0,
) -> tuple[InputSpec, ...]:
    """Inputs of networks without published weights: whatever bands of these sensors a store has."""
    return tuple(InputSpec(sensor, (), UNITS[sensor], steps, source, fill=fill) for sensor in sensors)


def rgb_inputs(source: str, steps: tuple[Step, ...] = IMAGENET) -> tuple[InputSpec, InputSpec]:
    """Inputs of a model of 8-bit RGB: RGB images, or bands 4, 3, 2 of Sentinel-2 stretched to 8 bit.

    Args:
        source: Where the normalisation of the 8-bit values is published.
        steps: That normalisation.
    """
    stretch = "; from Sentinel-2 through ESA's true-colour stretch (DN 3558 = 255), as no rule is published"
    return (
        InputSpec(sensor="rgb", bands=("R", "G", "B"), unit=Unit.UINT8, steps=steps, source=source),
        InputSpec(
            sensor="s2",
            bands=S2_RGB,
            unit=Unit.DN,
            steps=(*TRUE_COLOUR, *steps),
            source=source + stretch,
            product="L1C",
        ),
    )


def bigearthnet_rgb(source: str) -> InputSpec:
    """Bands 4, 3, 2 with BigEarthNet's mean +- 2 sigma in 8 bit (SeCo, CaCo)."""
    steps = two_sigma_8bit(in_order(BEN_MEAN, S2_RGB), in_order(BEN_STD, S2_RGB))
    return InputSpec(sensor="s2", bands=S2_RGB, unit=Unit.DN, steps=steps, source=source, product="L2A")
