"""One's own imagery, written by rasterio: what a file says is heeded, or refused with both sides named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from seamo.bands import Unit
from seamo.errors import ArchiveError, ManifestError
from seamo.sample import Sample, check_sample
from seamo.use.imagery import open_imagery
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


# Where it lies -----------------------------------------------------------------------------------------------

TWICE = LAYER | {"times": 2}
DATES = "key,s2.0,s2.1\np,p.tif,q.tif\n"
COARSE = LAYER | {"id": "s2_20m", "bands": ["B05"], "gsd_m": 20, "size": [8, 8]}
ELSEWHERE = [
    {"place": rasterio.Affine(10, 0, 500100, 0, -10, 5000000)},
    {"place": rasterio.Affine(10, 0, 500000, 0, -10, 5000005)},
    {"place": rasterio.Affine(10.01, 0, 500000, 0, -10, 5000000)},
    {"place": rasterio.Affine(10, 0, 500000, 0, 10, 4999840)},
    {"crs": "EPSG:32634"},
    {"crs": None},
    {"place": None},
    {"place": None, "crs": None},
]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("other", ELSEWHERE)
@pytest.mark.parametrize("what", ["date", "layer", "mask"])
def test_files_of_a_sample_lie_on_one_ground(tmp_path: Path, what: str, other: dict[str, Any]) -> None:
    write(tmp_path / "p.tif", scene())
    if what == "layer" and other.get("place") is not None:
        a, b, c, d, e, f = tuple(other["place"])[:6]
        other = other | {"place": rasterio.Affine(2 * a, b, c, d, 2 * e, f)}
    where = {"place": rasterio.Affine(20, 0, 500000, 0, -20, 5000000) if what == "layer" else PLACE} | other
    options: dict[str, Any] = {"date": {"layers": [TWICE], "csv": DATES},
                               "layer": {"layers": [LAYER, COARSE], "csv": "key,s2,s2_20m\np,p.tif,q.tif\n"},
                               "mask": {"kind": "segmentation", "csv": "key,s2,label\np,p.tif,q.tif\n"},
                               }[what]  # fmt: skip
    pixels = {"date": scene(), "layer": scene(1, side=8), "mask": scene(1).astype("uint8") % 2}[what]
    write(tmp_path / "q.tif", pixels, **where)
    message = refused(tmp_path, **options)
    assert "q.tif" in message.partition(": ")[0]
    assert "does not lie on the grid of p.tif" in message
    assert "--relax grid" in message
    sample = read(tmp_path, "grid", **options)
    assert sample.geo is not None
    assert sample.geo.transform == tuple(PLACE)[:6]
    good = where | {"crs": "EPSG:32633", "place": rasterio.Affine(20, 0, 500000, 0, -20, 5000000.05)
                    if what == "layer" else rasterio.Affine(10, 0, 500000.05, 0, -10, 5000000)}  # fmt: skip
    write(tmp_path / "q.tif", pixels, **good)  # half a hundredth of a pixel
    read(tmp_path, **options)


def test_the_place_is_that_of_the_finest_layer(tmp_path: Path) -> None:
    write(tmp_path / "q.tif", scene(1, side=8), place=rasterio.Affine(20, 0, 500000, 0, -20, 5000000))
    write(tmp_path / "p.tif", scene())
    for cell, transform in (("p.tif", PLACE), ("", None)):
        geo = read(
            tmp_path, layers=[COARSE | {"stack": "s2_20m"}, LAYER], csv=f"key,s2,s2_20m,label\np,{cell},q.tif,\n"
        ).geo
        assert (geo and geo.transform) == (transform and tuple(transform)[:6])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_without_any_place_say_nothing(tmp_path: Path) -> None:
    for name in ("p.tif", "q.tif"):
        write(tmp_path / name, scene(), place=None, crs=None)
    assert read(tmp_path, layers=[TWICE], csv=DATES).geo is None


def test_control_points_are_no_grid(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(r, c, 500000 + 10 * c, 5000000 - 10 * r) for r, c in ((0, 0), (0, 16), (16, 0), (16, 16))
    ]
    write(tmp_path / "p.tif", scene(), place=None, crs=None, gcps=(points, rasterio.CRS.from_epsg(32633)))
    message = refused(tmp_path)
    assert "4 ground control points alone and has no grid" in message
    assert "gdalwarp -tps" in message
    assert read(tmp_path, "grid").geo is None


# Masks -------------------------------------------------------------------------------------------------------

MASK = {"kind": "segmentation", "csv": "key,s2,label\np,p.tif,m.tif\n"}


def drawn(*values: int, dtype: str = "uint8") -> np.ndarray:
    return np.array(values, dtype=dtype)[np.arange(256) % len(values)].reshape(1, 16, 16)


@pytest.mark.parametrize(
    ("mask", "said", "message"),
    [
        (drawn(0, 255), {}, "holds 0 and 255 alone, and 255 means ignore: no pixel is water"),
        (drawn(255), {}, "holds 255 alone, and 255 means ignore"),
        (drawn(0, 2), {}, "mask holds 2, which is no class"),
        (drawn(0, 1, dtype="float32"), {}, "the mask is float32 instead of whole numbers"),
        (drawn(0, 1, dtype="complex64"), {}, "holds complex values"),
        (np.concatenate([drawn(0, 1)] * 3), {}, "the mask has 3 bands instead of 1"),
        (drawn(0, 1)[:, :8], {}, "the mask has 8 x 16 pixels, the image 16 x 16"),
        (drawn(0, 1), {"nodata": 0}, "says that 0 is no data, and 0 is class land"),
        (drawn(0, 1), {"scales": [2.0]}, "scale and offset"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, mask: np.ndarray, said: dict[str, Any], message: str) -> None:
    write(tmp_path / "p.tif", scene())
    write(tmp_path / "m.tif", mask, **said)
    found = refused(tmp_path, **MASK)
    assert message in found
    assert "m.tif" in found


def test_masks_are_read_with_what_they_say(tmp_path: Path) -> None:
    write(tmp_path / "p.tif", scene())
    write(tmp_path / "m.tif", drawn(0, 1, 255), colormap={1: (0, 0, 255, 255)})  # indices are the classes
    np.testing.assert_array_equal(read(tmp_path, **MASK).label, drawn(0, 1, 255)[0])
    write(tmp_path / "m.tif", drawn(0, 1, 9), nodata=9)
    np.testing.assert_array_equal(read(tmp_path, **MASK).label, drawn(0, 1, 255)[0])
    hidden = np.where(drawn(0, 0, 1)[0] == 1, 0, 255).astype(np.uint8)
    write(tmp_path / "m.tif", drawn(0, 1, 0), mask=hidden)
    np.testing.assert_array_equal(read(tmp_path, **MASK).label, drawn(0, 1, 255)[0])
    write(tmp_path / "m.tif", drawn(0, 255))
    for raw, want in (({0: 0, 255: 1}, (0, 1)), ({0: 0, 1: 1, 255: 255}, (0, 255))):
        found = read(tmp_path, **MASK, space=CLASSES | {"raw": raw}).label
        np.testing.assert_array_equal(found, drawn(*want)[0])


# The table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("key,s2,label\np,p.tif,land|water\n", "line 2: 2 labels (land|water) where one belongs"),
        ("key,s2,label\np,p.tif,wather\n", "line 2: no class 'wather'. Did you mean 'water'?"),
        ("key,s2,label\nq,p.tif,land\np,p.tif\n", "line 3: has 2 cells in 3 columns"),
        ("key,s2,s2.date\np,p.tif,20210802\n", "line 2: '20210802' is no date"),
        ("key,s2,s2.date\np,,2021-08-02\n", "line 2: s2.date is the date of no file"),
        ("key,s2\n,p.tif\n", "line 2: key ''"),
        ("key,s2\np p,p.tif\n", "line 2: key 'p p'"),
        ("key,s2\np,p.tif\nq,p.tif\np,p.tif\n", "line 4: key 'p' stands twice. First in line 2."),
        ("key,s2,split\np,p.tif,training\n", "line 2: split 'training' is not one of train, val, test"),
        ("key,s2\np,../p.tif\n", "line 2: '../p.tif' leaves the folder"),
        ("key,s2\np,/p.tif\n", "line 2: '/p.tif' leaves the folder"),
        ("key,s2\np,C:\\p.tif\n", "leaves the folder"),
        ("key,s2\np,a\\p.tif\n", "line 2: 'a\\\\p.tif' holds a backslash"),
    ],
)
def test_rows_are_held_against_the_yaml(tmp_path: Path, csv: str, message: str) -> None:
    write(tmp_path / "p.tif", scene())
    assert message in refused(tmp_path, kind="single-label", csv=csv)


def test_dates_and_layers_of_a_stack_go_together(tmp_path: Path) -> None:
    head = "key,s2.0,s2.1,s2.date.0,s2.date.1\n"
    for row, message in (
        ("p,p.tif,p.tif,2021-08-02,", "line 2: some dates of s2 are missing"),
        ("p,p.tif,,2021-08-02,2021-09-02", "line 2: s2.date.1 is the date of no file"),
        ("p,p.tif,p.tif,2021-08-02,02.09.2021", "line 2: '02.09.2021' is no date"),
    ):
        assert message in refused(tmp_path, layers=[TWICE], csv=f"{head}{row}\n")
    assert "line 2: layers of s2 have different dates" in refused(
        tmp_path, layers=[LAYER, COARSE], csv="key,s2,s2_20m\np,p.tif,\n"
    )


def test_labels_of_several_classes(tmp_path: Path) -> None:
    write(tmp_path / "p.tif", scene())
    assert read(tmp_path, kind="multi-label", csv="key,s2,label\np,p.tif,water|land\n").label == (0, 1)
    for cell, message in (("water|water", "a label stands twice"), ("water|", "no class ''")):
        assert message in refused(tmp_path, kind="multi-label", csv=f"key,s2,label\np,p.tif,{cell}\n")


def test_dates_are_converted_to_utc_and_sorted(tmp_path: Path) -> None:
    for number, name in enumerate(("p.tif", "q.tif")):
        write(tmp_path / name, scene() + number)
    csv = "key,s2.0,s2.1,s2.date.0,s2.date.1\np,p.tif,q.tif,2021-08-02T00:30:00+02:00,2021-08-01\n"
    sample = read(tmp_path, layers=[TWICE], csv=csv)
    assert [str(date) for date in sample.time["s2"]] == ["2021-08-01T00:00:00", "2021-08-01T22:30:00"]
    np.testing.assert_array_equal(sample.layers["s2"], [scene() + 1, scene()])


@pytest.mark.parametrize("name", ["p.tfw", "p.tifw", "p.TFW", "p.wld"])
def test_world_files_place_an_image_as_gdal_has_it(tmp_path: Path, name: str) -> None:
    write(tmp_path / "p.tif", scene(), place=None)
    (tmp_path / name).write_text("10\n0\n0\n-10\n500005\n4999995\n")
    with rasterio.open(tmp_path / "p.tif") as file:
        want = tuple(file.transform)[:6]
    assert want == (10, 0, 500000, 0, -10, 5000000)
    geo = read(tmp_path).geo
    assert geo is not None
    assert geo.transform == want


def test_a_fill_of_nan_is_for_floats_however_yaml_spells_it(tmp_path: Path) -> None:
    pixels = scene()
    pixels[0, 0, 0] = 0
    write(tmp_path / "p.tif", pixels, nodata=0)
    for fill in ("nan", float("nan")):
        found = read(tmp_path, "dtype", layers=[LAYER | {"dtype": "float32", "fill": fill}]).layers["s2"]
        assert np.argwhere(np.isnan(found)).tolist() == [[0, 0, 0, 0]]
        with pytest.raises(ManifestError, match="fill nan does not fit uint16"):
            read(tmp_path, layers=[LAYER | {"fill": fill}])
