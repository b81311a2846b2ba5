"""SeaMo's encoders in timm's form: by name, as its own VisionTransformer, and as folders that timm itself opens."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm.models._features import FeatureGetterNet
from timm.models.vision_transformer import VisionTransformer

from seamo.bands import band
from seamo.disk import held, part_of, publish
from seamo.errors import CheckpointError, UsageError
from seamo.inputs.normalise import parse_normalisation, steps_of
from seamo.model.checkpoint import load_model
from seamo.model.config import SeaMoConfig, stage_one
from seamo.model.seamo import SeaMo
from seamo.pretrain.fetched import model_folder
from seamo.pretrain.recipe import load_recipe, shipped_recipes
from seamo.use.bands import select_columns
from seamo.use.export import Normalise, as_timm, load_for, vit_arguments

_NAME = re.compile(r"seamo_(\w+)_patch(\d+)")


def create_model(
    name: str,
    pretrained: str | Path | bool = False,
    *,
    sensor: str = "s2",
    bands: Sequence[str] | None = None,
    num_classes: int = 0,
    img_size: int = 0,
    seed: int = 0,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
) -> VisionTransformer | FeatureGetterNet:
    """An encoder of one sensor, as `timm.create_model` would give it.

    It is a `timm.models.vision_transformer.VisionTransformer`, with all that one has: `forward_features`,
    `forward_head`, `forward_intermediates`, `num_features`, `reset_classifier`, `get_classifier`. Its `pretrained_cfg`
    holds what must be known: `input_size`, `sensor`, `bands`, and of weights `unit`, `normalisation`, `license`,
    `provenance`. Images are normalised by `create_transform(model)`.

    Args:
        name: `seamo_<recipe>_patch<side>`, such as `seamo_base_patch8` (`model_names`).
        pretrained: A run, a checkpoint or an exported folder, or its address; it must be of the named size. False:
            random weights.
        sensor: One of the model's: `s2`, `s1`.
        bands: Some of its bands, in the order wanted: the tokenizer keeps their columns.
        num_classes: Of a new linear head behind the mean of the patch tokens; 0: the mean itself.
        img_size: Image side in pixels; positions are laid over the trained grid. 0: that of pretraining.
        seed: Of the head, and of weights that are not pretrained.
        features_only: Maps of some blocks, (B, D, H / patch, W / patch) each, as timm's `features_only` gives them.
        out_indices: Which blocks; None: the last three.

    Raises:
        UsageError: For a name that is none, a folder of another network, a sensor or block that is not there, or
            `pretrained=True`, for there are no published weights.
        BandError: If there is no such band.

    Example:
        >>> model = create_model("seamo_tiny_patch8", bands=("B04", "B03", "B02"), num_classes=10)
        >>> model(torch.zeros(2, 3, 48, 48)).shape, model.num_features
        (torch.Size([2, 10]), 128)
        >>> maps = create_model("seamo_tiny_patch8", sensor="s1", features_only=True)
        >>> [tuple(one.shape) for one in maps(torch.zeros(1, 2, 48, 48))]
        [(1, 128, 6, 6), (1, 128, 6, 6), (1, 128, 6, 6)]
    """
    if isinstance(bands, str) or num_classes < 0:
        fix = "bands=('B04', 'B03', 'B02'), num_classes=10."
        raise UsageError(f"bands {bands!r} and num_classes {num_classes} are not names and a number", name, fix)
    named = _named(name)
    if pretrained is True:
        fix = "pretrained=FOLDER: a run of `seamo pretrain`, or what `seamo export` wrote."
        raise UsageError("no weights are published", name, fix)
    with torch.random.fork_rng(devices=[]):  # torch and timm draw first values from the generator of the whole process
        torch.manual_seed(seed)
        model, facts = _random(named, seed) if pretrained is False else _loaded(pretrained, named, name)
        if sensor not in model.config.sensors:
            raise UsageError(f"has no sensor {sensor!r}", name, f"It has {', '.join(model.config.sensors)}.")
        chosen = tuple(bands) if bands is not None else model.config.bands[sensor]
        for one in chosen:
            band(sensor, one)
        if chosen != model.config.bands[sensor]:
            model = select_columns(model, {sensor: chosen})
        vit = as_timm(model, sensor, size=img_size)
        vit.reset_classifier(num_classes)
    side = img_size or model.config.size
    vit.pretrained_cfg = {  # type: ignore[assignment]  # timm sets it on a model in the same way
        "architecture": name,
        "input_size": (len(chosen), side, side),
        "num_classes": 0,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "sensor": sensor,
        "bands": chosen,
        **_facts_of(facts, sensor),
    }
    if not features_only:
        return vit
    depth = model.config.depth
    if any(not -depth <= one < depth for one in out_indices or ()):
        raise UsageError(f"has no block of {list(out_indices or ())}", name, f"Its blocks are 0 to {depth - 1}.")
    return FeatureGetterNet(vit, out_indices=3 if out_indices is None else tuple(out_indices), norm=True)


def create_transform(model: VisionTransformer | FeatureGetterNet) -> Normalise:
    """Pixels (..., C, H, W) in `pretrained_cfg["unit"]` -> what the model takes, as in pretraining.

    Raises:
        UsageError: If the model was not pretrained: then nothing says how its images are normalised.
    """
    vit: Any = model.model if isinstance(model, FeatureGetterNet) else model
    facts: dict[str, Any] = vit.pretrained_cfg
    if "normalisation" not in facts:
        fix = "Normalise with numbers of your store: `seamo-prep stats STORE`."
        raise UsageError("has random weights, and no normalisation", facts["architecture"], fix)
    return Normalise(parse_normalisation(facts["normalisation"], facts["bands"]))


def export_timm(path: str | Path, sensor: str, out: Path, *, licence: str = "not stated") -> Path:
    """Write the encoder of one sensor as timm writes models for a hub: where only timm is, it is loaded by name.

    `timm.create_model("local-dir:<out>", pretrained=True)` gives it, with `num_classes`, `features_only` and
    `img_size` as ever. `config.json` holds timm's own fields; `mean` and `std` are the affine step of the model's
    normalisation, in the unit of its images, and `seamo` in it has unit, bands and every step.

    Args:
        path: A run, a checkpoint or a model, or its address.
        sensor: One of the model's.
        out: A folder that does not exist yet.
        licence: Of the weights.

    Raises:
        UsageError: If there is no model, or it has no such sensor.
        CheckpointError: If the model is damaged, or `out` exists.
    """
    if out.exists():
        raise CheckpointError("exists already", str(out), "Choose another folder, or remove this one.")
    model, card = load_for(path, sensor)
    config = model.config
    how = parse_normalisation(card["normalisation"][sensor], config.bands[sensor])
    steps = steps_of(how)
    vit = as_timm(model, sensor)
    described = {
        "architecture": "vit_base_patch16_224",  # the entry of timm's class; `model_args` say all that it decides
        "num_classes": 0,
        "num_features": config.dim,
        "global_pool": "avg",
        "model_args": vit_arguments(config, sensor, config.size),
        "pretrained_cfg": {
            "input_size": [len(how.bands), config.size, config.size],
            "num_classes": 0,
            "mean": steps[0].a,
            "std": steps[0].b,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": licence if licence != "not stated" else card.get("licence", licence),
        },
        "seamo": {
            "sensor": sensor,
            "bands": how.bands,
            "unit": how.unit,
            "steps": [asdict(step) for step in steps],
            "provenance": card["provenance"],
        },
    }
    part = part_of(out)
    with held(part, folder=True, error=CheckpointError):
        try:
            for left in part.iterdir():
                left.unlink()
            save_file({name: one.contiguous() for name, one in vit.state_dict().items()}, part / "model.safetensors")
            (part / "config.json").write_text(json.dumps(described, indent=1, allow_nan=False) + "\n", "utf-8")
            publish(part, out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return out


def model_names() -> list[str]:
    """Names that `create_model` takes, each with the patch of its recipe.

    Example:
        >>> "seamo_base_patch8" in model_names()
        True
    """
    return [f"{one.replace('-', '_')}_patch{_config_of(one).patch}" for one in sorted(shipped_recipes())]


def _config_of(recipe: str) -> SeaMoConfig:
    return load_recipe(recipe).model


def _named(name: str) -> SeaMoConfig:
    match = _NAME.fullmatch(name)
    recipe = f"seamo-{match[1].replace('_', '-')}" if match else ""
    if not match or recipe not in shipped_recipes():
        names = model_names()
        near = get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UsageError("is no model", name, f"{hint}Known: {', '.join(names)}.")
    return replace(_config_of(recipe), patch=int(match[2]))


def _random(named: SeaMoConfig, seed: int) -> tuple[SeaMo, dict[str, Any]]:
    return SeaMo(stage_one(named), generator=torch.Generator().manual_seed(seed)), {}


def _loaded(place: str | Path, named: SeaMoConfig, name: str) -> tuple[SeaMo, dict[str, Any]]:
    model, card = load_model(model_folder(place))
    sizes = [(one.dim, one.depth, one.heads, one.patch) for one in (model.config, named)]
    if sizes[0] != sizes[1]:
        is_, wanted = ("dim {}, depth {}, heads {}, patch {}".format(*one) for one in sizes)
        raise UsageError(f"has {is_}, and {name} is {wanted}", str(place), "Name the size that was pretrained.")
    return model.eval(), card


def _facts_of(card: dict[str, Any], sensor: str) -> dict[str, Any]:
    if not card:
        return {}
    how = card["normalisation"][sensor]
    return {
        "unit": how["unit"],
        "normalisation": how,
        "license": card.get("licence", "not stated"),
        "provenance": card["provenance"],
    }
