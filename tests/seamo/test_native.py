"""The compiled loops: that they are there, that they say what their twins say, and what switches them off."""

import os
import subprocess
import sys
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from seamo.native import checksum, library
from tools import native

HAS_COMPILER = not native.compile_kernels(Path(os.devnull).parent / "shm" / "probe.so") if False else True


def run(code: str, switch: str) -> str:
    environment = {**os.environ, library.SWITCH: switch}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def test_the_library_is_that_of_the_source():
    if library.kernels() is None:
        pytest.skip("no compiler where this was installed: numpy and torch do the work")
    assert library.source() == native.digest(), "kernels.c has changed: make native"


def test_it_can_be_switched_off():
    code = "from seamo.native.library import kernels; print(kernels() is None)"
    assert run(code, "0") == "True"
    assert run(code, "/nowhere/kernels.so") == "True"


@pytest.mark.parametrize("length", [0, 1, 7, 8, 255, 4095, 4096, 4097, 12_288, 12_289, 100_003])
def test_checksums_are_googles(length):
    data = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    assert checksum.crc32c(data) == google_crc32c.value(data)
