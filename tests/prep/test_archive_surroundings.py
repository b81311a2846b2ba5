"""What a file says is read alike whatever the environment tells GDAL; of several pages none stands for the file."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.bands import Unit
from seamo.errors import ArchiveError, UsageError
from seamo.rasterfacts import gdal_settings
from seamo.use.imagery import open_imagery
from seamo_prep.initial.peek import peek
from tests.prep.own_imagery import BANDS, PLACE, read, refused, scene, write

SIDECAR = "<PAMDataset>{}</PAMDataset>"
NODATA = "<PAMRasterBand band='{}'><NoDataValue>0</NoDataValue></PAMRasterBand>"


def with_sidecar(root: Path) -> Path:
    """An image whose left half is 0, which `.aux.xml` beside it calls no data."""
    pixels = scene()
    pixels[:, :, :8] = 0
    path = write(root / "p.tif", pixels)
    Path(f"{path}.aux.xml").write_text(SIDECAR.format("".join(NODATA.format(band) for band in (1, 2, 3, 4))))
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),
        ("GDAL_DISABLE_READDIR_ON_OPEN", "TRUE"),
        ("GDAL_PAM_ENABLED", "NO"),
    ],
)
def test_sidecars_are_read_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    path = with_sidecar(tmp_path)
    monkeypatch.setenv(name, value)
    if value != "TRUE":  # which GDAL takes for files beside, too
        with rasterio.open(path) as source:
            assert source.nodata is None  # it does change what GDAL says
    pixels = read(tmp_path).layers["s2"]
    assert (pixels[..., :8] == 65535).all()
    assert (pixels[..., 8:] != 65535).all()
    with open_imagery(path, unit=Unit.DN, bands=BANDS) as image:
        seen = image.read(BANDS, top=0, left=0, height=16, width=16)
    assert np.array_equal(np.isnan(seen), pixels[0] == 65535)
    found, _ = peek(tmp_path, ["p.tif"], pixels=1)
    assert found["p.tif"].facts.nodata == (0.0,) * 4


def test_pixels_that_are_points_lie_where_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.tif", scene())
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    place = read(tmp_path).geo
    monkeypatch.setenv("GTIFF_POINT_GEO_IGNORE", "TRUE")
    with rasterio.open(path) as source:
        assert tuple(source.transform)[:6] != place.transform
    assert read(tmp_path).geo == place


@pytest.mark.parametrize("sources", ["NONE", "WORLDFILE", "WORLDFILE,INTERNAL"])
def test_a_place_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: str) -> None:
    path = write(tmp_path / "p.tif", scene(), compress="lzw")  # which GDAL decodes
    (tmp_path / "p.tfw").write_text("20\n0\n0\n-20\n0\n0\n")  # of another place
    place = read(tmp_path).geo
    assert place.transform == tuple(PLACE)[:6]
    monkeypatch.setenv("GDAL_GEOREF_SOURCES", sources)
    with warnings.catch_warnings(), rasterio.open(path) as source:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        assert source.transform != PLACE
    assert read(tmp_path).geo == place


def test_what_cannot_be_decoded_is_not_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.tif", scene(side=64), compress="lzw", tiled=True, blockxsize=16, blockysize=16)
    data = bytearray(path.read_bytes())
    with rasterio.open(path) as source:
        block = int(source.tags(1, ns="TIFF").get("BLOCK_OFFSET_1_1", 0) or 2 * len(data) // 3)
    data[block : block + 200] = b"\xff" * 200
    path.write_bytes(data)
    layer = {"id": "s2", "stack": "s2", "sensor": "s2", "bands": list(BANDS), "gsd_m": 10, "dtype": "uint16",
             "unit": "dn", "fill": 65535, "size": [64, 64]}  # fmt: skip
    said = refused(tmp_path, layers=(layer,))
    monkeypatch.setenv("GTIFF_IGNORE_READ_ERRORS", "TRUE")
    with rasterio.open(path) as source:
        source.read()  # without a word
    assert refused(tmp_path, layers=(layer,)) == said


def test_settings_of_a_caller_are_left_as_they_were() -> None:
    with rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_CACHEMAX=64):
        with gdal_settings():
            assert rasterio.env.getenv()["GDAL_PAM_ENABLED"] == "YES"
        assert rasterio.env.getenv()["GDAL_PAM_ENABLED"] == "NO"


def with_pages(path: Path, pages: int, *, count: int = 4, dtype: str = "uint16") -> Path:
    write(path, scene(count, dtype=dtype))
    for number in range(1, pages):
        options = {"crs": "EPSG:32633", "transform": PLACE, "APPEND_SUBDATASET": "YES"}
        with rasterio.open(path, "w", driver="GTiff", count=count, height=16, width=16, dtype=dtype, **options) as file:
            file.write(scene(count, dtype=dtype) + number)
    return path


def test_several_pages_are_refused_by_every_door(tmp_path: Path) -> None:
    path = with_pages(tmp_path / "p.tif", 3)
    with warnings.catch_warnings(), rasterio.open(path) as source:
        assert len(source.subdatasets) == 3
    message = "holds 3 images \\(pages\\), of which only the first would be read"
    with pytest.raises(ArchiveError, match=message):
        read(tmp_path)
    with pytest.raises(UsageError, match=message), open_imagery(path, unit=Unit.DN, bands=BANDS):
        pass
    write(tmp_path / "p.tif", scene())
    with_pages(tmp_path / "m.tif", 2, count=1, dtype="uint8")
    said = refused(tmp_path, kind="segmentation", csv="key,s2,label\np,p.tif,m.tif\n")
    assert "holds 2 images (pages)" in said


def test_overviews_and_masks_are_no_pages(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tif", scene(), mask=np.full((16, 16), 255, np.uint8))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert np.array_equal(read(tmp_path).layers["s2"][0], scene())
