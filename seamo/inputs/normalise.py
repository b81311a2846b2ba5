"""Normalisation: published steps in float64, and the two kinds that SeaMo is trained with as one pass in float32.

Both say the same (`steps_of`; a test holds them together): training needs the pass, since it runs in every step on the
device; everything else applies steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from seamo.bands import Unit, positions
from seamo.data.settings import Kind as Kind  # a recipe names it without torch
from seamo.errors import BandError, RecipeError, UsageError
from seamo.inputs.pretrained import EIGHT_BIT
from seamo.inputs.spec import Step
from seamo.inputs.steps import two_sigma
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
    mean, std = numbers_of(pixels, how)
    values = pixels.float()
    if how.kind == "two-sigma":
        values = ((values - (mean - 2 * std)) / (4 * std)).clamp(0.0, 1.0)
        if how.eight_bit:
            values = (values * 255).round() / 255
    else:
        values = (values - mean) / std
    return values if valid is None else torch.where(valid, values, how.mean_value)


def numbers_of(pixels: Tensor, how: Normalisation) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each (C, 1, 1) on the device of pixels (..., C, H, W).

    Raises:
        UsageError: If the number of bands differs.
    """
    if pixels.shape[-3] != len(how.bands):
        raise UsageError(f"{pixels.shape[-3]} bands instead of {', '.join(how.bands)}", "normalisation")
    # Not made on the device at once: torch.tensor(..., device=...) waits for everything that a GPU has yet to do.
    numbers = torch.tensor([how.mean, how.std], dtype=torch.float32).to(pixels.device, non_blocking=True)
    mean, std = numbers[:, :, None, None]
    return mean, std


def steps_of(how: Normalisation) -> tuple[Step, ...]:
    """The same normalisation as steps with its numbers."""
    own = how.kind == "two-sigma"
    steps = two_sigma(how.mean, how.std) if own else (Step("affine", how.mean, how.std),)
    return steps + (EIGHT_BIT if how.eight_bit else ())


def apply_steps(x: Tensor, steps: Sequence[Step]) -> Tensor:
    """Normalise images as a card says.

    The arithmetic is done in float64, as numpy does it in the official loaders: a value that falls on the edge of an
    8-bit step then falls on the same side. NaN (no measurement) stays NaN and is left out of image statistics.

    Args:
        x: (B, C, H, W), bands in the card's order, in the card's unit.
        steps: The card's steps; numbers per band, or one for all bands.

    Returns:
        (B, C, H, W) float32.

    Raises:
        UsageError: If a step has neither one number nor one a band, or waits for the store's numbers.
    """
    if x.ndim != 4:
        raise UsageError(f"images have {x.ndim} dimensions", "apply_steps", "Give (B, C, H, W).")
    y = x.double()
    for step in steps:
        y = _apply(y, step)
    return y.float()


def _apply(x: Tensor, step: Step) -> Tensor:
    match step.op:
        case "affine":
            return (x - _of_step(step.a, x, step)) / _of_step(step.b, x, step)
        case "scale":
            return x * _of_step(step.a, x, step)
        case "clip":
            return torch.minimum(torch.maximum(x, _of_step(step.a, x, step)), _of_step(step.b, x, step))
        case "truncate-uint8":
            return x.clamp(0.0, 255.0).trunc()
        case "wrap-uint8":
            return torch.remainder(x.trunc(), 256.0)
        case "image-quantile-clip":
            return _clip_to_quantiles(x, step)
        case "image-minmax":
            low = torch.where(x.isnan(), torch.inf, x).amin(dim=(2, 3), keepdim=True)
            high = torch.where(x.isnan(), -torch.inf, x).amax(dim=(2, 3), keepdim=True)
            return (x - low) / (high - low + _of_step(step.a, x, step))
        case "image-zscore":
            centred = x - x.nanmean(dim=(1, 2, 3), keepdim=True)
            return centred / centred.square().nanmean(dim=(1, 2, 3), keepdim=True).sqrt()
        case "store-zscore" | "store-2std":
            raise UsageError(
                f"step {step.op} has no numbers yet", "apply_steps", "The adapter puts those of the store into it."
            )


def _of_step(numbers: tuple[float, ...], x: Tensor, step: Step) -> Tensor:
    """Numbers of a step as (C or 1, 1, 1), for images (B, C, H, W)."""
    if len(numbers) not in (1, x.shape[1]):
        raise UsageError(f"step {step.op} has {len(numbers)} numbers for {x.shape[1]} bands", "apply_steps")
    return torch.tensor(numbers, dtype=torch.float64, device=x.device).view(-1, 1, 1)


def _clip_to_quantiles(x: Tensor, step: Step) -> Tensor:
    """Limit each band of each image to two of its own quantiles (linear between order statistics, as numpy)."""
    (low,), (high,) = step.a, step.b
    q = torch.tensor([low, high], dtype=torch.float64, device=x.device)
    clipped = torch.empty_like(x)
    for image_CHW, out_CHW in zip(x, clipped, strict=True):  # one by one: torch.quantile takes 16 M numbers at most
        limits = image_CHW.flatten(1).nanquantile(q, dim=1)[..., None, None]
        out_CHW.copy_(torch.minimum(torch.maximum(image_CHW, limits[0]), limits[1]))
    return clipped
