"""Feature maps on disk: one vector a cell, georeferenced, as GeoTIFF or Zarr, written row by row of cells."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

_COLUMNS = 256  # cells along x in a chunk


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map is.

    Args:
        height, width: In cells.
        dim: Length of a vector.
        crs: As WKT, empty if unknown.
        transform: Of the cells.
        rows: Cells along y that are written at a time.
        about: Where the features come from; goes into the file.
    """

    height: int
    width: int
    dim: int
    crs: str
    transform: Affine
    rows: int
    about: Mapping[str, Any]


def write_map(path: Path, spec: MapSpec, strips: Iterator[NDArray[np.float32]], *, as_zarr: bool) -> None:
    """Write a whole map.

    Args:
        path: The file or folder; overwritten.
        spec: What it is.
        strips: (rows, width, D) from top to bottom, NaN where there is no feature.
        as_zarr: A Zarr v3 group with `features` (feature, y, x), else a GeoTIFF with a band a feature.
    """
    if as_zarr:
        _write_zarr(path, spec, strips)
    else:
        _write_tiff(path, spec, strips)


def _write_tiff(path: Path, spec: MapSpec, strips: Iterator[NDArray[np.float32]]) -> None:
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": spec.dim, "height": spec.height, "width": spec.width,
        "nodata": np.nan, "interleave": "band", "blockysize": min(spec.rows, spec.height), "bigtiff": "if_safer",
        "compress": "deflate", "zlevel": 1, "predictor": 3,
    }  # fmt: skip
    place = {"crs": spec.crs, "transform": spec.transform} if spec.crs else {}
    with rasterio.open(path, "w", **profile, **place) as target:
        target.update_tags(seamo=json.dumps(spec.about))
        target.descriptions = [f"feature {number}" for number in range(spec.dim)]
        top = 0
        for strip in strips:
            window = Window(0, top, spec.width, len(strip))
            target.write(np.ascontiguousarray(strip.transpose(2, 0, 1)), window=window)
            top += len(strip)


def _write_zarr(path: Path, spec: MapSpec, strips: Iterator[NDArray[np.float32]]) -> None:
    # CF and rioxarray find the place of the cells through `spatial_ref`.
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes={"seamo": dict(spec.about)})
    features = group.create_array(
        "features",
        shape=(spec.dim, spec.height, spec.width),
        chunks=(spec.dim, min(spec.rows, spec.height), min(_COLUMNS, spec.width)),
        dtype="float32",
        fill_value=np.nan,
        dimension_names=("feature", "y", "x"),
        attributes={"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"},
    )
    a, _, c, _, e, f = tuple(spec.transform)[:6]
    axes = {"x": (c + a * (np.arange(spec.width) + 0.5)), "y": (f + e * (np.arange(spec.height) + 0.5))}
    for name, centres in axes.items():
        group.create_array(name, data=centres, dimension_names=(name,))
    geo = " ".join(repr(float(value)) for value in spec.transform.to_gdal())
    place: dict[str, Any] = {"GeoTransform": geo}
    if spec.crs:
        place |= {"crs_wkt": spec.crs, "spatial_ref": spec.crs}
    group.create_array("spatial_ref", data=np.array(0), dimension_names=(), attributes=place)
    top = 0
    for strip in strips:
        features[:, top : top + len(strip)] = strip.transpose(2, 0, 1)
        top += len(strip)
    zarr.consolidate_metadata(path)
