"""Published normalisations, step by step: the one place in which pixels become a network's input."""

from collections.abc import Sequence

import torch
from torch import Tensor

from seamo.errors import UsageError
from seamo_bench.card import Step


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
            return (x - _column(step.a, x, step)) / _column(step.b, x, step)
        case "scale":
            return x * _column(step.a, x, step)
        case "clip":
            return torch.minimum(torch.maximum(x, _column(step.a, x, step)), _column(step.b, x, step))
        case "truncate-uint8":
            return x.clamp(0.0, 255.0).trunc()
        case "wrap-uint8":
            return torch.remainder(x.trunc(), 256.0)
        case "image-quantile-clip":
            return _clip_to_quantiles(x, step)
        case "image-minmax":
            low = torch.where(x.isnan(), torch.inf, x).amin(dim=(2, 3), keepdim=True)
            high = torch.where(x.isnan(), -torch.inf, x).amax(dim=(2, 3), keepdim=True)
            return (x - low) / (high - low + _column(step.a, x, step))
        case "image-zscore":
            centred = x - x.nanmean(dim=(1, 2, 3), keepdim=True)
            return centred / centred.square().nanmean(dim=(1, 2, 3), keepdim=True).sqrt()
        case "store-zscore" | "store-2std":
            raise UsageError(
                f"step {step.op} has no numbers yet", "apply_steps", "The adapter puts those of the store into it."
            )


def _column(numbers: tuple[float, ...], x: Tensor, step: Step) -> Tensor:
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
