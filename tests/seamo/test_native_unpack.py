"""Chunks of c-blosc as numcodecs writes them, whole and in part; damaged ones are refused and write nothing outside."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numcodecs import blosc
from numpy.testing import assert_array_equal

from seamo.errors import UsageError
from seamo.native.blosc import unpack_part
from seamo.native.library import SWITCH, kernels
from seamo.native.scratch import Scratch
from seamo.store import format as fmt
from seamo.testing.stores import tiny_store
from tests.test_tools import ROOT, load

with_library = pytest.mark.skipif(kernels() is None, reason="no compiled loops here: no compiler, or switched off")
SCRATCH = Scratch()


def kinds(dtype, count, rng):
    """Noise of few bits, nothing, a slow curve, and what does not compress."""
    yield rng.integers(0, 200, count).astype(dtype)
    yield np.zeros(count, dtype)
    yield (np.cumsum(rng.integers(-3, 4, count)) + 1000).astype(dtype)
    yield np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype)


def packed(pixels, *, name=b"lz4", level=5, shuffle=2, block=0):
    return np.frombuffer(blosc.compress(pixels, name, level, shuffle, block, pixels.itemsize), np.uint8)


@with_library
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shuffle", [0, 1, 2], ids=["as it is", "bytes", "bits"])
def test_what_numcodecs_packs(dtype, shuffle):
    rng = np.random.default_rng(3)
    for count in (1, 7, 8, 9, 127, 128, 129, 1000, 4097, 70_001):
        for pixels in kinds(dtype, count, rng):
            for level, name, block in ((5, b"lz4", 0), (1, b"lz4", 0), (9, b"lz4hc", 0), (5, b"lz4", 1024)):
                chunk = packed(pixels, name=name, level=level, shuffle=shuffle, block=block)
                out = np.empty_like(pixels)
                assert unpack_part(chunk, 0, out, SCRATCH)
                assert out.tobytes() == pixels.tobytes()
                first = int(rng.integers(0, count))
                part = np.empty(int(rng.integers(0, count - first)) + 1, dtype)
                assert unpack_part(chunk, first * pixels.itemsize, part, SCRATCH)
                assert part.tobytes() == pixels[first : first + len(part)].tobytes()


@with_library
def test_other_compressors_are_left_to_numcodecs():
    pixels = np.arange(5000, dtype=np.uint16)
    assert not unpack_part(packed(pixels, name=b"zstd"), 0, np.empty_like(pixels), SCRATCH)
    out = np.empty(1000, np.uint16)
    fmt.unpack(packed(pixels, name=b"zstd"), "compact", out, start=2000, total=10_000)
    assert_array_equal(out, pixels[1000:2000])


@with_library
def test_what_it_does_not_hold_is_refused():
    pixels = np.arange(5000, dtype=np.uint16)
    chunk = packed(pixels)
    for start, count in ((-1, 10), (0, 5001), (9999, 1), (2**62, 1)):
        with pytest.raises(ValueError, match="damaged"):
            unpack_part(chunk, start, np.empty(count, np.uint16), SCRATCH)
    for cut in (0, 1, 15, 16, 20, len(chunk) - 1):
        with pytest.raises(ValueError, match="damaged"):
            unpack_part(chunk[:cut], 0, np.empty(5000, np.uint16), SCRATCH)
    with pytest.raises(ValueError, match="10000 bytes of pixels instead of 9998"):
        fmt.unpack(chunk, "lz4", np.empty(4999, np.uint16), start=0, total=9998)
    with pytest.raises(ValueError, match="10 bytes of pixels instead of 12"):
        fmt.unpack(b"0123456789", "none", np.empty(6, np.uint8), start=6, total=12)


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_one_date_of_a_layer(layout):
    store = tiny_store(layout=layout)
    for name in ("s2_10m", "s2_20m", "s1"):
        whole = store.read_layer(3, name)
        for date in range(len(whole)):
            assert_array_equal(store.read_layer(3, name, date=date), whole[date : date + 1])
    with pytest.raises(UsageError, match="no date 2 of 2"):
        store.read_layer(3, "s1", date=2)


WITHOUT = """
import sys, hashlib, numpy as np
from seamo.store.reader import open_store
from seamo.data.loader import Loader
from seamo.native.library import kernels
store, digest = open_store(sys.argv[1]), hashlib.sha256()
for batch in Loader(store, store.rows("all"), 4, find_holes=True):
    for name, layer in sorted(batch.layers.items()):
        digest.update(layer.numpy().tobytes())
print(kernels() is None, digest.hexdigest())
"""


@pytest.mark.parametrize("layout", ["zarr", pytest.param("webdataset", marks=pytest.mark.soak)])
def test_batches_are_the_same_without_the_library(layout):
    store = tiny_store(layout=layout)
    said = {}
    for switch in ("0", "1"):
        environment = {**os.environ, SWITCH: switch}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, store.url], env=environment, capture_output=True, text=True, check=True
        )
        said[switch] = done.stdout.split()
    assert said["0"][0] == "True"
    assert said["0"][1] == said["1"][1]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_damage_stays_inside_under_sanitizers(seed, tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no compiler")
    library = tmp_path / "kernels.so"
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1")
    problem = load("native").compile_kernels(library, extra=flags)
    if problem:
        pytest.skip(f"no sanitizers: {problem}")
    runtime = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        SWITCH: str(library),
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    fuzz = Path(ROOT) / "tests" / "seamo" / "native_fuzz.py"
    done = subprocess.run(
        [sys.executable, str(fuzz), str(seed)], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sanitized" in done.stdout
