"""Resizing, defined once: every resize is two matrices, one for rows and one for columns."""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError

Kernel = Literal["bilinear", "bicubic", "nearest"]
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def resize_matrix(
    src: int, dst: int, *, lo: float = 0.0, hi: float | None = None, kernel: Kernel = "bilinear", antialias: bool = True
) -> NDArray[np.float64]:
    """The matrix that resizes one axis: `out = matrix @ values`.

    Output pixel i looks at the point `lo + (i + 0.5) * (hi - lo) / dst` of the source, whose pixel j covers
    [j, j + 1) (half-pixel centres: Pillow, and torch with `align_corners=False`). Weights are the kernel at the
    distance to each pixel's centre, cut at the borders of the source and divided by their sum. Pixels outside
    [lo, hi) but inside the source count as neighbours (as with Pillow's `box`).

    Args:
        src: Number of source pixels.
        dst: Number of output pixels.
        lo: Start of the range that is resized, in source pixels, fractions allowed.
        hi: Its end; all of the source if None.
        kernel: `bilinear`; `bicubic` (Keys, a = -0.5, as in Pillow and torch's antialiased one);
            `nearest` (the pixel that holds the point).
        antialias: Widen the kernel by the scale when shrinking.

    Returns:
        (dst, src) float64, every row with sum 1.

    Raises:
        UsageError: For an empty size, a range outside the source or an unknown kernel.

    Example:
        >>> resize_matrix(4, 2)[0].round(4).tolist()
        [0.4286, 0.4286, 0.1429, 0.0]
    """
    end = float(src) if hi is None else float(hi)
    if src < 1 or dst < 1 or not 0.0 <= lo < end <= src:
        raise UsageError(f"cannot resize [{lo}, {end}) of {src} pixels to {dst}", where="resize_matrix")
    scale = (end - lo) / dst
    centre = lo + (np.arange(dst) + 0.5) * scale
    if kernel == "nearest":
        matrix = np.zeros((dst, src))
        matrix[np.arange(dst), _nearest(centre, src)] = 1.0
        return matrix
    if kernel not in _SUPPORT:
        raise UsageError(f"no kernel {kernel!r}", where="resize_matrix", fix="Kernels: bilinear, bicubic, nearest.")
    width = max(scale, 1.0) if antialias else 1.0
    distance = np.abs(np.arange(src) + 0.5 - centre[:, None]) / width
    weights = _triangle(distance) if kernel == "bilinear" else _keys(distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def resize(
    pixels: NDArray[Any], size: tuple[int, int], kernel: Kernel = "bilinear", *, antialias: bool = True
) -> NDArray[Any]:
    """Resize the last two axes of an array.

    NaN is a pixel without a measurement: weights are shared among the others, and an output pixel whose
    measured weight is below one half is NaN.

    Args:
        pixels: (..., H, W).
        size: (h, w) of the result.
        kernel: See `resize_matrix`. `nearest` keeps the dtype (labels), the others give float32.
        antialias: See `resize_matrix`.

    Returns:
        (..., h, w).

    Example:
        >>> resize(np.array([[[1, 2], [3, 4]]], dtype=np.uint8), (4, 4), "nearest")[0, 0].tolist()
        [1, 1, 2, 2]
        >>> resize(np.array([[[0.0, np.nan], [2.0, 4.0]]]), (1, 1)).tolist()  # the mean of three
        [[[2.0]]]
    """
    height, width = pixels.shape[-2:]
    if (height, width) == tuple(size):
        return pixels.copy() if kernel == "nearest" else pixels.astype(np.float32)
    if kernel == "nearest":
        rows = _nearest((np.arange(size[0]) + 0.5) * (height / size[0]), height)
        columns = _nearest((np.arange(size[1]) + 0.5) * (width / size[1]), width)
        return np.ascontiguousarray(pixels[..., rows[:, None], columns])
    down = _matrix32(height, size[0], kernel, antialias)
    across = _matrix32(width, size[1], kernel, antialias)
    values = pixels.astype(np.float32)
    missing = ~np.isfinite(values)
    if not missing.any():
        return np.asarray(down @ values @ across.T)
    values[missing] = 0.0
    # Absolute weights: a kernel with negative lobes could otherwise hide a missing pixel.
    share = np.abs(down) @ (~missing).astype(np.float32) @ np.abs(across).T
    whole = np.abs(down).sum(axis=1)[:, None] * np.abs(across).sum(axis=1)
    weight = down @ (~missing).astype(np.float32) @ across.T
    measured = (share >= 0.5 * whole) & (weight > 0)
    total = down @ values @ across.T
    return np.where(measured, total / np.where(measured, weight, 1.0), np.float32(np.nan)).astype(np.float32)


@lru_cache(maxsize=128)
def _matrix32(src: int, dst: int, kernel: Kernel, antialias: bool) -> NDArray[np.float32]:
    matrix = resize_matrix(src, dst, kernel=kernel, antialias=antialias).astype(np.float32)
    matrix.setflags(write=False)
    return matrix


def _nearest(centre: NDArray[np.floating[Any]], src: int) -> NDArray[np.int64]:
    index: NDArray[np.int64] = np.clip(np.floor(centre).astype(np.int64), 0, src - 1)
    return index


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - distance)


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    # Keys (1981), cubic convolution with a = -0.5.
    x = distance
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
