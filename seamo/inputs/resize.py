"""Resizing images whose missing pixels are NaN, in torch: whole images, each in its true extent."""

from functools import lru_cache

import torch
from torch import Tensor

from seamo.resample import Kernel, resize_matrix

_MEASURED = 0.5  # an output pixel counts where at least this share of its weight was measured


def resize(x: Tensor, size: tuple[int, int], kernel: Kernel = "bilinear") -> Tensor:
    """`seamo.resample.resize` (antialiased) in torch: what is not finite is no measurement and does not spread.

    Args:
        x: (..., H, W) float32.
        size: (h, w) of the result.
        kernel: See `seamo.resample.resize_matrix`; where pixels may be missing, one without negative lobes.

    Returns:
        (..., h, w) float32.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    down, across = (_matrix(n, m, kernel).to(x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    there = x.isfinite()
    total = down @ torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) @ across.T
    if bool(there.all()):
        return total
    share = down @ there.to(x.dtype) @ across.T
    return torch.where(share >= _MEASURED, total / share.clamp(min=_MEASURED), torch.nan)


def resize_true(images: Tensor, true_size: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize the true part of every image: what a size bucket pads is not part of it.

    Args:
        images: (B, C, H, W) float32, NaN where nothing was measured.
        true_size: (B, 2) height and width of each image; it lies in the upper left corner.
        size: (h, w) of the result.

    Returns:
        (B, C, h, w) float32.
    """
    grid = images.shape[-2:]
    sizes = [(int(height), int(width)) for height, width in true_size.tolist()]
    if all(extent == tuple(grid) for extent in sizes):
        return resize(images, size)
    parts = [resize(image[:, :h, :w], size) for image, (h, w) in zip(images, sizes, strict=True)]
    return torch.stack(parts)


@lru_cache(maxsize=64)
def _matrix(src: int, dst: int, kernel: Kernel) -> Tensor:
    return torch.from_numpy(resize_matrix(src, dst, kernel=kernel)).to(torch.float32)
