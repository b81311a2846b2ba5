"""The backbone card: what a checkpoint expects, as frozen values. No torch here."""

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
Option = str | int | float | bool | tuple[int, ...] | tuple[tuple[int, ...], ...]
# select-columns: the input layer loses what belongs to the missing bands; new-tokenizer: it begins untrained for the
# bands that are there, other sensors' included, and must be trained.
MissingPolicy = Literal["fail", "zero", "mean", "nearest-wavelength", "select-columns", "new-tokenizer"]
Availability = Literal["weights", "none needed", "quoted only", "no loader"]


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
        store-zscore: (x - mean) / std with the statistics of the store's training split. The adapter turns it
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
class Weights:
    """One published checkpoint file.

    Args:
        urls: Direct links, tried in order.
        filename: Name under which it is kept.
        licence: Licence of the weights.
        noncommercial: Whether the licence forbids commercial use; must then be accepted once.
        sha256: Hex digest, or as many of its first digits as are published.
        md5: Hex digest, where only that is published.
        bytes: Size, where it is published.
        how: Instructions where no direct link exists.
    """

    urls: tuple[str, ...]
    filename: str
    licence: str
    noncommercial: bool = False
    sha256: str = ""
    md5: str = ""
    bytes: int | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class BackboneCard:
    """Everything that decides what a backbone does with pixels.

    Args:
        id: Kebab-case id, as on the leaderboard.
        family: Module in `seamo_bench.backbones`.
        title: As tables print it.
        inputs: One per sensor that the network can take.
        joint: True if every sensor in `inputs` must be there; False: whichever of them the store has.
        embed_dim: Width of the pooled feature; 0 = follows from the bands.
        size: Native image size in pixels; 0 = images are taken as the store has them, never resized.
        multiple_of: Image sizes must be multiples of this (patch or total stride).
        any_size: False if only `size` is accepted.
        pos_interp: How position embeddings are interpolated to another grid, in words.
        pooling: How tokens become one vector, in words.
        levels: (channels, stride) of each dense feature level, shallow to deep.
        code_licence: Licence of the reference code.
        availability: Whether weights can be had; `no loader`: they are public, and nothing here loads them.
        weights: The checkpoint, if there is one.
        pretrained_on: Data set ids seen in pretraining.
        source: Paper or repository.
        quirks: Deviations of the official code that are switches here, off by default.
        verified: What proves the implementation: `golden`, `manifest`, `package`; empty = "unverified".
        trainable: False where there is nothing to fine-tune (image statistics).
        variant: Free options of the family's loader, such as depth or width.
    """

    id: str
    family: str
    title: str
    inputs: tuple[InputSpec, ...]
    embed_dim: int
    size: int
    multiple_of: int
    code_licence: str
    source: str
    any_size: bool = True
    joint: bool = False
    pos_interp: str = ""
    pooling: str = ""
    levels: tuple[tuple[int, int], ...] = ()
    availability: Availability = "weights"
    weights: Weights | None = None
    pretrained_on: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    missing: MissingPolicy = "fail"
    trainable: bool = True
    variant: tuple[tuple[str, Option], ...] = ()
