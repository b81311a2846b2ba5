"""The faces of a split in other libraries: a webdataset pipeline and a lazy xarray dataset, of both layouts."""

import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
import xarray as xr
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader

from seamo.errors import ManifestError, StoreError, UsageError
from seamo.manifest import parse_spec
from seamo.sample import IGNORE
from seamo.store.format import NO_DATE
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan
from seamo.testing.stores import tiny_store
from tests.conftest import ROOT
from tests.seamo.store_samples import build, mask_sample, masks_spec, seasons_sample, seasons_samples, seasons_spec

LAYOUTS = ("zarr", "webdataset")


@pytest.fixture(scope="module", params=LAYOUTS)
def store(request, tmp_path_factory):
    plan = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20", layout=request.param)
    return open_store(build(tmp_path_factory.mktemp("stores"), plan, seasons_samples(20)))


@pytest.fixture(scope="module", params=LAYOUTS)
def masks(request, tmp_path_factory):
    plan = BuildPlan(spec=masks_spec(), split_scheme="none", layout=request.param)
    return open_store(build(tmp_path_factory.mktemp("masks"), plan, [mask_sample(i) for i in range(4)]))


def written(key):
    return seasons_sample(int(key.rpartition("_")[2]), seasons_spec())


class TestWebdataset:
    def test_samples_are_those_that_were_written(self, store):
        found = list(store.webdataset("train"))
        assert [sample["__key__"] for sample in found] == store.index["key"][store.rows("train")].tolist()
        for sample in found:
            want = written(sample["__key__"])
            assert sample["label"] == want.label
            assert type(sample["label"]) is int
            for layer in store.spec.layers:
                pixels = sample[layer.id]
                assert pixels.dtype == np.dtype(layer.dtype)
                there = layer.id in want.layers
                assert_array_equal(pixels, want.layers[layer.id] if there else np.full_like(pixels, np.nan))
                dated = ~np.isnat(want.time[layer.stack])
                assert sample[f"valid.{layer.id}"].tolist() == (dated & there).tolist()
            for stack, dates in want.time.items():
                seconds = sample[f"times.{stack}"]
                assert seconds.dtype == np.int64
                assert_array_equal(seconds[~np.isnat(dates)], dates[~np.isnat(dates)].astype(np.int64))
                assert (seconds[np.isnat(dates)] == NO_DATE).all()

    def test_the_fields_are_those_of_the_page(self, store):
        page = (ROOT / "docs/store.md").read_text("utf-8")
        rows = re.findall(r"^\| `([a-z_<>.]+)` \| .* \|", page[page.index("| field |") :], re.MULTILINE)
        named = {field.replace("<layer>", "s1").replace("<stack>", "s1") for field in rows}
        assert set(next(iter(store.webdataset("train", layers=["s1"])))) == named

    def test_it_composes_as_any_other(self, store):
        pipeline = store.webdataset("all", layers=["s2_60m"]).shuffle(50, seed=1).batched(8, partial=False)
        assert isinstance(pipeline, webdataset.DataPipeline)
        batches = list(pipeline)
        assert [batch["s2_60m"].shape for batch in batches] == [(8, 4, 2, 4, 4)] * 2
        keys = [key for batch in batches for key in batch["__key__"]]
        assert keys != sorted(keys)
        assert len(set(keys)) == 16

    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_workers_share_the_samples(self, store, workers):
        pipeline = store.webdataset("all", layers=["s2_60m"])
        loader = DataLoader(pipeline, batch_size=None, num_workers=workers)
        assert sorted(sample["__key__"] for sample in loader) == sorted(store.index["key"][store.rows("all")])

    def test_nodes_share_the_samples(self, store, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "3")
        monkeypatch.setenv("NUM_WORKERS", "2")
        shares = []
        for rank in range(3):
            for worker in range(2):
                monkeypatch.setenv("RANK", str(rank))
                monkeypatch.setenv("WORKER", str(worker))
                shares.append([sample["__key__"] for sample in store.webdataset("all", layers=["s2_60m"])])
        assert sorted(key for share in shares for key in share) == sorted(store.index["key"][store.rows("all")])
        assert {len(share) for share in shares} == {3, 4}  # 19 samples

    def test_it_travels(self, store):
        again = pickle.loads(pickle.dumps(store.webdataset("val")))  # noqa: S301 - our own bytes
        ours = list(store.webdataset("val"))
        assert len(ours) > 1
        for mine, theirs in zip(ours, again, strict=True):
            assert_array_equal(mine["s2_10m"], theirs["s2_10m"])

    def test_subsets_and_layers_are_chosen(self, store):
        some = [sample["__key__"] for sample in store.webdataset("train", fraction=0.5, salt=2)]
        assert some == store.index["key"][store.rows("train", 0.5, 2)].tolist()
        assert len(some) < len(store.rows("train"))
        sample = next(iter(store.webdataset("train", layers=["s2"])))
        assert [name for name in sample if name.startswith("s")] == ["s2_10m", "s2_20m", "s2_60m"]
        with pytest.raises(ManifestError, match="no layer 's3'"):
            store.webdataset("train", layers=["s3"])
        with pytest.raises(StoreError, match="no split 'tain'"):
            store.webdataset("tain")
        with pytest.raises(ManifestError, match="no label space 'other'"):
            store.webdataset("train", label_space="other")

    def test_sets_masks_and_no_labels(self, masks):
        multi = tiny_store(task="multi-label", layout=masks.meta.layout)
        labels = [sample["label"] for sample in multi.webdataset("all", layers=["s1"])]
        assert [np.flatnonzero(label).tolist() for label in labels] == [list(multi.read_label(i)) for i in range(12)]
        assert {label.dtype for label in labels} == {np.dtype("uint8")}
        assert "label" not in next(iter(tiny_store(task="pretrain").webdataset("all")))
        for i, sample in enumerate(masks.webdataset("all")):  # images of varying size keep their own
            assert_array_equal(sample["label"], mask_sample(i).label)
            assert_array_equal(sample["rgb"], mask_sample(i).layers["rgb"])
            assert sample["valid.rgb"].tolist() == [True]  # an archive without dates

    def test_a_derived_label_space(self, tmp_path):
        spec = seasons_spec()
        derived = {
            "classes": [{"name": "wet"}, {"name": "dry"}],
            "source": "toy",
            "derived": {"0": [0], "1": [1, 2]},
        }
        entry = spec.model_dump(mode="json", exclude_defaults=True)
        entry["label_spaces"]["wet"] = derived
        spec = parse_spec(entry, "test")
        samples = [seasons_sample(i, spec) for i in range(6)]
        store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
        labels = [sample["label"] for sample in store.webdataset("all", layers=["s2_60m"], label_space="wet")]
        assert labels == [0, 1, 1, 0, 1, 1]

    def test_what_is_damaged_or_unlabelled_is_named(self, tmp_path):
        spec = seasons_spec()
        samples = [seasons_sample(0, spec), replace(seasons_sample(1, spec), label=None)]
        store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
        with pytest.raises(StoreError, match=r"toy sample a1/sample_0001: has no label"):
            list(store.webdataset("all"))
        shard = next(store.path.glob("data.zarr/s2_10m/c/*/*/*/*/*"))
        data = bytearray(shard.read_bytes())
        data[100] ^= 1
        shard.write_bytes(data)
        with pytest.raises(StoreError, match=r"sample_0000 layer s2_10m: the bytes are damaged"):
            next(iter(open_store(store.path).webdataset("all")))


class Counted(Store):
    """Notes every layer that is read."""

    reads: list

    def read_layer(self, i, layer, out=None, **part):
        self.reads.append((layer, i))
        return super().read_layer(i, layer, out, **part)


def counted(path: Path) -> Counted:
    store = Counted(path)
    store.reads = []
    return store


class TestLazyDataset:
    def test_nothing_is_read_before_it_is_computed(self, store):
        watched = counted(store.path)
        rows = watched.rows("train")
        cube = watched.to_xarray(split="train", chunk=2)
        assert watched.reads == []
        assert "s2_10m" in repr(cube)
        assert cube["s2_10m"].isel(time=0, sample=slice(0, 3)).nbytes > 0
        assert watched.reads == []
        cube["s2_60m"].isel(sample=2).mean().compute()
        assert sorted(watched.reads) == [("s2_60m", rows[2]), ("s2_60m", rows[3])]  # one chunk of one layer
        watched.reads.clear()
        cube["s1"].compute()
        assert sorted(watched.reads) == [("s1", row) for row in rows]

    def test_masks_are_read_as_late(self, masks):
        watched = counted(masks.path)
        cube = watched.to_xarray(split="all", chunk=1)
        assert watched.reads == []
        cube["label"].isel(sample=1).compute()
        assert watched.reads == [("label", 1)]

    def test_values_are_those_that_were_written(self, store):
        cube = store.to_xarray(split="val")
        for sample in range(cube.sizes["sample"]):
            one = cube.isel(sample=sample)
            want = written(one["key"].item())
            assert one["label"].item() == want.label
            for layer in store.spec.layers:
                pixels = one[layer.id].values
                assert pixels.dtype == np.dtype(layer.dtype)
                there = layer.id in want.layers
                assert_array_equal(pixels, want.layers[layer.id] if there else np.full_like(pixels, np.nan))
                assert one[f"valid_{layer.id}"].item() is there
            for stack, dates in want.time.items():
                assert_array_equal(one[f"acquired_{stack}"].values, dates.astype("datetime64[ns]"))

    def test_dims_and_coordinates_are_those_of_the_zarr_store(self, tmp_path):
        spec = seasons_spec()
        samples = seasons_samples(20)
        store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
        plain = xr.open_zarr(store.path / "data.zarr")
        cube = store.to_xarray(split="all")
        readable = store.rows("all")
        for layer in spec.layers:
            assert cube[layer.id].dims == plain[layer.id].dims
            assert cube[f"band_{layer.id}"].values.tolist() == plain[f"band_{layer.id}"].values.tolist()
            assert_array_equal(cube[layer.id].values, plain[layer.id].values[readable])
            assert cube[layer.id].attrs["unit"] == plain[layer.id].attrs["unit"]
        assert cube["key"].values.tolist() == plain["key"].values[readable].tolist()
        for stack in spec.stacks:
            assert cube[f"acquired_{stack}"].dims == plain[f"acquired_{stack}"].dims
            assert_array_equal(cube[f"acquired_{stack}"].values, plain[f"acquired_{stack}"].values[readable])
        assert cube["s2_10m"].attrs["nodata"] == 65535
        assert np.isnan(cube["s1"].attrs["nodata"])
        by_name = cube["s2_10m"].sel(band_s2_10m="B08").isel(sample=1)
        assert_array_equal(by_name.values, samples[1].layers["s2_10m"][:, 3])

    def test_stacks_of_different_length_have_their_own_dates(self, tmp_path):
        spec = seasons_spec()
        one_date = spec.layer("s1").model_copy(update={"times": 1})
        spec = spec.model_copy(update={"layers": (*spec.layers[:3], one_date)})
        samples = [seasons_sample(i, seasons_spec()) for i in (0, 1, 2)]
        samples = [
            replace(
                sample,
                layers={**sample.layers, "s1": sample.layers["s1"][:1]},
                time={**sample.time, "s1": sample.time["s1"][:1]},
            )
            for sample in samples
        ]
        store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
        cube = store.to_xarray(split="all", layers=["s1"])
        assert list(cube.data_vars) == ["s1", "label"]
        assert cube["s1"].dims[1] == cube["acquired_s1"].dims[1] == "time_s1"
        assert cube["s1"].dims == xr.open_zarr(store.path / "data.zarr")["s1"].dims

    def test_images_of_varying_size_are_padded(self, masks):
        cube = masks.to_xarray(split="all")
        assert cube["rgb"].shape == (4, 1, 3, 65, 64)
        assert cube["label"].dims == ("sample", "y_label", "x_label")
        for i in range(4):
            want = mask_sample(i)
            height, width = (int(cube[side][i]) for side in ("height", "width"))
            assert (height, width) == want.label.shape
            assert_array_equal(cube["rgb"].values[i, ..., :height, :width], want.layers["rgb"])
            assert_array_equal(cube["label"].values[i, :height, :width], want.label)
            assert (cube["label"].values[i, height:] == IGNORE).all()
            assert (cube["rgb"].values[i, ..., width:] == 0).all()

    def test_sets_and_missing_labels(self, tmp_path):
        multi = tiny_store(task="multi-label").to_xarray(split="all")
        assert multi["class"].values.tolist() == ["water", "forest", "crop"]
        assert multi["label"].values[:3].tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
        assert "label" not in tiny_store(task="pretrain").to_xarray(split="all")
        spec = seasons_spec()
        samples = [replace(seasons_sample(i, spec), label=None if i == 1 else 2) for i in range(3)]
        store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
        assert store.to_xarray(split="all")["label"].values.tolist() == [2, -1, 2]

    def test_one_sample_or_many(self, store):
        key = store.index["key"][0]
        for wrong in ({}, {"key": key, "split": "train"}):
            with pytest.raises(UsageError, match=r"a key \(one sample\) or split= \(many\)"):
                store.to_xarray(**wrong)
        for wrong in ({"time": 0}, {"stack": "s2"}):
            with pytest.raises(UsageError, match="time and stack are for one sample"):
                store.to_xarray(split="train", **wrong)
        with pytest.raises(UsageError, match="in chunks of 0"):
            store.to_xarray(split="train", chunk=0)
        with pytest.raises(StoreError, match="no split 'tain'"):
            store.to_xarray(split="tain")
        half = store.to_xarray(split="train", fraction=0.5, salt=1)
        assert half["key"].values.tolist() == store.index["key"][store.rows("train", 0.5, 1)].tolist()


BASE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import seamo
from seamo.errors import MissingLibraryError

store = seamo.open_store({path!r})
sample = store[0]
assert sample.layers["s2_10m"].shape == (4, 4, 24, 24)
assert len(store.rows("train")) and store.read_stack(0, "s2").shape == (4, 9, 24, 24)
calls = {{
    "loader": lambda: store.loader("train", 4),
    "webdataset": lambda: store.webdataset("train"),
    "key": lambda: store.to_xarray(sample.key),
    "split": lambda: store.to_xarray(split="train"),
}}
for name, call in calls.items():
    try:
        call()
    except MissingLibraryError as error:
        print(name, error)
"""


def without(path: Path, *absent: str) -> dict[str, str]:
    code = BASE.format(absent=set(absent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_the_base_install_reads_and_says_which_extra_is_missing(store):
    said = without(store.path, "torch", "scipy", "xarray", "rioxarray", "dask", "rasterio", "webdataset", "affine")
    run = "which is not installed. Run `pip install 'seamo[{}]'`."
    assert said["loader"] == f"store.loader: needs torch, {run.format('torch')}"
    assert said["webdataset"] == f"store.webdataset: needs webdataset, {run.format('torch')}"
    assert said["split"] == f"store.to_xarray: needs dask, {run.format('prep')}"
    assert said["key"] == f"store.to_xarray: needs rioxarray, {run.format('prep')}"


def test_faces_need_no_more_than_their_own_library(store):
    # A pipeline needs no torch, a lazy dataset no rasters.
    assert set(without(store.path, "torch", "rioxarray", "rasterio", "affine")) == {"loader", "key"}


def test_torch_batches_and_pipelines_agree(store):
    batch = next(iter(store.loader("train", 6)))
    piped = next(iter(store.webdataset("train").batched(6)))
    assert piped["__key__"] == list(batch.keys)
    assert piped["label"].tolist() == batch.label.tolist()
    for layer in store.spec.layers:
        torch.testing.assert_close(
            torch.from_numpy(piped[layer.id]), batch.layers[layer.id], equal_nan=True, rtol=0, atol=0
        )
        assert piped[f"valid.{layer.id}"].tolist() == batch.valid[layer.id].tolist()
    for stack, seconds in batch.times.items():
        assert piped[f"times.{stack}"].tolist() == seconds.tolist()
