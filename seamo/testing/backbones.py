"""What every backbone must hold, as one call: `check_backbone(family, card)`.

Shapes are checked on the meta device, where a network of any size costs neither memory nor arithmetic; values with
weights drawn from a seed, of networks that are small enough. No published weights are needed: that these are loaded
exactly is checked when they are, and that the network computes what the official code does is for reference outputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from seamo.bands import SENSORS
from seamo.errors import SeamoError
from seamo.testing.expect import expect

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from seamo.inputs.spec import InputSpec
    from seamo_bench.card import BackboneCard
    from seamo_bench.family import Family
    from seamo_bench.network import Features, Network

MANY = 30_000_000  # parameters above which values are not computed if nothing else is said
LOADABLE = ("weights", "none needed")
_BATCH = 3


def check_backbone(family: "Family", card: "BackboneCard", *, max_parameters: int = MANY) -> None:
    """Check one card and the network that its family makes for it.

    * The card: known bands, numbers for each of them, a source, sizes that fit.
    * Pooled width, and channels and strides of the levels, are those of the card: at its own size, at a larger one
      that is not square, for all sensors together and, where the card takes them alone, for each by itself. Another
      size is refused where the card says so.
    * The network is in evaluation mode; nothing in it is drawn anew (dropout); it gives the same features again.
    * A sample's features depend neither on its place in the batch nor on the other samples.
    * Every band matters.
    * A seed decides what is not loaded, whatever torch drew before; torch's own generator is left alone.

    Args:
        family: The card's family.
        card: One of its cards.
        max_parameters: Values are computed for networks of up to so many parameters; of larger ones, shapes alone.

    Raises:
        AssertionError: Saying what does not hold, of which card.
    """
    check_card(card)
    if card.availability not in LOADABLE:
        refused = _refusal(family, card)
        expect(
            refused, card.id, f"is {card.availability}, and load gives a network", "It has neither `build` nor `load`."
        )
        return
    fed = with_bands(card)
    try:
        parameters = _check_shapes(fed, lambda own: _empty(family, own))
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error):
            raise
        parameters = _check_shapes(fed, lambda own: _loaded(family, own, 0))  # it looks at values on its way
    if parameters <= max_parameters:
        _check_values(family, fed)


def check_card(card: "BackboneCard") -> None:
    """Check what a card says, without its network.

    Raises:
        AssertionError: Saying what does not hold, of which card.
    """
    for spec in card.inputs:
        where = f"{card.id}: {spec.sensor}"
        expect(spec.sensor in SENSORS, where, "is no sensor", f"There are {', '.join(SENSORS)}.")
        known = {band.name for band in SENSORS[spec.sensor]}
        expect(set(spec.bands) <= known, where, f"has no bands {sorted(set(spec.bands) - known)}")
        expect(len(set(spec.bands)) == len(spec.bands), where, "a band stands twice")
        expect(spec.source, where, "does not say where its normalisation is from", "Fill in `source`.")
        for step in spec.steps:
            lengths = {len(step.a), len(step.b)}
            fix = "Give one number for all bands, or one a band."
            expect(lengths <= {0, 1, len(spec.bands)}, where, f"{step.op} has {sorted(lengths)} numbers", fix)
    expect(card.inputs or card.availability not in LOADABLE, card.id, "takes no input")
    expect(card.multiple_of >= 1, card.id, f"multiple_of is {card.multiple_of}")
    expect(card.size % card.multiple_of == 0, card.id, f"size {card.size} is no multiple of {card.multiple_of}")
    expect(card.weights is None or card.availability == "weights", card.id, f"has weights and is {card.availability}")
    for quirk in card.quirks:
        expect(":" in quirk, card.id, f"quirk {quirk!r} says nothing", "Write `name: what is done instead`.")


def with_bands(card: "BackboneCard") -> "BackboneCard":
    """The card for a store that has every band; of cards that follow the store's bands, all bands of the sensor."""
    inputs = (
        replace(spec, bands=spec.bands or tuple(band.name for band in SENSORS[spec.sensor])) for spec in card.inputs
    )
    return replace(card, inputs=_together(tuple(inputs)))


def _together(inputs: "tuple[InputSpec, ...]") -> "tuple[InputSpec, ...]":
    """Inputs that one store feeds: `rgb` and `s2` are two ways to feed one stem."""
    sensors = [spec.sensor for spec in inputs]
    return tuple(spec for spec in inputs if spec.sensor != "s2" or "rgb" not in sensors)


def _loaded(family: "Family", card: "BackboneCard", seed: int) -> "Network":
    from seamo_bench.zoo.loading import load_network

    return load_network(family, card, None, seed)


def _refusal(family: "Family", card: "BackboneCard") -> str:
    try:
        _loaded(family, card, 0)
    except SeamoError as error:
        return str(error)
    return ""


def _empty(family: "Family", card: "BackboneCard") -> "Network":
    """The network on the meta device; where a family cannot build it without values, the network itself."""
    import torch

    if family.build is None:
        return _loaded(family, card, 0)
    with torch.device("meta"):
        return family.build(card).eval()


# Shapes ---------------------------------------------------------------------------------------------------


def _check_shapes(card: "BackboneCard", make: "Callable[[BackboneCard], Network]") -> int:
    """Shapes for all sensors together and for each alone, and what must be refused; the number of parameters."""
    network = make(card)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    m, side = card.multiple_of, card.size or 3 * card.multiple_of
    sizes = [(side, side), (side + m, side + 2 * m)] if card.any_size else [(side, side)]
    for height, width in sizes:
        _check_features(network, card, height, width)
    if not card.any_size:
        try:
            _shapes(network, card, side + m, side + m)
        except (SeamoError, RuntimeError, AssertionError):
            pass
        else:
            raise AssertionError(f"{card.id}: takes another size, and the card says only {side}. See `any_size`.")
    if len(card.inputs) > 1 and not card.joint:
        for spec in card.inputs:
            alone = replace(card, inputs=(spec,))
            _check_features(make(alone), alone, side, side)
    return parameters


def _check_features(network: "Network", card: "BackboneCard", height: int, width: int) -> None:
    where = f"{card.id} of {' and '.join(spec.sensor for spec in card.inputs)} at {height} x {width}"
    pooled, levels = _shapes(network, card, height, width)
    fits = len(pooled) == 2 and pooled[0] == _BATCH and (card.embed_dim or pooled[1]) == pooled[1]
    expect(fits, where, f"pooled features are {pooled}, the card says ({_BATCH}, {card.embed_dim})", "See `embed_dim`.")
    wanted = [
        (_BATCH, channels or level[1], height // stride, width // stride)  # 0 channels: they follow from the bands
        for (channels, stride), level in zip(card.levels, levels, strict=False)
    ]
    expect(len(levels) == len(card.levels), where, f"{len(levels)} levels, the card lists {len(card.levels)}")
    expect(levels == wanted, where, f"levels are {levels}, the card says {wanted}", "See `levels`: (channels, stride).")


def _shapes(
    network: "Network", card: "BackboneCard", height: int, width: int
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Shapes of the pooled features and of the levels."""
    import torch

    device = _device(network)
    inputs = {spec.sensor: torch.zeros(_BATCH, len(spec.bands), height, width, device=device) for spec in card.inputs}
    with torch.inference_mode(), torch.device(device):
        features = network.forward_features(inputs)
    return tuple(features.pooled.shape), [tuple(level.shape) for level in features.levels]


def _device(network: "Network") -> "torch.device":
    import torch

    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


# Values ---------------------------------------------------------------------------------------------------


def _check_values(family: "Family", card: "BackboneCard") -> None:
    import torch

    generator = torch.random.get_rng_state()
    network = _loaded(family, card, 0)
    drawn = not torch.equal(torch.random.get_rng_state(), generator)
    expect(not drawn, card.id, "loading draws from torch's own generator", "Draw inside `torch.random.fork_rng`.")
    _check_seeds(family, network, card)
    training = [name or "the network" for name, module in network.named_modules() if module.training]
    expect(not training, card.id, f"{training[:1]} is in training mode", "Nothing may turn it back.")
    able = any(parameter.requires_grad for parameter in network.parameters())
    expect(able == card.trainable, card.id, f"trainable is {card.trainable}, and parameters to train: {able}")
    inputs = _images(card)
    first = _forward(network, inputs, seed=0)
    where = card.id
    for name, value in first.items():
        expect(bool(value.isfinite().all()), where, f"{name} is not finite for plain noise")
    again = _forward(network, inputs, seed=1)
    same = all(torch.equal(first[name], again[name]) for name in first)
    expect(same, where, "two passes differ", "Nothing may be drawn in evaluation mode: dropout, masks, noise.")
    fix = "Features of a sample may follow from that sample alone: look for batch statistics and flattened batches."
    order = list(range(_BATCH))[::-1]
    mixed = _forward(network, {sensor: x[order] for sensor, x in inputs.items()}, seed=0)
    _expect_close({name: value[order] for name, value in mixed.items()}, first, where, "the order of the batch", fix)
    alone = _forward(network, {sensor: x[:1] for sensor, x in inputs.items()}, seed=0)
    _expect_close(alone, {name: value[:1] for name, value in first.items()}, where, "the rest of the batch", fix)
    _check_bands(network, card, inputs)


def _check_seeds(family: "Family", network: "Network", card: "BackboneCard") -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        state, again = network.state_dict(), _loaded(family, card, 0).state_dict()
    same = state.keys() == again.keys() and all(torch.equal(value, again[name]) for name, value in state.items())
    expect(same, card.id, "one seed gives two networks", "Draw from a generator that follows the seed.")
    if any(parameter.requires_grad for parameter in network.parameters()):
        other = _loaded(family, card, 1).state_dict()
        differs = any(not torch.equal(value, other[name]) for name, value in state.items())
        expect(differs, card.id, "two seeds give one network", "Use the seed for what is not loaded.")


def _check_bands(network: "Network", card: "BackboneCard", inputs: "Mapping[str, Tensor]") -> None:
    """Change one band at a time: all images of one batch are the first one but for that."""
    import torch

    for spec in card.inputs:
        count = len(spec.bands)
        batch = {sensor: x[:1].repeat(count + 1, 1, 1, 1) for sensor, x in inputs.items()}
        changed = batch[spec.sensor]
        for band in range(count):
            changed[band + 1, band] = 1.0 - changed[band + 1, band].flip(0)
        features = _forward(network, batch, seed=0)
        for band, name in enumerate(spec.bands):
            parts = (value[[0, band + 1]].double() for value in features.values())
            moved = any(not torch.allclose(one, two, rtol=1e-7, atol=1e-9) for one, two in parts)
            fix = "Feed every band of the card, or leave it out of the card."
            expect(moved, card.id, f"{spec.sensor}:{name} changes no feature", fix)


def _images(card: "BackboneCard") -> "dict[str, Tensor]":
    """Noise in the range that normalised images have, as small as the card allows."""
    import torch

    side = (2 * card.multiple_of if card.any_size else card.size) or 4
    generator = torch.Generator().manual_seed(0)
    return {spec.sensor: torch.rand(_BATCH, len(spec.bands), side, side, generator=generator) for spec in card.inputs}


def _forward(network: "Network", inputs: "Mapping[str, Tensor]", *, seed: int) -> "dict[str, Tensor]":
    """Pooled features and levels by name; torch's own generator stands at `seed`."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        features: Features = network.forward_features(dict(inputs))
    return {"pooled": features.pooled, **{f"level {k}": level for k, level in enumerate(features.levels)}}


def _expect_close(got: "Mapping[str, Tensor]", wanted: "Mapping[str, Tensor]", where: str, what: str, fix: str) -> None:
    for name, value in wanted.items():
        error, scale = float((got[name] - value).abs().max()), float(value.abs().max())
        expect(error <= 1e-4 * max(scale, 1e-6), where, f"{name} follows {what} (by {error:.3g} of {scale:.3g})", fix)
