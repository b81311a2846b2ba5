"""My lakes: `lakes/<name>_img.tif`, bands VH and VV, and `lakes/<name>_lake.txt`, yes or no."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from seamo.bands import positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec
from seamo.sample import GeoRef, Sample
from seamo.testing.world import World
from seamo_prep.rasters import check_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

FILE_ORDER = ("VH", "VV")
ANSWERS = {"no": 0, "yes": 1}


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """One row a sample, sorted by key; no pixel is read."""
    names = [file.removesuffix("_img.tif") for file in raw.list_dir("lakes")[1] if file.endswith("_img.tif")]
    if not names:
        raise raw.missing("images in lakes")
    frame = pd.DataFrame({"key": sorted(names)})
    frame.attrs["ledger"] = []
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """The samples of some rows, in their order; runs in several threads at once."""
    layer = spec.layer("s1")
    order = positions(FILE_ORDER, layer.bands)
    for key in rows["key"]:
        file, text = f"lakes/{key}_img.tif", f"lakes/{key}_lake.txt"
        raster = read_tiff(raw, file)
        pixels = check_pixels(raw, file, raster.pixels, layer, bands=len(FILE_ORDER))
        answer = raw.read(text).decode("ascii").strip()
        if answer not in ANSWERS:
            raise ArchiveError(f"says {answer!r}", raw.where(text), "Expected yes or no.")
        geo = GeoRef(raster.crs, raster.transform) if raster.crs and raster.transform else None
        yield Sample(key=key, layers={"s1": pixels[None, order]}, geo=geo, label=ANSWERS[answer])


def demo(raw: Path, world: World, size: str) -> None:
    """A small synthetic archive in the published layout."""
    (raw / "lakes").mkdir(parents=True)
    for number in range({"tiny": 12, "small": 60}[size]):
        answer = ("no", "yes")[number % 2]
        scene = world.scene(f"my-lakes/{number}", 48, focus=("pasture", "sea")[number % 2])
        bands = scene.s1(np.datetime64("2021-06-01"))
        pixels = np.stack([bands[name] for name in FILE_ORDER])
        write_tiff(raw / f"lakes/{number:03d}_img.tif", pixels, epsg=scene.epsg, transform=scene.transform)
        (raw / f"lakes/{number:03d}_lake.txt").write_text(answer + "\n")
    declare_synthetic(raw, what=f"synthetic stand-in for My lakes ({size}); nothing in it was measured")
