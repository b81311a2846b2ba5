"""Feeds the compiled loops with damage and with odd shapes; run under sanitizers by `test_native_unpack.py`.

python tests/seamo/native_fuzz.py SEED [ROUNDS]

Arrays lie at the end of their memory, which malloc guards, so that a byte too many is seen.
"""

import ctypes
import sys
import zlib

import google_crc32c
import numpy as np
from numcodecs import blosc

from seamo.native.blosc import unpack_part
from seamo.native.checksum import crc32c
from seamo.native.crops import BandMap, Looks, crop_into, hole_codes
from seamo.native.inflate import inflate_strips
from seamo.native.library import kernels
from seamo.native.scratch import Scratch
from seamo.native.statistics import float_moments, integer_moments
from seamo.native.widen import widen


def guarded(array):
    """A copy that malloc made for itself alone."""
    return np.frombuffer(
        ctypes.create_string_buffer(array.tobytes(), max(array.nbytes, 1)), array.dtype, array.size
    ).reshape(array.shape)


def damage(rng):
    dtype = rng.choice(["uint8", "uint16", "float32"])
    count = int(rng.integers(1, 3000))
    pixels = (np.cumsum(rng.integers(-3, 4, count)) + 90).astype(dtype)
    block = int(rng.choice([0, 256, 1024]))
    chunk = np.frombuffer(
        blosc.compress(pixels, b"lz4", int(rng.integers(1, 10)), int(rng.integers(0, 3)), block, pixels.itemsize),
        np.uint8,
    )
    chunk = chunk.copy()
    for _ in range(int(rng.integers(0, 5))):
        chunk[int(rng.integers(0, len(chunk)))] = int(rng.integers(0, 256))
    cut = len(chunk) if rng.random() < 0.7 else int(rng.integers(0, len(chunk) + 1))
    chunk = chunk[:cut]
    if cut >= 16 and rng.random() < 0.8:
        chunk[12:16] = np.frombuffer(np.uint32(cut).tobytes(), np.uint8)  # else the length alone refuses it
    first = int(rng.integers(0, count))
    out = guarded(np.zeros(count - first, dtype))
    try:
        unpack_part(guarded(chunk), first * pixels.itemsize, out, Scratch())
    except ValueError:
        return 1
    return 0


def shapes(rng):
    t, c, h, w, S = (int(rng.integers(1, n)) for n in (4, 4, 70, 70, 40))
    dtype = rng.choice(["uint8", "uint16", "int16", "float32"])
    pixels = guarded(rng.integers(0, 100, (t, c, h, w)).astype(dtype))
    low = rng.random((1, t, 2))
    box = np.concatenate([low, np.maximum(rng.random((1, t, 2)) * (1 - low), 1e-9)], axis=2)
    if rng.random() < 0.2:
        box[...] = [0, 0, 1, 1]
    looks = Looks(rng.integers(0, t, (1, t)), box, rng.integers(0, 2, (1, t)))
    rule = str(rng.choice(["affine", "clipped", "eight-bit"]))
    bands = BandMap(rng.permutation(c), rng.permutation(c), rng.random(c), rng.random(c), rule)
    out = guarded(np.full((t, c, S, S), np.nan, np.float32))
    codes = hole_codes(np.ones((1, t), bool), dtype == "float32", 7.0)
    scratch = Scratch()
    crop_into(out, pixels, looks, 0, bands, codes=codes, fill=7.0, scratch=scratch)
    assert np.isfinite(out).all()
    data = guarded(rng.integers(0, 256, int(rng.integers(4096, 20_000)), dtype=np.uint8))
    assert crc32c(data) == google_crc32c.value(data)


def moments(rng):
    t, c, h, w = (int(rng.integers(1, n)) for n in (4, 4, 30, 30))
    dtype = str(rng.choice(["uint8", "uint16", "int16"]))
    low, high = np.sort(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 2, endpoint=True))
    pixels = guarded(rng.integers(low, high, (t, c, h, w), dtype=dtype, endpoint=True))
    fill = (None, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max), int(pixels.flat[0]))[int(rng.integers(4))]
    counts = guarded(np.zeros((c, 65536), np.int64))
    found = integer_moments(pixels, counts, fill=fill)
    assert (found[0] == counts.sum(axis=1)).all()
    values = guarded((rng.standard_normal(h * w) * 10.0 ** rng.integers(-40, 38)).astype(np.float32))
    counts = guarded(np.zeros(65536, np.int64))
    float_moments(values, counts, start=-327.68, step=0.01)
    assert counts.sum() == len(values)
    steps = guarded(rng.integers(-32768, 32768, h * w).astype(np.int16))
    widen(steps, 0.01, 0.0, -32768, wide := guarded(np.zeros(h * w, np.float32)))
    assert (np.isnan(wide) == (steps == -32768)).all()


def strips(rng):
    rows, row_bytes, each = (int(rng.integers(1, n)) for n in (5, 200, 6))
    blocks = [zlib.compress(rng.integers(0, 5, rows * row_bytes, dtype=np.uint8).tobytes()) for _ in range(each)]
    data = bytearray(b"".join(blocks))
    counts = [len(block) for block in blocks]
    offsets = np.cumsum([0, *counts[:-1]]).tolist()
    for _ in range(int(rng.integers(0, 4))):
        data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
    if rng.random() < 0.3:
        (offsets, counts)[int(rng.integers(2))][int(rng.integers(each))] = int(rng.integers(-(2**40), 2**40))
    need = max(rows * row_bytes + int(rng.integers(-1, 2)), 1)
    out = guarded(np.zeros(each * need, np.uint8))
    stored = bytes(data[: len(data) if rng.random() < 0.7 else int(rng.integers(1, len(data) + 1))])
    inflate_strips(stored, offsets, counts, each=each, need=need, last=need, out=out)


def main():
    rng, rounds = np.random.default_rng(int(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    assert kernels() is not None
    refused = 0
    for number in range(rounds):
        refused += damage(rng)
        if number % 20 == 0:
            shapes(rng)
            moments(rng)
            strips(rng)
    sys.stdout.write(f"sanitized: {rounds} chunks, {refused} refused\n")


if __name__ == "__main__":
    main()
