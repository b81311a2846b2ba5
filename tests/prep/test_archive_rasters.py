"""Every kind of TIFF that the plain path may meet or must leave alone: the same as rasterio reads."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import ArchiveError
from seamo_prep.rasters import decode_tiff
from seamo_prep.tiff import write_tiff

UTM = (10.0, 0.0, 300000.0, 0.0, -10.0, 5000000.0)


def agree(path: Path) -> None:
    ours = decode_tiff(path.read_bytes(), str(path))
    with rasterio.open(path) as source:
        theirs, crs, transform = source.read(), source.crs, source.transform
    assert ours.pixels.dtype == theirs.dtype
    assert ours.pixels.flags.c_contiguous
    np.testing.assert_array_equal(ours.pixels, theirs)
    assert ours.crs == ("" if crs is None else f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt())
    assert ours.transform == (None if transform.is_identity else tuple(transform)[:6])


DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
LAYOUTS = (
    {},
    {"interleave": "band"},
    {"blockysize": 3},
    {"compress": "deflate"},
    {"compress": "deflate", "predictor": "p", "interleave": "pixel"},
    {"compress": "deflate", "predictor": "p", "interleave": "band", "blockysize": 4},
    {"compress": "lzw"},
    {"tiled": True, "blockxsize": 16, "blockysize": 16},
    {"endianness": "big"},
    {"endianness": "big", "compress": "deflate", "predictor": "p"},
    {"sparse_ok": True},
    {"BIGTIFF": "YES"},
    {"nodata": 0},
)


@pytest.mark.parametrize(("dtype", "layout"), list(itertools.product(DTYPES, LAYOUTS)))
def test_layouts(tmp_path: Path, dtype: str, layout: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    options = dict(layout)
    if options.get("predictor") == "p":
        options["predictor"] = 3 if dtype.startswith("float") else 2
    for count in (1, 3):
        pixels = (rng.standard_normal((count, 19, 23)) * 60).astype(dtype)
        if "sparse_ok" in layout:
            pixels[:] = 0
        path = tmp_path / f"{count}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=19, width=23, dtype=dtype, crs="EPSG:32733",
            transform=rasterio.Affine(*UTM), **options,
        ) as file:  # fmt: skip
            file.write(pixels)
        agree(path)


@pytest.mark.parametrize(
    ("crs", "transform", "tags"),
    [
        ("EPSG:4326", (0.1, 0, 5, 0, -0.2, 50), {}),
        ("EPSG:3035", UTM, {}),
        ("EPSG:32633", (10, 1, 5, 2, -10, 50), {}),  # rotated
        ("EPSG:32633", (10, 0, 5, 0, 10, 50), {}),  # south up
        ("EPSG:32633", UTM, {"AREA_OR_POINT": "Point"}),
        ("+proj=laea +lat_0=10 +lon_0=20 +ellps=WGS84", UTM, {}),
        ("EPSG:2263", UTM, {}),  # US feet
        (None, UTM, {}),
        ("EPSG:32633", None, {}),
        (None, None, {}),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_places(tmp_path: Path, crs: str | None, transform: tuple[float, ...] | None, tags: dict[str, str]) -> None:
    path = tmp_path / "a.tif"
    extra = {} if transform is None else {"transform": rasterio.Affine(*transform)}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=5, width=4, dtype="uint8", crs=crs, **extra) as file:
        file.update_tags(**tags)
        file.write(np.ones((1, 5, 4), np.uint8))
    agree(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_written_files_are_what_rasterio_reads(tmp_path: Path, dtype: str, count: int) -> None:
    pixels = (np.random.default_rng(1).random((count, 6, 9)) * 250).astype(dtype)
    write_tiff(tmp_path / "a.tif", pixels, epsg=32633, transform=UTM)
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert (source.dtypes[0], source.crs.to_epsg(), tuple(source.transform)[:6]) == (dtype, 32633, UTM)
    agree(tmp_path / "a.tif")


def test_any_damage_is_an_archive_error_or_no_damage(tmp_path: Path) -> None:
    """Every cut, and random changes of bytes: never another exception."""
    pixels = np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8)
    write_tiff(tmp_path / "a.tif", pixels, epsg=32633, transform=UTM)
    data = (tmp_path / "a.tif").read_bytes()
    for size in range(len(data)):
        with pytest.raises(ArchiveError):
            decode_tiff(data[:size], "cut.tif")
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(2000):
        altered = bytearray(data)
        for position in rng.integers(4, 320, size=2):
            altered[position] = rng.integers(256)
        try:
            decode_tiff(bytes(altered), "altered.tif")
        except ArchiveError as error:
            seen.add(error.where)
    assert seen == {"altered.tif"}
