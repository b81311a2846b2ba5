"""Crop, flip, resize and scale in one pass: `kernels.c` behind checks of everything that it would otherwise believe."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.native.library import kernels
from seamo.native.scratch import Scratch

Array = NDArray[Any]
Rule = Literal["affine", "clipped", "eight-bit"]

_RULES: dict[Rule, int] = {"affine": 0, "clipped": 1, "eight-bit": 2}
_TYPES = {np.dtype("uint8"): 0, np.dtype("uint16"): 1, np.dtype("int16"): 2, np.dtype("float32"): 3}
_LARGEST = 2**15  # pixels of a side


class BandMap:
    """Which bands of a layer become which channels of an image, and what is done to their numbers.

    Args:
        source: (n,) channels of the layer.
        place: (n,) channels of the image.
        factor: (n,) by which a resized number is multiplied.
        shift: (n,) what is added then.
        rule: `clipped`: to 0..1 then; `eight-bit`: and to multiples of 1/255.

    Raises:
        ValueError: If they differ in number.
    """

    def __init__(self, source: Array, place: Array, factor: Array, shift: Array, rule: Rule) -> None:
        self.source, self.place = np.ascontiguousarray(source, np.int32), np.ascontiguousarray(place, np.int32)
        self.factor, self.shift = np.ascontiguousarray(factor, np.float32), np.ascontiguousarray(shift, np.float32)
        arrays = (self.source, self.place, self.factor, self.shift)
        _check({one.shape for one in arrays} == {(len(source),)}, "channels and numbers differ in number")
        self.rule = rule
        self.pointers = tuple(one.ctypes.data for one in arrays)

    def __len__(self) -> int:
        return len(self.source)


class Looks:
    """Where the images of a batch are looked at.

    Args:
        dates: (B, t) which dates of the layers.
        box: (B, t, 4) top, left, height, width as shares of the image's height and width.
        flip: (B, t) whether mirrored left to right.

    Raises:
        ValueError: If they differ in number.
    """

    def __init__(self, dates: Array, box: Array, flip: Array) -> None:
        self.dates, self.box = np.ascontiguousarray(dates, np.int32), np.ascontiguousarray(box, np.float64)
        self.flip = np.ascontiguousarray(flip, np.uint8)
        B, t = self.dates.shape
        _check(self.box.shape == (B, t, 4) and self.flip.shape == (B, t), "dates, boxes and flips differ in number")


def hole_codes(there: NDArray[np.bool_], is_float: bool, fill: float | None) -> NDArray[np.uint8]:
    """What is a hole in each image of one layer, (B, t): 0 nothing, 1 the fill value, 2 what is not finite, 3 both.

    Args:
        there: (B, t) bool: this image of the layer is there; in one that is not, nothing is a hole.
        is_float: Whether the layer is of floats.
        fill: Its fill value; None if it has none.
    """
    code = (2 if is_float else 0) | (0 if fill is None or np.isnan(fill) else 1)
    return np.ascontiguousarray(there * np.uint8(code))


def can_crop(dtype: np.dtype[Any], height: int, width: int) -> bool:
    """Whether the compiled loop is there and takes such layers."""
    return kernels() is not None and dtype in _TYPES and min(height, width) > 0 and max(height, width) <= _LARGEST


def crop_into(
    out: NDArray[np.float32],
    pixels: Array,
    looks: Looks,
    i: int,
    bands: BandMap,
    *,
    codes: NDArray[np.uint8],
    fill: float | None,
    scratch: Scratch,
) -> NDArray[np.bool_]:
    """Make the images of one layer of one sample, as `seamo.data.crops.crop_stack`, a product and a sum do.

    Args:
        out: (t, C, S, S), contiguous; the channels in `bands.place` are written.
        pixels: (T, c, h, w), contiguous.
        looks: Of the batch.
        i: Which sample of the batch.
        bands: What goes where.
        codes: (B, t) `hole_codes` of the layer.
        fill: The layer's fill value.
        scratch: Memory.

    Returns:
        (t,) in which images a pixel of the crop is a hole: what was written of those is worth nothing.

    Raises:
        ValueError: If the arguments do not fit each other.
    """
    library = kernels()
    T, c, h, w = pixels.shape
    t, C, S, other = out.shape
    B = len(looks.dates)
    _check(library is not None and can_crop(pixels.dtype, h, w), f"no loop for {pixels.dtype} {pixels.shape}")
    _check(out.dtype == np.float32 and other == S and 0 < S <= _LARGEST, f"out is {out.dtype} {out.shape}")
    _check(pixels.flags.c_contiguous and out.flags.c_contiguous and out.flags.writeable, "arrays are not contiguous")
    _check(0 <= i < B and looks.dates.shape[1] == t, f"sample {i} of {t} dates is not in the batch")
    _check(codes.shape == (B, t) and codes.dtype == np.uint8 and codes.flags.c_contiguous, "codes are of another batch")
    room = scratch.array((int(library.seamo_crop_scratch(h, w, S)),), np.float32)
    holes = np.empty(t, dtype=np.bool_)
    at = i * t
    fits = library.seamo_crop(
        pixels.ctypes.data, _TYPES[pixels.dtype], T, c, h, w, t,
        looks.dates.ctypes.data + 4 * at, looks.box.ctypes.data + 32 * at, looks.flip.ctypes.data + at,
        codes.ctypes.data + at, 0.0 if fill is None else fill,
        len(bands), *bands.pointers, _RULES[bands.rule],
        S, C, out.ctypes.data, holes.ctypes.data, room.ctypes.data,
    )  # fmt: skip
    _check(fits, f"a box, a date or a channel lies outside {pixels.shape} or {out.shape}")
    return holes


def _check(fits: bool, problem: str) -> None:
    if not fits:
        raise ValueError(problem)
