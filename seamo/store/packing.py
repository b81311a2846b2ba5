"""Decibels in 16 bits: a layer of floats stored as whole steps, so that half of its bytes are enough.

What is stored is `round(value / STEP)`, and -32768 where nothing was measured; what every reader of ours hands out is
float32 again, `stored * scale + offset` with the numbers of store.json (`ArrayFacts`). The steps are taken before
anything else is made of a sample: statistics and hashes are those of the numbers that are read. So the same archive
packed is other pixels, with another content, and a copy of a packed store in whatever layout has that content.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.errors import SampleError, UsageError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.native.widen import widen

STEP = 0.01
"""Of a packed layer, in dB: no value moves by more than half of it (and what float32 rounds)."""

DTYPE = np.dtype("<i2")
MISSING = -32768
_LARGEST = 32767


def check_packed(spec: DatasetSpec, layers: Iterable[str]) -> None:
    """Refuse to pack what has no room for a step of 0.01 dB, or no sign of its own for what is missing.

    Raises:
        UsageError: If a layer is not of float32 in decibels with NaN where nothing is.
        ManifestError: If there is no such layer.
    """
    for name in layers:
        layer = spec.layer(name)
        if (layer.dtype, layer.unit, layer.fill) != ("float32", Unit.DB, "nan"):
            can = [one.id for one in spec.layers if (one.dtype, one.unit, one.fill) == ("float32", Unit.DB, "nan")]
            what = f"layer {name} is {layer.dtype} {layer.unit} and is stored as it is"
            raise UsageError(what, spec.id, f"To pack: {', '.join(can) or 'none'}.")


def pack(pixels: NDArray[np.float32], where: str) -> NDArray[np.int16]:
    """Whole steps, `MISSING` for NaN.

    Args:
        pixels: dB, of any shape.
        where: Named in the error.

    Raises:
        SampleError: If a number is too large for 16 bits.

    Example:
        >>> pack(np.array([-12.344, 3.0, np.nan], np.float32), "s1").tolist()
        [-1234, 300, -32768]
    """
    steps = np.rint(pixels.astype(np.float64) / STEP)
    is_missing = np.isnan(steps)
    steps[is_missing] = MISSING
    largest = float(np.abs(steps, where=~is_missing, out=np.zeros_like(steps)).max(initial=0.0))
    if largest > _LARGEST:
        raise SampleError(f"{largest * STEP:g} dB does not fit into 16 bits", where, "Build without --pack.")
    return steps.astype(DTYPE)


def unpack(stored: NDArray[np.int16], scale: float, offset: float, out: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers that whole steps stand for, NaN where nothing was measured.

    Args:
        stored: Contiguous.
        scale: Of the store.
        offset: Of the store.
        out: Of the same shape, contiguous; written.

    Example:
        >>> unpack(np.array([-1234, -32768], np.int16), STEP, 0.0, np.empty(2, np.float32)).tolist()
        [-12.34000015258789, nan]
    """
    widen(stored, scale, offset, MISSING, out)
    return out


def stepped(pixels: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    """The numbers that are read where these are packed.

    Raises:
        SampleError: See `pack`.
    """
    return unpack(pack(pixels, where), STEP, 0.0, np.empty(pixels.shape, np.float32))


def stored_dtype(layer: LayerSpec | None, scale: float | None) -> np.dtype[Any]:
    """Type of the numbers in a chunk of a layer, or of a mask (None)."""
    if scale is not None:
        return DTYPE
    return np.dtype("uint8" if layer is None else layer.dtype)
