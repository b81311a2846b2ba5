"""Crop, flip and resize native-resolution layers on the device, every season its own way (paper 3.2).

Resizing: half-pixel centres, bicubic kernel with a = -0.5, widened by the scale when shrinking (antialiased),
weights renormalised at the crop's edge: what Pillow does to the cropped image. Crop and flip are folded into the
weights of the two axes (`resize_taps`). Accelerators take them as two matrix products, A_y X A_x^T; a CPU, where
the zeros of these matrices would cost most of the time, adds up rows: in a compiled loop (`seamo.native.crops`), and
where that is not there or pixels are missing in torch. `seamo.resample` is the same in numpy for whole images; there a
part of an image borrows neighbours from outside the part, here a crop sees nothing beyond itself.

Nothing here waits for the device, unless `crop_stack` has to look for fill values itself.

Shapes: B location, T season, C bands, h/w pixels of a layer, S output side, K source pixels that an output pixel
sees; n = B * T.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seamo.bands import positions
from seamo.data.draws import CROPS, QUADRANTS, uniforms
from seamo.data.settings import CropConfig as CropConfig  # a recipe names them without torch
from seamo.data.settings import Mode as Mode
from seamo.errors import RecipeError, UsageError
from seamo.manifest import LayerSpec
from seamo.native.crops import BandMap, Looks, can_crop, crop_into, hole_codes
from seamo.native.scratch import Scratch

_TRIES = 10  # of torchvision's RandomResizedCrop, after which it takes the whole image
_RATIO = (3 / 4, 4 / 3)
_NUMBERS = 2 * _TRIES + 3  # uniform numbers a view: size and shape of each try, row, column, flip
_WEIGHT = 1e-4  # a resized pixel is valid if the invalid pixels it sees weigh no more than this in all
_SCRATCH = Scratch()
_BLOCK = 2**20  # pixels that a CPU resizes at a time: what fits its caches, in memory that is used again


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Where the images of a batch are looked at.

    Args:
        box: (B, T, 4) float64: top, left, height, width as shares of the image's height and width.
        flip: (B, T) bool: mirrored left to right.
    """

    box: Tensor
    flip: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """Cropped images.

    Args:
        pixels: (B, T, C, S, S) float32, in the layers' unit. Where not valid: the mean of the image's valid pixels
            of that band, or 0 if it has none.
        valid: (B, T, C, S, S), False where a pixel leans on one that is no measurement; None if there is none.
    """

    pixels: Tensor
    valid: Tensor | None


def draw_views(
    config: CropConfig, rows: Tensor, *, sensors: Sequence[str], seasons: int, seed: int, epoch: int
) -> dict[str, View]:
    """Draw the views of a batch; those of a sample depend on (seed, epoch, row) alone.

    Args:
        config: How.
        rows: (B,) int64 rows of the samples in their store; the views live on the same device.
        sensors: Sensors that need one, in the model's order.
        seasons: T.
        seed: Of the run.
        epoch: Of the run.

    Returns:
        Sensor -> view.

    Raises:
        RecipeError: If none_overlap has more than four seasons to place.
    """
    if config.mode == "none_overlap" and seasons > 4:
        raise RecipeError(f"an image has four quadrants, there are {seasons} seasons", "crop.mode none_overlap")
    B, M = len(rows), len(sensors)
    numbers = uniforms(rows, M * seasons * _NUMBERS, seed=seed, epoch=epoch, stream=CROPS)
    numbers = numbers.reshape(B, M, seasons, _NUMBERS)
    ranks = uniforms(rows, M * 4, seed=seed, epoch=epoch, stream=QUADRANTS).reshape(B, M, 4).argsort(dim=-1)
    views = {}
    for m, sensor in enumerate(sensors):
        source = 0 if config.share else m
        box = _boxes(config, numbers[:, source], ranks[:, source, :seasons])
        flips = numbers[:, 0 if config.share_flip else m, :, -1] < 0.5
        views[sensor] = View(box, flips if config.flip else torch.zeros_like(flips))
    return views


def whole_view(batch: int, seasons: int, *, device: torch.device) -> View:
    """The view of whole images, not mirrored: what evaluation uses."""
    box = _whole_boxes(batch, seasons, device=device)
    return View(box, torch.zeros(batch, seasons, dtype=torch.bool, device=device))


def _whole_boxes(batch: int, seasons: int, *, device: torch.device) -> Tensor:
    # Written on the device: a tensor made of Python numbers would have to be waited for.
    box = torch.zeros(batch, seasons, 4, dtype=torch.float64, device=device)
    box[..., 2:] = 1.0
    return box


def _boxes(config: CropConfig, u_BTU: Tensor, quadrants_BT: Tensor) -> Tensor:
    if config.mode == "same_full":
        return _whole_boxes(*u_BTU.shape[:2], device=u_BTU.device)
    if config.mode == "none_overlap":
        top, left = 0.5 * (quadrants_BT // 2), 0.5 * (quadrants_BT % 2)
        half = torch.full_like(top, 0.5)
        return torch.stack([top, left, half, half], dim=-1).double()
    if config.mode == "same_random":
        u_BTU = u_BTU[:, :1].expand_as(u_BTU)
    height, width = _box_sizes(config, u_BTU)
    if config.steps:
        height, width = (torch.round(side * config.steps) / config.steps for side in (height, width))
        free = ((1 - height) * config.steps).round()  # the same number of steps down and right
        top, left = ((u_BTU[..., at] * (free + 1)).floor().minimum(free) / config.steps for at in (-3, -2))
        return torch.stack([top, left, height, width], dim=-1)
    top, left = (1 - height) * u_BTU[..., -3], (1 - width) * u_BTU[..., -2]
    return torch.stack([top, left, height, width], dim=-1)


def _box_sizes(config: CropConfig, u_BTU: Tensor) -> tuple[Tensor, Tensor]:
    low, high = config.rate
    if config.rate_mode == "side":
        side = low + (high - low) * u_BTU[..., 0]
        return side, side
    # RandomResizedCrop: the first of ten tries that fits into the image, else the whole image.
    area = low + (high - low) * u_BTU[..., :_TRIES]
    least, most = math.log(_RATIO[0]), math.log(_RATIO[1])
    ratio = torch.exp(least + (most - least) * u_BTU[..., _TRIES : 2 * _TRIES])
    heights, widths = (area / ratio).sqrt(), (area * ratio).sqrt()
    fits = (heights <= 1) & (widths <= 1)
    first = fits.int().argmax(dim=-1, keepdim=True)  # the first of several equal ones
    none = ~fits.any(dim=-1)
    height = heights.gather(-1, first).squeeze(-1).masked_fill(none, 1.0)
    width = widths.gather(-1, first).squeeze(-1).masked_fill(none, 1.0)
    return height, width


def crop_stack(
    layers: Mapping[str, Tensor],
    specs: Sequence[LayerSpec],
    view: View,
    *,
    bands: Sequence[str],
    size: int,
    holes: Collection[str] | None = None,
) -> Crop:
    """Crop, flip and resize the layers of one stack into one image per location and season.

    Args:
        layers: Layer id -> (B, T, C, h, w) as the store has it (any dtype); all layers cover the same ground.
        specs: The stack's layers; say bands and fill value.
        view: What to look at; the same ground in every layer.
        bands: Bands of the result, by name.
        size: S.
        holes: Layers in which pixels may hold the fill value (`Batch.holes`); None: look, which waits for the device.

    Raises:
        UsageError: If a layer is missing or has another shape.
        BandError: If a band is in none of the layers.
    """
    read = [spec for spec in specs if set(spec.bands) & set(bands)]
    positions(
        [name for spec in read for name in spec.bands], bands, f"stack {specs[0].stack}" if specs else "no layers"
    )
    B, T = view.flip.shape
    box_n4, flip_n = view.box.reshape(B * T, 4), view.flip.reshape(B * T)
    pixels = torch.empty(B * T, len(bands), size, size, device=box_n4.device)
    valid: Tensor | None = None
    for spec in read:
        stored = _checked(layers, spec, view).flatten(0, 1)
        look = (spec.fill is not None or spec.is_float) and (holes is None or spec.id in holes)
        wanted = [(source, bands.index(name)) for source, name in enumerate(spec.bands) if name in bands]
        for block in _left(pixels, stored, spec, box_n4, flip_n, wanted, look=look):
            images = _select(stored[block], [source for source, _ in wanted])
            at = View(box_n4[block], flip_n[block])
            resized, known = _resize(images, spec, at, size=size, look=look, certain=holes is not None)
            if known is not None and valid is None:
                valid = torch.ones(pixels.shape, dtype=torch.bool, device=pixels.device)
            for i, (_, place) in enumerate(wanted):
                pixels[block, place] = resized[:, i]
                if known is not None and valid is not None:
                    valid[block, place] = known[:, i]
    shape = (B, T, *pixels.shape[1:])
    return Crop(pixels.reshape(shape), None if valid is None else valid.reshape(shape))


def _left(
    out: Tensor,
    stored: Tensor,
    spec: LayerSpec,
    box: Tensor,
    flip: Tensor,
    wanted: Sequence[tuple[int, int]],
    *,
    look: bool,
) -> Iterator[slice | Tensor]:
    """Make in `out` what the compiled loop can; blocks of what is left: all without it, else images with a hole."""
    n = len(stored)
    if stored.device.type != "cpu":
        yield slice(0, n)
        return
    step = max(1, _BLOCK // math.prod(stored.shape[1:]))
    pixels = stored.numpy()
    if not can_crop(pixels.dtype, *pixels.shape[2:]):
        yield from (slice(start, start + step) for start in range(0, n, step))
        return
    source, place = (np.array(one) for one in zip(*wanted, strict=True))
    bands = BandMap(source, place, np.ones(len(wanted)), np.zeros(len(wanted)), "affine")
    looks = Looks(np.arange(n)[None], box.numpy()[None], flip.numpy()[None])
    codes = hole_codes(np.full((1, n), look), spec.is_float, spec.fill_value)
    pixels = np.ascontiguousarray(pixels)
    holes = crop_into(out.numpy(), pixels, looks, 0, bands, codes=codes, fill=spec.fill_value, scratch=_SCRATCH)
    left = torch.from_numpy(np.flatnonzero(holes))
    yield from (left[start : start + step] for start in range(0, len(left), step))


def _checked(layers: Mapping[str, Tensor], spec: LayerSpec, view: View) -> Tensor:
    if spec.id not in layers:
        raise UsageError(f"no layer {spec.id}", "crop_stack", f"There is {', '.join(layers)}.")
    shape = tuple(layers[spec.id].shape)
    want = (*view.flip.shape, len(spec.bands))
    if len(shape) != 5 or shape[:3] != want:
        raise UsageError(f"layer {spec.id} is {shape} instead of {(*want, 'h', 'w')}", "crop_stack")
    return layers[spec.id]


def _select(stored: Tensor, channels: list[int]) -> Tensor:
    """Some bands as float32, without an index that would have to be copied to the device first."""
    if channels == list(range(stored.shape[1])):
        return stored.float()
    return torch.stack([stored[:, i].float() for i in channels], dim=1)


def _resize(
    images: Tensor, spec: LayerSpec, view: View, *, size: int, look: bool, certain: bool
) -> tuple[Tensor, Tensor | None]:
    """Resized images (n, C, S, S), and which of their pixels are measurements (None: all)."""
    h, w = images.shape[-2:]
    top, left, height, width = view.box.unbind(dim=1)
    rows = resize_taps(top * h, height * h, source=h, size=size)
    cols = resize_taps(left * w, width * w, source=w, size=size, flip=view.flip)
    missing = _missing(images, spec) if look else None
    if missing is None or (not certain and not bool(missing.any())):
        return _apply(rows, cols, images), None
    present = ~missing
    total = torch.where(present, images, 0.0).sum(dim=(-2, -1), keepdim=True)
    mean = total / present.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    leans = _apply(replace(rows, weight=rows.weight.abs()), replace(cols, weight=cols.weight.abs()), missing.float())
    valid = leans <= _WEIGHT
    resized = _apply(rows, cols, torch.where(present, images, mean))
    return torch.where(valid, resized, mean), valid


def _missing(pixels: Tensor, spec: LayerSpec) -> Tensor:
    """Where `seamo.sample.valid_pixels` says no, of a layer that can lack pixels."""
    fill = spec.fill_value
    if fill is None or math.isnan(fill):
        return ~pixels.isfinite()
    return (pixels == fill) | ~pixels.isfinite() if spec.is_float else pixels == fill


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """How one axis is cut and resized: output pixel i is the sum over k of weight[i, k] * pixel index[i, k].

    Args:
        index: (n, S, K) int64.
        weight: (n, S, K) float32; a row's sum is 1.
        source: Number of source pixels.
    """

    index: Tensor
    weight: Tensor
    source: int

    def matrix(self) -> Tensor:
        """The same as matrices (n, S, source)."""
        n, S, _ = self.index.shape
        zeros = torch.zeros(n, S, self.source, device=self.weight.device)
        return zeros.scatter_add_(2, self.index, self.weight)


def _apply(rows: Taps, cols: Taps, images_nChw: Tensor) -> Tensor:
    way = _by_rows if images_nChw.device.type == "cpu" else _by_matrices
    return way(rows, cols, images_nChw)


def _by_matrices(rows: Taps, cols: Taps, images_nChw: Tensor) -> Tensor:
    n, C, h, w = images_nChw.shape
    wide = images_nChw.reshape(n, C * h, w) @ cols.matrix().transpose(1, 2)
    return rows.matrix()[:, None] @ wide.reshape(n, C, h, -1)


def _by_rows(rows: Taps, cols: Taps, images_nChw: Tensor) -> Tensor:
    flat = _weigh_rows(rows, images_nChw)
    return _weigh_rows(cols, flat.transpose(2, 3).contiguous()).transpose(2, 3)


def _weigh_rows(taps: Taps, images_nChw: Tensor) -> Tensor:
    # An embedding bag is a weighted sum of rows of a table; here the table is all rows of all images.
    n, C, h, w = images_nChw.shape
    S, K = taps.index.shape[1:]
    first = torch.arange(n * C).reshape(n, C, 1, 1) * h
    index = (taps.index[:, None] + first).reshape(n * C * S, K).int()
    weight = taps.weight[:, None].expand(n, C, S, K).reshape(n * C * S, K)
    table = images_nChw.reshape(n * C * h, w)
    return functional.embedding_bag(index, table, per_sample_weights=weight, mode="sum").reshape(n, C, S, w)


def resize_taps(start: Tensor, extent: Tensor, *, source: int, size: int, flip: Tensor | None = None) -> Taps:
    """Weights that cut and resize one axis.

    Output pixel i has its centre at start + (i + 1/2) * extent / size source pixels (the first source pixel
    covers 0 to 1) and is a mean of the source pixels that the cut touches, weighted by a bicubic kernel.

    Args:
        start: (n,) float64, where the cut begins, in source pixels.
        extent: (n,) float64, its length; the cut lies within the source.
        source: Number of source pixels.
        size: Number of output pixels.
        flip: (n,) bool, where the output runs backwards.
    """
    scale = extent / size
    centre_nS = start[:, None] + (torch.arange(size, device=start.device) + 0.5) * scale[:, None]
    if flip is not None:
        centre_nS = torch.where(flip[:, None], centre_nS.flip(1), centre_nS)
    widened = scale.clamp(min=1.0)[:, None]
    # The kernel reaches over less than 4 widened pixels, and no cut is longer than the source.
    count = math.ceil(4 * max(source / size, 1.0)) + 1
    first_nS = (centre_nS - 2 * widened + 0.5).floor().long()
    index = first_nS[..., None] + torch.arange(count, device=start.device)
    # Whole pixels and fraction apart, so that float32 holds the distance to seven digits.
    whole = centre_nS.floor()
    apart = (index - whole.long()[..., None]).float() + (0.5 - (centre_nS - whole))[..., None].float()
    weight = bicubic(apart / widened[..., None].float())
    edge = 1e-6  # of a pixel: a box that ends on a pixel's border does not touch the next one
    touched = (index + 1 > start[:, None, None] + edge) & (index < (start + extent)[:, None, None] - edge)
    weight = weight * touched
    return Taps(index.clamp(0, source - 1), weight / weight.sum(dim=-1, keepdim=True), source)


def bicubic(distance: Tensor) -> Tensor:
    """Cubic convolution kernel with a = -0.5 (Keys 1981), 0 beyond a distance of 2."""
    x = distance.abs().clamp(max=2.0)
    return torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2)
