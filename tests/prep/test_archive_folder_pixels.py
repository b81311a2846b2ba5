"""One's own imagery: what a file says of its pixels and its bands is heeded, or refused with both sides named."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from seamo.bands import Unit
from seamo.errors import ManifestError
from seamo.use.imagery import open_imagery
from tests.prep.own_imagery import LAYER, read, refused, scene, write

# What is missing ---------------------------------------------------------------------------------------------


def test_declared_nodata_is_stored_as_the_fill(tmp_path: Path) -> None:
    pixels = scene()
    pixels[:, :, 8:] = 0
    with rasterio.open(write(tmp_path / "p.tif", pixels, nodata=0)) as file:
        want = file.read(masked=True).filled(65535)
    np.testing.assert_array_equal(read(tmp_path).layers["s2"][0], want)
    assert (want == 65535).sum() == 4 * 16 * 8


@pytest.mark.parametrize("way", ["internal mask", "mask beside", "alpha", "nodata beside", "nodata and alpha"])
def test_every_way_to_say_missing_counts(tmp_path: Path, way: str) -> None:
    pixels, gone = scene(), np.zeros((16, 16), dtype=bool)
    gone[3:5, 7:] = True
    mask = np.where(gone, 0, 255).astype(np.uint8)
    path = tmp_path / "p.tif"
    if way == "internal mask":
        write(path, pixels, mask=mask)
    elif way == "mask beside":
        write(path, pixels)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
            file.write_mask(mask)
        assert path.with_name("p.tif.msk").is_file()
    elif way == "nodata beside":
        pixels[:, gone] = 7
        write(path, pixels)
        path.with_name("p.tif.aux.xml").write_text(
            "<PAMDataset>" + "".join(f'<PAMRasterBand band="{n}"><NoDataValue>7</NoDataValue></PAMRasterBand>'
                                     for n in (1, 2, 3, 4)) + "</PAMDataset>"
        )  # fmt: skip
    else:
        colours = [ColorInterp.gray, *[ColorInterp.undefined] * 3, ColorInterp.alpha]
        five = np.concatenate([pixels, mask[None].astype(np.uint16)])
        write(path, five, colorinterp=colours, **({"nodata": 1} if way == "nodata and alpha" else {}))
    found = read(tmp_path).layers["s2"][0]
    assert (found[:, gone] == 65535).all()
    np.testing.assert_array_equal(found[:, ~gone], pixels[:, ~gone])


def test_each_band_has_its_own_nodata(tmp_path: Path) -> None:
    pixels = scene()
    pixels[:, 0, 0], pixels[:, 0, 1] = 7, 9
    path = write(tmp_path / "p.tif", pixels)
    path.with_name("p.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>'
        '<PAMRasterBand band="2"><NoDataValue>9</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    found = read(tmp_path).layers["s2"][0]
    assert found[:, 0, 0].tolist() == [65535, 7, 7, 7]
    assert found[:, 0, 1].tolist() == [9, 65535, 9, 9]


def test_a_measured_pixel_that_equals_the_fill_is_an_error(tmp_path: Path) -> None:
    pixels = scene()
    pixels[1, 2, 3] = 65535
    write(tmp_path / "p.tif", pixels)
    assert read(tmp_path).layers["s2"][0, 1, 2, 3] == 65535  # the file says nothing: that is how it is said
    write(tmp_path / "p.tif", pixels, nodata=0)
    assert "p.tif: 1 measured values equal the fill 65535 of layer s2" in refused(tmp_path)
    assert "nodata 0" in refused(tmp_path)


def test_missing_pixels_need_a_fill(tmp_path: Path) -> None:
    pixels = scene()
    write(tmp_path / "p.tif", pixels, nodata=0)
    bare = LAYER | {"fill": None}
    np.testing.assert_array_equal(read(tmp_path, layers=[bare]).layers["s2"][0], pixels)  # none is missing
    pixels[0, 0, 0] = 0
    write(tmp_path / "p.tif", pixels, nodata=0)
    assert "1 values are missing by what the file says (nodata 0), and layer s2 has no fill" in refused(
        tmp_path, layers=[bare]
    )
    assert "fill 70000 of layer s2 is no uint16" in refused(tmp_path, layers=[LAYER | {"fill": 70000}])


def test_floats_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    pixels = scene(2, dtype="float32")
    pixels[0, 0, :3] = [np.nan, -np.inf, np.inf]
    pixels[1, 1, 1] = np.float32(-3.4e38)
    write(tmp_path / "p.tif", pixels, nodata=-3.4e38)
    layer = {"id": "s1", "stack": "s1", "sensor": "s1", "bands": ["VV", "VH"], "gsd_m": 10, "dtype": "float32",
             "unit": "db", "fill": "nan", "size": [16, 16]}  # fmt: skip
    found = read(tmp_path, layers=[layer], csv="key,s1\np,p.tif\n").layers["s1"][0]
    assert found[0, 0, 1:3].tolist() == [-np.inf, np.inf]  # the writer stores them as missing, and counts them
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 0, 0], [1, 1, 1]]
    # What is missing need not fit another type.
    whole = LAYER | {"bands": ["B02", "B03"]}
    found = read(tmp_path, "dtype", layers=[whole]).layers["s2"][0]
    assert found[0, 0, :3].tolist() == [65535] * 3
    write(tmp_path / "p.tif", pixels, nodata=-np.inf)  # what the file itself calls missing is nothing to count
    found = read(tmp_path, layers=[layer], csv="key,s1\np,p.tif\n").layers["s1"][0]
    assert np.isnan(found[0, 0, :2]).all()
    assert found[0, 0, 2] == np.inf


@pytest.mark.parametrize("seed", range(40))
def test_two_doors_give_one_answer(tmp_path: Path, seed: int) -> None:
    """What is missing for `build folder` is missing for `embed` and `predict`, and by a reading typed here."""
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["uint8", "int16", "uint16", "float32", "float64", "int32"]))
    pixels = rng.integers(0, 4, (3, 16, 16)).astype(dtype)
    has_nodata, has_alpha, has_mask, is_inside = (bool(one) for one in rng.random(4) < 0.5)
    colours = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha if has_alpha else ColorInterp.undefined]
    mask = (rng.integers(0, 2, (16, 16)) * 255).astype(np.uint8)
    path = write(
        tmp_path / "p.tif", pixels, photometric="MINISBLACK", colorinterp=colours, descriptions=("B02", "B03", None),
        **({"nodata": 3} if has_nodata else {}), **({"mask": mask} if has_mask and is_inside else {}),
        **({"compress": "lzw"} if rng.random() < 0.5 else {}),
    )  # fmt: skip
    if has_mask and not is_inside:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
            file.write_mask(mask)
    want = (pixels[:2] == 3) & has_nodata | (pixels[2] == 0) & has_alpha | (mask == 0) & has_mask
    layer = LAYER | {"bands": ["B02", "B03"], "dtype": "float32", "fill": "nan"}
    found = read(tmp_path, "dtype", layers=[layer]).layers["s2"][0]
    with open_imagery(path, unit=Unit.DN) as imagery:
        used = imagery.read(("B02", "B03"), top=0, left=0, height=16, width=16)
    np.testing.assert_array_equal(found, np.where(want, np.nan, pixels[:2].astype("float32")))
    np.testing.assert_array_equal(used, found)


# What the numbers mean ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "scale", "offset", "fits"),
    [
        ("dn", 1e-4, 0.0, True), ("dn", 1e-4, -0.1, False), ("dn", 1.0, -1000.0, False), ("dn+1000", 1e-4, -0.1, True),
        ("dn+1000", 1e-4, 0.0, False), ("dn", 0.0, 0.0, False), ("uint8", 1.0, 0.0, True), ("uint8", 2.0, 0.0, False),
        ("db*100", 0.01, 0.0, True), ("db", 0.01, 0.0, False),
    ],
)  # fmt: skip
def test_scale_and_offset_agree_with_the_unit_or_are_refused(
    tmp_path: Path, unit: str, scale: float, offset: float, fits: bool
) -> None:
    pixels = scene()
    write(tmp_path / "p.tif", pixels, scales=[1.0, 1.0, scale, 1.0], offsets=[0.0, 0.0, offset, 0.0])
    layer = LAYER | {"unit": unit}
    if fits:
        np.testing.assert_array_equal(read(tmp_path, layers=[layer]).layers["s2"][0], pixels)
    else:
        message = refused(tmp_path, layers=[layer])
        assert "p.tif: says of band 3 that value =" in message
        assert f"not unit {unit}" in message


def test_complex_numbers_and_colour_tables_are_no_measurement(tmp_path: Path) -> None:
    write(tmp_path / "p.tif", scene().astype("complex64"))
    for relax in ((), ("dtype",)):
        assert "p.tif: holds complex values (complex64)" in refused(
            tmp_path, *relax, layers=[LAYER | {"dtype": "float32"}]
        )
    write(tmp_path / "p.tif", scene().astype("complex64"), dtype="complex_int16")  # as Sentinel-1 SLC has them
    assert "p.tif: holds complex values (complex_int16)" in refused(tmp_path, "dtype")
    write(tmp_path / "p.tif", scene(1).astype("uint8"), colormap={1: (255, 0, 0, 255)})
    rgb = LAYER | {"sensor": "rgb", "bands": ["R"], "dtype": "uint8", "unit": "uint8", "fill": None}
    assert "indices into a colour table" in refused(tmp_path, layers=[rgb])


def test_relaxed_types_lose_nothing(tmp_path: Path) -> None:
    layer = LAYER | {"dtype": "float32", "fill": "nan"}
    for value, dtype, fits in ((1e300, "float64", False), (0.1, "float64", True), (2**24 + 1, "int32", False),
                               (2**24, "int32", True)):  # fmt: skip
        write(tmp_path / "p.tif", np.full((4, 16, 16), value, dtype=dtype))
        if fits:
            assert read(tmp_path, "dtype", layers=[layer]).layers["s2"][0, 0, 0, 0] == np.float32(value)
        else:
            assert f"values of dtype {dtype} do not fit float32" in refused(tmp_path, "dtype", layers=[layer])


# Which band is which -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        ("B08", "B04", "B03", "B02"), ("B8", "B4", "B3", "B2"), ("nir", "red", "green", "blue"),
        ("S2_b08_10m", "B04 (red)", "Green", "B2, 490 nm"),
    ],
)  # fmt: skip
def test_described_bands_are_bound_by_name(tmp_path: Path, said: tuple[str, ...]) -> None:
    pixels = scene()
    write(tmp_path / "p.tif", pixels[::-1], descriptions=said)
    np.testing.assert_array_equal(read(tmp_path).layers["s2"][0], pixels)
    more = np.concatenate([pixels[:1] + 1, pixels[::-1]])  # bands that the layer does not ask for
    write(tmp_path / "p.tif", more, descriptions=("SCL", *said))
    np.testing.assert_array_equal(read(tmp_path).layers["s2"][0], pixels)


@pytest.mark.parametrize(
    "said",
    [
        ("B02", None, None, None), (None, None, None, "B08"), ("Band 1", "Band 2", "Band 3", "Band 4"),
        ("stack_1", "stack_2", "stack_3", "stack_4"), ("1", "2", "3", "4"), (None,) * 4,
    ],
)  # fmt: skip
def test_bands_that_are_not_named_keep_their_order(tmp_path: Path, said: tuple[str | None, ...]) -> None:
    pixels = scene()
    write(tmp_path / "p.tif", pixels, descriptions=said)
    np.testing.assert_array_equal(read(tmp_path).layers["s2"][0], pixels)


@pytest.mark.parametrize(
    "said",
    [
        ("B02", "B03", "B04", "B8A"), ("B11", "B12", "B8A", "B09"), (None, "B02", None, None),
        ("B02", "B02", "B04", "B08"),
        ("NDVI", "EVI", "NDWI", "SAVI"), ("B02", "B03", "B04", "NDVI"), ("Band 2", "Band 1", "Band 3", "Band 4"),
    ],
)  # fmt: skip
def test_a_contradiction_shows_both_lists(tmp_path: Path, said: tuple[str | None, ...]) -> None:
    write(tmp_path / "p.tif", scene(), descriptions=said)
    message = refused(tmp_path)
    assert ", ".join(text or "-" for text in said) in message
    assert "wanted: B02, B03, B04, B08" in message


def test_text_that_names_no_band_is_passed_over_when_relaxed(tmp_path: Path) -> None:
    write(tmp_path / "p.tif", scene(), descriptions=("winter", "spring", "summer", "autumn"))
    assert "--relax names" in refused(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, "names").layers["s2"][0], scene())
    write(tmp_path / "p.tif", scene(), descriptions=("B03", "spring", "summer", "autumn"))
    assert "wanted: B02" in refused(tmp_path, "names")  # a contradiction stays one


def test_four_bands_of_bytes_are_three_and_alpha_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    layer = LAYER | {"dtype": "uint8", "unit": "uint8", "fill": None}
    pixels = np.random.default_rng(7).integers(1, 255, (4, 16, 16)).astype(np.uint8)
    write(tmp_path / "p.tif", pixels)
    assert "3 bands and 1 of alpha instead of 4" in refused(tmp_path, layers=[layer])
    write(tmp_path / "p.tif", pixels, photometric="MINISBLACK")
    np.testing.assert_array_equal(read(tmp_path, layers=[layer]).layers["s2"][0], pixels)


def test_a_fill_of_nan_is_for_floats_however_yaml_spells_it(tmp_path: Path) -> None:
    pixels = scene()
    pixels[0, 0, 0] = 0
    write(tmp_path / "p.tif", pixels, nodata=0)
    for fill in ("nan", float("nan")):
        found = read(tmp_path, "dtype", layers=[LAYER | {"dtype": "float32", "fill": fill}]).layers["s2"]
        assert np.argwhere(np.isnan(found)).tolist() == [[0, 0, 0, 0]]
        with pytest.raises(ManifestError, match="fill nan does not fit uint16"):
            read(tmp_path, layers=[LAYER | {"fill": fill}])
