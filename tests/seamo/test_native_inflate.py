"""Strips of an image that zlib deflated, inflated in one call: all of them, or as many as come before a wrong one."""

import zlib

import numpy as np
import pytest

from seamo.native.inflate import _libdeflate, inflate_strips
from seamo.native.library import SWITCH, kernels

with_library = pytest.mark.skipif(kernels() is None or not _libdeflate(), reason="no compiled loops, or no libdeflate")


def strips(rng, bands, height, rows, row_bytes):
    """The bytes of bands, and a file of their strips with something between them."""
    pixels = rng.integers(0, 9, (bands, height, row_bytes), dtype=np.uint8)
    data, offsets, counts = b"head", [], []
    for band in pixels:
        for first in range(0, height, rows):
            packed = zlib.compress(band[first : first + rows].tobytes(), int(rng.integers(1, 10)))
            offsets.append(len(data))
            counts.append(len(packed))
            data += packed + b"between"
    last = (height - 1) % rows + 1
    sizes = {"each": -(-height // rows), "need": rows * row_bytes, "last": last * row_bytes}
    return pixels.reshape(-1), data, offsets, counts, sizes


@with_library
@pytest.mark.parametrize(("bands", "height", "rows"), [(1, 1, 1), (1, 10, 3), (3, 9, 3), (4, 7, 5), (2, 5, 100)])
def test_every_strip_of_every_band(bands, height, rows):
    want, data, offsets, counts, sizes = strips(np.random.default_rng(0), bands, height, min(rows, height), 300)
    out = np.zeros_like(want)
    assert inflate_strips(data, offsets, counts, out=out, **sizes) == len(offsets)
    np.testing.assert_array_equal(out, want)


def spoil(fault, data, offsets, counts):
    if fault == "a bit":
        data[offsets[3] + counts[3] // 2] ^= 4
    elif fault == "outside":
        offsets[3] = len(data) - counts[3] + 1
    elif fault == "before":
        offsets[3] = -1
    else:
        counts[3] = {"cut": counts[3] - 5, "too long": 2**63 - 1}[fault]


@with_library
@pytest.mark.parametrize("fault", ["cut", "a bit", "outside", "before", "too long"])
def test_it_ends_at_a_wrong_strip_and_says_where(fault):
    want, data, offsets, counts, sizes = strips(np.random.default_rng(1), 2, 12, 4, 500)
    data = bytearray(data)
    spoil(fault, data, offsets, counts)
    out = np.zeros_like(want)
    assert inflate_strips(bytes(data), offsets, counts, out=out, **sizes) == 3
    np.testing.assert_array_equal(out[: 3 * 2000], want[: 3 * 2000])
    assert not out[4 * 2000 :].any()


@with_library
def test_a_strip_of_another_length_is_none_of_these():
    want, data, offsets, counts, sizes = strips(np.random.default_rng(2), 1, 12, 4, 500)
    for by in (-1, 1):
        other = {**sizes, "need": sizes["need"] + by}
        out = np.zeros(2 * other["need"] + other["last"], dtype=np.uint8)
        assert inflate_strips(data, offsets, counts, out=out, **other) == 0
    with pytest.raises(ValueError, match="does not hold"):
        inflate_strips(data, offsets, counts, out=np.zeros(len(want) - 1, dtype=np.uint8), **sizes)
    assert inflate_strips(data, [2**64 - 1, *offsets[1:]], counts, out=np.zeros_like(want), **sizes) == 0


def test_switched_off_it_does_nothing(monkeypatch):
    monkeypatch.setenv(SWITCH, "0")
    kernels.cache_clear()
    try:
        want, data, offsets, counts, sizes = strips(np.random.default_rng(3), 1, 12, 4, 500)
        assert inflate_strips(data, offsets, counts, out=np.zeros_like(want), **sizes) == 0
    finally:
        monkeypatch.undo()
        kernels.cache_clear()
