"""fMoW-Sentinel against rasterio and the csv module: rows decide, sizes vary, times have fractions."""

import csv
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import ArchiveError
from seamo.manifest import shipped_manifest
from seamo.store.format import bucket_of
from seamo.testing.world import World
from seamo_prep.archives import load_archive
from seamo_prep.unpack import Raw
from seamo_prep.verify import verify
from tests.prep.published import assert_equal_samples, built, ledger_of, read_samples

ID = "fmow-sentinel"
PATH = r"fmow-sentinel/(train|val|test_gt)/([a-z_-]+)/\2_\d+/\2_\d+_\d+\.tif"
S2 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
CATEGORIES = [
    "airport", "airport_hangar", "airport_terminal", "amusement_park", "aquaculture", "archaeological_site", "barn",
    "border_checkpoint", "burial_site", "car_dealership", "construction_site", "crop_field", "dam",
    "debris_or_rubble", "educational_institution", "electric_substation", "factory_or_powerplant", "fire_station",
    "flooded_road", "fountain", "gas_station", "golf_course", "ground_transportation_station", "helipad",
    "hospital", "impoverished_settlement", "interchange", "lake_or_pond", "lighthouse", "military_facility",
    "multi-unit_residential", "nuclear_powerplant", "office_building", "oil_or_gas_facility", "park",
    "parking_lot_or_garage", "place_of_worship", "police_station", "port", "prison", "race_track", "railway_bridge",
    "recreational_facility", "road_bridge", "runway", "shipyard", "shopping_mall", "single-unit_residential",
    "smokestack", "solar_farm", "space_facility", "stadium", "storage_tank", "surface_mine", "swimming_pool",
    "toll_booth", "tower", "tunnel_opening", "waste_disposal", "water_treatment_facility", "wind_farm", "zoo",
]  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fmow")
    load_archive(ID).demo(root, World(seed=5), "tiny")
    return root


@pytest.fixture
def demo(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "raw"))


def rows_of(root: Path, part: str) -> list[dict[str, str]]:
    with (root / f"{part}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def change_csv(root: Path, part: str, change: Callable[[str], str]) -> None:
    path = root / f"{part}.csv"
    path.write_text(change(path.read_text()))


def rewrite(path: Path, pixels: np.ndarray, *, placed: bool = True) -> None:
    with rasterio.open(path) as source:
        profile = source.profile
    profile |= {"count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    if not placed:
        profile |= {"crs": None, "transform": None}
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)


def test_62_categories_in_order_of_the_alphabet() -> None:
    assert len(CATEGORIES) == 62
    assert list(shipped_manifest()[ID].label_space().names) == CATEGORIES == sorted(CATEGORIES)
    expected = shipped_manifest()[ID].expected
    assert expected.samples == 712874 + 84939 + 84966
    assert expected.splits["official"] == {"train": 712874, "test": 84939}


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    sizes = set()
    for path in clean.rglob("*.tif"):
        name = path.relative_to(clean).as_posix()
        assert re.fullmatch(PATH, name), name
        with rasterio.open(path) as source:
            assert (source.count, source.dtypes[0]) == (13, "uint16")
            sizes.add(source.shape)
    assert len(sizes) > 10
    for part in ("train", "val", "test_gt"):
        lines = (clean / f"{part}.csv").read_text().splitlines()
        assert lines[0] == ",category,location_id,image_id,timestamp,polygon"
    names = {path.name for path in clean.iterdir()}
    assert names == {"fmow-sentinel", "train.csv", "val.csv", "test_gt.csv", "SYNTHETIC.json"}


def test_samples_are_the_rows_of_the_csv(clean: Path) -> None:
    found = {sample.key: sample for sample in read_samples(ID, clean)}
    fractions = 0
    for part in ("train", "val", "test_gt"):
        for row in rows_of(clean, part):
            stem = f"{row['category']}_{row['location_id']}"
            sample = found.pop(f"{part}/{stem}_{row['image_id']}")
            path = clean / "fmow-sentinel" / part / row["category"] / stem / f"{stem}_{row['image_id']}.tif"
            with rasterio.open(path) as source:
                np.testing.assert_array_equal(sample.layers["s2"][0], source.read())
                assert sample.geo.transform == tuple(source.transform)[:6]
            assert sample.label == CATEGORIES.index(row["category"])
            assert sample.scene == f"{part}/{stem}"
            fractions += "." in row["timestamp"]
            assert str(sample.time["s2"][0]) == row["timestamp"].partition(".")[0].removesuffix("Z")
            assert sample.layers["s2"][0, S2.index("B10")].mean() < 100
    assert found == {}
    assert fractions > 0


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_builds_in_buckets_with_val_csv_as_test(clean: Path, tmp_path: Path, layout: str) -> None:
    store = built(ID, clean, tmp_path, layout=layout)
    table = store.read_index(["key", "split", "scene", "height", "width", "s2.bucket"])
    train, test = len(rows_of(clean, "train")), len(rows_of(clean, "val"))
    found = store.meta.counts.splits
    assert (found["train"] + found["val"], found["test"], found[""]) == (train, test, len(rows_of(clean, "test_gt")))
    assert found["val"] >= 1
    for row in table.itertuples(index=False):
        part = row.key.split("/")[0]
        assert row.split in {"train": ("train", "val"), "val": ("test",), "test_gt": ("",)}[part]
        if layout == "zarr":
            assert row[5] == bucket_of(row.height, row.width)
    assert (table.groupby("scene")["split"].nunique() == 1).all()
    for row in range(len(store)):
        assert store[row].layers["s2"].shape == (1, 13, table["height"][row], table["width"][row])
    assert [one for one in verify(store, deep=True, leaks=True, say=lambda _: None) if one.severity == "error"] == []


def test_files_in_no_csv_are_left_out_with_a_note(clean: Path) -> None:
    (entry,) = ledger_of(ID, clean)
    assert re.fullmatch(r"fmow-sentinel/val/airport/airport_0/airport_0_3\.tif", entry[0])
    assert entry[1] == "not in val.csv"


def test_location_numbers_are_unique_within_split_and_category_only(clean: Path) -> None:
    keys = [sample.key for sample in read_samples(ID, clean)]
    same = [key for key in keys if key.endswith("airport_0_0")]
    assert sorted(same) == ["test_gt/airport_0_0", "train/airport_0_0", "val/airport_0_0"]
    assert len({key.rpartition("/")[2] for key in keys}) < len(keys) == len(set(keys))


def test_a_row_without_its_file_is_an_error(demo: Path, tmp_path: Path) -> None:
    path = min(demo.rglob("airport_1_101.tif"))
    path.unlink()
    with pytest.raises(ArchiveError, match=r"airport_1_101\.tif: the file is not there"):
        read_samples(ID, demo)
    store = built(ID, demo, tmp_path / "out", on_bad="skip")
    assert store.meta.counts.bad == 1


def test_a_missing_csv(demo: Path, tmp_path: Path) -> None:
    (demo / "test_gt.csv").unlink()
    assert {sample.key.split("/")[0] for sample in read_samples(ID, demo)} == {"train", "val"}
    assert ("fmow-sentinel/test_gt", "test_gt.csv is not there") in ledger_of(ID, demo)
    (demo / "val.csv").unlink()
    assert built(ID, demo, tmp_path / "out").meta.split_scheme == "hash-60-20-20"
    (demo / "train.csv").unlink()
    with pytest.raises(ArchiveError, match=r"no train\.csv, val\.csv or test_gt\.csv"):
        read_samples(ID, demo)


def test_other_spellings(demo: Path, clean: Path) -> None:
    (demo / "test_gt.csv").rename(demo / "test-gt.csv")
    (demo / "fmow-sentinel" / "test_gt").rename(demo / "fmow-sentinel" / "test")
    for one, two in zip(read_samples(ID, demo), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)


def test_the_tree_has_the_name_of_the_data_set(demo: Path, clean: Path) -> None:
    """RAW/fmow-sentinel is the published tree, and is not taken for RAW."""
    (demo / "SYNTHETIC.json").unlink()
    assert Raw(demo, shipped_manifest()[ID]).root == demo
    assert len(read_samples(ID, demo)) == len(read_samples(ID, clean))
    assert Raw(demo.parent / "raw", shipped_manifest()[ID]).tops == ("fmow-sentinel",)


def test_the_published_tar_gz(clean: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "fmow-sentinel.tar.gz", "w:gz") as tar:
        tar.add(clean / "fmow-sentinel", "fmow-sentinel")
    for part in ("train", "val", "test_gt"):
        shutil.copy(clean / f"{part}.csv", tmp_path)
    for one, two in zip(read_samples(ID, tmp_path), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)


def test_missing_pixels(demo: Path) -> None:
    path = min(demo.rglob("airport_0_0.tif"))
    with rasterio.open(path) as source:
        pixels = source.read()
    pixels[:, 0, 0] = 0
    pixels[:12, 0, 1] = 0  # one band is left: a measurement
    rewrite(path, pixels)
    found = next(one for one in read_samples(ID, demo) if one.key == "test_gt/airport_0_0").layers["s2"][0]
    assert (found[:, 0, 0] == 65535).all()
    assert (found == 65535).sum() == 13
    np.testing.assert_array_equal(found[:, 0, 1], pixels[:, 0, 1])


def test_float_files(demo: Path) -> None:
    path = min(demo.rglob("airport_0_0.tif"))
    with rasterio.open(path) as source:
        pixels = source.read().astype(np.float64)
    pixels[:, 1, 1] += 0.25
    pixels[3, 0, 0] = np.nan
    rewrite(path, pixels)
    with pytest.raises(ArchiveError, match=r"dtype float64 instead of uint16.*--relax dtype"):
        read_samples(ID, demo)
    found = next(one for one in read_samples(ID, demo, "dtype") if one.key == "test_gt/airport_0_0").layers["s2"][0]
    want = np.floor(pixels)
    want[:, 0, 0] = 65535
    np.testing.assert_array_equal(found, want)
    rewrite(path, -pixels)
    with pytest.raises(ArchiveError, match="do not fit uint16"):
        read_samples(ID, demo, "dtype")


def test_the_box_of_the_csv_serves_where_a_file_has_no_place(demo: Path) -> None:
    path = min(demo.rglob("airport_0_0.tif"))
    with rasterio.open(path) as source:
        pixels, bounds = source.read(), source.bounds
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        rewrite(path, pixels, placed=False)
    sample = next(one for one in read_samples(ID, demo) if one.key == "test_gt/airport_0_0")
    assert sample.geo.crs == "EPSG:4326"
    a, _, left, _, e, top = sample.geo.transform
    got = (left, top + e * pixels.shape[1], left + a * pixels.shape[2], top)
    np.testing.assert_allclose(got, tuple(bounds), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("category,", "kategory,", 1), "has no column 'category'"),
        (lambda text: text.replace(",airport,0,", ",false_detection,0,", 1), "no category 'false_detection'"),
        (lambda text: text.replace("2017-06-05T", "2017-16-05T", 1), "time stamp that is none"),
        (lambda text: text.replace("2017-06-05T10:31:22Z", "", 1), "a row without a time stamp"),
        (lambda text: text.replace(",airport,0,", ",airport,zero,", 1), "column location_id holds something else"),
        (lambda text: text + text.splitlines()[1] + "\n", "twice"),
        (lambda text: text[:0], "is not a csv"),
    ],
)
def test_bad_csv(demo: Path, change: Callable[[str], str], why: str) -> None:
    before = (demo / "train.csv").read_text()
    change_csv(demo, "train", change)
    assert (demo / "train.csv").read_text() != before
    with pytest.raises(ArchiveError, match=rf"train\.csv.*{why}"):
        read_samples(ID, demo)


def test_bad_rasters(demo: Path) -> None:
    path = min(demo.rglob("airport_0_0.tif"))
    with rasterio.open(path) as source:
        pixels = source.read()
    rewrite(path, pixels[:12])
    with pytest.raises(ArchiveError, match=r"airport_0_0\.tif: 12 bands instead of 13"):
        read_samples(ID, demo)
    pixels[0, 0, 0] = 65535
    rewrite(path, pixels)
    with pytest.raises(ArchiveError, match="holds 65535"):
        read_samples(ID, demo)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ArchiveError, match="cut short"):
        read_samples(ID, demo)
