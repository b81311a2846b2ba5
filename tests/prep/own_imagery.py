"""A folder of one's own imagery, written by rasterio, and what the archive `folder` makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

from seamo.errors import ArchiveError
from seamo.sample import Sample, check_sample
from seamo_prep.archives import folder
from seamo_prep.unpack import Raw

BANDS = ("B02", "B03", "B04", "B08")
PLACE = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
LAYER = {"id": "s2", "stack": "s2", "sensor": "s2", "bands": list(BANDS), "gsd_m": 10, "dtype": "uint16", "unit": "dn",
         "fill": 65535, "size": [16, 16]}  # fmt: skip
CLASSES = {"classes": [{"name": "land"}, {"name": "water"}]}


def scene(count: int = 4, side: int = 16, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(6).integers(300, 5000, (count, side, side)).astype(dtype)


def write(path: Path, pixels: np.ndarray, *, place: Any = PLACE, crs: Any = "EPSG:32633", **said: Any) -> Path:
    """A GeoTIFF; `said` are attributes of rasterio's file, or options of its creation."""
    count, height, width = pixels.shape
    words = ("descriptions", "scales", "offsets", "colorinterp", "mask", "colormap", "gcps")
    options = {"dtype": pixels.dtype} | {key: value for key, value in said.items() if key not in words}
    where = {key: value for key, value in (("crs", crs), ("transform", place)) if value is not None}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, **where, **options) as file,
    ):  # fmt: skip
        for key in ("descriptions", "scales", "offsets", "colorinterp", "gcps"):
            if key in said:
                setattr(file, key, said[key])
        if "colormap" in said:
            file.write_colormap(1, said["colormap"])
        file.write(pixels)
        if "mask" in said:
            file.write_mask(said["mask"])
    return path


def read(
    root: Path, *relax: str, layers: Any = (LAYER,), kind: str = "none", csv: str = "key,s2\np,p.tif\n",
    space: Mapping[str, Any] = CLASSES,
) -> Sample:  # fmt: skip
    task = {"kind": kind} if kind == "none" else {"kind": kind, "label_space": "cover"}
    entry = {"title": "t", "summary": "s", "licence": "l", "citation": "c", "layers": list(layers), "task": task,
             "label_spaces": {"cover": dict(space)}}  # fmt: skip
    (root / folder.SPEC).write_text(yaml.safe_dump({"datasets": {"own": entry}}))
    (root / folder.TABLE).write_text(csv)
    spec = folder.load_spec(root)
    raw = Raw(root, spec, relax)
    (sample,) = folder.read(raw, folder.index(raw, spec), spec)
    check_sample(sample, spec)
    return sample


def refused(root: Path, *relax: str, **options: Any) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(root, *relax, **options)
    return str(caught.value)
