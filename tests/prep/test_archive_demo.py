"""Demo archives have the published layout (typed in here from the archives' descriptions) and are read back right."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import UsageError
from seamo.manifest import shipped_manifest
from seamo.sample import check_sample
from seamo.testing.world import World
from seamo_prep.archives import archive_ids, folder, load_archive, sized_spec
from seamo_prep.archives.eurosat import demo_names
from seamo_prep.demo import write_demos
from seamo_prep.splits import has_lists, official_lists
from seamo_prep.unpack import SYNTHETIC, Raw

_EUROSAT = "AnnualCrop|Forest|HerbaceousVegetation|Highway|Industrial|Pasture|PermanentCrop|Residential|River|SeaLake"
_S1 = r"S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6}"
_S2_TIME = r"\d{8}T\d{6}_\d{8}T\d{6}_T\d\d[A-Z]{3}"
_BEN = r"S2[AB]_MSIL2A_\d{8}T\d{5,6}_\d+_\d+"
_BEN_S1 = _S1 + r"_\d\d[A-Z]{3}_\d+_\d+"
# dataset -> (pattern of a path below RAW, bands, dtype, pixels a side); sizes of ssl4eo-s12 are reduced and declared.
TIFFS = {
    "ssl4eo-s12": [
        (rf"s1/\d{{7}}/{_S1}_\d{{8}}T\d{{6}}_\d{{6}}_\w{{6}}_\w{{4}}/(VV|VH)\.tif", 1, "float32", 48),
        (rf"s2a/\d{{7}}/{_S2_TIME}/B(2|3|4|8)\.tif", 1, "uint16", 48),
        (rf"s2a/\d{{7}}/{_S2_TIME}/B(5|6|7|8A|11|12)\.tif", 1, "uint16", 24),
        (rf"s2a/\d{{7}}/{_S2_TIME}/B(1|9)\.tif", 1, "uint16", 8),
        (rf"s2c/\d{{7}}/{_S2_TIME}/B(2|3|4|8)\.tif", 1, "uint16", 48),
        (rf"s2c/\d{{7}}/{_S2_TIME}/B(5|6|7|8A|11|12)\.tif", 1, "uint16", 24),
        (rf"s2c/\d{{7}}/{_S2_TIME}/B(1|9|10)\.tif", 1, "uint16", 8),
    ],
    "eurosat": [
        (rf"ds/images/remote_sensing/otherDatasets/sentinel_2/tif/({_EUROSAT})/\1_[1-9]\d*\.tif", 13, "uint16", 64)
    ],
    "eurosat-sar": [(rf"EuroSAT-SAR/({_EUROSAT})/\1_[1-9]\d*\.tif", 2, "float32", 64)],
    "bigearthnet-v1": [
        (rf"BigEarthNet-v1\.0/({_BEN})/\1_B(02|03|04|08)\.tif", 1, "uint16", 120),
        (rf"BigEarthNet-v1\.0/({_BEN})/\1_B(05|06|07|8A|11|12)\.tif", 1, "uint16", 60),
        (rf"BigEarthNet-v1\.0/({_BEN})/\1_B(01|09)\.tif", 1, "uint16", 20),
        (rf"BigEarthNet-S1-v1\.0/({_BEN_S1})/\1_(VV|VH)\.tif", 1, "float32", 120),
    ],
}
OTHERS = {
    "ssl4eo-s12": rf"(s1|s2a|s2c)/\d{{7}}/({_S1}\w+|{_S2_TIME})/metadata\.json",
    "eurosat": r"eurosat(-spatial)?-(train|val|test)\.txt|(train|val)_euro_result\.txt",
    "eurosat-sar": r"eurosat-(train|val|test)\.txt|(train|val)_euro_result\.txt",
    "bigearthnet-v1": r"(train|val|test)\.csv|BigEarthNet(-S1)?-v1\.0/([^/]+)/\3_labels_metadata\.json|"
    r"bigearthnet(-train|_val|-test)\.txt|patches_with_\w+\.csv\.gz",
}


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demos")
    for dataset in TIFFS:
        load_archive(dataset).demo(root / dataset, World(seed=3), "tiny")
    return root


def test_every_archive_here_has_a_row_in_this_table() -> None:
    assert {"bigearthnet-v1", "eurosat", "eurosat-sar", "ssl4eo-s12"} <= set(archive_ids())


@pytest.mark.parametrize("dataset", TIFFS)
def test_demo_has_the_published_paths_and_dtypes(demos: Path, dataset: str) -> None:
    seen = dict.fromkeys(pattern for pattern, *_ in TIFFS[dataset])
    for path in sorted((demos / dataset).rglob("*")):
        if path.is_dir():
            continue
        name = path.relative_to(demos / dataset).as_posix()
        if path.suffix != ".tif":
            assert name == "SYNTHETIC.json" or re.fullmatch(OTHERS[dataset], name), name
            continue
        rows = [row for row in TIFFS[dataset] if re.fullmatch(row[0], name)]
        assert len(rows) == 1, name
        pattern, bands, dtype, side = rows[0]
        seen[pattern] = name
        with rasterio.open(path) as source:
            assert (source.count, source.dtypes[0], source.shape) == (bands, dtype, (side, side)), name
            assert source.crs is not None
    assert None not in seen.values()


@pytest.mark.parametrize("dataset", ["eurosat", "eurosat-sar", "bigearthnet-v1"])
def test_demo_has_the_lists_of_every_published_split(demos: Path, dataset: str) -> None:
    spec, archive = shipped_manifest()[dataset], load_archive(dataset)
    raw = Raw(demos / dataset, spec)
    keys = archive.index(raw, spec)["key"].tolist()
    schemes = [name for name, scheme in spec.splits.items() if scheme.files]
    assert "spectralgpt-2way" in schemes
    found = {}
    for scheme in schemes:
        assert has_lists(raw, spec, scheme), scheme
        found[scheme] = official_lists(raw, spec, scheme, keys)
        wanted = {one.split for one in spec.splits[scheme].files} - {"exclude"}
        assert set(found[scheme].values()) == wanted
    two_way, three_way = found["spectralgpt-2way"], found["official" if dataset != "bigearthnet-v1" else "indomain-raw"]
    for key, split in two_way.items():  # SpectralGPT tests on what the others validate on
        assert three_way[key] == {"train": "train", "test": "val"}[split]
    assert sum(split != "test" for split in three_way.values()) == len(two_way)


def test_small_eurosat_tests_on_at_least_500(tmp_path: Path) -> None:
    demo_names(tmp_path, "small")
    assert len((tmp_path / "eurosat-test.txt").read_text().splitlines()) >= 500


def test_ssl4eo_nodata_rule(tmp_path: Path) -> None:
    """A pixel is missing where all bands of its grid are 0; one band at 0 is a measurement."""
    spec = shipped_manifest()["ssl4eo-s12"]
    archive = load_archive("ssl4eo-s12")
    archive.demo(tmp_path, World(seed=4), "tiny")
    s2a, s1 = (sorted((tmp_path / stack / "0000001").iterdir())[0] for stack in ("s2a", "s1"))
    for band in ("B2", "B3", "B4", "B8"):
        _put(s2a / f"{band}.tif", (5, 7), 0)
    _put(s2a / "B2.tif", (9, 9), 0)
    _put(s1 / "VV.tif", (3, 4), 0)
    raw = Raw(tmp_path, spec)
    rows = archive.index(raw, spec)
    sized = sized_spec(archive, raw, rows, spec=spec)
    sample = list(archive.read(raw, rows, sized))[1]
    fine = sample.layers["s2a_10m"][0]
    assert (fine[:, 5, 7] == 65535).all()
    assert fine[0, 9, 9] == 0
    assert (fine == 65535).sum() == 4
    assert (sample.layers["s2a_20m"][0] == 65535).sum() == 0
    assert np.isnan(sample.layers["s1"][0, 0, 3, 4])
    assert np.isnan(sample.layers["s1"][0]).sum() == 1


def _put(path: Path, at: tuple[int, int], value: float) -> None:
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[0][at] = value
        file.write(pixels)


def test_ssl4eo_dates_are_sorted_and_a_missing_sensor_is_left_out(tmp_path: Path) -> None:
    spec = shipped_manifest()["ssl4eo-s12"]
    archive = load_archive("ssl4eo-s12")
    archive.demo(tmp_path, World(seed=5), "tiny")
    shutil.rmtree(tmp_path / "s1" / "0000002")
    for stack in ("s1", "s2a", "s2c"):  # a self-made copy, with six digits
        (tmp_path / stack / "0000003").rename(tmp_path / stack / "000003")
    raw = Raw(tmp_path, spec)
    rows = archive.index(raw, spec)
    assert list(rows["key"]) == ["0000000", "0000001", "0000002", "000003"]
    for sample in archive.read(raw, rows, sized_spec(archive, raw, rows, spec=spec)):
        assert ("s1" in sample.layers) == (sample.key != "0000002")
        assert ("s1" in sample.time) == (sample.key != "0000002")
        for dates in sample.time.values():
            assert (np.diff(dates.astype(np.int64)) > 0).all()


def test_folder_archive(tmp_path: Path) -> None:
    folder.demo(tmp_path, World(seed=6), "tiny")
    spec = folder.load_spec(tmp_path)
    raw = Raw(tmp_path, spec)
    rows = folder.index(raw, spec)
    assert list(rows["split"]) == ["train", "train", "train", "val", "test", "test"]
    for number, sample in enumerate(folder.read(raw, rows, spec)):
        check_sample(sample, spec)
        assert sample.key == f"place/{number}"
        assert sample.label == number % 2
        # The table gives August before March.
        assert [str(date)[:10] for date in sample.time["s2"]] == ["2021-03-04", "2021-08-02"]
        for slot, file in enumerate((f"{number}_1.tif", f"{number}_0.tif")):
            with rasterio.open(tmp_path / file) as source:
                np.testing.assert_array_equal(sample.layers["s2"][slot], source.read())
                assert sample.geo is not None
                assert sample.geo.crs == f"EPSG:{source.crs.to_epsg()}"


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("dataset", ["ssl4eo-s12", "bigearthnet-v1"])
def test_packed_demo_reads_as_the_extracted_one(demos: Path, tmp_path: Path, dataset: str, form: str) -> None:
    spec = shipped_manifest()[dataset]
    archive, source = load_archive(dataset), Raw(demos, spec)
    for top in source.tops:
        shutil.make_archive(str(tmp_path / f"{dataset}-{top}"), form, source.root, top)
    shutil.copy(source.root / "SYNTHETIC.json", tmp_path)
    packed = Raw(tmp_path, spec)
    assert packed.tops == source.tops
    ours, theirs = archive.index(packed, spec), archive.index(source, spec)
    assert ours.equals(theirs)
    sized = sized_spec(archive, source, theirs, spec=spec)
    for one, two in zip(archive.read(packed, ours, sized), archive.read(source, theirs, sized), strict=True):
        assert (one.key, one.label, one.geo, one.layers.keys()) == (two.key, two.label, two.geo, two.layers.keys())
        assert all(np.array_equal(one.time[stack], two.time[stack]) for stack in two.time)
        assert all(one.layers[name].tobytes() == two.layers[name].tobytes() for name in two.layers)


def test_a_drawn_world_is_declared_and_never_mixed_with_a_plain_one(tmp_path):
    (plain,) = write_demos(tmp_path / "a", only=("eurosat",), workers=1, tell=lambda *_: None)
    assert json.loads((plain / SYNTHETIC).read_bytes())["world"] == {"seed": 7, "seasons": True, "size": "tiny"}
    with pytest.raises(UsageError, match="shows another world"):
        write_demos(tmp_path / "a", only=("eurosat",), form="land", workers=1, tell=lambda *_: None)
    (drawn,) = write_demos(tmp_path / "b", only=("eurosat",), form="land", workers=1, tell=lambda *_: None)
    assert json.loads((drawn / SYNTHETIC).read_bytes())["world"]["form"] == "land"
    tile = next(plain.rglob("Forest_1.tif")).relative_to(plain)
    assert (plain / tile).read_bytes() != (drawn / tile).read_bytes()
