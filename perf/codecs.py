"""What codecs make of real scenes: share of the size, and gigabytes a second of decoding.

python perf/codecs.py FOLDER [--images 400]

Every GeoTIFF below FOLDER is read, images of one size and type are put together sixteen at a time, as a chunk of a
store holds dates and bands. Decoding is timed on one thread, best of five. Floats that 16 bits hold in steps of 0.01
(decibels) are measured packed, too: shares are of the floats' size, and decoding ends with floats again.
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

from seamo.errors import SampleError
from seamo.store.packing import STEP, pack, stepped, unpack

_SETTINGS: dict[str, tuple[bytes, int, int] | None] = {
    "lz4 5, bits": (b"lz4", 5, 2),
    "lz4 5, bytes": (b"lz4", 5, 1),
    "lz4 1, bits": (b"lz4", 1, 2),
    "zstd 5, bits": (b"zstd", 5, 2),
    "zstd 5, bytes": (b"zstd", 5, 1),
    "none": None,
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


def measure(pieces: list[NDArray[Any]], how: tuple[bytes, int, int] | None, *, packed: bool) -> tuple[float, float]:
    """Share of the size, GB/s of what is handed out.

    Args:
        pieces: Images.
        how: Compressor, level and shuffle; None: bytes as they are.
        packed: Whether in steps of 16 bits.
    """
    stored = [pack(one, "an image") if packed else one for one in pieces]
    data = [one.tobytes() if how is None else blosc.compress(one, *how, 0, one.itemsize) for one in stored]
    room = [np.empty_like(one) for one in stored]
    out = [np.empty_like(one) for one in pieces]
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for chunk, steps, target in zip(data, room, out, strict=True):
            target = steps if packed else target
            if how is None:
                target.reshape(-1).view(np.uint8)[:] = np.frombuffer(chunk, np.uint8)
            else:
                blosc.decompress(chunk, target)
        if packed:
            for steps, target in zip(room, out, strict=True):
                unpack(steps, STEP, 0.0, target)
        best = min(best, time.process_time() - began)
    size = sum(one.nbytes for one in pieces)
    return sum(map(len, data)) / size, size / best / 1e9


def can_pack(pieces: list[NDArray[Any]]) -> bool:
    """Whether they are floats that 16 bits hold."""
    if pieces[0].dtype != np.float32:
        return False
    try:
        moved = max(float(np.nanmax(np.abs(stepped(one, "an image") - one))) for one in pieces)
    except SampleError:
        return False
    return moved <= STEP / 2 + 2e-5  # half a step, and what float32 rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=400)
    arguments = parser.parse_args()
    blosc.use_threads = False
    print(machine())
    for place in sorted(path for path in arguments.folder.iterdir() if path.is_dir()):
        for kind, pieces in chunks(place, arguments.images).items():
            ways = [(setting, how, False) for setting, how in _SETTINGS.items()]
            if can_pack(pieces):
                ways += [(f"packed, {setting}", how, True) for setting, how in _SETTINGS.items()]
            for setting, how, packed in ways:
                share, rate = measure(pieces, how, packed=packed)
                print(f"{place.name:24} {kind:18} {setting:20} {share:6.3f} of the size {rate:6.2f} GB/s", flush=True)


if __name__ == "__main__":
    main()
