"""What a network expects of its input, as frozen values: bands by name, unit, normalisation, size, resizing."""

from dataclasses import dataclass
from typing import Literal

from seamo.bands import Unit

Op = Literal[
    "affine",
    "scale",
    "clip",
    "truncate-uint8",
    "wrap-uint8",
    "image-quantile-clip",
    "image-minmax",
    "image-zscore",
    "store-zscore",
    "store-2std",
]
# fail: refuse; zero: the pixel's value is 0 before the steps (the band's centre where the store's statistics follow);
# mean: the mean of the channels that are there, after the steps; nearest-wavelength: the band that is nearest;
# select-columns: the input layer loses what belongs to the missing bands; new-tokenizer: it begins untrained for the
# bands that are there, other sensors' included, and must be trained. The rest make nothing up and refuse what they
# cannot do (`seamo.inputs.ways`): 8-bit: the bands themselves, in a store of 8-bit values; rgb: red, green and blue
# of any sensor; wavelength: kernels generated from the wavelengths of the store's bands; select: for every band the
# nearest in wavelength, within a limit.
MissingPolicy = Literal[
    "fail",
    "zero",
    "mean",
    "nearest-wavelength",
    "select-columns",
    "new-tokenizer",
    "8-bit",
    "rgb",
    "wavelength",
    "select",
]
SELECT_NM = 50.0  # how far a band may be, in nanometres, from the one that it stands in for (`select`)
# bilinear: layers meet on the finest grid, the image then goes to the network's size, antialiased. bicubic-native:
# every layer goes from its own grid to the network's size at once, antialiased bicubic, as SeaMo's crops do.
Resize = Literal["bilinear", "bicubic-native"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a published normalisation, per band or (one number) for all bands.

    ops, x being one band of one image in the input's unit:
        affine: (x - a) / b.
        scale: x * a.
        clip: x limited to [a, b].
        truncate-uint8: x limited to [0, 255], fraction cut off.
        wrap-uint8: fraction cut off, then modulo 256, as an unchecked cast to uint8 does.
        image-quantile-clip: x limited to its own quantiles a and b of this image.
        image-minmax: (x - min) / (max - min + a) of this image.
        image-zscore: (x - mean) / standard deviation of all bands of this image together.
        store-zscore: (x - mean) / std with the statistics of the store's training split. The wiring turns it
            into `affine` with the numbers, so that what was applied stands in every record.
        store-2std: x from mean - 2 std .. mean + 2 std to 0..1, clipped, with the same statistics.
    """

    op: Op
    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one sensor's input must be.

    Args:
        sensor: Key of `seamo.bands.SENSORS`.
        bands: Names in the order of the network's input channels; empty = every band of the sensor that the
            store has, in canonical order (networks without published weights).
        unit: Unit of the numbers before `steps`.
        product: Processing level the weights were made on (`L1C`, `L2A`, `GRD`), for warnings and `explain`.
        steps: The published normalisation, in order.
        source: Where the numbers come from.
        fill: Value of a pixel without a measurement, after `steps`.
    """

    sensor: str
    bands: tuple[str, ...]
    unit: Unit
    steps: tuple[Step, ...]
    source: str
    product: str = ""
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class Expects:
    """What a network expects of its input; a backbone's card holds the same and more.

    Args:
        id: Of the network, for messages.
        inputs: One per sensor that it can take.
        size: Side of its native image in pixels; 0 = images are taken as the store has them, never resized.
        multiple_of: Image sizes must be multiples of this (patch or total stride).
        any_size: False if only `size` is accepted.
        joint: True if every sensor in `inputs` must be there; False: whichever of them the store has.
        resize: How an image gets to the network's size.
        missing: Policy for bands that a store does not have.
        learnt: Whether it has weights, which have learnt its units.
        select_nm: Limit of `select`: the largest distance of centre wavelengths, in nanometres.
    """

    id: str
    inputs: tuple[InputSpec, ...]
    size: int
    multiple_of: int
    any_size: bool = True
    joint: bool = False
    resize: Resize = "bilinear"
    missing: MissingPolicy = "fail"
    learnt: bool = True
    select_nm: float = SELECT_NM
