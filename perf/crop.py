"""`full`: crop, flip, resize to 128 px and normalise, each season its own way; what every reader adds to decoding.

Ours makes the images in the reading threads (`seamo.inputs.speed.CroppedStacks`: bicubic, antialiased). Peers do it a
sample at a time in their worker processes, as their users do: `torch_crop` (cut at whole pixels, bilinear, antialiased)
or `seamo_crop` (ours in torch alone, without the compiled loop), whichever costs less on this machine.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from corpus import LAYERS, SEASONS, Layers
from torch import Tensor
from torch.nn.functional import interpolate

from seamo.data import crops
from seamo.data.crops import CropConfig, crop_stack, draw_views
from seamo.manifest import DatasetSpec, shipped_manifest

SIZE = 128
MEAN, STD = 0.0, 1.0  # what the numbers are makes no difference to the speed
_STACKS = {"s1": "s1", "s2a": "s2"}
_TRIES, _RATE, _RATIO = 10, (0.5, 1.0), (3 / 4, 4 / 3)

Crop = Callable[[Layers, int], dict[str, Tensor]]


def crop_batch(layers: Mapping[str, Tensor], rows: Tensor, spec: DatasetSpec) -> dict[str, Tensor]:
    """Stack -> (B, T, C, S, S) of a decoded batch."""
    views = draw_views(CropConfig(), rows.long(), sensors=tuple(_STACKS.values()), seasons=SEASONS, seed=0, epoch=0)
    images = {}
    for stack, sensor in _STACKS.items():
        specs = [layer for layer in spec.stack_layers(stack) if layer.id in layers]
        bands = [name for layer in specs for name in layer.bands]
        pixels = crop_stack(layers, specs, views[sensor], bands=bands, size=SIZE, holes=()).pixels
        images[stack] = pixels.sub_(MEAN).div_(STD)
    return images


@contextmanager
def in_torch(way: Callable[..., Tensor] = crops._by_rows) -> Iterator[None]:
    """Without the compiled loop: rows are added up in one of the ways of `seamo.data.crops`."""
    kept = crops.can_crop, crops._by_rows
    crops.can_crop, crops._by_rows = (lambda *_: False), way
    try:
        yield
    finally:
        crops.can_crop, crops._by_rows = kept


def seamo_crop(layers: Layers, row: int) -> dict[str, Tensor]:
    """`crop_batch` of one sample in torch alone: stack -> (T, C, S, S)."""
    spec = shipped_manifest()["ssl4eo-s12"]
    one = {name: torch.from_numpy(np.ascontiguousarray(layers[name]))[None] for name in LAYERS}
    with in_torch():
        return {stack: images[0] for stack, images in crop_batch(one, torch.tensor([row]), spec).items()}


def torch_crop(layers: Layers, row: int) -> dict[str, Tensor]:
    """Stack -> (T, C, S, S): torchvision's RandomResizedCrop on every season, in torch's own operations."""
    draw = random.Random(row)
    images: dict[str, list[Tensor]] = {stack: [] for stack in _STACKS}
    for t in range(SEASONS):
        top, left, height, width = _box(draw)
        flip = draw.random() < 0.5
        for stack, seasons in images.items():
            parts = []
            for name in LAYERS:
                if name.partition("_")[0] != stack:
                    continue
                side = layers[name].shape[-1]
                y0, x0 = round(top * side), round(left * side)
                y1, x1 = max(y0 + 1, round((top + height) * side)), max(x0 + 1, round((left + width) * side))
                cut = torch.from_numpy(layers[name][t, :, y0:y1, x0:x1].astype(np.float32))
                parts.append(interpolate(cut[None], (SIZE, SIZE), mode="bilinear", antialias=True)[0])
            image = torch.cat(parts) if len(parts) > 1 else parts[0]
            seasons.append(image.flip(-1) if flip else image)
    return {stack: torch.stack(seasons).sub_(MEAN).div_(STD) for stack, seasons in images.items()}


CROPS: dict[str, Crop] = {"torch": torch_crop, "seamo": seamo_crop}


def _box(draw: random.Random) -> tuple[float, float, float, float]:
    height = width = 1.0
    for _ in range(_TRIES):
        area = draw.uniform(*_RATE)
        ratio = math.exp(draw.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        if math.sqrt(area / ratio) <= 1 and math.sqrt(area * ratio) <= 1:
            height, width = math.sqrt(area / ratio), math.sqrt(area * ratio)
            break
    return draw.uniform(0, 1 - height), draw.uniform(0, 1 - width), height, width


def crop_costs(batch: Mapping[str, Tensor], rows: Tensor, spec: DatasetSpec, rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds a sample of each way, interleaved, one thread."""
    one = [{name: batch[name][i].numpy() for name in LAYERS} for i in range(len(rows))]

    def each(crop: Crop) -> Callable[[], Any]:
        return lambda: [crop(layers, int(row)) for layers, row in zip(one, rows, strict=True)]

    def whole(way: Callable[..., Tensor]) -> Callable[[], Any]:
        def run() -> None:
            with in_torch(way):
                crop_batch(batch, rows, spec)

        return run

    ways = {
        "seamo, a batch (compiled)": lambda: crop_batch(batch, rows, spec),
        "seamo, a batch (torch, sums of rows)": whole(crops._by_rows),
        "seamo, a batch (torch, matrix products, for accelerators)": whole(crops._by_matrices),
        "seamo": each(seamo_crop),
        "torch": each(torch_crop),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if number:
                found[name].append((time.process_time() - began) / len(rows) * 1e3)
    return found


def cheapest(costs: Mapping[str, list[float]]) -> str:
    """Which of `CROPS` costs peers less."""
    return min(CROPS, key=lambda name: statistics.median(costs[name]))
