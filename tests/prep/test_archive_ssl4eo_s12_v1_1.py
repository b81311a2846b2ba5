"""SSL4EO-S12 v1.1 against zarr-python: both layouts, what they join by, and what is refused."""

import io
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from seamo.errors import ArchiveError
from seamo.manifest import shipped_manifest
from seamo.testing.world import World
from seamo_prep.archives.ssl4eo_s12_v1_1 import demo_layout
from seamo_prep.verify import verify
from tests.prep.published import assert_equal_samples, built, ledger_of, read_samples

ID = "ssl4eo-s12-v1.1"
L1C = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
L2A = [name for name in L1C if name != "B10"]
MODALITIES = {"s1": "S1GRD", "s2a": "S2L2A", "s2c": "S2L1C"}
BANDS = {"s1": ["vv", "vh"], "s2a": L2A, "s2c": L1C}
# Layout A: variable -> dimensions and dtype; text is fixed-width unicode. cloud_mask is for Sentinel-2 only.
A = {
    "bands": ("sample time band y x", "int16"),
    "cloud_mask": ("sample time y x", "uint8"),
    "center_lat": ("sample", "float64"),
    "center_lon": ("sample", "float64"),
    "crs": ("sample", "int64"),
    "file_id": ("sample time", "U"),
    "sample_id": ("sample time", "U"),
    "time_": ("sample time", "int64"),
    "x_": ("sample x", "float64"),
    "y_": ("sample y", "float64"),
    "band": ("band", "U"),
}
B = {
    "bands": ("time band y x", "int16"),
    "cloud_mask": ("time y x", "uint8"),
    "center_lat": ("", "float64"),
    "center_lon": ("", "float64"),
    "crs": ("", "int64"),
    "file_id": ("time", "U"),
    "sample": ("", "U"),
    "time": ("time", "int64"),
    "x": ("x", "float64"),
    "y": ("y", "float64"),
    "band": ("band", "U"),
}


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("v11")
    for layout in "AB":
        demo_layout(root / layout, World(seed=3), "tiny", layout=layout)
    return root


def opened(data: bytes, at: Path) -> Any:
    at.write_bytes(data)
    return zarr.open_group(zarr.storage.ZipStore(at, mode="r"), mode="r", zarr_format=2)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def check_group(group: Any, table: dict[str, tuple[str, str]], stack: str, sizes: dict[str, int]) -> None:
    expected = dict(table)
    if stack == "s1":
        del expected["cloud_mask"]
    assert set(group.array_keys()) == set(expected)
    for name, (dims, dtype) in expected.items():
        array = group[name]
        assert array.metadata.zarr_format == 2
        assert array.attrs["_ARRAY_DIMENSIONS"] == dims.split(), name
        if name == "bands" and stack == "s1":
            dtype = "float16"
        assert array.dtype.kind == "U" if dtype == "U" else array.dtype == dtype, name
        assert array.shape == tuple((sizes | {"band": len(BANDS[stack])})[one] for one in dims.split()), name
    assert list(group["band"][:]) == BANDS[stack]


def test_demo_has_the_published_paths_and_types(demos: Path, tmp_path: Path) -> None:
    sizes = {"time": 4, "y": 48, "x": 48}
    for split, count in (("train", 6), ("val", 2)):
        for stack, modality in MODALITIES.items():
            (file,) = (demos / "A" / split / modality).iterdir()
            assert file.name == f"ssl4eos12_{split}_seasonal_data_000001.zarr.zip"
            check_group(opened(file.read_bytes(), tmp_path / "a.zip"), A, stack, sizes | {"sample": count})
            (file,) = (demos / "B" / split / modality).iterdir()
            assert file.name == "ssl4eos12_shard_000001.tar"
            inside = members(file)
            assert len(inside) == count
            for name, data in inside.items():
                assert re.fullmatch(r"\d{7}\.zarr\.zip", name)
                assert ".zmetadata" in zipfile.ZipFile(io.BytesIO(data)).namelist()
            check_group(opened(data, tmp_path / "b.zip"), B, stack, sizes)
    for layout in "AB":
        names = {path.name for path in (demos / layout).iterdir()}
        assert names == {"SYNTHETIC.json", "train", "val"}


def test_pixels_dates_and_places_are_those_that_zarr_reads(demos: Path, tmp_path: Path) -> None:
    found = {sample.key: sample for sample in read_samples(ID, demos / "A")}
    assert len(found) == 8
    for split in ("train", "val"):
        for stack, modality in MODALITIES.items():
            (file,) = (demos / "A" / split / modality).iterdir()
            group = opened(file.read_bytes(), tmp_path / "a.zip")
            for number in range(group["crs"].shape[0]):
                sample = found[str(group["sample_id"][number, 0])[:7]]
                pixels = group["bands"][number].astype("float32" if stack == "s1" else "int16")
                order = np.argsort(group["time_"][number])
                np.testing.assert_array_equal(sample.layers[stack], pixels[order])
                np.testing.assert_array_equal(
                    sample.time[stack], np.sort(group["time_"][number]).astype("datetime64[s]")
                )
                assert sample.geo.crs == f"EPSG:{group['crs'][number]}"
                a, _, left, _, e, top = sample.geo.transform
                assert (a, e) == (10, -10)
                assert (left + 5, top - 5) == (group["x_"][number][0], group["y_"][number][0])  # centres


def test_both_layouts_give_the_same_samples(demos: Path) -> None:
    for one, two in zip(read_samples(ID, demos / "A"), read_samples(ID, demos / "B"), strict=True):
        assert_equal_samples(one, two)


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_builds_and_verifies(demos: Path, tmp_path: Path, layout: str) -> None:
    store = built(ID, demos / "B", tmp_path, layout=layout)
    assert store.meta.counts.splits == {"train": 6, "val": 2}
    assert [one for one in verify(store, deep=True, leaks=True, say=lambda _: None) if one.severity == "error"] == []


def test_the_shift_is_there_and_its_statistics_are_not_those_of_v1_0(demos: Path) -> None:
    for sample in read_samples(ID, demos / "B"):
        assert np.percentile(sample.layers["s2c"], 1) >= 1000
        assert 1000 <= sample.layers["s2c"][:, L1C.index("B10")].mean() < 1100  # cirrus is dark
        assert sample.layers["s1"][:, 0].mean() > sample.layers["s1"][:, 1].mean()
    new, old = shipped_manifest()[ID], shipped_manifest()["ssl4eo-s12"]
    for stack in ("s2a", "s2c"):
        assert {layer.unit.value for layer in new.stack_layers(stack)} == {"dn+1000"}
        assert {layer.unit.value for layer in old.stack_layers(stack)} == {"dn"}
        assert new.statistics[stack].unit != old.statistics[stack].unit
        for band, mean in new.statistics[stack].mean.items():
            assert 990 < mean - old.statistics[stack].mean[band] < 1075, (stack, band)


# What follows is written by zarr-python into folders, as a publisher would, and zipped or not.


def place(key: str, stack: str, *, bands: list[str] | None = None, side: int = 6, seed: int = 0) -> dict[str, Any]:
    names = bands or BANDS[stack]
    rng = np.random.default_rng([seed, int(key)])
    pixels = rng.integers(1001, 9000, (4, len(names), side, side)).astype(np.int16)
    if stack == "s1":
        pixels = rng.normal(-12, 3, pixels.shape).astype(np.float16)
    return {
        "bands": (("time", "band", "y", "x"), pixels, {}),
        "band": (("band",), np.array(names), {}),
        "crs": ((), np.array(32633), {}),
        "x": (("x",), 500005.0 + 10 * np.arange(side), {}),
        "y": (("y",), 5400005.0 - 10 * np.arange(side), {}),
        "time": (("time",), np.array([18300, 18400, 18500, 18600]), {"units": "days since 1970-01-01"}),
        "sample": ((), np.array(key), {}),
    }


def write_group(folder: Path, variables: dict[str, Any]) -> None:
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    for name, (dims, values, attrs) in variables.items():
        values = np.asarray(values)
        chunks = tuple(max(1, size // 2) for size in values.shape)
        attrs = {"_ARRAY_DIMENSIONS": list(dims), **attrs}
        array = group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype, attributes=attrs)
        array[...] = values


def zipped(folder: Path, top: str = "") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return sink.getvalue()


def write_tar(root: Path, stack: str, keys: list[str], *, split: str = "train", number: int = 1, **change) -> None:
    path = root / split / MODALITIES[stack] / f"ssl4eos12_shard_{number:06d}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key in keys:
            shutil.rmtree(root / ".group", ignore_errors=True)
            write_group(root / ".group", place(key, stack) | change)
            data = zipped(root / ".group")
            info = tarfile.TarInfo(f"{key}.zarr.zip")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_groups_of_zarr_python_with_small_chunks_are_read(tmp_path: Path) -> None:
    for stack in MODALITIES:
        write_tar(tmp_path, stack, ["0000300", "0000200"])
    first, second = read_samples(ID, tmp_path, "shape")
    for sample in (first, second):
        for stack in MODALITIES:
            want = place(sample.key, stack)["bands"][1]
            np.testing.assert_array_equal(sample.layers[stack], want.astype(sample.layers[stack].dtype))
            assert str(sample.time[stack][0]) == "2020-02-08T00:00:00"  # 18,300 days
        assert sample.geo.transform == (10.0, 0.0, 500000.0, 0.0, -10.0, 5400010.0)


def test_bands_are_bound_by_name(tmp_path: Path) -> None:
    shuffled = ["B8A", *[name for name in reversed(L1C) if name != "B8A"]]
    change = {"band": (("band",), np.array(shuffled), {})}
    write_tar(tmp_path, "s2c", ["0000200"], **change)
    (sample,) = read_samples(ID, tmp_path, "shape")
    want = place("0000200", "s2c")["bands"][1]
    for position, name in enumerate(L1C):
        np.testing.assert_array_equal(sample.layers["s2c"][:, position], want[:, shuffled.index(name)])
    write_tar(tmp_path, "s2c", ["0000200"], band=(("band",), np.array(["B1", *L1C[1:]]), {}))
    with pytest.raises(Exception, match="needs B01"):
        read_samples(ID, tmp_path, "shape")


def test_members_out_of_their_tar_and_groups_out_of_their_zip(tmp_path: Path) -> None:
    plain, packed, nested = (tmp_path / name for name in ("plain", "packed", "nested"))
    for stack, modality in MODALITIES.items():
        write_group(plain / "train" / modality / "0000200.zarr", place("0000200", stack))
        for root, top in ((packed, ""), (nested, "0000200.zarr/")):
            (root / "train" / modality / "shard").mkdir(parents=True)
            data = zipped(plain / "train" / modality / "0000200.zarr", top)
            (root / "train" / modality / "shard" / "0000200.zarr.zip").write_bytes(data)
    (one,), (two,), (three,) = (read_samples(ID, root, "shape") for root in (plain, packed, nested))
    assert_equal_samples(one, two)
    assert_equal_samples(one, three)
    (plain / "train" / "S1GRD" / "0000200.zarr.zip").write_bytes(b"never opened")
    assert ledger_of(ID, plain) == [("train/S1GRD/0000200.zarr.zip", "its unpacked group is read")]


def test_corrupt_dates_become_nat_and_their_images_go_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    units = {"units": "nanoseconds since 1970-01-01"}
    days = np.array([18600, 0, -5, 18300], dtype=np.int64)
    write_tar(tmp_path, "s2a", ["0000200"], time=(("time",), days * 86400 * 10**9, units))
    (sample,) = read_samples(ID, tmp_path, "shape")
    assert [str(date)[:10] for date in sample.time["s2a"]] == ["2020-02-08", "2020-12-04", "NaT", "NaT"]
    want = place("0000200", "s2a")["bands"][1]
    np.testing.assert_array_equal(sample.layers["s2a"], want[[3, 0, 1, 2]])
    assert "corrupt_dates=2" in caplog.text
    write_tar(tmp_path, "s2a", ["0000200"], time=(("time",), days, {"units": "fortnights since 1970-01-01"}))
    with pytest.raises(ArchiveError, match="fortnights"):
        read_samples(ID, tmp_path, "shape")


def test_what_is_missing(tmp_path: Path) -> None:
    pixels = {stack: place("0000200", stack)["bands"][1] for stack in MODALITIES}
    pixels["s2a"][0, :, 0, 0] = 1000  # no data, shifted
    pixels["s2a"][1, :, 0, 1] = 0
    pixels["s2a"][2, 0, 0, 2] = 1000  # one band: a measurement
    pixels["s1"][0, 0, 0, 0] = 0
    pixels["s1"][0, 1, 0, 1] = np.nan
    pixels["s1"][0, 1, 0, 2] = -np.inf
    for stack in ("s1", "s2a"):
        write_tar(tmp_path, stack, ["0000200"], bands=(("time", "band", "y", "x"), pixels[stack], {}))
    (sample,) = read_samples(ID, tmp_path, "shape")
    assert "s2c" not in sample.layers
    assert (sample.layers["s2a"] == -32768).sum() == 2 * len(L2A)
    assert (sample.layers["s2a"][0, :, 0, 0] == -32768).all()
    assert sample.layers["s2a"][2, 0, 0, 2] == 1000
    assert sorted(map(tuple, np.argwhere(np.isnan(sample.layers["s1"])))) == [(0, 0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 2)]
    store = built(ID, tmp_path, tmp_path.with_name(f"{tmp_path.name}-stores"), relax=("shape",))
    assert store.meta.subset.startswith("1 of 246,144")
    assert store.meta.counts.without == {"s2c": 1}


def test_products_must_hold_the_same_places_in_the_same_order(tmp_path: Path) -> None:
    write_tar(tmp_path, "s2a", ["0000200", "0000300"])
    write_tar(tmp_path, "s2c", ["0000300", "0000200"])
    with pytest.raises(ArchiveError, match=r"S2L1C.*another order, than train/S2L2A.*from position 0"):
        read_samples(ID, tmp_path, "shape")
    write_tar(tmp_path, "s2c", ["0000200", "0000300"])
    assert len(read_samples(ID, tmp_path, "shape")) == 2
    write_tar(tmp_path, "s2c", ["0000400"], number=2)  # a file that only one product has
    assert [set(sample.layers) for sample in read_samples(ID, tmp_path, "shape")] == [*[{"s2a", "s2c"}] * 2, {"s2c"}]
    write_tar(tmp_path, "s2c", ["0000200"], number=3)
    with pytest.raises(ArchiveError, match="place 0000200 is also in"):
        read_samples(ID, tmp_path, "shape")


def test_no_place_is_in_train_and_val(tmp_path: Path) -> None:
    write_tar(tmp_path, "s2a", ["0000200"])
    write_tar(tmp_path, "s2a", ["0000200"], split="val")
    with pytest.raises(ArchiveError, match="in train and in val"):
        read_samples(ID, tmp_path, "shape")


def test_a_member_that_says_another_id_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path, "s2a", ["0000200"], sample=((), np.array("0000201"), {}))
    with pytest.raises(ArchiveError, match="holds 0000201 where 0000200 belongs"):
        read_samples(ID, tmp_path, "shape")


def test_products_of_a_place_must_lie_in_one_place(tmp_path: Path) -> None:
    write_tar(tmp_path, "s2a", ["0000200"])
    write_tar(tmp_path, "s2c", ["0000200"], crs=((), np.array(32634), {}))
    with pytest.raises(ArchiveError, match="lies elsewhere"):
        read_samples(ID, tmp_path, "shape")


def test_fewer_dates(tmp_path: Path) -> None:
    values = place("0000200", "s2a")
    change = {name: (values[name][0], values[name][1][:3], values[name][2]) for name in ("bands", "time")}
    write_tar(tmp_path, "s2a", ["0000200"], **change)
    with pytest.raises(ArchiveError, match=r"3 images and 3 dates instead of 4.*--relax seasons"):
        read_samples(ID, tmp_path, "shape")
    (sample,) = read_samples(ID, tmp_path, "shape", "seasons")
    assert np.isnat(sample.time["s2a"]).tolist() == [False, False, False, True]
    assert (sample.layers["s2a"][3] == -32768).all()


def test_types_and_dimensions(tmp_path: Path) -> None:
    dims, pixels, _ = place("0000200", "s2a")["bands"]
    write_tar(tmp_path, "s2a", ["0000200"], bands=(dims, pixels.astype(np.uint16), {}))
    with pytest.raises(ArchiveError, match="dtype uint16 instead of int16"):
        read_samples(ID, tmp_path, "shape")
    assert read_samples(ID, tmp_path, "shape", "dtype")[0].layers["s2a"].dtype == np.int16
    write_tar(tmp_path, "s2a", ["0000200"], bands=(("band", "time", "y", "x"), pixels, {}))
    with pytest.raises(ArchiveError, match="dimensions"):
        read_samples(ID, tmp_path, "shape")
    write_tar(tmp_path, "s2a", ["0000200"], bands=(dims, pixels, {"scale_factor": 2.0}))
    with pytest.raises(ArchiveError, match="scaled"):
        read_samples(ID, tmp_path, "shape")
    write_tar(tmp_path, "s2a", ["0000200"])
    with pytest.raises(ArchiveError, match="6 x 6 pixels instead of 264 x 264"):
        read_samples(ID, tmp_path)


def one_group(root: Path) -> Path:
    folder = root / "train" / "S2L2A" / "0000200.zarr"
    write_group(folder, place("0000200", "s2a"))
    return folder


@pytest.mark.parametrize("codec", ["pickle", "json2", "msgpack2", None])
def test_codecs_that_run_code_are_refused(tmp_path: Path, codec: str | None) -> None:
    folder = one_group(tmp_path)
    meta = json.loads((folder / "bands" / ".zarray").read_text())
    meta["compressor"] = {"id": codec}
    (folder / "bands" / ".zarray").write_text(json.dumps(meta))
    with pytest.raises(ArchiveError, match=r"is coded with .* which is not opened"):
        read_samples(ID, tmp_path, "shape")
    meta |= {"dtype": "|O", "filters": [{"id": codec}], "compressor": None}
    (folder / "bands" / ".zarray").write_text(json.dumps(meta))
    with pytest.raises(ArchiveError, match="holds objects"):
        read_samples(ID, tmp_path, "shape")


def test_sizes_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    folder = one_group(tmp_path)
    meta = json.loads((folder / "bands" / ".zarray").read_text())
    cases = {"shape": "not taken at once", "chunks": "chunks of"}
    for name, why in cases.items():
        change = {name: [4, 12, 10**6, 10**6]}
        (folder / "bands" / ".zarray").write_text(json.dumps(meta | change))
        with pytest.raises(ArchiveError, match=why):
            read_samples(ID, tmp_path, "shape")


def test_damage_names_the_file(tmp_path: Path) -> None:
    folder = one_group(tmp_path)
    chunk = min((folder / "bands").glob("[0-9]*"))
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(ArchiveError, match=r"0000200\.zarr!bands: chunk 0\.0\.0\.0 is damaged"):
        read_samples(ID, tmp_path, "shape")
    (folder / ".zgroup").write_text('{"zarr_format": 3}')
    with pytest.raises(ArchiveError, match="not a zarr group of format 2"):
        read_samples(ID, tmp_path, "shape")
    shutil.rmtree(folder)
    folder.with_name("0000200.zarr.zip").write_bytes(b"PK nothing")
    with pytest.raises(ArchiveError, match=r"0000200\.zarr\.zip: is not a zip"):
        read_samples(ID, tmp_path, "shape")
    (folder.parent / "0000200.zarr.zip").unlink()
    with pytest.raises(ArchiveError, match="no zarr files in"):
        read_samples(ID, tmp_path)
