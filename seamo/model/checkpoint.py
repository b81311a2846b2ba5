"""A model on disk: `model.safetensors` and `card.json` in one folder, written and read exactly."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seamo import __version__
from seamo.errors import CheckpointError, SeamoError
from seamo.identity import file_sha256
from seamo.model.config import SeaMoConfig, parse_config
from seamo.model.files import CARD, WEIGHTS
from seamo.model.seamo import SeaMo

FORMAT = "seamo-model/1"
ENCODER_FORMAT = "seamo-encoder/1"  # without TM block and decoders, as `encoder_only` leaves a model
_OURS = ("format", "seamo", "config", "weights")


def save_model(directory: Path, model: SeaMo, card: Mapping[str, Any]) -> None:
    """Write a model, whole or not at all.

    Args:
        directory: A folder that does not exist yet. It is built beside and renamed.
        model: Its parameters are written in their own dtype.
        card: What belongs with the weights: `normalisation`, sensor -> {kind, unit, mean: {band: number}, std:
            {band: number}, source}, for every sensor and band of the model; `provenance`, a mapping; and whatever
            else shall stand there. Format, version, configuration and checksum are added.

    Raises:
        CheckpointError: If the folder exists, or the card does not say what it must.
    """
    if directory.exists():
        raise CheckpointError("exists already", str(directory), "Choose another folder, or remove this one.")
    taken = [key for key in _OURS if key in card]
    if taken:
        raise CheckpointError(f"key {taken[0]!r} is written by save_model", "card", "Leave it out.")
    _check_card(card, model.config, "card")
    part = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        _write_parts(part, model, card)
        part.rename(directory)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot be written ({error})", str(directory), "Free space, or choose another."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_parts(part: Path, model: SeaMo, card: Mapping[str, Any]) -> None:
    weights = part / WEIGHTS
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, weights)
    described = {
        "format": FORMAT if len(model.decoders) else ENCODER_FORMAT,
        "seamo": __version__,
        "config": model.config.to_dict(),
        "weights": {"sha256": file_sha256(weights), "bytes": weights.stat().st_size},
        **card,
    }
    try:
        text = json.dumps(described, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"cannot be written as JSON ({error})", "card") from error
    (part / CARD).write_text(text + "\n", encoding="utf-8")
    weights.chmod((part / CARD).stat().st_mode)  # safetensors lets nobody else read it
    for path in (weights, part / CARD, part):
        _flush(path)


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
    config = _config_of(card, str(path / CARD))
    weights = path / WEIGHTS
    _check_bytes(weights, card)
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read ({error})", str(weights), "Copy it again.") from error
    model = SeaMo(config, drop_path=drop_path)
    if card["format"] == ENCODER_FORMAT:
        encoder_only(model)
    assign(model, state, where=str(weights))
    return model, card


def encoder_only(model: SeaMo) -> SeaMo:
    """Take TM block and decoders off a model, which then only encodes; returns the same model."""
    model.fusion, model.decoders = None, torch.nn.ModuleDict()
    return model


def read_card(path: Path) -> dict[str, Any]:
    """The card of a saved model, checked, without its weights."""
    file = path / CARD
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", str(file), "Give the folder of a model.") from error
    except ValueError as error:
        raise CheckpointError(f"is not JSON ({error})", str(file), "Copy it again.") from error
    if not isinstance(card, dict) or card.get("format") not in (FORMAT, ENCODER_FORMAT):
        raise CheckpointError(f"is not a card of format {FORMAT} or {ENCODER_FORMAT}", str(file))
    missing = [key for key in _OURS if not isinstance(card.get(key), str if key in ("format", "seamo") else dict)]
    if missing:
        raise CheckpointError(f"says nothing about {missing[0]!r}", str(file))
    _check_card(card, _config_of(card, str(file)), str(file))
    return card


def assign(model: torch.nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Copy weights into a model of the same parameters: same names, shapes and dtypes.

    Raises:
        CheckpointError: Naming the missing, unexpected or unfitting parameters; the model is untouched then.
    """
    _check_fit(model.state_dict(), state, where)
    model.load_state_dict(dict(state), strict=True)


def transfer(state: Mapping[str, Tensor], model: SeaMo) -> None:
    """Start stage 2 from stage 1: everything but the TM block is loaded, exactly; the TM block stays fresh.

    Args:
        state: State dict of a model without TM block.
        model: The stage 2 model; its TM block keeps the weights that it has.

    Raises:
        CheckpointError: Naming the missing, unexpected or unfitting parameters; the model is untouched then.
    """
    own = model.state_dict()
    fresh = {name: tensor for name, tensor in own.items() if name.startswith("fusion.")}
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


def _check_bytes(weights: Path, card: Mapping[str, Any]) -> None:
    if not weights.is_file():
        raise CheckpointError("is not there", str(weights), "Copy the folder again.")
    size, want = weights.stat().st_size, card["weights"].get("bytes")
    if size != want:
        raise CheckpointError(f"has {size} bytes instead of {want}", str(weights), "It is cut off; copy it again.")
    if file_sha256(weights) != card["weights"].get("sha256"):
        raise CheckpointError("sha256 differs from the card's", str(weights), "It is damaged; copy it again.")


def _config_of(card: Mapping[str, Any], where: str) -> SeaMoConfig:
    try:
        return parse_config(card["config"], "config")
    except SeamoError as error:
        raise CheckpointError(f"configuration is illegal ({error})", where) from error


def _check_card(card: Mapping[str, Any], config: SeaMoConfig, where: str) -> None:
    if not isinstance(card.get("provenance"), Mapping):
        raise CheckpointError("provenance is not a mapping", where, "Say where the weights come from.")
    numbers = card.get("normalisation")
    if not isinstance(numbers, Mapping) or set(numbers) != set(config.sensors):
        raise CheckpointError(f"normalisation does not cover {', '.join(config.sensors)}", where)
    for sensor, names in config.bands.items():
        entry = numbers[sensor]
        if not isinstance(entry, Mapping) or not all(isinstance(entry.get(key), str) for key in ("kind", "source")):
            raise CheckpointError(f"normalisation of {sensor} has no kind or no source", where)
        for key in ("mean", "std"):
            if not isinstance(entry.get(key), Mapping) or set(entry[key]) != set(names):
                raise CheckpointError(f"{key} of {sensor} is not given for exactly {', '.join(names)}", where)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
