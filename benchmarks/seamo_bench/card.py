"""The backbone card: what a checkpoint expects, as frozen values. No torch here."""

from dataclasses import dataclass
from typing import Literal

from seamo.bands import Unit

Op = Literal["affine", "scale", "clip", "truncate-uint8", "wrap-uint8", "image-quantile-clip", "image-minmax"]
MissingPolicy = Literal["fail", "zero", "mean", "nearest-wavelength", "select-columns"]
Availability = Literal["weights", "none needed", "quoted only"]


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
    """

    op: Op
    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one sensor's input must be.

    Args:
        sensor: Key of `seamo.bands.SENSORS`.
        bands: Names in the order of the network's input channels.
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
    """One published checkpoint file."""

    urls: tuple[str, ...]
    filename: str
    licence: str
    noncommercial: bool = False
    sha256: str = ""
    md5: str = ""
    bytes: int | None = None
    how: str = ""  # instructions where no direct link exists


@dataclass(frozen=True, slots=True)
class BackboneCard:
    """Everything that decides what a backbone does with pixels.

    Args:
        id: Kebab-case id, as on the leaderboard.
        family: Module in `seamo_bench.backbones`.
        title: As tables print it.
        inputs: One per sensor that the network can take.
        embed_dim: Width of the pooled feature.
        size: Native image size in pixels.
        multiple_of: Image sizes must be multiples of this (patch or total stride).
        any_size: False if only `size` is accepted.
        pos_interp: How position embeddings are interpolated to another grid, in words.
        pooling: How tokens become one vector, in words.
        levels: (channels, stride) of each dense feature level, shallow to deep.
        code_licence: Licence of the reference code.
        availability: Whether weights can be had.
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
    variant: tuple[tuple[str, str | int | float | bool], ...] = ()
