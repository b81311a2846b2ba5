"""The card beside a model's weights, held against the folder's seal and checked whole when it is read. No torch here.

A card is JSON whose order says something (the order of the sensors is that of their tokens), so it is no document of
`seamo.seal`: `checksums.json` beside it holds size and sha256 of card and weights.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seamo.bands import Unit
from seamo.errors import CheckpointError, SeamoError
from seamo.model.config import SeaMoConfig, parse_config
from seamo.model.files import CARD
from seamo.seal import MANIFEST, bytes_damage, open_manifest, parse_json

FORMAT = "seamo-model/2"
ENCODER_FORMAT = "seamo-encoder/2"  # without TM block and decoders, as `encoder_only` leaves a model
UNSEALED = {"seamo-model/1": FORMAT, "seamo-encoder/1": ENCODER_FORMAT}  # of 2026: without checksums.json
OURS = ("format", "seamo", "config", "weights")  # what `save_model` writes itself
_TERMS = ("licence", "attribution", "redistribution")  # of the data that a model was trained on
_FIX = "Copy the folder again."
_LONGEST = 16 * 2**20  # bytes


def read_card(path: Path) -> dict[str, Any]:
    """The card of a saved model, checked, without its weights.

    Folders of the formats before (`UNSEALED`) have no seal; the rest of what their cards say is checked the same.

    Args:
        path: The model's folder.

    Raises:
        CheckpointError: If the card is missing, is not what was sealed, or does not say what it must.
    """
    where, data = str(path / CARD), _read(path / CARD)
    sealed = (path / MANIFEST).exists()
    if sealed:
        said = open_manifest(_read(path / MANIFEST), str(path / MANIFEST), error=CheckpointError, fix=_FIX)
        found = bytes_damage(data, said[CARD]) if CARD in said else "is not in its manifest"
        if found:
            raise CheckpointError(found, where, _FIX)
    card = parse_json(data, where, error=CheckpointError, fix=_FIX)
    if card.get("format") in (FORMAT, ENCODER_FORMAT) and not sealed:
        raise CheckpointError("is missing", str(path / MANIFEST), _FIX)
    if card.get("format") not in (FORMAT, ENCODER_FORMAT, *UNSEALED):
        raise CheckpointError(f"is not a card of format {FORMAT} or {ENCODER_FORMAT}", where)
    missing = [key for key in OURS if not isinstance(card.get(key), str if key in ("format", "seamo") else dict)]
    if missing:
        raise CheckpointError(f"says nothing about {missing[0]!r}", where)
    weights = card["weights"]
    if type(weights.get("bytes")) is not int or not isinstance(weights.get("sha256"), str):
        raise CheckpointError("weights has no bytes or no sha256", where, _FIX)
    check_card(card, config_of(card, where), where)
    return card


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LONGEST + 1)
    except OSError as error:
        fix = "Give the folder of a model."
        raise CheckpointError(f"cannot be read ({error.strerror})", str(file), fix) from error
    if len(data) > _LONGEST:
        raise CheckpointError(f"has more than {_LONGEST:,} bytes, which none of its kind has", str(file), _FIX)
    return data


def holds_encoder_alone(card: Mapping[str, Any]) -> bool:
    """Whether a model has neither TM block nor decoders."""
    return ENCODER_FORMAT in (card["format"], UNSEALED.get(card["format"]))


def config_of(card: Mapping[str, Any], where: str) -> SeaMoConfig:
    """The model's configuration.

    Raises:
        CheckpointError: If it is illegal.
    """
    try:
        return parse_config(card["config"], "config")
    except SeamoError as error:
        raise CheckpointError(f"configuration is illegal ({error})", where) from error


def check_card(card: Mapping[str, Any], config: SeaMoConfig, where: str) -> None:
    """Check what a card says of normalisation and provenance.

    Raises:
        CheckpointError: If something is missing, or of another kind.
    """
    made = card.get("provenance")
    if not isinstance(made, Mapping):
        raise CheckpointError("provenance is not a mapping", where, "Say where the weights come from.")
    for name in ("stacks", "crop", "products", "data"):
        if not isinstance(made.get(name, {}), Mapping):
            raise CheckpointError(f"provenance.{name} is not a mapping", where)
    for dataset, terms in made.get("data", {}).items():
        if not isinstance(terms, Mapping) or not all(isinstance(terms.get(key), str) for key in _TERMS):
            raise CheckpointError(f"provenance.data.{dataset} does not say {', '.join(_TERMS)}", where)
    numbers = card.get("normalisation")
    if not isinstance(numbers, Mapping) or set(numbers) != set(config.sensors):
        raise CheckpointError(f"normalisation does not cover {', '.join(config.sensors)}", where)
    for sensor, names in config.bands.items():
        entry = numbers[sensor]
        if not isinstance(entry, Mapping) or not all(isinstance(entry.get(key), str) for key in ("kind", "source")):
            raise CheckpointError(f"normalisation of {sensor} has no kind or no source", where)
        if entry["kind"] not in ("two-sigma", "z-score"):
            raise CheckpointError(f"normalisation of {sensor} is of the unknown kind {entry['kind']!r}", where)
        if entry.get("unit") not in [unit.value for unit in Unit]:
            raise CheckpointError(f"normalisation of {sensor} has no known unit ({entry.get('unit')!r})", where)
        for key in ("mean", "std"):
            if not isinstance(entry.get(key), Mapping) or set(entry[key]) != set(names):
                raise CheckpointError(f"{key} of {sensor} is not given for exactly {', '.join(names)}", where)
            for name, value in entry[key].items():
                if type(value) not in (int, float) or not math.isfinite(value) or (key == "std" and value <= 0):
                    raise CheckpointError(f"{key} of {sensor} {name} is {value!r}", where)
