"""From pixels of one sensor, bands by name, to what a pretrained model takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from seamo.bands import Unit
from seamo.data.normalise import Normalisation, normalisation_from, normalise, parse_normalisation
from seamo.errors import BandError, UsageError
from seamo.manifest import Statistics
from seamo.model.checkpoint import load_model
from seamo.model.seamo import SeaMo
from seamo.pretrain.run import find_model
from seamo.use.bands import select_columns
from seamo.use.options import Missing

# (have, want) -> x * scale + offset; the same unit apart, these are all that can be converted.
_CONVERSIONS = {
    (Unit.DN_PLUS_1000, Unit.DN): (1.0, -1000.0),
    (Unit.DN, Unit.DN_PLUS_1000): (1.0, 1000.0),
    (Unit.DB_X100, Unit.DB): (0.01, 0.0),
    (Unit.DB, Unit.DB_X100): (100.0, 0.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A model to be used, and its card.

    Args:
        model: On its device, in evaluation mode.
        card: See `seamo.model.checkpoint.save_model`.
        path: Where it was read.
    """

    model: SeaMo
    card: Mapping[str, Any]
    path: Path

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    @property
    def identity(self) -> str:
        """The sha256 of the weights, by the card."""
        return str(self.card["weights"]["sha256"])


def load_pretrained(path: Path, *, device: str = "") -> Pretrained:
    """Read the model of a run, a checkpoint or an exported folder.

    Args:
        path: Its folder.
        device: `cpu`, `cuda`, ...; without it cuda where there is one.
    """
    folder = find_model(path)
    model, card = load_model(folder)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Pretrained(model.to(where).eval(), card, folder)


@dataclass(frozen=True, slots=True)
class Channels:
    """How pixels of one sensor become the model's input.

    Args:
        sensor: Of the model.
        have: Bands that the source gives and the model takes, in the model's order.
        bands: The model's bands.
        numbers: Normalisation of `have`.
        scale, offset: From the source's unit to that of the numbers.
        missing: What stands in for the bands that are not there.
    """

    sensor: str
    have: tuple[str, ...]
    bands: tuple[str, ...]
    numbers: Normalisation
    scale: float
    offset: float
    missing: Missing

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels (..., C, H, W) of `have` in the source's unit, NaN where missing -> (..., bands, H, W) normalised."""
        x = normalise(pixels * self.scale + self.offset, self.numbers, valid=~pixels.isnan())
        if self.have == self.bands:
            return x
        shape = (*x.shape[:-3], len(self.bands), *x.shape[-2:])
        out = x.new_zeros(shape)
        if self.missing == "mean":
            out = out + x.mean(dim=-3, keepdim=True)
        out[..., [self.bands.index(name) for name in self.have], :, :] = x
        return out

    def facts(self) -> dict[str, Any]:
        """Plain values, for the output's own description."""
        absent = [name for name in self.bands if name not in self.have]
        return {
            "sensor": self.sensor,
            "bands": list(self.have),
            "made_up": {"bands": absent, "how": self.missing} if absent else {},
            "conversion": f"x * {self.scale:g} + {self.offset:g}",
            "normalisation": self.numbers.to_dict(),
        }


def plan_channels(
    model: SeaMo,
    normalisation: Mapping[str, Any],
    sensor: str,
    *,
    have: Sequence[str],
    unit: Unit,
    missing: Missing = "refuse",
    statistics: Statistics | None = None,
) -> tuple[SeaMo, Channels]:
    """Decide by name which bands are used, and how.

    Args:
        model: Stays as it is.
        normalisation: The card's, sensor -> numbers.
        sensor: One of the model's.
        have: Bands of the source; those that the model does not take are left out.
        unit: Of the source's pixels.
        missing: For bands that the model takes and the source lacks: `refuse`; `zero` and `mean`: the normalised
            channel is zero, or the mean of the channels that are there; `select-columns`: their columns are taken
            out of the tokenizer.
        statistics: Numbers to use in place of the card's; the card's kind of scaling stays.

    Returns:
        The model to use (another one with select-columns), and the channels.

    Raises:
        BandError: If a band is missing and that is refused, or none is there.
        UsageError: If the unit cannot become that of the numbers.
    """
    if missing not in get_args(Missing):
        raise UsageError(f"no missing-band policy {missing!r}", fix=f"Choose one of {', '.join(get_args(Missing))}.")
    if sensor not in model.config.sensors:
        raise UsageError(f"no sensor {sensor!r}", "model", f"It has {', '.join(model.config.sensors)}.")
    bands = model.config.bands[sensor]
    there = tuple(name for name in bands if name in have)
    absent = [name for name in bands if name not in have]
    if not there or (absent and missing == "refuse"):
        fix = "Choose a policy: --missing zero, mean or select-columns." if there else "Check names and sensor."
        raise BandError(f"the source lacks {', '.join(absent)} of {sensor}", "bands", fix)
    if absent and missing == "select-columns":
        kept = {s: there if s == sensor else names for s, names in model.config.bands.items()}
        model, bands = select_columns(model, kept), there
    if statistics is None:
        numbers = parse_normalisation(normalisation[sensor], there)
    else:
        own = normalisation[sensor]
        numbers = normalisation_from(statistics, there, kind=own["kind"], eight_bit=own["eight_bit"])
    scale, offset = _conversion(unit, numbers.unit, sensor)
    return model, Channels(sensor, there, bands, numbers, scale, offset, missing)


def _conversion(have: Unit, want: Unit, sensor: str) -> tuple[float, float]:
    if have == want:
        return 1.0, 0.0
    if (have, want) not in _CONVERSIONS:
        raise UsageError(f"pixels in {have.value} cannot become {want.value}", sensor, "State the unit of the pixels.")
    return _CONVERSIONS[have, want]
