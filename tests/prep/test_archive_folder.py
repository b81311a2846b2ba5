"""One's own imagery: the files of a sample lie on one ground, masks hold classes, and rows agree with the YAML."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint

from seamo.errors import ManifestError
from seamo_prep.archives import folder
from tests.prep.own_imagery import CLASSES, LAYER, PLACE, read, refused, scene, write

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


def test_an_id_of_published_data_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "p.tif", scene())
    read(tmp_path)
    path = tmp_path / folder.SPEC
    path.write_text(path.read_text().replace("own:", "eurosat:"))
    with pytest.raises(ManifestError, match=r"eurosat is the id of a published data set.*such as my-eurosat"):
        folder.load_spec(tmp_path)


def test_names_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    """Folders of a Mac give names with their accents apart (NFD); what people type has them together (NFC)."""
    write(tmp_path / "p.tif", scene())
    space = {"classes": [{"name": "for\u00eat"}, {"name": "eau"}]}
    said = refused(tmp_path, kind="single-label", space=space, csv="key,s2,label\np,p.tif,fore\u0302t\n")
    assert "one of the two has its accents apart (NFD): copy the name" in said
    assert "Did you mean" not in said
    assert read(tmp_path, kind="single-label", space=space, csv="key,s2,label\np,p.tif,for\u00eat\n").label == 0


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
