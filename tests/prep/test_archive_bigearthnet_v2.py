"""BigEarthNet v2.0 against rasterio and pandas: folders, metadata.parquet, pairs, reference maps, tar.zst."""

import io
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
import rasterio

from seamo.errors import ArchiveError
from seamo.manifest import shipped_manifest
from seamo.testing.world import World
from seamo_prep.archives import load_archive
from seamo_prep.unpack import Raw
from seamo_prep.verify import verify
from tests.prep.published import assert_equal_samples, built, ledger_of, read_samples

ID = "bigearthnet-v2"
_PRODUCT = r"S2[AB]_MSIL2A_\d{8}T\d{6}_N9999_R\d{3}_T\d\d[A-Z]{3}"
_S1 = r"S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6}"
# Pattern of a path -> dtype and pixels a side.
TABLE = {
    rf"BigEarthNet-S2/({_PRODUCT})/(\1_\d\d_\d\d)/\2_B(02|03|04|08)\.tif": ("uint16", 120),
    rf"BigEarthNet-S2/({_PRODUCT})/(\1_\d\d_\d\d)/\2_B(05|06|07|8A|11|12)\.tif": ("uint16", 60),
    rf"BigEarthNet-S2/({_PRODUCT})/(\1_\d\d_\d\d)/\2_B(01|09)\.tif": ("uint16", 20),
    rf"BigEarthNet-S1/({_S1})/(\1_\d\d[A-Z]{{3}}_\d+_\d+)/\2_(VV|VH)\.tif": ("float32", 120),
    rf"Reference_Maps/({_PRODUCT})/(\1_\d\d_\d\d)/\2_reference_map\.tif": ("uint16", 120),
}
GRIDS = {
    "s2_10m": ["B02", "B03", "B04", "B08"],
    "s2_20m": ["B05", "B06", "B07", "B8A", "B11", "B12"],
    "s2_60m": ["B01", "B09"],
    "s1": ["VV", "VH"],
}
# The 44 classes of CORINE land cover, level 3, in order.
CODES = [111, 112, 121, 122, 123, 124, 131, 132, 133, 141, 142, 211, 212, 213, 221, 222, 223, 231, 241, 242, 243, 244,
         311, 312, 313, 321, 322, 323, 324, 331, 332, 333, 334, 335, 411, 412, 421, 422, 423, 511, 512, 521, 522,
         523]  # fmt: skip
LABELS = ["Urban fabric", "Industrial or commercial units", "Arable land", "Permanent crops", "Pastures",
          "Complex cultivation patterns",
          "Land principally occupied by agriculture, with significant areas of natural vegetation",
          "Agro-forestry areas", "Broad-leaved forest", "Coniferous forest", "Mixed forest",
          "Natural grassland and sparsely vegetated areas", "Moors, heathland and sclerophyllous vegetation",
          "Transitional woodland, shrub", "Beaches, dunes, sands", "Inland wetlands", "Coastal wetlands",
          "Inland waters", "Marine waters"]  # fmt: skip
COLUMNS = ["patch_id", "labels", "split", "country", "s1_name", "s2v1_name", "contains_seasonal_snow",
           "contains_cloud_or_shadow"]  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ben2")
    load_archive(ID).demo(root, World(seed=5), "tiny")
    return root


@pytest.fixture
def demo(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "raw"))


def pixels_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def rewrite(path: Path, pixels: np.ndarray) -> None:
    with rasterio.open(path) as source:
        profile = source.profile
    profile |= {"height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels, 1)


def change_metadata(root: Path, change) -> pd.DataFrame:
    table = change(pd.read_parquet(root / "metadata.parquet"))
    table.to_parquet(root / "metadata.parquet", index=False)
    return table


def test_demo_has_the_published_paths_and_types(clean: Path) -> None:
    seen = set()
    for path in clean.rglob("*.tif"):
        name = path.relative_to(clean).as_posix()
        (pattern,) = (one for one in TABLE if re.fullmatch(one, name))
        seen.add(pattern)
        with rasterio.open(path) as source:
            assert (source.dtypes[0], source.shape) == (TABLE[pattern][0], (TABLE[pattern][1],) * 2), name
            assert source.count == 1
            assert source.crs.to_epsg() == 32633
    assert seen == set(TABLE)
    table = pd.read_parquet(clean / "metadata.parquet")
    assert list(table) == COLUMNS
    assert set(table["split"]) == {"train", "validation", "test"}
    assert {label for labels in table["labels"] for label in labels} <= set(LABELS)
    tops = {"BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps", "SYNTHETIC.json", "metadata.parquet"}
    assert {path.name for path in clean.iterdir()} == tops


def test_pixels_labels_and_maps(clean: Path) -> None:
    table = pd.read_parquet(clean / "metadata.parquet").set_index("patch_id")
    found = read_samples(ID, clean)
    assert [sample.key for sample in found] == sorted(table.index)
    for sample in found:
        row = table.loc[sample.key]
        for layer, bands in GRIDS.items():
            for position, band in enumerate(bands):
                (path,) = clean.rglob(f"{row['s1_name'] if layer == 's1' else sample.key}_{band}.tif")
                np.testing.assert_array_equal(sample.layers[layer][0, position], pixels_of(path))
        (path,) = clean.rglob(f"{sample.key}_reference_map.tif")
        codes = pixels_of(path)
        assert sample.layers["reference_map"].dtype == np.uint8
        np.testing.assert_array_equal(np.array(CODES)[sample.layers["reference_map"][0, 0]], codes)
        assert sorted(LABELS[i] for i in sample.label) == sorted(row["labels"])
        with rasterio.open(next(clean.rglob(f"{sample.key}_B02.tif"))) as source:
            assert sample.geo.transform == tuple(source.transform)[:6]
            assert sample.geo.crs == "EPSG:32633"
        stamp = re.search(r"\d{8}T\d{6}", sample.key)[0]
        assert str(sample.time["s2"][0]).replace("-", "").replace(":", "") == stamp
        assert abs(sample.time["s1"][0] - sample.time["s2"][0]) <= np.timedelta64(3, "D")
        col, row_number = (int(one) for one in sample.key.split("_")[-2:])
        assert sample.offset == (120 * row_number, 120 * col)
        assert sample.key.startswith(sample.scene + "_")


def test_countries_are_those_of_the_metadata(demo: Path) -> None:
    def move(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(country=["Finland", None] + ["Austria"] * (len(table) - 2))

    table = change_metadata(demo, move).set_index("patch_id")
    store = built(ID, demo, demo.parent / "stores")
    found = dict(zip(store.index["key"], store.index["country"].fillna(""), strict=True))
    assert found == table["country"].fillna("").to_dict()
    change_metadata(demo, lambda table: table.drop(columns="country"))
    assert set(load_archive(ID).index(Raw(demo, shipped_manifest()[ID], ()), shipped_manifest()[ID])["country"]) == {""}


def test_label_spaces() -> None:
    spec = shipped_manifest()[ID]
    assert list(spec.label_space().names) == LABELS
    assert list(spec.label_space("bigearthnet-19").names) == list(
        shipped_manifest()["bigearthnet-v1"].label_space("bigearthnet-19").names
    )
    maps = spec.label_space("clc-44")
    assert {code: i for code, i in maps.raw.items() if i != 255} == {code: i for i, code in enumerate(CODES)}
    of_19 = {CODES[i]: ours for ours, theirs in spec.label_space("reference-map-19").derived.items() for i in theirs}
    assert of_19[111] == of_19[112] == LABELS.index("Urban fabric")
    assert of_19[333] == LABELS.index("Natural grassland and sparsely vegetated areas")
    assert of_19[423 - 1] == LABELS.index("Coastal wetlands")
    assert of_19[523] == of_19[521] == LABELS.index("Marine waters")
    assert not {122, 123, 124, 131, 132, 133, 141, 142, 332, 334, 335, 423} & of_19.keys()


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_builds_with_its_own_split(clean: Path, tmp_path: Path, layout: str) -> None:
    store = built(ID, clean, tmp_path, layout=layout)
    assert store.meta.split_scheme == "official"
    assert store.meta.counts.splits == {"train": 4, "val": 2, "test": 2}
    table = pd.read_parquet(clean / "metadata.parquet").set_index("patch_id")
    for key, split in store.read_index(["key", "split"]).itertuples(index=False):
        assert {"train": "train", "validation": "val", "test": "test"}[table.loc[key, "split"]] == split
    assert [one for one in verify(store, deep=True, leaks=True, say=lambda _: None) if one.severity == "error"] == []


def test_without_metadata_it_is_unlabelled_and_says_so(demo: Path, clean: Path, tmp_path: Path) -> None:
    (demo / "metadata.parquet").unlink()
    for one, two in zip(read_samples(ID, demo), read_samples(ID, clean), strict=True):
        assert one.label is None
        assert (one.key, one.layers.keys()) == (two.key, two.layers.keys())
        assert one.layers["s1"].tobytes() == two.layers["s1"].tobytes()  # the same partner, by tile, column and row
    (demo / "SYNTHETIC.json").unlink()
    said: list[str] = []
    store = built(ID, demo, tmp_path / "out", say=said.append)
    assert store.meta.split_scheme == "hash-60-20-20"
    assert any("metadata.parquet" in line or "official" in line for line in said)
    assert "no labels (metadata.parquet is not there)" in store.meta.subset
    assert store.read_label(0) is None


def test_patches_that_metadata_does_not_list(demo: Path) -> None:
    table = change_metadata(demo, lambda table: table.iloc[2:])
    kept = set(table["patch_id"])
    assert {sample.key for sample in read_samples(ID, demo)} == kept
    names = [name.rpartition("/")[2] for name, reason in ledger_of(ID, demo) if "not in metadata.parquet" in reason]
    assert len(names) == 2
    assert not kept & set(names)
    partners = [name for name, reason in ledger_of(ID, demo) if reason == "its Sentinel-2 patch is not there"]
    assert len(partners) == 2


@pytest.mark.parametrize("with_metadata", [True, False])
def test_s1_without_s2_and_s2_without_s1(demo: Path, tmp_path: Path, with_metadata: bool) -> None:
    if not with_metadata:
        (demo / "metadata.parquet").unlink()
    s2, s1 = sorted((demo / "BigEarthNet-S2").glob("*/*")), sorted((demo / "BigEarthNet-S1").glob("*/*"))
    shutil.rmtree(s2[0])
    tile_col_row = (s2[0].name.split("_")[5][1:], *(str(int(one)) for one in s2[0].name.split("_")[-2:]))
    (orphan,) = (path for path in s1 if path.name.endswith("_".join(tile_col_row)))
    gone = next(path for path in s1 if path != orphan)
    shutil.rmtree(gone)
    (demo / "SYNTHETIC.json").unlink()
    store = built(ID, demo, tmp_path / "out")
    assert store.meta.counts.without == {"s1": 1}
    assert store.meta.counts.samples == 7
    assert (f"BigEarthNet-S1/{orphan.parent.name}/{orphan.name}", "its Sentinel-2 patch is not there") in [
        (str(name), str(reason)) for name, reason in ledger_of(ID, demo)
    ]


def test_only_sentinel_2(demo: Path, tmp_path: Path) -> None:
    """As a person may have it: one folder of patches, nothing else."""
    for name in ("BigEarthNet-S1", "Reference_Maps"):
        shutil.rmtree(demo / name)
    (demo / "metadata.parquet").unlink()
    (demo / "SYNTHETIC.json").unlink()
    store = built(ID, demo, tmp_path / "out")
    assert store.meta.counts.without == {"s1": 8, "reference_map": 8}
    assert store.meta.subset != ""
    assert "subset (8 of 480,038)" in store.title


def test_absent_reference_maps_only_drop_that_layer(demo: Path) -> None:
    first = min((demo / "Reference_Maps").glob("*/*"))
    shutil.rmtree(first)
    found = {sample.key: sample for sample in read_samples(ID, demo)}
    assert set(found[first.name].layers) == {*GRIDS}
    assert sum("reference_map" in sample.layers for sample in found.values()) == 7
    second = min((demo / "Reference_Maps").glob("*/*/*.tif"))
    second.rename(second.with_name("other.txt"))  # but a file missing inside its folder is an error
    with pytest.raises(ArchiveError, match=r"_reference_map\.tif: the file is not there"):
        read_samples(ID, demo)


def test_every_corine_code_is_mapped_once(demo: Path) -> None:
    path = min(demo.rglob("*_reference_map.tif"))
    codes = np.resize(np.array([*CODES, 0, 999], dtype=np.uint16), (120, 120))
    rewrite(path, codes)
    (sample,) = (one for one in read_samples(ID, demo) if path.name.startswith(one.key))
    want = np.resize(np.array([*range(44), 255, 255], dtype=np.uint8), (120, 120))
    np.testing.assert_array_equal(sample.layers["reference_map"][0, 0], want)
    codes[5, 5] = 113
    rewrite(path, codes)
    with pytest.raises(ArchiveError, match=r"reference_map\.tif: holds 113, which is no CORINE class"):
        read_samples(ID, demo)


def test_nan_in_s1_is_missing_and_bands_are_vv_vh(demo: Path) -> None:
    path = min(demo.rglob("*_VH.tif"))
    pixels = pixels_of(path)
    pixels[2, 3] = np.nan
    rewrite(path, pixels)
    found = [sample.layers["s1"] for sample in read_samples(ID, demo)]
    assert [np.argwhere(np.isnan(one)).tolist() for one in found if np.isnan(one).any()] == [[[0, 1, 2, 3]]]
    assert all(np.nanmean(one[0, 0]) > np.nanmean(one[0, 1]) for one in found)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.rename(columns={"labels": "label"}), "has no column 'labels'"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "stands twice"),
        (lambda t: t.assign(s1_name=t["s1_name"].iloc[0]), "s1_name .* stands twice"),
        (lambda t: t.assign(split="val"), "no split 'val'"),
        (lambda t: t.assign(labels=[["Pasture"]] * len(t)), "no class 'Pasture'.*Did the file mean 'Pastures'"),
        (lambda t: t.assign(labels=[[]] * len(t)), "names no labels"),
        (lambda t: t.assign(patch_id=[f"other{i}" for i in range(len(t))]), "no patches that are in metadata"),
    ],
)
def test_bad_metadata(demo: Path, change, why: str) -> None:
    change_metadata(demo, change)
    with pytest.raises(ArchiveError, match=why):
        read_samples(ID, demo)


def test_metadata_that_is_no_parquet(demo: Path) -> None:
    (demo / "metadata.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ArchiveError, match=r"metadata\.parquet: is not a parquet file"):
        read_samples(ID, demo)


def test_four_columns_are_enough(demo: Path, clean: Path) -> None:
    change_metadata(demo, lambda table: table[["patch_id", "labels", "split", "s1_name"]])
    for one, two in zip(read_samples(ID, demo), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)


def test_bad_files(demo: Path) -> None:
    band = min(demo.rglob("*_B8A.tif"))
    good = band.read_bytes()
    rewrite(band, pixels_of(band)[:59])
    with pytest.raises(ArchiveError, match="59 x 60 pixels instead of 60 x 60"):
        read_samples(ID, demo)
    band.write_bytes(good)
    moved = min(demo.rglob("*_VV.tif"))
    good_vv = moved.read_bytes()
    with rasterio.open(moved, "r+") as target:
        a, _, c, _, e, f, *_ = target.transform
        target.transform = rasterio.Affine(a, 0, c + 1, 0, e, f)
    with pytest.raises(ArchiveError, match=r"_VV\.tif: lies elsewhere"):
        read_samples(ID, demo)
    moved.write_bytes(good_vv)
    band.write_bytes(good[:500])
    with pytest.raises(ArchiveError, match=r"_B8A\.tif: is cut short"):
        read_samples(ID, demo)
    band.rename(band.with_name("x_B8A.tif"))
    with pytest.raises(ArchiveError, match=r"_B8A\.tif: the file is not there"):
        read_samples(ID, demo)
    band.with_name("x_B8A.tif").write_bytes(good)
    (demo / "BigEarthNet-S2" / "mine" / "S2A_MSIL2A_20170613T101031_87_48").mkdir(parents=True)
    with pytest.raises(ArchiveError, match=r"is not the name of a patch.*--relax names"):
        read_samples(ID, demo)


def test_misnamed_files_and_other_shapes(demo: Path, clean: Path) -> None:
    """As a fixture of torchgeo: all bands of one size, int16, files by other names."""
    for path in list(demo.rglob("*.tif")):
        pixels = pixels_of(path)
        if "BigEarthNet-S2" in path.parts:
            rewrite(path, np.full((12, 12), pixels[0, 0], np.int16))
        else:
            rewrite(path, pixels[:12, :12])
        path.rename(path.with_name(f"wrong_{path.name}"))
    with pytest.raises(ArchiveError, match="the file is not there"):
        read_samples(ID, demo)
    found = read_samples(ID, demo, "names", "shape", "dtype")
    for one, two in zip(found, read_samples(ID, clean), strict=True):
        assert {pixels.shape[2:] for pixels in one.layers.values()} == {(12, 12)}
        assert (one.layers["s2_60m"][0, :, 0, 0] == two.layers["s2_60m"][0, :, 0, 0]).all()


def test_patches_without_the_level_of_products(demo: Path, clean: Path) -> None:
    for tree in ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"):
        for product in list((demo / tree).iterdir()):
            for patch in list(product.iterdir()):
                patch.rename(demo / tree / patch.name)
            product.rmdir()
    with pytest.raises(ArchiveError, match="no patches in BigEarthNet-S2/<product>"):
        read_samples(ID, demo)
    for one, two in zip(read_samples(ID, demo, "names"), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)


def write_tar_zst(folder: Path, path: Path, *, frames: int = 1) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.add(folder, folder.name)
    data = plain.getvalue()
    step = -(-len(data) // frames)
    packed = b""
    for start in range(0, len(data), step):
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data[start : start + step])
        packed += sink.getvalue().to_pybytes()
    path.write_bytes(packed)


@pytest.mark.parametrize("frames", [1, 3])
def test_the_published_tar_zst(clean: Path, tmp_path: Path, frames: int) -> None:
    for top in ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"):
        write_tar_zst(clean / top, tmp_path / f"{top}.tar.zst", frames=frames)
    shutil.copy(clean / "metadata.parquet", tmp_path)
    for one, two in zip(read_samples(ID, tmp_path), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)
    raw = Raw(tmp_path, shipped_manifest()[ID])
    names = list(raw.names("BigEarthNet-S1"))
    for name in reversed(names):  # going back starts again
        assert raw.read(name) == (clean / name).read_bytes()


def test_damaged_tar_zst(clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "BigEarthNet-S2.tar.zst"
    write_tar_zst(clean / "BigEarthNet-S2", path)
    data = path.read_bytes()
    for bad in (data[:-20], data[: len(data) // 2], b"\x28\xb5\x2f\xfd" + bytes(100), b"gzip? no"):
        path.write_bytes(bad)
        with pytest.raises(ArchiveError, match=r"BigEarthNet-S2\.tar\.zst"):
            read_samples(ID, tmp_path)


def test_parts_of_the_mirror(clean: Path, tmp_path: Path) -> None:
    """torchgeo's copies are cut by split(1): `.tar.gzaa`, `.tar.gzab`."""
    for top in ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"):
        whole = shutil.make_archive(str(tmp_path / top), "gztar", clean, top)
        data = Path(whole).read_bytes()
        Path(whole).unlink()
        for number, start in enumerate(range(0, len(data), len(data) // 2 + 1)):
            (tmp_path / f"{top}.tar.gza{'ab'[number]}").write_bytes(data[start : start + len(data) // 2 + 1])
    shutil.copy(clean / "metadata.parquet", tmp_path)
    for one, two in zip(read_samples(ID, tmp_path), read_samples(ID, clean), strict=True):
        assert_equal_samples(one, two)
