"""EuroSAT-SAR: `EuroSAT-SAR/<Class>/<Class>_<n>.tif`, Sentinel-1 of the places of EuroSAT, under the same names.

Each file holds VV, VH in dB, float32. Pixels that are NaN in the file are missing; no other rule is published.

`--relax names` takes a class folder's .tif files by any name.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from seamo.bands import positions
from seamo.manifest import DatasetSpec
from seamo.sample import Sample
from seamo.testing.world import World
from seamo_prep.archives.eurosat import DEMO_PX, demo_cover, demo_date, demo_names, georef, index_class_folders
from seamo_prep.rasters import check_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

FILE_ORDER = ("VV", "VH")
TREE = "EuroSAT-SAR"

_SCENE_PX = 66


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    if not any(raw.list_dir(TREE)):
        raise raw.missing("EuroSAT-SAR class folders")
    return index_class_folders(raw, spec, TREE, [])


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    layer = spec.layer("s1")
    order = positions(FILE_ORDER, layer.bands, where="EuroSAT-SAR file")
    for row in rows.to_dict("records"):
        raster = read_tiff(raw, row["_file"])
        pixels = check_pixels(raw, row["_file"], raster.pixels, layer, bands=len(FILE_ORDER))
        yield Sample(key=row["key"], layers={"s1": pixels[None, order]}, geo=georef(raster), label=int(row["label"]))


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; the places and names of the EuroSAT demo of the same world."""
    for name, label in demo_names(raw, size).items():
        scene = world.scene(name, _SCENE_PX, focus=demo_cover(name, label))
        backscatter = scene.s1(demo_date(name))
        pixels = np.stack([backscatter[pol][:DEMO_PX, :DEMO_PX] for pol in FILE_ORDER])
        folder = raw / TREE / label
        folder.mkdir(parents=True, exist_ok=True)
        write_tiff(folder / f"{name}.tif", pixels, epsg=scene.epsg, transform=scene.transform)
    declare_synthetic(raw, what=f"synthetic stand-in for EuroSAT-SAR ({size}); nothing in it was measured")
