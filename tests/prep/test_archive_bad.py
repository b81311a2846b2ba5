"""Bad input gets one error that names the file, what is wrong and what to do."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import ArchiveError, ManifestError
from seamo.manifest import DatasetSpec, SplitFile, SplitSpec, shipped_manifest
from seamo.sample import Sample
from seamo.testing.world import World
from seamo_prep.archives import folder, load_archive, sized_spec
from seamo_prep.splits import has_lists, official_lists
from seamo_prep.unpack import Raw


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    for dataset in ("ssl4eo-s12", "eurosat", "eurosat-sar", "bigearthnet-v1"):
        load_archive(dataset).demo(root / dataset, World(seed=7), "tiny")
    return root


@pytest.fixture
def demo(clean: Path, tmp_path: Path) -> Callable[[str], Path]:
    def copy(dataset: str) -> Path:
        return Path(shutil.copytree(clean / dataset, tmp_path / "raw"))

    return copy


def build(dataset: str, root: Path, *relax: str) -> list[Sample]:
    spec = shipped_manifest()[dataset]
    archive, raw = load_archive(dataset), Raw(root, spec, relax)
    rows = archive.index(raw, spec)
    return list(archive.read(raw, rows, sized_spec(archive, raw, rows, spec=spec)))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with rasterio.open(path) as file:
        pixels, profile = change(file.read()), file.profile
    profile |= {"count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    profile.pop("blockysize", None)
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)


def first(root: Path, pattern: str) -> Path:
    return min(root.rglob(pattern))


BAND = {
    "ssl4eo-s12": "s2c/0000001/*/B8A.tif",
    "eurosat": "River_1.tif",
    "eurosat-sar": "River_1.tif",
    "bigearthnet-v1": "BigEarthNet-v1.0/*/*_B8A.tif",
}


@pytest.mark.parametrize("dataset", ["ssl4eo-s12", "bigearthnet-v1"])
def test_missing_band_file(demo: Callable[[str], Path], dataset: str) -> None:
    root = demo(dataset)
    path = first(root, BAND[dataset])
    path.unlink()
    with pytest.raises(ArchiveError, match="the file is not there") as caught:
        build(dataset, root)
    assert str(path) in str(caught.value)
    with pytest.raises(ArchiveError, match="the file is not there"):  # relaxing does not fill gaps
        build(dataset, root, "shape", "dtype", "seasons", "names")


def test_missing_s1_band_file(demo: Callable[[str], Path]) -> None:
    root = demo("bigearthnet-v1")
    path = first(root, "*_VH.tif")
    path.unlink()
    with pytest.raises(ArchiveError, match=r"_VH\.tif: the file is not there"):
        build("bigearthnet-v1", root)


@pytest.mark.parametrize("dataset", BAND)
@pytest.mark.parametrize("keep", [0, 3, 7, 60, 0.5, -1])
def test_truncated_tiff(demo: Callable[[str], Path], dataset: str, keep: float) -> None:
    root = demo(dataset)
    path = first(root, BAND[dataset])
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ArchiveError, match=r"cut short|not a TIFF|cannot be decoded") as caught:
        build(dataset, root)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dataset", BAND)
def test_wrong_shape(demo: Callable[[str], Path], dataset: str) -> None:
    root = demo(dataset)
    path = first(root, BAND[dataset])
    rewrite(path, lambda pixels: pixels[:, :-1])
    with pytest.raises(ArchiveError, match=r"\d+ x \d+ pixels instead of \d+ x \d+.*--relax shape") as caught:
        build(dataset, root)
    assert str(path) in str(caught.value)
    with pytest.raises(ArchiveError, match="pixels instead of"):  # one image of another size than the rest
        build(dataset, root, "shape")


def test_relaxed_shape_takes_another_size_of_all(demo: Callable[[str], Path]) -> None:
    root = demo("eurosat")
    for path in root.rglob("*.tif"):
        rewrite(path, lambda pixels: pixels[:, :40, :40])
    with pytest.raises(ArchiveError, match="40 x 40 pixels instead of 64 x 64"):
        build("eurosat", root)
    assert {sample.layers["s2"].shape for sample in build("eurosat", root, "shape")} == {(1, 13, 40, 40)}


@pytest.mark.parametrize("dataset", BAND)
def test_wrong_dtype(demo: Callable[[str], Path], dataset: str) -> None:
    root = demo(dataset)
    path = first(root, BAND[dataset])
    good = build(dataset, root)
    rewrite(path, lambda pixels: pixels.astype(np.float64))
    with pytest.raises(ArchiveError, match=r"dtype float64 instead of (uint16|float32).*--relax dtype") as caught:
        build(dataset, root)
    assert str(path) in str(caught.value)
    for ours, theirs in zip(build(dataset, root, "dtype"), good, strict=True):
        for layer in theirs.layers:
            assert ours.layers[layer].dtype == theirs.layers[layer].dtype
            np.testing.assert_array_equal(ours.layers[layer], theirs.layers[layer])


def test_values_that_do_not_fit_are_refused_even_relaxed(demo: Callable[[str], Path]) -> None:
    root = demo("eurosat")
    rewrite(first(root, "River_1.tif"), lambda pixels: -pixels.astype(np.int16))
    with pytest.raises(ArchiveError, match="do not fit uint16"):
        build("eurosat", root, "dtype")


def test_wrong_number_of_bands(demo: Callable[[str], Path]) -> None:
    root = demo("eurosat")
    rewrite(first(root, "River_1.tif"), lambda pixels: pixels[:12])
    with pytest.raises(ArchiveError, match=r"River_1\.tif: 12 bands instead of 13"):
        build("eurosat", root)


def test_unknown_class_folder_and_file_name(demo: Callable[[str], Path]) -> None:
    root = demo("eurosat")
    tree = first(root, "River")
    shutil.copy(tree / "River_1.tif", tree / "Bombay_1.tif")
    spec = shipped_manifest()["eurosat"]
    rows = load_archive("eurosat").index(Raw(root, spec), spec)
    assert len(rows) == 60
    assert [name.rpartition("/")[2] for name, _ in rows.attrs["ledger"]] == ["Bombay_1.tif"]
    shutil.copy(tree / "River_1.tif", tree / "brook.tif")
    with pytest.raises(ArchiveError, match=r"brook\.tif: is not called River_<n>\.tif.*--relax names"):
        build("eurosat", root)
    assert "brook" in {sample.key for sample in build("eurosat", root, "names")}
    tree.rename(tree.with_name("Rivers"))
    with pytest.raises(ArchiveError, match=r"Rivers: no class 'Rivers'\. Classes: AnnualCrop, Forest"):
        build("eurosat", root)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def test_bigearthnet_json(demo: Callable[[str], Path]) -> None:
    root = demo("bigearthnet-v1")
    s2, s1 = (first(root, f"{tree}/*/*.json") for tree in ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0"))
    good_s1, good_s2 = s1.read_bytes(), s2.read_bytes()
    edit(s2, labels=["Pasture"])
    with pytest.raises(ArchiveError, match=r"_labels_metadata\.json: no class 'Pasture'\..*'Pastures'"):
        build("bigearthnet-v1", root)
    edit(s2, labels=[])
    with pytest.raises(ArchiveError, match="names no labels"):
        build("bigearthnet-v1", root)
    s2.write_bytes(good_s2[:-20])
    with pytest.raises(ArchiveError, match="is not JSON"):
        build("bigearthnet-v1", root)
    s2.write_bytes(good_s2)
    edit(s1, labels=["Airports"])
    with pytest.raises(ArchiveError, match="labels differ"):
        build("bigearthnet-v1", root)
    s1.write_bytes(good_s1)
    edit(s1, coordinates=json.loads(good_s1)["coordinates"] | {"lly": 1})
    with pytest.raises(ArchiveError, match="bounds differ"):
        build("bigearthnet-v1", root)
    s2.unlink()
    with pytest.raises(ArchiveError, match="the file is not there"):
        build("bigearthnet-v1", root)


def test_bigearthnet_misnamed_files_with_names_relaxed(demo: Callable[[str], Path]) -> None:
    root = demo("bigearthnet-v1")
    good = build("bigearthnet-v1", root)
    folder = min((root / "BigEarthNet-v1.0").iterdir())
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("_0_0_", "_0_0_41_"))
    with pytest.raises(ArchiveError, match="the file is not there"):
        build("bigearthnet-v1", root)
    for ours, theirs in zip(build("bigearthnet-v1", root, "names"), good, strict=True):
        assert (ours.key, ours.label) == (theirs.key, theirs.label)
        assert all(np.array_equal(ours.layers[name], theirs.layers[name]) for name in theirs.layers)


def test_bigearthnet_s1_alone_needs_no_s2_band(demo: Callable[[str], Path]) -> None:
    root = demo("bigearthnet-v1")
    good = build("bigearthnet-v1", root)
    for path in (root / "BigEarthNet-v1.0").rglob("*.tif"):
        path.unlink()
    spec = shipped_manifest()["bigearthnet-v1"].only_layers(("s1",))
    archive, raw = load_archive(spec.id), Raw(root, spec)
    found = list(archive.read(raw, archive.index(raw, spec), spec))
    for ours, theirs in zip(found, good, strict=True):
        assert set(ours.layers) == set(ours.time) == {"s1"}
        assert np.array_equal(ours.layers["s1"], theirs.layers["s1"])
        assert (ours.label, ours.geo) == (theirs.label, theirs.geo)


@pytest.mark.parametrize("text", ["[]", "{", '{"sizes": {"s2": 5}}', '{"sizes": {"s2": [0, 8]}}'])
def test_synthetic_json_is_checked(demo: Callable[[str], Path], text: str) -> None:
    root = demo("eurosat")
    (root / "SYNTHETIC.json").write_text(text)
    with pytest.raises(ArchiveError, match=r"SYNTHETIC\.json"):
        build("eurosat", root)


def test_ssl4eo_seasons(demo: Callable[[str], Path]) -> None:
    root = demo("ssl4eo-s12")
    location = root / "s2a" / "0000001"
    one = min(location.iterdir())
    shutil.copytree(one, location / f"2022{one.name[4:]}")
    with pytest.raises(ArchiveError, match=r"0000001: 5 dates instead of 4"):
        build("ssl4eo-s12", root, "seasons")
    shutil.rmtree(location / f"2022{one.name[4:]}")
    one.rename(location / "summer")
    with pytest.raises(ArchiveError, match="summer: is not the name of a Sentinel product"):
        build("ssl4eo-s12", root)
    shutil.rmtree(location / "summer")
    with pytest.raises(ArchiveError, match="3 dates instead of 4"):
        build("ssl4eo-s12", root)
    sample = build("ssl4eo-s12", root, "seasons")[1]
    assert np.isnat(sample.time["s2a"]).tolist() == [False, False, False, True]
    assert (sample.layers["s2a_20m"][3] == 65535).all()
    assert (sample.layers["s2a_20m"][2] != 65535).any()


@pytest.mark.parametrize("dataset", BAND)
def test_empty_raw_says_what_it_must_hold(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(ArchiveError, match="RAW must hold"):
        build(dataset, tmp_path)


def test_split_lists(demo: Callable[[str], Path]) -> None:
    root = demo("eurosat")
    spec = shipped_manifest()["eurosat"]
    keys = list(load_archive("eurosat").index(Raw(root, spec), spec)["key"])
    assert sorted(official_lists(Raw(root, spec), spec, "official", keys)) == sorted(keys)
    train = root / "eurosat-train.txt"
    good = train.read_text()
    train.write_text(good + (root / "eurosat-test.txt").read_text().splitlines()[0] + "\n")
    with pytest.raises(ArchiveError, match="is in train and in test"):
        official_lists(Raw(root, spec), spec, "official")
    train.write_text(good + good.splitlines()[0] + "\n")
    with pytest.raises(ArchiveError, match="twice"):
        official_lists(Raw(root, spec), spec, "official")
    train.write_text(good + "Lake_1.jpg\n")
    complete = spec.model_copy(update={"expected": spec.expected.model_copy(update={"samples": len(keys)})})
    with pytest.raises(ArchiveError, match=r"eurosat-train\.txt: names Lake_1, which is not in the archive"):
        official_lists(Raw(root, spec), complete, "official", keys)
    train.write_text(good)
    (root / "SYNTHETIC.json").unlink()  # now it claims to be the real list
    with pytest.raises(ArchiveError, match=r"eurosat-train\.txt: has another md5 than the published list"):
        official_lists(Raw(root, spec), spec, "official")
    train.unlink()
    assert not has_lists(Raw(root, spec), spec, "official")
    with pytest.raises(ArchiveError, match="the file is not there"):
        official_lists(Raw(root, spec), spec, "official")


def test_list_formats_and_exclusion(tmp_path: Path) -> None:
    lists = {
        "a.txt": b"tif/River/River_1.tif    8\ntif/River/River_2.tif    8\n",
        "b.csv": b"S2A_MSIL2A_1,S1A_1\r\nRiver_3.jpg\r\n",
        "c.csv.gz": gzip.compress(b"River_2\n"),
    }
    (tmp_path / "EuroSAT_MS").mkdir()
    for name, data in lists.items():
        (tmp_path / name).write_bytes(data)
    files = tuple(
        SplitFile(split=split, file=name, sha256=hashlib.sha256(lists[name]).hexdigest())
        for split, name in (("train", "a.txt"), ("test", "b.csv"), ("exclude", "c.csv.gz"))
    )
    spec = shipped_manifest()["eurosat"].model_copy(update={"splits": {"own": SplitSpec(files=files)}})
    found = official_lists(Raw(tmp_path, spec), spec, "own")
    assert found == {"River_1": "train", "S2A_MSIL2A_1": "test", "River_3": "test"}


def test_folder_table(tmp_path: Path) -> None:
    folder.demo(tmp_path, World(seed=8), "tiny")
    spec: DatasetSpec = folder.load_spec(tmp_path)
    table = tmp_path / folder.TABLE
    good = table.read_text()
    head, *rows = good.splitlines()
    table.write_text("\n".join([head + ",country", *(row + ",Fiji" for row in rows)]))
    named = folder.index(Raw(tmp_path, spec), spec)
    assert set(named["country"]) == {"Fiji"}
    assert "_country" not in named  # it is for the index, not for reading
    table.write_text(good.replace("s2.date.1", "s2.dat.1", 1))
    with pytest.raises(ArchiveError, match=r"unknown column 's2\.dat\.1'\. Did you mean 's2\.date\.1'"):
        folder.index(Raw(tmp_path, spec), spec)
    table.write_text(good.replace("s2.1", "s2_1", 1))
    with pytest.raises(ArchiveError, match=r"has no column 's2\.1'"):
        folder.index(Raw(tmp_path, spec), spec)
    table.write_text(good.replace("forest", "wood", 1))
    raw = Raw(tmp_path, spec)
    with pytest.raises(ArchiveError, match=r"no class 'wood'\. Classes: forest, water"):
        list(folder.read(raw, folder.index(raw, spec), spec))
    (tmp_path / folder.SPEC).write_text("datasets: {}")
    with pytest.raises(ManifestError, match="holds 0 entries"):
        folder.load_spec(tmp_path)
