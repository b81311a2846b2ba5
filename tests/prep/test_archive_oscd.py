"""OSCD against rasterio and Pillow: tiles, both encodings of masks, sizes that differ, trees of other makers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from seamo.errors import ArchiveError
from seamo.store.reader import open_store
from seamo.testing.world import World
from seamo_prep.archives import oscd
from tests.prep.archive_checks import built_twice, paths_match, read_all, rewrite, rows_of, same_samples
from tests.prep.demo_stores import build_quietly

BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
IMAGES = "Onera Satellite Change Detection dataset - Images"
TRAIN = "Onera Satellite Change Detection dataset - Train Labels"
TEST = "Onera Satellite Change Detection dataset - Test Labels"
# Size (H, W) of each demo city's first date, and where its tiles start, worked out by hand.
CITIES = {
    "aguasclaras": ((170, 160), [0, 42], [0, 32]),
    "bercy": ((163, 171), [0, 35], [0, 43]),
    "bordeaux": ((156, 182), [0, 28], [0, 54]),
    "brasilia": ((170, 193), [0, 42], [0, 64, 65]),
    "montpellier": ((163, 160), [0, 35], [0, 32]),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("oscd")
    oscd.demo(root, World(seed=3), "tiny")
    return root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "raw"))


@pytest.fixture
def city(clean: Path, tmp_path: Path) -> Path:
    """RAW with montpellier alone, which has no peculiarity."""
    root = tmp_path / "raw"
    shutil.copytree(clean / IMAGES / "montpellier", root / IMAGES / "montpellier")
    shutil.copytree(clean / TEST / "montpellier", root / TEST / "montpellier")
    (root / IMAGES / "test.txt").write_text("montpellier")
    (root / IMAGES / "train.txt").write_text("")
    return root


def rio(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    bands = "|".join(BANDS)
    paths_match(clean, [
        rf"{IMAGES}/(train|test)\.txt",
        rf"{IMAGES}/[a-z_]+/dates\.txt",
        rf"{IMAGES}/[a-z_]+/imgs_[12]_rect/({bands})\.tif",
        rf"({TRAIN}|{TEST})/[a-z_]+/cm/cm\.png",
        rf"({TRAIN}|{TEST})/([a-z_]+)/cm/\2-cm\.tif",
    ])  # fmt: skip
    assert (clean / IMAGES / "train.txt").read_text() == "aguasclaras,bercy,bordeaux\n"
    for path in clean.rglob("imgs_*_rect"):
        assert sorted(file.stem for file in path.iterdir()) == sorted(BANDS)
        for file in path.iterdir():
            with rasterio.open(file) as source:
                assert (source.count, source.dtypes[0], source.res) == (1, "uint16", (10.0, 10.0))
    for path in clean.rglob("*-cm.tif"):
        assert set(np.unique(rio(path))) == {1, 2}
    assert {Image.open(path).mode for path in clean.rglob("cm.png")} == {"L", "RGBA"}


def test_tiles_are_those_of_another_reader(clean: Path) -> None:
    """Bands as they are: any zoom of 20 m or 60 m bands would show here."""
    samples = read_all("oscd", clean)
    left = set(samples)
    for city, ((height, width), rows, columns) in CITIES.items():
        with rasterio.open(clean / IMAGES / city / "imgs_1_rect" / "B02.tif") as source:
            assert source.shape == (height, width)
            place, crs = source.transform, source.crs
        images = np.full((2, 13, height, width), 65535, np.uint16)
        for date in (1, 2):
            for position, band in enumerate(BANDS):
                pixels = rio(clean / IMAGES / city / f"imgs_{date}_rect" / f"{band}.tif")
                images[date - 1, position, : pixels.shape[0], : pixels.shape[1]] = pixels
        labels = np.full((height, width), 255, np.uint8)
        picture = Image.open(next(clean.glob(f"*Labels/{city}/cm/cm.png"))).convert("RGB")
        marked = np.asarray(picture)[..., 0]
        labels[: marked.shape[0], : marked.shape[1]] = marked == 255
        for y0 in rows:
            for x0 in columns:
                key = f"{city}/y{y0:05d}_x{x0:05d}"
                left.remove(key)
                one = samples[key]
                np.testing.assert_array_equal(one.layers["s2"], images[:, :, y0 : y0 + 128, x0 : x0 + 128])
                np.testing.assert_array_equal(one.label, labels[y0 : y0 + 128, x0 : x0 + 128])
                assert (one.scene, one.offset) == (city, (y0, x0))
                assert one.geo.crs == f"EPSG:{crs.to_epsg()}"
                assert one.geo.transform == (10.0, 0.0, place.c + 10 * x0, 0.0, -10.0, place.f - 10 * y0)
                assert [str(day) for day in one.time["s2"]] == ["2016-04-12T00:00:00", "2018-04-20T00:00:00"]
    assert not left


def test_builds_in_both_layouts(clean: Path, tmp_path: Path) -> None:
    store = built_twice("oscd", clean, tmp_path)
    assert store.meta.counts.splits == {"train": 8, "val": 4, "test": 10}  # val is one whole city
    index = store.index
    assert len(set(index["scene"][index["split"] == "val"])) == 1
    assert set(index["scene"][index["split"] == "test"]) == {"brasilia", "montpellier"}


def test_what_is_a_pixel_smaller_is_padded_and_noted(clean: Path) -> None:
    ledger = dict(rows_of("oscd", clean).attrs["ledger"])
    assert ledger[f"{IMAGES}/aguasclaras/imgs_2_rect"].startswith("169 x 160 pixels where the first date has 170 x 160")
    assert ledger[f"{TRAIN}/bordeaux/cm/bordeaux-cm.tif"].startswith("156 x 181 pixels where the first date")
    samples = read_all("oscd", clean)
    bottom = samples["aguasclaras/y00042_x00000"].layers["s2"]
    assert (bottom[1, :, 127] == 65535).all()
    assert (bottom[:, :, :127] != 65535).all()
    assert (samples["bordeaux/y00000_x00054"].label[:, 127] == 255).all()


def test_what_is_a_pixel_larger_is_cut_and_noted(city: Path) -> None:
    before = read_all("oscd", city)
    for path in (city / IMAGES / "montpellier/imgs_1_rect").iterdir():
        rewrite(path, lambda pixels: pixels[:, :162])
    ledger = dict(rows_of("oscd", city).attrs["ledger"])
    assert len(ledger) == 2  # the second date and the mask
    assert all(reason.startswith("163 x 160 pixels where the first date has 162 x 160") for reason in ledger.values())
    one, two = read_all("oscd", city)["montpellier/y00034_x00032"], before["montpellier/y00035_x00032"]
    np.testing.assert_array_equal(one.layers["s2"][..., 1:, :], two.layers["s2"][..., :127, :])
    np.testing.assert_array_equal(one.label[1:], two.label[:127])


def test_both_encodings_give_one_mask(city: Path) -> None:
    folder = city / TEST / "montpellier/cm"
    both = read_all("oscd", city)
    assert {int(i) for one in both.values() for i in np.unique(one.label)} == {0, 1}
    (folder / "cm.png").unlink()
    same_samples(read_all("oscd", city), both)
    tif = folder / "montpellier-cm.tif"
    changed = rio(tif) == 2
    tif.unlink()
    grey = Image.fromarray(np.where(changed, 255, 0).astype(np.uint8))
    for mode in ("L", "1", "P", "RGB", "RGBA", "LA"):
        grey.convert(mode).save(folder / "cm.png")
        same_samples(read_all("oscd", city), both)
    Image.fromarray(np.where(changed, 2, 1).astype(np.uint8)).save(folder / "cm.png")  # the .tif's values in a .png
    with pytest.raises(ArchiveError, match=r"cm\.png: marks every pixel as changed"):
        read_all("oscd", city)


def test_masks_that_differ_are_noted_and_wrong_values_refused(city: Path) -> None:
    folder = city / TEST / "montpellier/cm"
    marked = np.array(Image.open(folder / "cm.png"))
    marked[5, 6:9] = 255 - marked[5, 6:9]
    Image.fromarray(marked).save(folder / "cm.png")
    name = f"{TEST}/montpellier/cm/cm.png"
    assert (name, "differs in 3 pixels from montpellier-cm.tif, which is read") in rows_of("oscd", city).attrs["ledger"]
    (folder / "cm.png").unlink()
    rewrite(folder / "montpellier-cm.tif", lambda pixels: pixels - 1)
    with pytest.raises(ArchiveError, match=r"montpellier-cm\.tif: mask holds 0, which is no class"):
        read_all("oscd", city)


def test_dates_are_sorted_with_their_images(city: Path) -> None:
    before = read_all("oscd", city)
    (city / IMAGES / "montpellier/dates.txt").write_text("date_1: 20180420\r\ndate_2: 20160412\r\n")
    for key, one in read_all("oscd", city).items():
        assert [str(day)[:4] for day in one.time["s2"]] == ["2016", "2018"]
        np.testing.assert_array_equal(one.layers["s2"], before[key].layers["s2"][::-1])


def shrink(root: Path, height: int, width: int) -> None:
    for path in [*root.rglob("B*.tif"), *root.rglob("*-cm.tif")]:
        rewrite(path, lambda pixels: pixels[:, :height, :width])
    for path in root.rglob("cm.png"):
        Image.fromarray(np.asarray(Image.open(path))[:height, :width]).save(path)


def test_an_image_smaller_than_a_tile(city: Path) -> None:
    shrink(city, 64, 64)
    with pytest.raises(ArchiveError, match=r"64 x 64 pixels, smaller than a tile of 128.*--relax shape"):
        rows_of("oscd", city)
    samples = read_all("oscd", city, "shape")
    assert [(key, one.layers["s2"].shape) for key, one in samples.items()] == [
        ("montpellier/y00000_x00000", (2, 13, 64, 64))
    ]
    assert samples["montpellier/y00000_x00000"].label.shape == (64, 64)


def test_small_and_large_cities_in_one_store(root: Path, tmp_path: Path) -> None:
    shrink(root / IMAGES / "montpellier", 100, 150)
    shrink(root / TEST / "montpellier", 100, 150)
    store = open_store(build_quietly("oscd", root, tmp_path / "stores", relax=("shape",)).path)
    shapes = {key: store[store.row(key)].layers["s2"].shape[2:] for key in store.index["key"] if "m" in key}
    assert shapes == {"montpellier/y00000_x00000": (100, 128), "montpellier/y00000_x00022": (100, 128)}
    assert store[store.row("bercy/y00000_x00000")].layers["s2"].shape == (2, 13, 128, 128)


def test_a_tree_without_lists_dates_and_published_band_names(tmp_path: Path) -> None:
    """As test data of other libraries look: 64 pixels, no lists, no dates, noise in cm.png."""
    rng = np.random.default_rng(5)
    for city, tree in (("train1", TRAIN), ("train2", TRAIN), ("test", TEST)):
        for date in (1, 2):
            folder = tmp_path / IMAGES / city / f"imgs_{date}_rect"
            folder.mkdir(parents=True)
            for band in BANDS:
                profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint16"}
                profile |= {"transform": rasterio.Affine(10, 0, 500000, 0, -10, 4000000), "crs": "EPSG:32636"}
                with rasterio.open(folder / f"T36RUU_2017_{band}.tif", "w", **profile) as file:
                    file.write(rng.integers(0, 3000, (64, 64)).astype("uint16"), 1)
        (tmp_path / tree / city / "cm").mkdir(parents=True)
        noise = rng.integers(0, 255, (64, 64)).astype("uint8")
        Image.fromarray(noise).save(tmp_path / tree / city / "cm/cm.png")
    rows = rows_of("oscd", tmp_path, "shape", "names")
    assert dict(zip(rows["scene"], rows["split"], strict=True)) == {
        "train1": "train",
        "train2": "train",
        "test": "test",
    }
    samples = read_all("oscd", tmp_path, "shape", "names")
    np.testing.assert_array_equal(samples["test/y00000_x00000"].label, noise != 0)
    assert samples["test/y00000_x00000"].time == {}
    stores = tmp_path.with_name(f"{tmp_path.name}-stores")
    built = open_store(build_quietly("oscd", tmp_path, stores, relax=("names", "shape")).path)
    assert built.meta.counts.samples == 3


def test_without_labels_and_without_a_city(root: Path, tmp_path: Path) -> None:
    (root / "SYNTHETIC.json").unlink()  # as if it were the published archive
    shutil.rmtree(root / TEST)
    shutil.rmtree(root / IMAGES / "bercy")
    store = open_store(build_quietly("oscd", root, tmp_path / "stores").path)
    assert store.meta.subset == "4 of 5 cities; 10 samples without label"
    ledger = (store.path / "ledger.json").read_text()
    assert f"{IMAGES}/bercy" in ledger
    assert "in train.txt, but not there" in ledger


def test_lists_and_labels_must_agree(root: Path) -> None:
    (root / IMAGES / "train.txt").write_text("aguasclaras,bercy")
    (root / IMAGES / "test.txt").write_text("brasilia , montpellier\nbordeaux,")
    with pytest.raises(ArchiveError, match=r"bordeaux: is in test\.txt, but has train labels"):
        rows_of("oscd", root)
    (root / IMAGES / "train.txt").write_text("aguasclaras,brasilia")
    with pytest.raises(ArchiveError, match=r"names brasilia, which is in train\.txt"):
        rows_of("oscd", root)


BAD = {
    "no band": (
        lambda c: (c / IMAGES / "montpellier/imgs_2_rect/B8A.tif").unlink(), r"B8A\.tif: the file is not there",
    ),
    "band cut": (
        lambda c: rewrite(c / IMAGES / "montpellier/imgs_1_rect/B05.tif", lambda p: p[:, :82, :80]),
        r"B05\.tif: is of another size than|pixels instead of",
    ),
    "second date": (
        lambda c: [rewrite(p, lambda x: x[:, :150]) for p in (c / IMAGES / "montpellier/imgs_2_rect").iterdir()],
        r"imgs_2_rect: 150 x 160 pixels where the first date has 163 x 160.*--relax shape",
    ),
    "dtype": (
        lambda c: rewrite(c / IMAGES / "montpellier/imgs_1_rect/B05.tif", lambda p: p.astype("float32")),
        r"B05\.tif: dtype float32 instead of uint16",
    ),
    "no mask": (lambda c: shutil.rmtree(c / TEST / "montpellier/cm"), "has no mask"),
    "no dates": (lambda c: (c / IMAGES / "montpellier/dates.txt").unlink(), r"dates\.txt: the file is not there"),
    "half a date": (
        lambda c: (c / IMAGES / "montpellier/dates.txt").write_text("date_1: 20161130"),
        "does not say date_1 and date_2",
    ),
    "no day": (
        lambda c: (c / IMAGES / "montpellier/dates.txt").write_text("date_1: 20161130\ndate_2: 20161340"),
        "has no valid date",
    ),
    "png": (
        lambda c: [
            (c / TEST / "montpellier/cm/montpellier-cm.tif").unlink(),
            (c / TEST / "montpellier/cm/cm.png").write_bytes((c / TEST / "montpellier/cm/cm.png").read_bytes()[:90]),
        ],
        r"cm\.png: cannot be decoded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_archives_name_what_is_wrong(city: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(city)
    with pytest.raises(ArchiveError, match=message):
        read_all("oscd", city)


def test_zips_read_as_the_extracted_tree(clean: Path, tmp_path: Path) -> None:
    for top in (IMAGES, TRAIN, TEST):
        shutil.make_archive(str(tmp_path / top), "zip", clean, top)
    shutil.copy(clean / "SYNTHETIC.json", tmp_path)
    same_samples(read_all("oscd", tmp_path), read_all("oscd", clean))
