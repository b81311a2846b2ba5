"""Normalise pixels with given numbers: the place where training turns units into network inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from seamo.bands import Unit, positions
from seamo.data.settings import Kind as Kind  # a recipe names it without torch
from seamo.errors import BandError, RecipeError, UsageError
from seamo.manifest import Statistics


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is done to the bands of one sensor. There is no default: every number is given, with its source.

    Args:
        kind: `two-sigma`: clip((x - (mean - 2 std)) / (4 std), 0, 1), as SSL4EO-S12; `z-score`: (x - mean) / std.
        bands: Names, in the order of the channels.
        mean: One number a band.
        std: One number a band.
        unit: Of the numbers, which is that of the pixels.
        source: Where the numbers come from.
        eight_bit: `two-sigma` only: round to multiples of 1/255, as pipelines that store 8-bit images do.
    """

    kind: Kind
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: Unit
    source: str
    eight_bit: bool = False

    def __post_init__(self) -> None:
        where = "normalisation"
        if self.kind not in get_args(Kind):
            raise RecipeError(f"is {self.kind!r}", f"{where}.kind", f"Choose one of {', '.join(get_args(Kind))}.")
        if not len(self.bands) == len(self.mean) == len(self.std) > 0:
            raise RecipeError(f"{len(self.mean)} means, {len(self.std)} stds, {len(self.bands)} bands", where)
        if not all(std > 0 for std in self.std):
            raise RecipeError(f"a standard deviation of {self.std} is not positive", where)
        if not self.source:
            raise RecipeError("names no source", where, "Say where the numbers come from.")
        if self.eight_bit and self.kind != "two-sigma":
            raise RecipeError("eight_bit rounds values between 0 and 1, z-scores are not", where, "Leave it out.")

    @property
    def mean_value(self) -> float:
        """What a band's mean becomes."""
        return 0.5 if self.kind == "two-sigma" else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `seamo.model.checkpoint.save_model` takes them in `normalisation`."""
        return {
            "kind": self.kind,
            "unit": self.unit.value,
            "mean": dict(zip(self.bands, self.mean, strict=True)),
            "std": dict(zip(self.bands, self.std, strict=True)),
            "source": self.source,
            "eight_bit": self.eight_bit,
        }


def normalisation_from(
    statistics: Statistics, bands: Sequence[str], *, kind: Kind, eight_bit: bool = False
) -> Normalisation:
    """Select published statistics by band name.

    Raises:
        BandError: If they lack a band.
    """
    missing = [name for name in bands if name not in statistics.mean or name not in statistics.std]
    if missing:
        raise BandError(f"no statistics for {', '.join(missing)}", statistics.source, "Give other statistics.")
    return Normalisation(
        kind=kind,
        bands=tuple(bands),
        mean=tuple(statistics.mean[name] for name in bands),
        std=tuple(statistics.std[name] for name in bands),
        unit=statistics.unit,
        source=statistics.source,
        eight_bit=eight_bit,
    )


def parse_normalisation(entry: Mapping[str, Any], bands: Sequence[str]) -> Normalisation:
    """Read back `Normalisation.to_dict` (a model's card) for the given bands.

    Raises:
        BandError: If a band has no number.
        RecipeError: If something is missing.
    """
    for key in ("kind", "unit", "mean", "std", "source", "eight_bit"):
        if key not in entry:
            raise RecipeError(f"says nothing about {key!r}", "normalisation")
    mean = [list(entry["mean"].values())[i] for i in positions(list(entry["mean"]), bands, "normalisation mean")]
    std = [list(entry["std"].values())[i] for i in positions(list(entry["std"]), bands, "normalisation std")]
    return Normalisation(
        kind=entry["kind"],
        bands=tuple(bands),
        mean=tuple(mean),
        std=tuple(std),
        unit=Unit(entry["unit"]),
        source=entry["source"],
        eight_bit=entry["eight_bit"],
    )


def normalise(pixels: Tensor, how: Normalisation, *, valid: Tensor | None = None) -> Tensor:
    """Normalised pixels, float32.

    Args:
        pixels: (..., C, H, W) in `how.unit`, bands in the order of `how.bands`.
        how: The numbers.
        valid: False where a pixel is no measurement: it becomes the band's mean (`how.mean_value`).

    Raises:
        UsageError: If the number of bands differs.
    """
    mean, std = _numbers(pixels, how)
    values = pixels.float()
    if how.kind == "two-sigma":
        values = ((values - (mean - 2 * std)) / (4 * std)).clamp(0.0, 1.0)
        if how.eight_bit:
            values = (values * 255).round() / 255
    else:
        values = (values - mean) / std
    return values if valid is None else torch.where(valid, values, how.mean_value)


def far_share(pixels: Tensor, how: Normalisation, *, valid: Tensor | None = None) -> dict[str, float]:
    """Share of each band's valid pixels further than 5 standard deviations from the mean (nan without any)."""
    mean, std = _numbers(pixels, how)
    far = (pixels.float() - mean).abs() > 5 * std
    counted = torch.ones_like(far) if valid is None else valid.expand_as(far)
    axes = [axis for axis in range(far.ndim) if axis != far.ndim - 3]
    shares = (far & counted).sum(dim=axes).double() / counted.sum(dim=axes)
    return dict(zip(how.bands, shares.tolist(), strict=True))


def check_range(pixels: Tensor, how: Normalisation, *, valid: Tensor | None = None) -> None:
    """Refuse pixels that cannot be in the unit of the numbers: half of a band is further than 5 std from the mean.

    Raises:
        UsageError: Naming the bands.
    """
    bad = [name for name, share in far_share(pixels, how, valid=valid).items() if share > 0.5]
    if bad:
        fix = f"The numbers ({how.source}) are for unit {how.unit.value}; check unit and band order."
        raise UsageError(f"most pixels of {', '.join(bad)} are more than 5 std from the mean", "normalisation", fix)


def _numbers(pixels: Tensor, how: Normalisation) -> tuple[Tensor, Tensor]:
    if pixels.shape[-3] != len(how.bands):
        raise UsageError(f"{pixels.shape[-3]} bands instead of {', '.join(how.bands)}", "normalisation")
    # Not made on the device at once: torch.tensor(..., device=...) waits for everything that a GPU has yet to do.
    numbers = torch.tensor([how.mean, how.std], dtype=torch.float32).to(pixels.device, non_blocking=True)
    mean, std = numbers[:, :, None, None]
    return mean, std
