"""How fast a Loader gives decoded batches and finished images of a store: what `seamo-prep bench` says of both."""

import time
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.data.crops import CropConfig, draw_views
from seamo.data.loader import Loader
from seamo.data.making import BatchSamples, ImageMaker
from seamo.data.reading import read_seconds, read_valid
from seamo.inputs.crops import Crops, ImageSpec
from seamo.inputs.normalise import Normalisation
from seamo.manifest import DatasetSpec
from seamo.native.scratch import Scratch
from seamo.store.samples import Samples

SIZE = 128
"""Pixels that images are cropped and resized to."""
BATCH = 16
_EPOCHS = 4  # so that the start weighs little
_WARM = 8  # batches, after which the loader has the memory that it uses again
_SAME = "0 and 1: what the numbers are makes no difference to the speed"


class CroppedStacks:
    """Every stack as pretraining makes it, a crop a date, resized and normalised: `seamo.data.making.ImageMaker`.

    Args:
        spec: Of a store; stacks whose images differ in size are left out.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        stacks = [one for one in spec.stacks if all(layer.size for layer in spec.stack_layers(one))]
        self._images = {stack: _image(spec, stack) for stack in stacks}
        self._seasons = {stack: spec.num_times(stack) for stack in stacks}
        self.layers = tuple(layer.id for image in self._images.values() for layer in image.layers)

    def draw(self, drawn: BatchSamples) -> "_Stacks":
        """See `seamo.data.making.ImageMaker`."""
        rows = torch.from_numpy(drawn.rows)
        crops: dict[str, Crops] = {}
        for stack, image in self._images.items():
            seasons = self._seasons[stack]
            views = draw_views(CropConfig(), rows, sensors=(stack,), seasons=seasons, seed=0, epoch=drawn.epoch)
            dates = np.tile(np.arange(seasons), (len(rows), 1))
            crops |= dict.fromkeys((layer.id for layer in image.layers), Crops([image], views, dates, drawn.valid))
        return _Stacks(crops)


def _image(spec: DatasetSpec, stack: str) -> ImageSpec:
    layers = spec.stack_layers(stack)
    bands = tuple(name for layer in layers for name in layer.bands)
    numbers = Normalisation("z-score", bands, (0.0,) * len(bands), (1.0,) * len(bands), layers[0].unit, _SAME)
    return ImageSpec(stack, tuple(layers), bands, SIZE, numbers)


class _Stacks:
    # Stacks differ in their number of dates, of which `Crops` has one.
    def __init__(self, crops: Mapping[str, Crops]) -> None:
        self._crops = crops
        self.date: NDArray[np.int64] | None = None  # all of them
        self.shapes = {name: shape for one in crops.values() for name, shape in one.shapes.items()}

    def make(
        self, i: int, layer: str, pixels: NDArray[Any], out: Mapping[str, NDArray[np.float32]], scratch: Scratch
    ) -> Mapping[str, NDArray[np.bool_]]:
        return self._crops[layer].make(i, layer, pixels, out, scratch)


def load_seconds(store: Samples, rows: NDArray[np.int64], threads: int, images: ImageMaker | None) -> float:
    """Seconds of one of several epochs of a Loader that follow each other.

    Args:
        store: A store.
        rows: To read.
        threads: That read.
        images: To make of the layers; None: batches are decoded.
    """
    loader = Loader(store, rows, BATCH, workers=threads, epochs=_EPOCHS, images=images)
    deque(islice(loader, _WARM), maxlen=0)
    began = time.perf_counter()
    deque(loader, maxlen=0)
    return (time.perf_counter() - began) / _EPOCHS


def crop_seconds(store: Samples, rows: NDArray[np.int64], images: ImageMaker) -> float:
    """Seconds of making images alone, in this thread, out of layers that are decoded already."""
    took = 0.0
    scratch, kept = Scratch(), Scratch()
    spec = store.spec.only_layers(images.layers)
    shapes = [(one.id, (one.times, len(one.bands), *(one.size or (0, 0))), one.dtype) for one in spec.layers]
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        valid = read_valid(store, spec, some, read_seconds(store, spec, some))
        began = time.perf_counter()
        making = images.draw(BatchSamples(some, np.zeros_like(some), 0, valid))
        out = {name: np.empty(shape, dtype=np.float32) for name, shape in making.shapes.items()}
        took += time.perf_counter() - began
        for i, row in enumerate(some.tolist()):
            for name, shape, dtype in shapes:
                pixels = store.read_layer(row, name, kept.array(shape, dtype))
                began = time.perf_counter()
                making.make(i, name, pixels, out, scratch)
                took += time.perf_counter() - began
    return took
