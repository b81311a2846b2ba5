"""The compiled loops say what their twins say; what does not fit is refused before it is believed."""

import os
import subprocess
import sys

import google_crc32c
import numpy as np
import pytest
import torch

from seamo.bands import Unit
from seamo.data import crops
from seamo.data.crops import CropConfig, crop_stack, draw_views
from seamo.inputs.crops import Crops, ImageSpec
from seamo.inputs.normalise import Normalisation, normalise
from seamo.native import checksum, library
from seamo.native.crops import BandMap, Looks, crop_into
from seamo.native.scratch import Scratch
from seamo.testing.stores import tiny_store
from tests.test_tools import load

native = load("native")
with_library = pytest.mark.skipif(
    library.kernels() is None, reason="no compiled loops here: no compiler, or switched off"
)


def run(code: str, switch: str) -> str:
    environment = {**os.environ, library.SWITCH: switch}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


@with_library
def test_the_library_is_that_of_the_source():
    assert library.source() == native.digest(), "kernels.c has changed: make native"


def test_it_can_be_switched_off():
    code = "from seamo.native.library import kernels; print(kernels() is None)"
    assert run(code, "0") == "True"
    assert run(code, "/nowhere/kernels.so") == "True"


class TestChecksum:
    @pytest.mark.parametrize("length", [0, 1, 7, 8, 255, 4095, 4096, 4097, 12_288, 12_289, 100_003])
    def test_is_googles(self, length):
        data = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
        assert checksum.crc32c(data) == google_crc32c.value(data)
        assert checksum.crc32c(memoryview(data)) == google_crc32c.value(data)

    def test_of_arrays(self):
        pixels = np.random.default_rng(0).normal(size=(3, 40, 50)).astype(np.float32)
        assert checksum.crc32c(pixels) == google_crc32c.value(pixels.tobytes())
        with pytest.raises(ValueError, match="contiguous"):
            checksum.crc32c(pixels[:, ::2])

    def test_reading_says_how_much_there_was(self, tmp_path):
        data = np.random.default_rng(1).integers(0, 256, 600_001, dtype=np.uint8)
        (tmp_path / "file").write_bytes(data.tobytes())
        file = os.open(tmp_path / "file", os.O_RDONLY)
        try:
            out = np.zeros(500_000, dtype=np.uint8)
            assert checksum.read_into(file, 1, out) == (500_000, google_crc32c.value(data[1:500_001].tobytes()))
            assert (out == data[1:500_001]).all()
            assert checksum.read_into(file, 600_000, out) == (1, google_crc32c.value(data[-1:].tobytes()))
            assert checksum.read_into(file, 700_000, out) == (0, 0)
            with pytest.raises(ValueError, match="contiguous"):
                checksum.read_into(file, 0, out[::2])
        finally:
            os.close(file)
        with pytest.raises(OSError, match="Bad file descriptor"):
            checksum.read_into(file, 0, out)


def numbers(bands, kind, *, eight_bit=False):
    mean, std = tuple(1000.0 + 200 * i for i in range(len(bands))), tuple(400.0 + 50 * i for i in range(len(bands)))
    return Normalisation(kind, tuple(bands), mean, std, Unit.DN, "test", eight_bit)


def layer_of(dtype, size, fill=None):
    spec = tiny_store().spec.layer("s2_10m")
    return spec.model_copy(update={"dtype": dtype, "size": size, "fill": fill, "times": 4})


def by_torch(*given, **options):
    """`crop_stack` without the compiled loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crops, "can_crop", lambda *_: False)
        return crop_stack(*given, **options)


def made(layer, pixels, config, size, how, *, valid=None):
    """Images of a batch through `Crops`, and as torch makes them: (images, known) each."""
    batch = len(pixels)
    bands = layer.bands[::-1]  # another order than the layer's
    image = ImageSpec("a", (layer,), bands, size, numbers(bands, how.kind, eight_bit=how.eight_bit))
    views = draw_views(config, torch.arange(batch), sensors=["a"], seasons=4, seed=3, epoch=0)
    valid = np.ones((batch, 4), dtype=np.bool_) if valid is None else valid
    dates = np.broadcast_to(np.arange(4), (batch, 4))
    making = Crops([image], views, dates, {layer.id: valid})
    out = np.full((batch, *making.shapes["a"]), np.nan, dtype=np.float32)
    known = np.ones(out.shape, dtype=np.bool_)
    for i in range(batch):
        for mask in making.make(i, layer.id, pixels[i], {"a": out[i]}, Scratch()).values():
            known[i] &= mask
    stored = {layer.id: torch.from_numpy(pixels)}
    crop = by_torch(stored, [layer], views["a"], bands=bands, size=size, holes=(layer.id,))
    fast = crop_stack(stored, [layer], views["a"], bands=bands, size=size, holes=(layer.id,))
    scale = crop.pixels[crop.pixels.isfinite()].abs().max()
    assert (fast.pixels - crop.pixels).nan_to_num().abs().max() <= 2e-6 * scale
    assert crop.valid is None or bool((crop.valid == (True if fast.valid is None else fast.valid)).all())
    assert fast.valid is None or crop.valid is not None
    want = normalise(crop.pixels, image.numbers, valid=crop.valid).numpy()
    return out, known, want, np.ones(out.shape, np.bool_) if crop.valid is None else crop.valid.numpy()


Z = numbers(["x"], "z-score")


@with_library
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("mode", ["partial", "same_full", "none_overlap"])
@pytest.mark.parametrize(
    ("source", "size"), [((264, 264), 128), ((44, 44), 128), ((37, 90), 20), ((300, 41), 33), ((1, 1), 8)]
)
def test_crops_are_those_of_torch(dtype, mode, source, size):
    rng = np.random.default_rng(hash((dtype, mode, size)) % 2**32)
    layer = layer_of(dtype, source)
    pixels = rng.integers(0, 200 if dtype == "uint8" else 9000, (2, 4, 4, *source)).astype(dtype)
    got, known, want, all_known = made(layer, pixels, CropConfig(mode=mode), size, Z)
    assert known.all()
    assert all_known.all()
    assert np.abs(got - want).max() <= 2e-6 * max(1.0, np.abs(want).max())


@with_library
@pytest.mark.parametrize("eight_bit", [False, True])
def test_clipped_and_rounded(eight_bit):
    pixels = np.random.default_rng(0).integers(0, 4000, (3, 4, 4, 60, 60)).astype(np.uint16)
    got, _, want, _ = made(
        layer_of("uint16", (60, 60)), pixels, CropConfig(), 32, numbers(["x"], "two-sigma", eight_bit=eight_bit)
    )
    assert got.min() == 0.0
    assert got.max() == 1.0
    if eight_bit:  # a number between two steps may fall to either side by the last bit
        steps = np.abs(got - want) * 255
        assert (np.abs(got * 255 - np.round(got * 255)) < 1e-4).all()
        assert steps.max() <= 1.001
        assert (steps > 0.5).mean() < 1e-4
    else:
        assert np.abs(got - want).max() <= 2e-6


@with_library
@pytest.mark.parametrize(
    ("dtype", "fill"), [("uint16", 0.0), ("uint16", 65535.0), ("float32", None), ("float32", -9999.0)]
)
def test_holes_take_the_exact_way(dtype, fill):
    rng = np.random.default_rng(5)
    layer = layer_of(dtype, (50, 50), fill)
    pixels = rng.integers(1, 9000, (3, 4, 4, 50, 50)).astype(dtype)
    hole = np.nan if fill is None else fill
    pixels[0, 1, 2, 10:20, 30:] = hole  # a corner of a date
    pixels[1, 3] = hole  # a whole date, which is there
    pixels[2, 0] = hole  # one that is not there
    if dtype == "float32":
        pixels[0, 3, 0, 25, 25] = -np.inf
    valid = np.ones((3, 4), dtype=np.bool_)
    valid[2, 0] = False
    got, known, want, all_known = made(layer, pixels, CropConfig(), 24, Z, valid=valid)
    there = np.broadcast_to(valid[:, :, None, None, None], got.shape)
    assert (known[there] == all_known[there]).all()
    assert not known[1, 3].any()
    assert np.abs(got[there] - want[there]).max() <= 2e-6 * np.abs(want[there]).max()
    assert known[2, 0].all()  # nobody looks into a date that is not there


@with_library
@pytest.mark.parametrize(
    "change",
    [
        {"dates": [[0, 4]]}, {"dates": [[-1, 0]]}, {"source": [0, 3]}, {"place": [0, 2]}, {"place": [-1, 0]},
        {"box": [[[0, 0, 1.1, 1]] * 2]}, {"box": [[[0, -0.1, 1, 1]] * 2]}, {"box": [[[0, 0, 0, 1]] * 2]},
        {"box": [[[np.nan, 0, 1, 1]] * 2]}, {"i": 1}, {"i": -1}, {"pixels": np.ones((2, 3, 9, 9))},
        {"pixels": np.ones((2, 3, 9, 18), np.uint16)[..., ::2]}, {"out": np.ones((2, 2, 4, 5), np.float32)},
        {"out": np.ones((2, 2, 4, 4))}, {"out": np.ones((3, 2, 4, 4), np.float32)},
        {"codes": np.zeros((2, 2), np.uint8)}, {"codes": np.zeros((1, 2), np.int64)},
        {"pixels": np.ones((2, 3, 0, 9), np.uint16)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_lies_outside_is_refused(change):
    given = {
        "dates": [[0, 1]], "box": [[[0, 0, 1, 1]] * 2], "source": [0, 2], "place": [1, 0], "i": 0,
        "pixels": np.ones((2, 3, 9, 9), np.uint16), "out": np.zeros((2, 2, 4, 4), np.float32),
        "codes": np.zeros((1, 2), np.uint8),
    }  # fmt: skip

    def call(given):
        looks = Looks(np.array(given["dates"]), np.array(given["box"], dtype=float), np.zeros((1, 2)))
        bands = BandMap(np.array(given["source"]), np.array(given["place"]), np.ones(2), np.zeros(2), "affine")
        codes, pixels, out = (given[name] for name in ("codes", "pixels", "out"))
        return crop_into(out, pixels, looks, given["i"], bands, codes=codes, fill=None, scratch=Scratch())

    assert not call(given).any()
    assert np.allclose(given["out"], 1)
    with pytest.raises(ValueError, match=r"outside|no loop|out is|contiguous|not in the batch|another batch"):
        call(given | change)


def test_numbers_and_channels_must_fit():
    with pytest.raises(ValueError, match="differ in number"):
        BandMap(np.arange(2), np.arange(2), np.ones(3), np.ones(2), "affine")
    with pytest.raises(ValueError, match="differ in number"):
        Looks(np.zeros((2, 3)), np.zeros((2, 2, 4)), np.zeros((2, 3)))
