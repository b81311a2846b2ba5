"""A model on disk: `model.safetensors` and `card.json` in one folder, written and read exactly.

`checksums.json` is the folder's seal: size and sha256 of both.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seamo import __version__
from seamo.disk import held, part_of, publish
from seamo.errors import CheckpointError
from seamo.model.card import ENCODER_FORMAT, FORMAT, OURS, check_card, config_of, holds_encoder_alone, read_card
from seamo.model.config import DecoderConfig, SeaMoConfig, stage_one
from seamo.model.files import CARD, WEIGHTS
from seamo.model.seamo import SeaMo
from seamo.seal import MANIFEST, SealedFile, damage, manifest_bytes, seal_files

__all__ = ["assign", "check_weights", "encoder_only", "load_model", "read_card", "read_state", "save_model", "transfer"]
_MOST_PATCHES = 2**16  # of an image; pretraining has hundreds
_OF_A_SENSOR = ("tokenizers", "decoders", "modality")  # parts of a model that each sensor has of its own


Readme = Callable[[Mapping[str, Any]], str]  # a whole card -> README.md


def save_model(directory: Path, model: SeaMo, card: Mapping[str, Any], *, readme: Readme | None = None) -> None:
    """Write a model, whole or not at all.

    Args:
        directory: A folder that does not exist yet. It is built beside, synced and renamed; what a killed process
            left of it there is taken over.
        model: Its parameters are written in their own dtype.
        card: What belongs with the weights: `normalisation`, sensor -> {kind, unit, mean: {band: number}, std:
            {band: number}, source}, for every sensor and band of the model; `provenance`, a mapping; and whatever
            else shall stand there. Format, version, configuration and checksum are added.
        readme: Makes a README.md for people of the card; without it there is none. It is not sealed.

    Raises:
        CheckpointError: If the folder exists, cannot be written or is being written by another process, or the card
            does not say what it must.
    """
    if directory.exists():
        raise CheckpointError("exists already", str(directory), "Choose another folder, or remove this one.")
    taken = [key for key in OURS if key in card]
    if taken:
        raise CheckpointError(f"key {taken[0]!r} is written by save_model", "card", "Leave it out.")
    check_card(card, model.config, "card")
    part = part_of(directory)
    try:
        with held(part, folder=True, error=CheckpointError):
            try:
                for left in part.iterdir():
                    left.unlink()
                _write_parts(part, model, card, readme)
                publish(part, directory)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot be written ({error})", str(directory), "Free space, or choose another."
        ) from error


def _write_parts(part: Path, model: SeaMo, card: Mapping[str, Any], readme: Readme | None) -> None:
    weights = part / WEIGHTS
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, weights)
    described = {
        "format": FORMAT if len(model.decoders) else ENCODER_FORMAT,
        "seamo": __version__,
        "config": model.config.to_dict(),
        "weights": seal_files(part, [WEIGHTS])[WEIGHTS]._asdict(),
        **card,
    }
    try:
        text = json.dumps(described, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"cannot be written as JSON ({error})", "card") from error
    (part / CARD).write_text(text + "\n", encoding="utf-8")
    (part / MANIFEST).write_bytes(manifest_bytes(seal_files(part, (CARD, WEIGHTS))))
    if readme is not None:
        (part / "README.md").write_text(readme(described), encoding="utf-8")
    weights.chmod((part / CARD).stat().st_mode)  # safetensors lets nobody else read it


def load_model(path: Path, *, drop_path: float = 0.0) -> tuple[SeaMo, dict[str, Any]]:
    """Read a model: every parameter assigned, or an error and nothing.

    Args:
        path: The folder that `save_model` wrote.
        drop_path: See `SeaMo`.

    Returns:
        The model, on the CPU and in training mode as torch makes it, and the card. A folder of `ENCODER_FORMAT`
        gives an `encoder_only` model.

    Raises:
        CheckpointError: If a file is missing, cut off or altered, the card is not one, or the weights do not
            fit the configuration; names the file or the parameter.
    """
    card = read_card(path)
    config = config_of(card, str(path / CARD))
    weights = path / WEIGHTS
    check_weights(weights, card)
    state = read_state(weights)
    alone = holds_encoder_alone(card)
    _check_extent(config, state, alone, str(weights))
    model = SeaMo(_smallest_decoders(config) if alone else config, drop_path=drop_path)
    if alone:
        encoder_only(model)
        model.config = config
    assign(model, state, where=str(weights))
    return model, card


def read_state(weights: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: If it is none.
    """
    try:
        return load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read ({error})", str(weights), "Copy it again.") from error


def check_weights(weights: Path, card: Mapping[str, Any]) -> None:
    """Hold the weights against the card's seal.

    Raises:
        CheckpointError: If they are missing or not what was sealed.
    """
    found = damage(weights, SealedFile(card["weights"]["bytes"], card["weights"]["sha256"]), deep=True)
    if found:
        raise CheckpointError(found, str(weights), "It is damaged; copy the folder again.")


def _smallest_decoders(config: SeaMoConfig) -> SeaMoConfig:
    """The same encoder; what is taken off at once is not built large."""
    return replace(stage_one(config), decoder=DecoderConfig(depth=1, width=4, heads=1))


def _check_extent(config: SeaMoConfig, state: Mapping[str, Tensor], alone: bool, where: str) -> None:
    # A card may be made up to exhaust the memory: nothing is built before the file is seen to hold about as many
    # numbers. A transformer block has 12 x width^2 and some.
    numbers = sum(tensor.numel() for tensor in state.values())
    values = sum(config.patch_values(sensor) for sensor in config.sensors)
    least = config.depth * 12 * config.dim**2 + values * config.dim
    if not alone:
        shape = config.decoder
        least += len(config.sensors) * shape.depth * 12 * shape.width**2 + values * shape.width
        least += 0 if config.tm.mode == "none" else config.tm.depth * config.dim**2
    if least > numbers or config.num_patches > _MOST_PATCHES:
        raise CheckpointError(
            f"{numbers:,} numbers, fewer than the configuration has", where, "The weights belong to another one."
        )


def encoder_only(model: SeaMo) -> SeaMo:
    """Take TM block and decoders off a model, which then only encodes; returns the same model."""
    model.fusion, model.decoders = None, torch.nn.ModuleDict()
    return model


def assign(model: torch.nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Copy weights into a model of the same parameters: same names, shapes and dtypes.

    Raises:
        CheckpointError: Naming the missing, unexpected or unfitting parameters; the model is untouched then.
    """
    _check_fit(model.state_dict(), state, where)
    model.load_state_dict(dict(state), strict=True)


def transfer(state: Mapping[str, Tensor], model: SeaMo) -> None:
    """Start stage 2 from stage 1: everything that stage 1 has is loaded, exactly; the rest stays fresh.

    Args:
        state: State dict of a model without TM block, of all of the model's sensors or some.
        model: The stage 2 model; its TM block, and tokenizers and decoders of sensors that stage 1 did not learn from,
            keep the weights that they have.

    Raises:
        CheckpointError: Naming the missing, unexpected or unfitting parameters; the model is untouched then.
    """
    own = model.state_dict()
    learnt = {name.split(".")[1] for name in state if name.startswith("tokenizers.")}
    new = tuple(f"{part}.{s}" for s in model.config.sensors if s not in learnt for part in _OF_A_SENSOR)
    fresh = {
        name: tensor
        for name, tensor in own.items()
        if name.startswith("fusion.") or any(name == one or name.startswith(f"{one}.") for one in new)
    }
    _check_fit({name: tensor for name, tensor in own.items() if name not in fresh}, state, "stage 1 weights")
    model.load_state_dict({**fresh, **state}, strict=True)


def _check_fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    for names, what in ((set(own) - set(given), "missing"), (set(given) - set(own), "unexpected")):
        if names:
            listed = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise CheckpointError(f"{what}: {listed}", where, "The weights belong to another configuration.")
    for name, tensor in own.items():
        if given[name].shape != tensor.shape:
            shapes = f"{tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
            raise CheckpointError(f"{name} is {shapes}", where, "The weights belong to another configuration.")
        if given[name].dtype != tensor.dtype:
            raise CheckpointError(
                f"{name} is {given[name].dtype} instead of {tensor.dtype}", where, "Convert it first."
            )
