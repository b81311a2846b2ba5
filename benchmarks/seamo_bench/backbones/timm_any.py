"""Any timm model, by name: `timm:<id>`, `timm:<id>@random`, `timm:<id>@s2`, `timm:<id>@s1+s2+random`.

Without `@`: 8-bit RGB (or red, green and blue of Sentinel-2) and the published file, normalised as timm's own
configuration says. Behind `@`: `random` leaves the weights random, and the row says so; sensors (`s2`, `s1`) make a
stem for whatever bands the store has, inflated from RGB where there are weights, z-scored with the store's statistics.
"""

from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamo.errors import CheckpointError, UsageError
from seamo_bench.backbones._inputs import any_bands, rgb_inputs
from seamo_bench.backbones._steps import TO_UNIT
from seamo_bench.card import BackboneCard, Step, Weights
from seamo_bench.family import Family, KeyRules
from seamo_bench.networks.variant import word

if TYPE_CHECKING:
    from seamo_bench.networks.timm_trunk import Shapes, TimmTrunk

PREFIX = "timm:"
RGB = "rgb"
BANDED = ("s1", "s2")  # sensors that a stem can be made for
HUB = "https://huggingface.co/{}/resolve/main/model.safetensors"

# The listed models are cards of numbers, so that listing does not import timm; a test compares them with timm's own.
CARDS = (
    BackboneCard(
        id="dinov3-sat-vitl16",
        family="timm_any",
        title="DINOv3 ViT-L/16 (satellite)",
        inputs=rgb_inputs(
            "timm vit_large_patch16_dinov3.sat493m, its configuration",
            (TO_UNIT, Step("affine", (0.43, 0.411, 0.296), (0.213, 0.156, 0.143))),
        ),
        embed_dim=1024,
        size=256,
        multiple_of=16,
        code_licence="Apache-2.0",
        source="arXiv 2508.10104; timm vit_large_patch16_dinov3.sat493m",
        pos_interp="none needed: rotary positions follow the grid",
        pooling="as timm pools before its classifier",
        levels=((1024, 16),) * 4,
        weights=Weights(
            urls=(HUB.format("timm/vit_large_patch16_dinov3.sat493m"),),
            filename="vit_large_patch16_dinov3.sat493m.safetensors",
            licence="dinov3-license",
        ),
        pretrained_on=("sat-493m",),
        verified=("package",),
        variant=(("model", "vit_large_patch16_dinov3.sat493m"), ("stem", RGB)),
    ),
)


@lru_cache(maxsize=64)
def card_of(name: str) -> BackboneCard | None:
    """The card of `timm:<id>[@options]`, made from timm's configuration; None for any other name.

    Raises:
        UsageError: If timm has no such model, or an option is unknown.
        CheckpointError: If the model has no published weights and is not asked for at random.
    """
    if not name.startswith(PREFIX):
        return None
    model, at, options = name.removeprefix(PREFIX).partition("@")
    words = options.split("+") if at else []
    sensors = tuple(word for word in words if word in BANDED)
    if set(words) - set(BANDED) - {"random"} or len(set(words)) < len(words):
        raise UsageError(f"{options!r} behind @ is not understood", name, "Write s2, s1, random, joined by +.")
    config, shapes = _ask_timm(model)
    random = "random" in words
    weights = _weights(config)
    if weights is None and not random:
        raise CheckpointError("has no published weights", name, f"{PREFIX}{model}@random has random ones.")
    if not random and "." not in model:  # which weights timm takes by default may change: the card says which
        model = f"{model}.{config['tag']}" if config["tag"] else model
    how = "random init" if random else "weights of timm"
    stem = "+".join(sensors) or RGB
    return BackboneCard(
        id=name,
        family="timm_any",
        title=f"timm {model} ({how}" + (f", stem for {stem})" if sensors else ")"),
        inputs=any_bands(sensors=sensors)
        if sensors
        else rgb_inputs(f"timm {model}, its configuration", _steps(config)),
        embed_dim=shapes.embed_dim,
        size=int(config["input_size"][-1]),
        multiple_of=shapes.multiple_of,
        any_size=shapes.any_size,
        code_licence="Apache-2.0",
        source=f"timm {model}",
        pos_interp="as timm has it" if shapes.any_size else "none: its own size only",
        pooling="as timm pools before its classifier",
        levels=shapes.levels,
        availability="none needed" if random else "weights",
        weights=None if random else weights,
        verified=("package",),
        variant=(("model", model), ("stem", stem), *((("floor", "random init"),) if random else ())),
    )


def _rules(card: BackboneCard) -> KeyRules:
    """Names as in timm; the classifier goes."""
    heads = _config(word(card, "model"))["classifier"] or "head"
    named = (heads,) if isinstance(heads, str) else tuple(heads)
    return KeyRules(rename=(("^", "trunk."),), drop=(*(f"{one}.*" for one in named), "mask_token"))


def _build(card: BackboneCard) -> "TimmTrunk":
    """The network of a card before its stem is widened, with initial values."""
    from seamo_bench.networks.timm_trunk import TimmTrunk, make_trunk

    shared = word(card, "stem") == RGB
    sensors = tuple(spec.sensor for spec in card.inputs)
    random = card.weights is None
    chans = sum(len(spec.bands) for spec in card.inputs) if random and not shared else 3
    return TimmTrunk(make_trunk(word(card, "model"), in_chans=chans, size=0), sensors, shared=shared)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "TimmTrunk":
    """The network with its published weights; with none, random from `seed`."""
    from seamo_bench.networks.timm_trunk import widen_stem
    from seamo_bench.weights import assemble

    network = assemble(lambda: _build(card), rules=_rules(card), weights=weights, seed=seed, backbone=card.id)
    if card.weights is not None and word(card, "stem") != RGB:
        first = _config(word(card, "model"))["first_conv"]
        where = first if isinstance(first, str) else ""
        if not where:
            raise UsageError("has no single first convolution to inflate", card.id, "Feed it RGB, or ask for @random.")
        widen_stem(network.trunk, where, sum(len(spec.bands) for spec in card.inputs))
    return network


def _config(model: str) -> dict[str, Any]:
    import timm

    name, dot, _ = model.partition(".")
    tags = timm.list_models(f"{name}.*", pretrained=True)
    if not timm.is_model(name) or (dot and model not in tags):
        near = tags or get_close_matches(name, timm.list_models(), n=3)
        hint = f"Did you mean {' or '.join(near[:4])}?" if near else "timm.list_models() shows all."
        raise UsageError(f"timm has no model {model!r}", fix=hint)
    config = timm.get_pretrained_cfg(model)
    stated: dict[str, Any] = {} if config is None else config.to_dict()  # type: ignore[no-untyped-call]
    if "input_size" not in stated:
        raise UsageError(f"timm states no configuration of {model!r}", fix="Write a card for it.")
    return {"tag": "", "license": "", "classifier": "", "first_conv": "", "hf_hub_id": "", **stated}


def _ask_timm(model: str) -> tuple[dict[str, Any], "Shapes"]:
    from seamo_bench.networks.timm_trunk import shapes_of

    config = _config(model)
    size = int(config["input_size"][-1])
    return config, shapes_of(model, size=size, fixed=bool(config.get("fixed_input_size")))


def _weights(config: dict[str, Any]) -> Weights | None:
    if not config["hf_hub_id"]:
        return None
    licence = str(config["license"] or "unknown: see the model's page")
    return Weights(
        urls=(HUB.format(config["hf_hub_id"]),),
        filename=f"{config['hf_hub_id'].rpartition('/')[2]}.safetensors",
        licence=licence,
        noncommercial="nc" in licence.lower().split("-"),
    )


def _steps(config: dict[str, Any]) -> tuple[Step, ...]:
    return TO_UNIT, Step("affine", tuple(config["mean"]), tuple(config["std"]))


FAMILY = Family(cards=CARDS, build=_build, rules=_rules, load=load, card_of=card_of)
