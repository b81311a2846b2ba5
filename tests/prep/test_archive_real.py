"""The readers on real published files, against an independent reading by rasterio."""

import csv
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.sample import Sample, check_sample
from seamo_prep.archives import load_archive
from seamo_prep.rasters import decode_tiff
from seamo_prep.unpack import Raw

# Typed from the publication of each archive, not from our code.
EUROSAT_FILE_ORDER = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
NATIVE = {
    "10m": ["B02", "B03", "B04", "B08"],
    "20m": ["B05", "B06", "B07", "B8A", "B11", "B12"],
    "60m": ["B01", "B09"],
}


def rio(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            return source.read()


def build(dataset: str, root: Path, *, relax: tuple[str, ...] = (), layers: tuple[str, ...] = ()) -> Iterator[Sample]:
    spec = shipped_manifest()[dataset]
    spec = spec.only_layers(layers) if layers else spec
    archive, raw = load_archive(dataset), Raw(root, spec, relax)
    for sample in archive.read(raw, archive.index(raw, spec), spec):
        check_sample(sample, spec)
        yield sample


def spec_of(dataset: str) -> DatasetSpec:
    return shipped_manifest()[dataset]


def test_every_real_tiff_decodes_as_rasterio_reads_it(samples: Path) -> None:
    files = sorted(samples.rglob("*.tif"))
    assert len(files) > 800
    for path in files:
        ours = decode_tiff(path.read_bytes(), str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                theirs = source.read()
                crs = f"EPSG:{source.crs.to_epsg()}" if source.crs else ""
                transform = None if source.transform.is_identity else tuple(source.transform)[:6]
        assert ours.pixels.dtype == theirs.dtype, path
        assert ours.pixels.tobytes() == theirs.tobytes(), path
        assert (ours.crs, ours.transform) == (crs, transform), path


def test_eurosat_pixels_bands_by_name_labels_and_places(samples: Path) -> None:
    with (samples / "eurosat_ms" / "labels.csv").open() as file:
        listed = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    layer = spec_of("eurosat").layer("s2")
    found = {sample.key: sample for sample in build("eurosat", samples / "eurosat_ms")}
    assert found.keys() == listed.keys()
    assert len(found) == 202
    for key, row in listed.items():
        path = samples / "eurosat_ms" / row["path"]
        theirs = dict(zip(EUROSAT_FILE_ORDER, rio(path), strict=True))
        for position, band in enumerate(layer.bands):
            np.testing.assert_array_equal(found[key].layers["s2"][0, position], theirs[band], err_msg=f"{key} {band}")
        assert found[key].label == int(row["label"])
        geo = found[key].geo
        assert geo is not None
        assert geo.crs == f"EPSG:{row['epsg']}"
        with rasterio.open(path) as source:
            assert geo.transform == tuple(source.transform)[:6]
    # Independent of any list of names: cirrus is dark, and B8A is close to B08.
    mean = np.mean([sample.layers["s2"][0].mean(axis=(1, 2)) for sample in found.values()], axis=0)
    by_name = dict(zip(layer.bands, mean, strict=True))
    assert by_name["B10"] < 100
    assert abs(by_name["B8A"] / by_name["B08"] - 1) < 0.25


def test_ssl4eo_location_with_two_dates_is_refused(samples: Path) -> None:
    with pytest.raises(ArchiveError, match=r"0000200.*2 dates instead of 4.*--relax seasons"):
        list(build("ssl4eo-s12", samples / "ssl4eo_s12"))


def test_ssl4eo_location_builds_with_seasons_relaxed(samples: Path) -> None:
    root = samples / "ssl4eo_s12"
    (sample,) = build("ssl4eo-s12", root, relax=("seasons",))
    assert sample.key == "0000200"
    dates = {  # read off the folder names by eye
        "s1": ["2020-06-07T01:08:00", "2020-09-03T13:12:12"],
        "s2a": ["2020-06-04T05:46:39", "2020-08-13T05:46:39"],
        "s2c": ["2020-06-04T05:46:39", "2020-08-23T05:46:39"],
    }
    for stack, known in dates.items():
        want = np.array([*known, "NaT", "NaT"], dtype="datetime64[s]")
        np.testing.assert_array_equal(sample.time[stack], want)
        for slot, date in enumerate(known):
            stamp = date.replace("-", "").replace(":", "")
            (folder,) = (one for one in (root / stack / "0000200").iterdir() if stamp in one.name[:32])
            if stack == "s1":
                pixels = np.stack([rio(folder / f"{pol}.tif")[0] for pol in ("VV", "VH")])
                pixels[pixels == 0] = np.nan
                np.testing.assert_array_equal(sample.layers["s1"][slot], pixels)
                continue
            for suffix, names in NATIVE.items():
                names = names + (["B10"] if stack == "s2c" and suffix == "60m" else [])
                pixels = np.stack([rio(folder / f"{name.replace('B0', 'B')}.tif")[0] for name in names])
                pixels = np.where((pixels == 0).all(axis=0), 65535, pixels)
                np.testing.assert_array_equal(sample.layers[f"{stack}_{suffix}"][slot], pixels)
    for name, pixels in sample.layers.items():
        absent = pixels[2:]
        assert np.isnan(absent).all() if name == "s1" else (absent == 65535).all()
    assert sample.layers["s2c_60m"].shape == (4, 3, 44, 44)
    assert sample.geo is not None
    assert sample.geo.crs == "EPSG:4326"


def test_only_the_layers_asked_for_are_read(samples: Path, tmp_path: Path) -> None:
    source = samples / "ssl4eo_s12" / "s2a"
    for path in source.rglob("B*.tif"):
        if path.name in ("B2.tif", "B3.tif", "B4.tif", "B8.tif"):
            target = tmp_path / "s2a" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (sample,) = build("ssl4eo-s12", tmp_path, relax=("seasons",), layers=("s2a_10m",))
    assert set(sample.layers) == {"s2a_10m"}
    assert set(sample.time) == {"s2a"}


@pytest.fixture
def all_pairs(samples: Path, tmp_path: Path) -> Path:
    """Both BigEarthNet sample folders as one archive."""
    for tree in ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0"):
        (tmp_path / tree).mkdir()
        for part in ("bigearthnet_v1", "bigearthnet_v1_configilm"):
            for patch in (samples / part / tree).iterdir():
                (tmp_path / tree / patch.name).symlink_to(patch)
    return tmp_path


def test_bigearthnet_pairs_pixels_labels_and_dates(all_pairs: Path) -> None:
    spec = spec_of("bigearthnet-v1")
    names = spec.label_space("bigearthnet-43").names
    found = list(build("bigearthnet-v1", all_pairs))
    assert len(found) == 44
    assert sum("s1" in sample.layers for sample in found) == 36
    for sample in found:
        folder = all_pairs / "BigEarthNet-v1.0" / sample.key
        about = json.loads(next(folder.glob("*.json")).read_bytes())
        assert isinstance(sample.label, tuple)
        assert sorted(names[i] for i in sample.label) == sorted(about["labels"])
        for suffix, bands in NATIVE.items():
            pixels = np.stack([rio(folder / f"{sample.key}_{band}.tif")[0] for band in bands])
            np.testing.assert_array_equal(sample.layers[f"s2_{suffix}"][0], pixels)
        if "acquisition_date" in about:
            assert str(sample.time["s2"][0]) == about["acquisition_date"].replace(" ", "T")
            assert sample.geo is not None
            assert sample.geo.transform[2] == about["coordinates"]["ulx"]
            assert sample.geo.transform[5] == about["coordinates"]["uly"]
        else:
            assert sample.geo is None
        if "s1" in sample.layers:
            partners = [one for one in (all_pairs / "BigEarthNet-S1-v1.0").iterdir() if _partner(one) == sample.key]
            (folder_s1,) = partners
            pixels = np.stack([rio(folder_s1 / f"{folder_s1.name}_{pol}.tif")[0] for pol in ("VV", "VH")])
            np.testing.assert_array_equal(sample.layers["s1"][0], pixels)


def _partner(folder: Path) -> str:
    return str(json.loads(next(folder.glob("*.json")).read_bytes())["corresponding_s2_patch"])


def test_bigearthnet_s1_without_s2_goes_to_the_ledger(samples: Path) -> None:
    spec = spec_of("bigearthnet-v1")
    raw = Raw(samples / "bigearthnet_v1", spec)
    frame = load_archive("bigearthnet-v1").index(raw, spec)
    assert len(frame) == 14
    lost = sorted(name.rpartition("/")[2] for name, _ in frame.attrs["ledger"])
    assert lost == [f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_{row}" for row in (39, 40, 41)]
    row = frame.set_index("key").loc["S2B_MSIL2A_20180204T94161_57_38"]
    assert row["_s1"] == "S1A_IW_GRDH_1SDV_20180204T043253_35VPK_57_38"
    assert (row["scene"], row["x0"], row["y0"]) == ("S2B_MSIL2A_20180204T94161", 57 * 120, 38 * 120)


def test_bigearthnet_pairs_by_name_where_s1_has_no_json(
    all_pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bare = tmp_path_factory.mktemp("bare")
    (bare / "BigEarthNet-v1.0").symlink_to(all_pairs / "BigEarthNet-v1.0")
    truth = {}
    for folder in (all_pairs / "BigEarthNet-S1-v1.0").iterdir():
        target = bare / "BigEarthNet-S1-v1.0" / folder.name
        target.mkdir(parents=True)
        for tif in folder.glob("*.tif"):
            (target / tif.name).symlink_to(tif)
        truth[folder.name] = _partner(folder)
    spec = spec_of("bigearthnet-v1")
    raw = Raw(bare, spec)
    archive = load_archive("bigearthnet-v1")
    frame = archive.index(raw, spec)
    paired = {row["_s1"]: row["key"] for row in frame.to_dict("records") if row["_s1"]}
    assert len(paired) == 36
    assert all(truth[s1] == s2 for s1, s2 in paired.items())
    times = {sample.key: sample.time for sample in archive.read(raw, frame[frame["_s1"] != ""], spec)}
    assert str(times["S2B_MSIL2A_20180204T94161_57_38"]["s1"][0]) == "2018-02-04T04:32:53"
