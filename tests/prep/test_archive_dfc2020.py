"""DFC2020 against rasterio: names, folders, crops worked out by hand, labels, splits."""

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from seamo.errors import ArchiveError
from seamo.testing.world import World
from seamo_prep.archives import load_archive
from seamo_prep.verify import verify
from tests.prep.published import assert_equal_samples, built, ledger_of, read_samples

ID = "dfc2020"
# Pattern of a path -> bands and dtype; every raster has 256 x 256 pixels.
TABLE = {
    r"ROIs0000_(test)/s1_0/ROIs0000_test_s1_0_p\d+\.tif": (2, "float64"),
    r"ROIs0000_(test)/s2_0/ROIs0000_test_s2_0_p\d+\.tif": (13, "uint16"),
    r"ROIs0000_(test)/dfc_0/ROIs0000_test_dfc_0_p\d+\.tif": (1, "uint8"),
    r"ROIs0000_(test)/lc_0/ROIs0000_test_lc_0_p\d+\.tif": (4, "uint16"),
    r"ROIs0000_validation/s1_validation/ROIs0000_validation_s1_0_p\d+\.tif": (2, "float64"),
    r"ROIs0000_validation/s2_validation/ROIs0000_validation_s2_0_p\d+\.tif": (13, "uint16"),
    r"ROIs0000_validation/dfc_validation/ROIs0000_validation_dfc_0_p\d+\.tif": (1, "uint8"),
    r"ROIs0000_validation/lc_validation/ROIs0000_validation_lc_0_p\d+\.tif": (4, "uint16"),
}
S2 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
# As Copernicus-Bench and SSLTransformerRS have it: label of the contest -> class of 8.
CLASS_OF = {0: 255, 1: 0, 2: 1, 3: 255, 4: 2, 5: 3, 6: 4, 7: 5, 8: 255, 9: 6, 10: 7}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dfc")
    load_archive(ID).demo(root, World(seed=5), "tiny")
    return root


@pytest.fixture
def demo(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "raw"))


def pixels_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def one_raster(root: Path, kind: str, part: str = "test", number: int = 0) -> Path:
    (path,) = root.rglob(f"ROIs0000_{part}_{kind}_0_p{number}.tif")
    return path


def rewrite(path: Path, pixels: np.ndarray) -> None:
    with rasterio.open(path) as source:
        profile = source.profile
    profile |= {"count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    seen = set()
    for path in clean.rglob("*.tif"):
        name = path.relative_to(clean).as_posix()
        (pattern,) = (one for one in TABLE if re.fullmatch(one, name))
        seen.add(pattern)
        with rasterio.open(path) as source:
            assert (source.count, source.dtypes[0]) == TABLE[pattern], name
            assert source.shape == (256, 256)
            assert source.crs is not None
    assert seen == set(TABLE)
    assert {path.name for path in clean.iterdir()} == {"SYNTHETIC.json", "ROIs0000_test", "ROIs0000_validation"}


def test_crops_are_those_that_rasterio_reads(clean: Path) -> None:
    found = {sample.key: sample for sample in read_samples(ID, clean)}
    assert len(found) == 9 * 4
    for part, numbers in (("test", (0, 1, 2)), ("validation", (0,))):
        for number in numbers:
            s1, s2, dfc = (one_raster(clean, kind, part, number) for kind in ("s1", "s2", "dfc"))
            with rasterio.open(s2) as source:
                transform, epsg = source.transform, source.crs.to_epsg()
            for y0 in (0, 80, 160):
                for x0 in (0, 80, 160):
                    sample = found.pop(f"ROIs0000_{part}/p{number}_{y0}_{x0}")
                    window = (slice(None), slice(y0, y0 + 96), slice(x0, x0 + 96))
                    np.testing.assert_array_equal(sample.layers["s2"][0], pixels_of(s2)[window])
                    np.testing.assert_array_equal(sample.layers["s1"][0], pixels_of(s1)[window].astype("float32"))
                    labels = np.vectorize(CLASS_OF.get)(pixels_of(dfc)[0][window[1:]])
                    np.testing.assert_array_equal(sample.label, labels)
                    assert (sample.scene, sample.offset) == (f"ROIs0000_{part}/p{number}", (y0, x0))
                    assert sample.geo.crs == f"EPSG:{epsg}"
                    assert sample.geo.transform[2::3] == (transform.c + 10 * x0, transform.f - 10 * y0)
    assert found == {}
    assert (sample.layers["s2"][0, S2.index("B10")].mean()) < 100  # cirrus
    assert abs(sample.layers["s2"][0, 8].mean() / sample.layers["s2"][0, 7].mean() - 1) < 0.35  # B8A beside B08


def test_published_counts() -> None:
    """5,128 x 9 and 986 x 9, of patches that are in the official test and validation folder."""
    from seamo.manifest import shipped_manifest

    expected = shipped_manifest()[ID].expected
    assert expected.splits["official"] == {"train": 5128 * 9, "test": 986 * 9} == {"train": 46152, "test": 8874}
    assert expected.samples == 46152 + 8874


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_train_is_the_test_folder_and_patches_stay_whole(clean: Path, tmp_path: Path, layout: str) -> None:
    store = built(ID, clean, tmp_path, layout=layout)
    table = store.read_index(["key", "split", "scene"])
    splits = {(str(key).split("/")[0], str(split)) for key, split in zip(table["key"], table["split"], strict=True)}
    assert splits == {("ROIs0000_test", "train"), ("ROIs0000_test", "val"), ("ROIs0000_validation", "test")}
    assert (table.groupby("scene")["split"].nunique() == 1).all()
    assert store.meta.counts.splits == {"train": 18, "val": 9, "test": 9}
    assert [one for one in verify(store, deep=True, leaks=True, say=lambda _: None) if one.severity == "error"] == []


def test_keys_tell_the_folders_apart(clean: Path) -> None:
    keys = [sample.key for sample in read_samples(ID, clean)]
    assert {"ROIs0000_test/p0_0_0", "ROIs0000_validation/p0_0_0"} <= set(keys)


def test_folders_in_other_spellings(clean: Path, demo: Path, tmp_path: Path) -> None:
    for folder in list((demo / "ROIs0000_validation").iterdir()):
        folder.rename(folder.with_name(folder.name.replace("_validation", "_0")))
    wrapped = tmp_path / "wrapped" / "DFC2020 download" / "again"
    wrapped.mkdir(parents=True)
    for folder in ("ROIs0000_test", "ROIs0000_validation"):
        shutil.move(demo / folder, wrapped / folder)
    shutil.copy(demo / "SYNTHETIC.json", tmp_path / "wrapped")
    for one, two in zip(read_samples(ID, tmp_path / "wrapped"), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)


def test_the_eight_zips(clean: Path, tmp_path: Path) -> None:
    """They share their top folder; one has another folder around it, one what macOS adds."""
    for part, suffix in (("test", "0"), ("validation", "validation")):
        for kind in ("s1", "s2", "lc", "dfc"):
            with zipfile.ZipFile(tmp_path / f"{kind}_{suffix}.zip", "w") as file:
                for path in sorted(clean.glob(f"ROIs0000_{part}/{kind}_*/*.tif")):
                    name = path.relative_to(clean).as_posix()
                    file.write(path, f"{kind}_{suffix}/{name}" if kind == "s1" else name)
                    if kind == "s2":
                        file.writestr(f"__MACOSX/{Path(name).parent}/._{path.name}", b"not a TIFF")
    shutil.copy(clean / "SYNTHETIC.json", tmp_path)
    for one, two in zip(read_samples(ID, tmp_path), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)
    # Something on disk wins over the same file in a zip.
    shutil.copytree(clean / "ROIs0000_test" / "dfc_0", tmp_path / "ROIs0000_test" / "dfc_0")
    path = tmp_path / "ROIs0000_test" / "dfc_0" / "ROIs0000_test_dfc_0_p0.tif"
    rewrite(path, np.full((1, 256, 256), 10, np.uint8))
    assert (read_samples(ID, tmp_path)[0].label == 7).all()


def test_the_bundle_by_season_and_city(clean: Path, demo: Path) -> None:
    for kind in ("s1", "s2", "dfc"):
        for number in (0, 1):
            target = demo / "ROIs0000_autumn" / f"{kind}_CapeTown" / f"ROIs0000_autumn_{kind}_CapeTown_p{number}.tif"
            target.parent.mkdir(parents=True, exist_ok=True)
            if (kind, number) != ("s1", 1):  # a few rasters have no partners
                shutil.copy(one_raster(clean, kind, "test", number), target)
    keys = {sample.key for sample in read_samples(ID, demo)}
    assert {f"ROIs0000_autumn/CapeTown_p0_{y}_{x}" for y in (0, 80, 160) for x in (0, 80, 160)} <= keys
    assert len(keys) == 9 * 5
    assert [reason for _, reason in ledger_of(ID, demo)] == ["patch CapeTown_p1 has no raster s1"]


def test_s1_absent_leaves_its_layer_invalid(demo: Path, tmp_path: Path) -> None:
    for path in demo.rglob("s1_*"):
        shutil.rmtree(path)
    store = built(ID, demo, tmp_path / "out")
    assert store.meta.counts.without == {"s1": 36}
    assert not store.is_valid(0, "s1")


def test_nan_in_s1_is_missing(demo: Path) -> None:
    path = one_raster(demo, "s1")
    pixels = pixels_of(path)
    pixels[1, 3, 4] = np.nan
    rewrite(path, pixels)
    found = read_samples(ID, demo)[0].layers["s1"][0]
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 3, 4]]


@pytest.mark.parametrize("kind", ["s1", "s2", "dfc"])
def test_a_missing_raster_is_an_error(demo: Path, kind: str) -> None:
    one_raster(demo, kind, number=1).unlink()
    with pytest.raises(ArchiveError, match=f"patch p1 has no raster {kind}"):
        read_samples(ID, demo)


def test_lc_is_never_taken_for_dfc(demo: Path) -> None:
    shutil.copy(one_raster(demo, "lc"), one_raster(demo, "dfc"))
    with pytest.raises(ArchiveError, match=r"dfc_0_p0\.tif.*Is this an `lc` raster"):
        read_samples(ID, demo)
    labels = np.full((1, 256, 256), 17, np.uint8)  # water, for MODIS
    rewrite(one_raster(demo, "dfc"), labels)
    with pytest.raises(ArchiveError, match=r"holds 17, which is no label.*Is this an `lc` raster"):
        read_samples(ID, demo)
    for path in [*demo.rglob("dfc_0"), *demo.rglob("dfc_validation")]:
        shutil.rmtree(path)
    with pytest.raises(ArchiveError, match="no patches with the rasters s2 and dfc"):
        read_samples(ID, demo)


def test_bad_rasters(demo: Path) -> None:
    path = one_raster(demo, "s2")
    good = pixels_of(path)
    rewrite(path, good[:12])
    with pytest.raises(ArchiveError, match=r"s2_0_p0\.tif: 12 bands instead of 13"):
        read_samples(ID, demo)
    rewrite(path, good[:, :255])
    with pytest.raises(ArchiveError, match="255 x 256 pixels instead of 256 x 256"):
        read_samples(ID, demo)
    rewrite(path, good.astype(np.float32))
    with pytest.raises(ArchiveError, match="dtype float32 instead of uint16"):
        read_samples(ID, demo)
    rewrite(path, good)
    with rasterio.open(path, "r+") as target:
        target.transform = rasterio.Affine(10, 0, 1, 0, -10, 2)
    with pytest.raises(ArchiveError, match="lie in different places"):
        read_samples(ID, demo)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArchiveError, match="cut short"):
        read_samples(ID, demo)
    path.rename(path.with_name("copy of p0.tif"))
    with pytest.raises(ArchiveError, match="is not called ROIs0000_"):
        read_samples(ID, demo)


def test_small_patches_of_a_repack(tmp_path: Path) -> None:
    """A flat tree of 32 px images without a place, as torchgeo makes them for Copernicus-Bench."""
    rng = np.random.default_rng(1)
    made = {"s1": rng.normal(-12, 3, (2, 32, 32)), "s2": rng.integers(1, 9000, (13, 32, 32)).astype(np.uint16),
            "dfc": rng.integers(0, 11, (1, 32, 32)).astype(np.int32)}  # fmt: skip
    for kind, pixels in made.items():
        (tmp_path / "dfc2020" / kind).mkdir(parents=True)
        profile = {"driver": "GTiff", "count": len(pixels), "height": 32, "width": 32, "dtype": pixels.dtype}
        path = tmp_path / "dfc2020" / kind / f"ROIs0000_test_{kind}_0_p609.tif"
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
    with pytest.raises(ArchiveError, match="32"):
        read_samples(ID, tmp_path)
    (sample,) = read_samples(ID, tmp_path, "shape")
    assert (sample.key, sample.geo) == ("ROIs0000_test/p609_0_0", None)
    np.testing.assert_array_equal(sample.layers["s2"][0], made["s2"])
    np.testing.assert_array_equal(sample.label, np.vectorize(CLASS_OF.get)(made["dfc"][0]))
