"""Other bands than those of pretraining (Table 14 of the paper): select the tokenizer's columns, or begin a new one.

The values of a patch run band, row, column, so a band is a block of patch * patch columns of its sensor's tokenizer
and as many rows of the decoder's head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from seamo.bands import positions
from seamo.errors import BandError
from seamo.model.checkpoint import encoder_only
from seamo.model.config import FusionConfig, SeaMoConfig
from seamo.model.seamo import SeaMo

Bands = Mapping[str, Sequence[str]]


def select_columns(model: SeaMo, bands: Bands) -> SeaMo:
    """A model for fewer bands: what it learned about them is kept, what it learned about the others is left out.

    Nothing makes up for the bands that are gone: tokens shift by what those contributed.

    Args:
        model: Stays as it is.
        bands: Sensor -> bands, in the order wanted; sensors that are not named are dropped.

    Returns:
        A new model of exactly these bands, for one season and without TM block; of an exported encoder, an encoder.

    Raises:
        BandError: If the model has no such sensor or band.

    Example:
        >>> from seamo.model.config import SeaMoConfig
        >>> whole = SeaMo(SeaMoConfig(size=16, patch=8, dim=16, depth=1, heads=2))
        >>> select_columns(whole, {"s2": ["B04", "B03", "B02"]}).tokenizers["s2"].weight.shape
        torch.Size([16, 192])
    """
    _check_sensors(model.config, bands)
    columns = {s: positions(model.config.bands[s], list(names), f"model, {s}") for s, names in bands.items()}
    return _rebuilt(model, bands, columns, generator=torch.Generator())


def new_tokenizer(model: SeaMo, bands: Bands, generator: torch.Generator) -> SeaMo:
    """A model whose tokenizers for other bands, or another sensor, are new and untrained; the encoder is kept.

    Args:
        model: Stays as it is.
        bands: Sensor -> bands. A sensor that the model knows with the same bands keeps its tokenizer.
        generator: Draws the new weights (as `SeaMo` does).

    Returns:
        A new model of exactly these bands, for one season and without TM block. New tokenizers must be trained.

    Raises:
        BandError: If there is no such band.
        RecipeError: If there are more than two sensors.
    """
    same = [s for s, names in bands.items() if s in model.config.bands and tuple(names) == model.config.bands[s]]
    columns = {s: list(range(len(bands[s]))) for s in same}
    return _rebuilt(model, bands, columns, generator=generator)


def _check_sensors(config: SeaMoConfig, bands: Bands) -> None:
    unknown = [s for s in bands if s not in config.sensors]
    if unknown or not bands:
        raise BandError(f"no sensor {', '.join(unknown) or 'named'}", "model", f"It has {', '.join(config.sensors)}.")


def _rebuilt(model: SeaMo, bands: Bands, columns: Mapping[str, list[int]], *, generator: torch.Generator) -> SeaMo:
    """A one-season model of `bands`: kept columns for the sensors of `columns`, fresh weights for the others."""
    config = replace(
        model.config,
        bands={s: tuple(names) for s, names in bands.items()},
        strategy=model.config.strategy if len(bands) > 1 else "unimodal",
        temporal=False,
        tm=FusionConfig(mode="none"),
    )
    made = SeaMo(config, generator=generator)
    if not len(model.decoders):
        made = encoder_only(made)
    own, state = model.state_dict(), made.state_dict()
    for name, fresh in state.items():
        part = name.split(".")
        sensor = part[1] if part[0] in ("tokenizers", "decoders", "modality") else ""
        if sensor and sensor not in columns:
            continue
        if part[0] == "tokenizers" and part[2] == "weight":
            fresh.copy_(_blocks(own[name].T, columns[sensor], config.patch).T)
        elif part[0] == "decoders" and part[2] == "head":
            fresh.copy_(_blocks(own[name], columns[sensor], config.patch))
        else:
            fresh.copy_(own[name])
    made.load_state_dict(state)
    return made.to(next(model.parameters()).device).train(model.training)


def _blocks(rows: Tensor, chosen: list[int], patch: int) -> Tensor:
    """Some bands' rows of a matrix, or entries of a vector, whose first axis runs band, row, column."""
    apart = rows.reshape(-1, patch * patch, *rows.shape[1:])
    return apart[chosen].flatten(0, 1)
