"""S1S2-Water, both sensors, against rasterio: grids, masks, validity, splits, parts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from seamo.errors import ArchiveError
from seamo.manifest import shipped_manifest
from seamo.store.reader import open_store
from seamo.testing.world import World
from seamo_prep.archives import s1s2_water_s1
from seamo_prep.archives._tiles import open_raster
from seamo_prep.unpack import Raw
from tests.prep.archive_checks import built_twice, paths_match, read_all, rewrite, rows_of, same_samples
from tests.prep.demo_stores import build_quietly

SENSORS = ("s1", "s2")
FILL = {"s1": -32768, "s2": 65535}
BANDS = {"s1": ("VV", "VH"), "s2": ("B02", "B03", "B04", "B08", "B11", "B12")}  # Blue, Green, Red, NIR, SWIR1, SWIR2
SPLITS = {"1": "train", "5": "train", "6": "val", "7": "test"}
DAYS = {"s1": "2019-06-11", "s2": "2019-06-13"}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("s1s2")
    s1s2_water_s1.demo(root, World(seed=3), "tiny")
    return root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    """One scene of the demo."""
    shutil.copytree(clean / "data/5", tmp_path / "raw/data/5")
    shutil.copy(clean / "SYNTHETIC.json", tmp_path / "raw")
    return tmp_path / "raw"


def file(root: Path, sensor: str, kind: str, scene: str = "5") -> Path:
    return root / f"data/{scene}/sentinel12_{sensor}_{scene}_{kind}.tif"


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    paths_match(clean, [
        r"data/catalog\.json",
        r"data/(\d+)/sentinel12_(s1|s2)_\1_(img|msk|valid)\.tif",
        r"data/(\d+)/sentinel12_copdem30_\1_(elevation|slope)\.tif",
        r"data/(\d+)/sentinel12_\1_meta\.json",
    ])  # fmt: skip
    for scene in SPLITS:
        kinds = {"s1": ("int16", 2, (613, 613), 9.0), "s2": ("uint16", 6, (552, 552), 10.0)}
        for sensor, (dtype, count, shape, metres) in kinds.items():
            for kind, one in (("img", (dtype, count)), ("msk", ("uint8", 1)), ("valid", ("uint8", 1))):
                with rasterio.open(file(clean, sensor, kind, scene)) as source:
                    assert (source.dtypes[0], source.count) == one
                    assert (source.shape, source.res) == (shape, (metres, metres))
                    assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


@pytest.mark.parametrize("sensor", SENSORS)
def test_tiles_are_those_of_another_reader(clean: Path, sensor: str) -> None:
    samples = read_all(f"s1s2-water-{sensor}", clean)
    expected_keys = []
    for scene in SPLITS:
        with rasterio.open(file(clean, sensor, "img", scene)) as source:
            image, place, crs = source.read(), source.transform, source.crs
        mask, valid = (rasterio.open(file(clean, sensor, kind, scene)).read(1) for kind in ("msk", "valid"))
        for y0 in (0, 256):
            for x0 in (0, 256):  # 40 or 101 pixels remain and are dropped
                where = np.s_[y0 : y0 + 256, x0 : x0 + 256]
                if not valid[where].any():
                    continue
                key = f"{scene}/y{y0:05d}_x{x0:05d}"
                expected_keys.append(key)
                one = samples[key]
                pixels = np.where(valid[where] == 1, image[:, *where], FILL[sensor])
                np.testing.assert_array_equal(one.layers[sensor], pixels[None])
                np.testing.assert_array_equal(one.label, np.where(valid[where] == 1, mask[where], 255))
                assert one.geo.crs == f"EPSG:{crs.to_epsg()}"
                assert one.geo.transform == (place.a, 0.0, place.c + place.a * x0, 0.0, place.e, place.f + place.e * y0)
                assert (one.scene, one.offset) == (scene, (y0, x0))
                assert one.time[sensor] == np.array([DAYS[sensor]], "datetime64[s]")
    assert list(samples) == sorted(expected_keys)
    assert len(samples) == {"s1": 16, "s2": 13}[sensor]  # a cloud covers one whole tile in each of scenes 1, 5 and 7
    assert {int(i) for one in samples.values() for i in np.unique(one.label)} == {0, 1, 255}


@pytest.mark.parametrize("sensor", SENSORS)
def test_builds_in_both_layouts(clean: Path, tmp_path: Path, sensor: str) -> None:
    store = built_twice(f"s1s2-water-{sensor}", clean, tmp_path)
    assert store.spec.layer(sensor).bands == BANDS[sensor]
    index = store.index
    for scene, split in SPLITS.items():
        assert set(index["split"][index["scene"] == scene]) == {split}
    scale = 100 if sensor == "s1" else 1
    band = store.meta.statistics["all"][sensor][BANDS[sensor][0]]
    low, high = {"s1": (-25, 0), "s2": (300, 3000)}[sensor]  # dB after division by 100; DN of the blue band
    assert low < band["mean"] / scale < high


def test_sentinel_1_is_decibel_times_100(clean: Path) -> None:
    """Against the world's own radar, on the demo's grid of 9 m."""
    assert shipped_manifest()["s1s2-water-s1"].layer("s1").unit == "db*100"
    place = World(seed=3).scene("s1s2-water/5", 276, focus=("river", "sea", "wetland", "river")[5 % 4])
    radar = place.s1(np.datetime64("2019-06-11"))
    tile = read_all("s1s2-water-s1", clean)["5/y00000_x00256"].layers["s1"][0] / 100
    rows, cols = ((np.arange(start, start + 256) + 0.5) * 9 / 20 for start in (0, 256))
    for position, name in enumerate(("VV", "VH")):
        expected = radar[name][np.ix_(rows.astype(int), cols.astype(int))]
        np.testing.assert_allclose(tile[position], expected, atol=0.00501)


def test_the_sensors_do_not_share_a_grid(clean: Path) -> None:
    s1, s2 = (read_all(f"s1s2-water-{sensor}", clean)["6/y00256_x00256"] for sensor in SENSORS)
    assert s1.geo.transform[0] == 9.0
    assert s2.geo.transform[0] == 10.0
    assert (s1.geo.transform[2], s1.geo.transform[5]) != (s2.geo.transform[2], s2.geo.transform[5])
    assert not np.array_equal(s1.label, s2.label)


@pytest.mark.parametrize("sensor", SENSORS)
def test_parts_read_as_the_extracted_tree(clean: Path, tmp_path: Path, sensor: str) -> None:
    """Whatever folder the parts hold around the scenes."""
    expected = read_all(f"s1s2-water-{sensor}", clean)
    around = {"part1": ("data", ("1",)), "part2": ("", ("5",)), "part6": ("part6", ("6", "7"))}
    for part, (folder, scenes) in around.items():
        for scene in scenes:
            shutil.copytree(clean / "data" / scene, tmp_path / part / folder / scene)
        shutil.make_archive(str(tmp_path / "raw" / part), "zip", tmp_path / part)
    shutil.copy(clean / "SYNTHETIC.json", tmp_path / "raw")
    same_samples(read_all(f"s1s2-water-{sensor}", tmp_path / "raw"), expected)
    # One part was unpacked beside the others: its archive is not read.
    shutil.copytree(clean / "data/1", tmp_path / "raw/data/1")
    raw = Raw(tmp_path / "raw", shipped_manifest()[f"s1s2-water-{sensor}"])
    assert raw.ignored == ("part1.zip (all that it holds is already there)",)
    same_samples(read_all(f"s1s2-water-{sensor}", tmp_path / "raw"), expected)


def test_rasters_are_opened_where_they_lie(clean: Path, tmp_path: Path) -> None:
    spec = shipped_manifest()["s1s2-water-s2"]
    name = "data/6/sentinel12_s2_6_img.tif"
    with rasterio.open(clean / name) as source:
        expected = source.read(window=Window(0, 256, 552, 256))
    for form in ("zip", "tar", "gztar"):
        folder = tmp_path / form
        folder.mkdir()
        path = Path(shutil.make_archive(str(folder / "part1"), form, clean, "data"))
        own = spec.model_copy(update={"archives": (spec.archives[0].model_copy(update={"name": path.name}),)})
        raw = Raw(folder, own)
        found = raw.gdal_path(name)
        prefix = {"zip": "/vsizip/", "tar": "/vsisubfile/", "gztar": None}[form]
        assert found is None if prefix is None else found.startswith(prefix)
        with open_raster(raw, name) as opened:
            np.testing.assert_array_equal(opened.rows(256, 256), expected)


def test_a_scene_without_one_sensor(clean: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(clean, tmp_path / "raw"))
    for kind in ("img", "msk", "valid"):
        file(root, "s1", kind, "6").unlink()
    rows = rows_of("s1s2-water-s1", root)
    assert set(rows["scene"]) == {"1", "5", "7"}
    assert "data/6" in dict(rows.attrs["ledger"])
    assert len(rows_of("s1s2-water-s2", root)) == 13
    file(root, "s1", "msk", "7").unlink()  # but a sensor's files belong together
    with pytest.raises(ArchiveError, match=r"sentinel12_s1_7_msk\.tif: the file is not there"):
        rows_of("s1s2-water-s1", root)


def test_fewer_scenes_are_a_subset(root: Path, tmp_path: Path) -> None:
    (root / "SYNTHETIC.json").unlink()
    with pytest.raises(ArchiveError, match=r"552 x 552 pixels instead of 10980 x 10980.*--relax shape"):
        rows_of("s1s2-water-s2", root)
    store = open_store(build_quietly("s1s2-water-s2", root, tmp_path / "stores", relax=("shape",)).path)
    assert store.meta.subset == "1 of 65 scenes"
    assert store.title == "S1S2-Water, Sentinel-2 subset (3 of unknown)"


def test_what_the_mask_says_of_invalid_pixels_does_not_matter(clean: Path, root: Path) -> None:
    valid = rasterio.open(file(clean, "s2", "valid")).read()
    rewrite(file(root, "s2", "msk"), lambda pixels: np.where(valid == 1, pixels, 255).astype("uint8"))
    before = read_all("s1s2-water-s2", clean)
    for key, one in read_all("s1s2-water-s2", root).items():
        np.testing.assert_array_equal(one.label, before[key].label)


def edit_stac(root: Path, **properties: object) -> None:
    path = root / "data/5/sentinel12_5_meta.json"
    item = json.loads(path.read_text())
    item["properties"] |= properties
    path.write_text(json.dumps(item))


@pytest.mark.parametrize("date", ["20190613", "2019-06-13T10:20:30Z", "2019-06-13"])
def test_split_and_date_come_from_the_stac_item(root: Path, date: str) -> None:
    edit_stac(root, split="test", date_s2=date)
    assert set(rows_of("s1s2-water-s2", root)["split"]) == {"test"}
    (one, *_) = read_all("s1s2-water-s2", root).values()
    assert str(one.time["s2"][0])[:10] == "2019-06-13"


BAD = {
    "split": (lambda r: edit_stac(r, split="validation"), r"_meta\.json: split 'validation' is not train, val or test"),
    "date": (lambda r: edit_stac(r, date_s2="last summer"), r"date_s2 'last summer' is no date"),
    "no STAC": (lambda r: (r / "data/5/sentinel12_5_meta.json").unlink(), r"_meta\.json: the file is not there"),
    "a list": (lambda r: (r / "data/5/sentinel12_5_meta.json").write_text("[]"), "is not a STAC item with a split"),
    "no JSON": (lambda r: (r / "data/5/sentinel12_5_meta.json").write_text("{"), "is not a STAC item with a split"),
    "mask of another size": (lambda r: rewrite(file(r, "s2", "msk"), lambda p: p[:, 1:]), "is on another grid"),
    "mask elsewhere": (
        lambda r: rewrite(file(r, "s2", "valid"), lambda p: p, transform=rasterio.Affine(10, 0, 0, 0, -10, 0)),
        r"s2_5_valid\.tif: is on another grid than its image",
    ),
    "mask of 255": (lambda r: rewrite(file(r, "s2", "msk"), lambda p: 255 * p), r"msk\.tif: mask holds 255"),
    "validity of 255": (lambda r: rewrite(file(r, "s2", "valid"), lambda p: 255 * p), "holds 255 instead of 0 and 1"),
    "five bands": (lambda r: rewrite(file(r, "s2", "img"), lambda p: p[:5]), "5 bands instead of 6"),
    "reflectance": (
        lambda r: rewrite(file(r, "s2", "img"), lambda p: (p / 10000).astype("float32")),
        r"img\.tif: dtype float32 instead of uint16",
    ),
    "cut short": (
        lambda r: file(r, "s2", "img").write_bytes(file(r, "s2", "img").read_bytes()[:100_000]),
        r"s2_5_img\.tif: cannot be decoded",
    ),
    "no TIFF": (lambda r: file(r, "s2", "valid").write_bytes(b"nothing"), r"s2_5_valid\.tif: cannot be decoded"),
    "nothing": (lambda r: shutil.rmtree(r / "data"), "no tiles of s2 with valid pixels"),
    "all clouds": (lambda r: rewrite(file(r, "s2", "valid"), lambda p: 0 * p), "no tiles of s2 with valid pixels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_archives_name_what_is_wrong(root: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(root)
    with pytest.raises(ArchiveError, match=message):
        read_all("s1s2-water-s2", root)
