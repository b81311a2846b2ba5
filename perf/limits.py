"""What no reader can beat here, one thread: memcpy, page cache, checksum, lz4, inflate; and what the crop costs."""

import random
import statistics
import time
import zlib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from corpus import LAYERS, tiff_names
from crop import crop_costs

from seamo.data.loader import Loader
from seamo.inputs.speed import CroppedStacks, crop_seconds
from seamo.store.reader import Store
from seamo_prep import speed

_FILES = 4  # locations whose strips are inflated
_ROWS = 32  # samples of a round
_BATCH = 8
_ONE = "one sample at random (store[i])"


def measure_limits(raw: Path, stores: dict[str, Store], rounds: int) -> dict[str, list[float]]:
    """Name -> milliseconds a sample, a number a round; interleaved."""
    every = {form: np.arange(min(_ROWS, len(store))) for form, store in stores.items()}
    chunks = {form: speed._chunks(store, every[form]) for form, store in stores.items()}
    strips = [strip for number in range(_FILES) for strip in _strips(raw, number)]
    inflates = {"inflate of the published files, zlib": zlib.decompress} | _libdeflate()
    images = CroppedStacks(stores["zarr"].spec)
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        once: dict[str, float] = {}
        for form, store in stores.items():
            for step, seconds in speed._steps(store, chunks[form]).items():
                name = step if step == speed.MEMCPY else f"{step}, {store.meta.layout}"
                once[name] = seconds / len(every[form])
            once[f"{_ONE}, {store.meta.layout}"] = _one_sample(store, number)
        for name, inflate in inflates.items():
            once[name] = _timed(lambda inflate=inflate: [inflate(strip) for strip in strips]) / _FILES
        once["crop in a reading thread (seamo)"] = crop_seconds(stores["zarr"], every["zarr"], images) / _ROWS
        if number:
            for name, seconds in once.items():
                found.setdefault(name, []).append(1e3 * seconds)
    return found


def measure_crops(store: Store, rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds a sample of every way to crop that peers and accelerators have: see `crop.crop_costs`."""
    batch = next(iter(Loader(store, np.arange(_BATCH), _BATCH, layers=LAYERS, workers=1)))
    return crop_costs(batch.layers, batch.rows, store.spec, rounds)


def _strips(raw: Path, number: int) -> list[bytes]:
    found = []
    for *_, path in tiff_names(raw, number):
        data = path.read_bytes()
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            places = zip(page.dataoffsets, page.databytecounts, strict=True)
            found += [data[start : start + length] for start, length in places]
    return found


def _libdeflate() -> dict[str, Callable[[bytes], Any]]:
    if find_spec("deflate") is None:
        return {}
    libdeflate, room = import_module("deflate"), 2**20  # more than any strip
    return {"inflate of the published files, libdeflate": lambda strip: libdeflate.zlib_decompress(strip, room)}


def _one_sample(store: Store, seed: int) -> float:
    rows = random.Random(seed).choices(range(len(store)), k=16)
    return statistics.median(_timed(lambda row=row: store[row]) for row in rows)


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
