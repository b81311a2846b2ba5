"""The guide to adding a data set, taken at its word: its file and its entry, installed as an outside package."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.store.reader import open_store
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(python|yaml|toml)(?: title=[^\n]*)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `pip install` leaves it: the package, and the entry point of the guide."""
    blocks = dict(BLOCK.findall((ROOT / "docs/adding_a_dataset.md").read_text("utf-8")))
    site = tmp_path_factory.mktemp("site")
    (site / "lakes_package").mkdir()
    (site / "lakes_package/__init__.py").write_text("")
    (site / "lakes_package/my_lakes.py").write_text(blocks["python"])
    (site / "lakes_package/my_lakes.yaml").write_text(blocks["yaml"])
    info = site / "lakes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lakes\nVersion: 1.0\n")
    group, entry = blocks["toml"].strip().splitlines()
    assert group == '[project.entry-points."seamo.archives"]'
    (info / "entry_points.txt").write_text(f"[seamo.archives]\n{entry.replace(chr(34), '')}\n")
    return site


def prep(package: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "seamo_prep.cli", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(package)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_file_and_one_entry_are_enough(package: Path, tmp_path: Path) -> None:
    raw, root = tmp_path / "raw", tmp_path / "stores"
    listed = {row["id"]: row for row in json.loads(prep(package, "list", "--json"))}
    assert (listed["my-lakes"]["status"], listed["my-lakes"]["samples"]) == ("ready", 300)
    prep(package, "demo", str(raw), "--only", "my-lakes")
    path = Path(prep(package, "build", "my-lakes", "--raw", str(raw), "--store", str(root)).strip())
    prep(package, "verify", str(path), "--deep")
    store = open_store(path)  # reading needs neither the package nor its manifest
    assert (len(store), store.title) == (12, "My lakes synthetic (12 samples)")
    for row in range(len(store)):
        sample = store[row]
        with rasterio.open(raw / f"my-lakes/lakes/{sample.key}_img.tif") as file:
            np.testing.assert_array_equal(sample.layers["s1"][0], file.read()[::-1])  # the file has VH first
        assert sample.label == int((raw / f"my-lakes/lakes/{sample.key}_lake.txt").read_text() == "yes\n")
