"""What codecs make of real scenes: share of the size, and gigabytes a second of decoding.

python perf/codecs.py FOLDER [--images 400]

Every GeoTIFF below FOLDER is read, images of one size and type are put together sixteen at a time, as a chunk of a
store holds dates and bands. Decoding is timed on one thread, best of five.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from bench import machine
from numcodecs import blosc
from numpy.typing import NDArray

_SETTINGS = {
    "lz4 5, bits": (b"lz4", 5, 2),
    "lz4 5, bytes": (b"lz4", 5, 1),
    "lz4 1, bits": (b"lz4", 1, 2),
    "zstd 5, bits": (b"zstd", 5, 2),
    "zstd 5, bytes": (b"zstd", 5, 1),
}
_TOGETHER = 16
_LEAST = 200_000  # bytes of which a rate says something


def chunks(folder: Path, count: int) -> dict[str, list[NDArray[Any]]]:
    """Kind of image -> pieces of sixteen images."""
    found: dict[str, list[NDArray[Any]]] = defaultdict(list)
    for path in sorted(folder.rglob("*.tif"))[:count]:
        with rasterio.open(path) as file:
            pixels = file.read()
        found[f"{pixels.dtype} {pixels.shape[1]} x {pixels.shape[2]}"].append(pixels)
    return {
        kind: [np.concatenate(images[i : i + _TOGETHER]) for i in range(0, len(images), _TOGETHER)]
        for kind, images in found.items()
        if sum(image.nbytes for image in images) > _LEAST
    }


def measure(pieces: list[NDArray[Any]], name: bytes, level: int, shuffle: int) -> tuple[float, float]:
    """Share of the size, GB/s."""
    packed = [blosc.compress(one, name, level, shuffle, 0, one.itemsize) for one in pieces]
    out = [np.empty_like(one) for one in pieces]
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for data, target in zip(packed, out, strict=True):
            blosc.decompress(data, target)
        best = min(best, time.process_time() - began)
    size = sum(one.nbytes for one in pieces)
    return sum(map(len, packed)) / size, size / best / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400)
    arguments = parser.parse_args()
    blosc.use_threads = False
    print(machine())
    for place in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        for kind, pieces in chunks(place, arguments.images).items():
            for setting, how in _SETTINGS.items():
                share, rate = measure(pieces, *how)
                print(f"{place.name:24} {kind:18} {setting:14} {share:6.3f} of the size {rate:6.2f} GB/s", flush=True)


if __name__ == "__main__":
    main()
