"""Cropped, resized and normalised images of single samples, made in the reading threads of a Loader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.data.crops import View, crop_stack
from seamo.inputs.normalise import Normalisation, normalise
from seamo.manifest import LayerSpec
from seamo.native.crops import BandMap, Looks, Rule, can_crop, crop_into, hole_codes
from seamo.native.scratch import Scratch

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image of a sample: bands of layers of one stack, cut, resized and normalised alike.

    Args:
        name: Of the image.
        layers: Each with a band of `bands` at least.
        bands: Of the image, in the order of its channels.
        size: Its height and width.
        numbers: Normalisation of these bands.
    """

    name: str
    layers: tuple[LayerSpec, ...]
    bands: tuple[str, ...]
    size: int
    numbers: Normalisation


class Crops:
    """The images of one batch: `seamo.data.making.Making`.

    A layer without a hole in its crop goes through the compiled loop, if there is one; others go through `crop_stack`
    and `normalise`, which say what both do.

    Args:
        images: What is made.
        views: Name -> where the images are looked at, (B, T).
        dates: (B, T) which dates of the layers these are.
        valid: Layer id -> (B, dates) bool: this date of this layer is there.
    """

    def __init__(
        self,
        images: Sequence[ImageSpec],
        views: Mapping[str, View],
        dates: NDArray[np.int64],
        valid: Mapping[str, NDArray[np.bool_]],
    ) -> None:
        self._of = {layer.id: (image, layer, band_map(image, layer)) for image in images for layer in image.layers}
        self._views = views
        self.date = dates[:, 0] if dates.shape[1] == 1 else None
        read = dates if self.date is None else np.zeros_like(dates)  # where the dates stand in what is read
        self._looks = {name: Looks(read, view.box.numpy(), view.flip.numpy()) for name, view in views.items()}
        self._codes = {
            layer.id: hole_codes(np.take_along_axis(valid[layer.id], dates, 1), layer.is_float, layer.fill_value)
            for image in images
            for layer in image.layers
        }
        T = dates.shape[1]
        self.shapes = {one.name: (T, len(one.bands), one.size, one.size) for one in images}

    def make(
        self, i: int, layer: str, pixels: Array, out: Mapping[str, NDArray[np.float32]], scratch: Scratch
    ) -> Mapping[str, NDArray[np.bool_]]:
        """See `seamo.data.making.Making`."""
        if layer not in self._of:  # another stage's
            return {}
        image, spec, bands = self._of[layer]
        target, looks, codes = out[image.name], self._looks[image.name], self._codes[layer]
        left = np.ones(len(target), dtype=np.bool_)
        if can_crop(pixels.dtype, *pixels.shape[2:]):
            fill = spec.fill_value
            left = crop_into(target, pixels, looks, i, bands, codes=codes, fill=fill, scratch=scratch)
            if not left.any():
                return {}
        return self._slowly(i, np.flatnonzero(left), image, spec, pixels, bands, target)

    def _slowly(
        self,
        i: int,
        left: NDArray[np.int64],
        image: ImageSpec,
        spec: LayerSpec,
        pixels: Array,
        bands: BandMap,
        out: Array,
    ) -> Mapping[str, NDArray[np.bool_]]:
        """Some dates of the images, by way of torch."""
        view = self._views[image.name]
        one = View(view.box[i : i + 1, left], view.flip[i : i + 1, left])
        names = tuple(image.bands[place] for place in bands.place)
        stored = {spec.id: torch.from_numpy(pixels[self._looks[image.name].dates[i, left]][None])}
        holes = None if self._codes[spec.id][i, left].any() else ()  # None: look
        crop = crop_stack(stored, [spec], one, bands=names, size=image.size, holes=holes)
        made = normalise(crop.pixels, select(image.numbers, bands.place), valid=crop.valid)[0].numpy()
        channels = np.ix_(left, bands.place)
        out[channels] = made
        if crop.valid is None or bool(crop.valid.all()):
            return {}
        known = np.ones(out.shape, dtype=np.bool_)
        known[channels] = crop.valid[0].numpy()
        return {image.name: known}


def select(numbers: Normalisation, places: NDArray[np.int32]) -> Normalisation:
    """The normalisation of some of its bands."""
    kept = {name: tuple(getattr(numbers, name)[place] for place in places) for name in ("bands", "mean", "std")}
    return Normalisation(
        kind=numbers.kind, unit=numbers.unit, source=numbers.source, eight_bit=numbers.eight_bit, **kept
    )


def band_map(image: ImageSpec, layer: LayerSpec) -> BandMap:
    """Which channels of an image a layer feeds, and its normalisation as a product and a sum."""
    source = [at for at, name in enumerate(layer.bands) if name in image.bands]
    place = [image.bands.index(layer.bands[at]) for at in source]
    # As float32, which `normalise` computes in.
    mean, std = (np.asarray(one, dtype=np.float32)[place] for one in (image.numbers.mean, image.numbers.std))
    rule: Rule = "affine"
    if image.numbers.kind == "two-sigma":
        rule = "eight-bit" if image.numbers.eight_bit else "clipped"
        mean, std = mean - 2 * std, 4 * std
    return BandMap(np.array(source), np.array(place), 1 / std, -mean / std, rule)
