"""What a pretrained SeaMo expects of its input, from the card beside its weights. No torch here."""

from collections.abc import Collection, Mapping
from typing import Any

from seamo.bands import Unit
from seamo.inputs.spec import Expects, InputSpec, Resize, Step
from seamo.inputs.steps import two_sigma

RESIZE: Resize = "bicubic-native"  # what its crops are in pretraining
EIGHT_BIT = (  # rounded to multiples of 1/255
    Step("scale", (255.0,)),
    Step("affine", (-0.5,), (1.0,)),
    Step("truncate-uint8"),
    Step("affine", (0.0,), (255.0,)),
)


def expects_of(described: Mapping[str, Any], name: str, *, own: Collection[str]) -> Expects:
    """What the model of a card expects.

    Args:
        described: `card.json`: see `seamo.model.checkpoint.save_model`.
        name: Of the model, for messages.
        own: Sensors that are normalised with the model's own numbers; the others take the same kind of scaling with
            the statistics of the store or image at hand.
    """
    config, provenance = described["config"], described["provenance"]
    inputs = tuple(
        _input(sensor, tuple(bands), described["normalisation"][sensor], _product(provenance, sensor), sensor in own)
        for sensor, bands in config["bands"].items()
    )
    return Expects(name, inputs, int(config["size"]), int(config["patch"]), resize=RESIZE)


def _input(sensor: str, bands: tuple[str, ...], numbers: Mapping[str, Any], product: str, own: bool) -> InputSpec:
    scaled = numbers["kind"] == "two-sigma"
    mean = tuple(float(numbers["mean"][band]) for band in bands)
    std = tuple(float(numbers["std"][band]) for band in bands)
    steps: tuple[Step, ...]
    if not own:
        steps = (Step("store-2std" if scaled else "store-zscore"),)
    elif scaled:
        steps = two_sigma(mean, std)
    else:
        steps = (Step("affine", mean, std),)
    if numbers.get("eight_bit"):
        steps += EIGHT_BIT
    source = str(numbers["source"]) if own else "store"
    return InputSpec(sensor, bands, Unit(numbers["unit"]), steps, source, product, fill=0.5 if scaled else 0.0)


def _product(provenance: Mapping[str, Any], sensor: str) -> str:
    """The processing level of pretraining, where it was one."""
    products = provenance.get("products")
    levels = products.get(sensor, []) if isinstance(products, Mapping) else []
    return str(levels[0]) if len(levels) == 1 else ""
