"""Stores of both layouts: what is read is what was written, with our reader and with those of others."""

import json
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorstore
import webdataset
import xarray as xr
import zarr
from numpy.testing import assert_array_equal

from seamo.errors import StoreError, UsageError
from seamo.sample import Sample
from seamo.store.check import band_statistics, content_of, differing_files, differing_samples
from seamo.store.reader import Store, open_store
from seamo.store.writer import BadSample, BuildPlan
from tests.seamo.store_samples import build, mask_sample, masks_spec, seasons_samples, seasons_spec

LAYOUTS = ["zarr", "webdataset"]


def plan_of(spec, **changes):
    return BuildPlan(**({"spec": spec, "split_scheme": "hash-60-20-20"} | changes))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    return {layout: build(root, plan_of(seasons_spec(), layout=layout), seasons_samples()) for layout in LAYOUTS}


def assert_same(got: Sample, want: Sample) -> None:
    assert got.key == want.key
    assert got.layers.keys() == want.layers.keys()
    for name, pixels in want.layers.items():
        assert got.layers[name].dtype == pixels.dtype
        assert_array_equal(got.layers[name], pixels)
    assert got.time.keys() == want.time.keys()
    for stack, dates in want.time.items():
        assert_array_equal(got.time[stack], dates)
    assert (got.geo, got.scene, got.offset) == (want.geo, want.scene, want.offset)
    assert_array_equal(got.label, want.label)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(paths, layout):
    store = open_store(paths[layout])
    samples = seasons_samples()
    assert len(store) == len(samples) == 40
    for i, want in enumerate(samples):
        if isinstance(want, BadSample):
            assert store[i].layers == {}
            assert not store.is_valid(i, "s1")
            assert (store.read_layer(i, "s2_60m") == 65535).all()
            assert store.index["split"][i] == ""
        else:
            assert_same(store[i], want)
            assert store.row(want.key) == i
    assert_same(store[-1], samples[-1])
    with pytest.raises(IndexError):
        store[40]
    assert store.title == "Toy subset (39 of 1,000)"
    assert store.meta.counts.bad == 1
    assert store.meta.counts.without == {"s1": 1}
    ledger = json.loads((store.path / "ledger.json").read_bytes())
    assert ledger == [{"name": samples[4].key, "reason": "B05.tif is truncated"}]
    assert list(differing_files(store, deep=True)) == []
    assert list(differing_samples(store)) == []


def test_content_depends_on_nothing_but_what_is_inside(paths, tmp_path):
    contents = {open_store(path).content for path in paths.values()}
    compact = build(tmp_path, plan_of(seasons_spec(), codec="compact"), seasons_samples())
    contents |= {
        open_store(compact).content,
        content_of(open_store(compact)),
        content_of(open_store(compact), deep=False),
    }
    assert len(contents) == 1
    for change in ("pixel", "label", "date", "split"):
        samples = seasons_samples()
        one = samples[7]
        if change == "pixel":
            one.layers["s2_60m"][0, 0, 0, 0] ^= 1
        elif change == "date":
            one.time["s1"][0] += 1
        elif change == "label":
            samples[7] = Sample(one.key, one.layers, one.time, one.geo, (one.label + 1) % 3, one.scene, one.offset)
        scheme = "none" if change == "split" else "hash-60-20-20"
        path = build(tmp_path / change, plan_of(seasons_spec(), split_scheme=scheme), samples)
        contents.add(open_store(path).content)
    assert len(contents) == 5


def test_xarray_reads_it_without_us(paths):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        dataset = xr.open_zarr(paths["zarr"] / "data.zarr")
    samples = seasons_samples()
    for i in (0, 6, 39):
        for name, pixels in samples[i].layers.items():
            assert dataset[name].dims == ("sample", "time", f"band_{name}", f"y_{name}", f"x_{name}")
            assert_array_equal(dataset[name][i].values, pixels)
        assert str(dataset["key"][i].values) == samples[i].key
        acquired = dataset["acquired_s2"][i].values
        assert_array_equal(np.isnat(acquired), np.isnat(samples[i].time["s2"]))
        assert_array_equal(acquired.astype("datetime64[s]"), samples[i].time["s2"])
    assert_array_equal(dataset["s2_20m"].sel(band_s2_20m="B8A")[8].values, samples[8].layers["s2_20m"][:, 1])


def test_tensorstore_reads_it_without_us(paths):
    samples = seasons_samples()
    for name in ("s2_10m", "s2_20m", "s2_60m", "s1", "acquired_s1"):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(paths["zarr"] / "data.zarr" / name)}}
        array = tensorstore.open(spec, read=True).result()
        if name == "acquired_s1":
            assert_array_equal(array[8].read().result(), samples[8].time["s1"].astype(np.int64))
        else:
            assert_array_equal(array[21].read().result(), samples[21].layers[name])


def test_webdataset_reads_it_without_us(paths):
    shards = sorted(str(path) for path in (paths["webdataset"] / "shards").glob("*.tar"))
    assert len(shards) == 3
    found = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    samples = seasons_samples()
    assert [one["__key__"] for one in found] == [one.key for one in samples]
    for i in (0, 6, 39):
        for name, pixels in samples[i].layers.items():
            assert_array_equal(found[i][f"{name}.npy"], pixels)
        assert found[i]["json"]["label"] == samples[i].label
    assert np.isnan(found[3]["s1.npy"]).all()
    assert found[4]["json"]["reason"] == "B05.tif is truncated"


@pytest.mark.parametrize("codec", ["lz4", "compact", "none"])
def test_shards_are_the_bytes_that_zarr_python_writes(tmp_path, codec):
    store = open_store(build(tmp_path / "ours", plan_of(seasons_spec(), codec=codec), seasons_samples()))
    for name in ("s2_10m", "s1"):
        ours = zarr.open_array(store.path / "data.zarr" / name, mode="r")
        theirs = zarr.create_array(
            tmp_path / name,
            shape=ours.shape,
            chunks=ours.chunks,
            shards=ours.shards,
            dtype=ours.dtype,
            compressors=ours.compressors,
            filters=None,
            fill_value=ours.fill_value,
            config={"write_empty_chunks": True},
        )
        theirs[:] = ours[:]
        files = sorted(
            path.relative_to(tmp_path / name) for path in (tmp_path / name / "c").rglob("*") if path.is_file()
        )
        assert len(files) == 3
        for file in files:
            assert (store.path / "data.zarr" / name / file).read_bytes() == (tmp_path / name / file).read_bytes()


@pytest.mark.parametrize("codec", ["lz4", "compact", "none"])
def test_other_readers_notice_damage(tmp_path, codec):
    store = open_store(build(tmp_path, plan_of(seasons_spec(), codec=codec), seasons_samples()))
    group, row = store.path / "data.zarr", store.index.iloc[17]
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(group / "s2_10m")}}
    readers = {
        "zarr": lambda i: zarr.open_array(group / "s2_10m", mode="r")[i],
        "xarray": lambda i: xr.open_zarr(group)["s2_10m"][i].values,
        "tensorstore": lambda i: tensorstore.open(spec, read=True).result()[i].read().result(),
    }
    shard = group / "s2_10m/c/1/0/0/0/0"
    sound = shard.read_bytes()
    start, end = int(row["s2_10m.offset"]), int(row["s2_10m.offset"] + row["s2_10m.length"])
    for at in (start, (start + end) // 2, end - 1):  # tensorstore inflates before it compares
        shard.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        for name, read in readers.items():
            with pytest.raises((ValueError, RuntimeError), match=r"(?i)checksum|crc|digest|blosc|zstd"):
                pytest.fail(f"{name} read {read(17).shape} in silence")
            assert_array_equal(read(18), seasons_samples()[18].layers["s2_10m"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [None, (40, 64)])
def test_masks_and_varying_sizes(tmp_path, layout, size):
    sizes = ((20, 31), (40, 64), (65, 10), (32, 32)) if size is None else (size,)
    samples = [mask_sample(i, sizes) for i in range(20)]
    samples[5] = BadSample(samples[5].key, "gone")
    samples[6] = Sample(samples[6].key, {}, label=samples[6].label)  # an image is missing, its mask is not
    store = open_store(build(tmp_path, plan_of(masks_spec(size), layout=layout), samples))
    for i, want in enumerate(samples):
        if not isinstance(want, BadSample):
            assert_same(store[i], want)
            assert tuple(store.index.loc[i, ["height", "width"]]) == want.label.shape
            ids, counts = np.unique(want.label[want.label != 255], return_counts=True)
            assert store.index["dominant"][i] == ids[counts.argmax()]
    assert content_of(store) == store.content
    big = np.empty((1, 3, 96, 96), np.uint8)
    store.read_layer(0, "rgb", big)
    h, w = samples[0].label.shape
    assert_array_equal(big[..., :h, :w], samples[0].layers["rgb"])
    assert not big[..., h:, :].any()
    assert not big[..., :, w:].any()
    mask = np.empty((96, 96), np.uint8)
    store.read_layer(0, "label", mask)
    assert_array_equal(mask[:h, :w], samples[0].label)
    assert (mask[h:] == 255).all()
    with pytest.raises(UsageError):
        store.read_layer(0, "rgb", np.empty((1, 3, 8, 8), np.uint8))
    if layout == "zarr":
        dataset = xr.open_zarr(store.path / "data.zarr")
        if size is None:
            assert {"rgb_32", "rgb_64", "rgb_96", "label_32", "label_64", "label_96"} <= set(dataset)
            assert_array_equal(dataset["rgb_96"][2].values[..., :65, :10], samples[2].layers["rgb"])
        else:
            assert_array_equal(dataset["label"][2].values, samples[2].label)


def test_stacks_are_resampled_in_canonical_order(paths):
    store = open_store(paths["zarr"])
    image = store.read_stack(6, "s2")
    assert store.stack_bands("s2") == ("B01", "B02", "B03", "B04", "B05", "B08", "B8A", "B09", "B11")
    assert image.shape == (4, 9, 24, 24)
    layers = seasons_samples()[6].layers
    assert_array_equal(image[:2, 1], layers["s2_10m"][:2, 0])
    assert np.isnan(image[2:]).all()
    nearest = store.read_stack(6, "s2", kernel="nearest")
    assert_array_equal(nearest[0, 6], np.kron(layers["s2_20m"][0, 1], np.ones((2, 2))))


def test_to_xarray_is_ready_for_rioxarray(paths, tmp_path):
    import rasterio

    store = open_store(paths["webdataset"])
    want = seasons_samples()[9]
    one = store.to_xarray(want.key, time="2021-04-05", stack="s2")
    assert one["s2"].dims == ("band", "y", "x")
    assert one.rio.crs.to_epsg() == 32633
    assert one.rio.bounds() == pytest.approx((502160, 5599760, 502400, 5600000))
    assert float(one.x[0]) == 502165.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one["s2"].rio.to_raster(tmp_path / "one.tif")
    with rasterio.open(tmp_path / "one.tif") as file:
        assert file.transform.to_gdal()[0] == 502160
        assert_array_equal(file.read(2), want.layers["s2_10m"][1, 0])
    every = store.to_xarray(want.key)
    assert every["s1"].dims == ("time", "band_s1", "y", "x")
    assert_array_equal(every["s1"].values, want.layers["s1"])
    plain = store.to_xarray(seasons_samples()[2].key, stack="s1")
    assert plain.rio.crs is None
    with pytest.raises(StoreError, match="no image on 2020-01-01"):
        store.to_xarray(want.key, time="2020-01-01")


def test_the_index_is_geoparquet(paths):
    import rasterio.warp
    import shapely

    table = pq.read_table(paths["zarr"] / "index.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["primary_column"] == "footprint"
    row = table.slice(9, 1).to_pylist()[0]
    polygon = shapely.from_wkb(row["footprint"])
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    lon, lat = rasterio.warp.transform("EPSG:32633", "EPSG:4326", [502160.0, 502400.0], [5600000.0, 5599760.0])
    assert polygon.bounds[0] == pytest.approx(lon[0], abs=1e-4)
    assert polygon.bounds[3] == pytest.approx(lat[0], abs=1e-4)
    assert row["bbox"]["xmax"] == pytest.approx(polygon.bounds[2])
    assert table["footprint"][2].as_py() is None
    shard = paths["zarr"] / "data.zarr" / "s1" / "c" / "0" / "0" / "0" / "0" / "0"
    assert row["s1.offset"] + row["s1.length"] <= shard.stat().st_size
    again = paths["zarr"].parent / "again"
    pair = [build(again / str(i), plan_of(seasons_spec()), seasons_samples()) / "index.parquet" for i in range(2)]
    assert pair[0].read_bytes() == pair[1].read_bytes()


def test_statistics_in_store_json_are_those_of_the_pixels(paths):
    store = open_store(paths["zarr"])
    samples = [one for one in seasons_samples() if isinstance(one, Sample)]
    splits = dict(zip(store.index["key"], store.index["split"], strict=True))
    for which in ("all", "train"):
        chosen = [one for one in samples if which == "all" or splits[one.key] == "train"]
        for layer, band, missing in (("s2_20m", "B8A", 65535), ("s1", "VH", np.nan)):
            values = np.concatenate([one.layers[layer][:, 1].ravel() for one in chosen if layer in one.layers])
            values = values[~np.isnan(values) & (values != missing)].astype(np.float64)
            said = store.meta.statistics[which][layer][band]
            assert said["count"] == values.size
            np.testing.assert_allclose([said["mean"], said["std"]], [values.mean(), values.std()], rtol=1e-12)
    recomputed = band_statistics(store, "s2_20m", store.rows("all"))
    assert recomputed == store.meta.statistics["all"]["s2_20m"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_is_named(tmp_path, layout):
    path = build(tmp_path, plan_of(seasons_spec(), layout=layout), seasons_samples())
    store = open_store(path)
    row = store.index.iloc[17]
    name = "data.zarr/s2_10m/c/1/0/0/0/0" if layout == "zarr" else "shards/000001.tar"
    shard = path / name
    data = bytearray(shard.read_bytes())
    data[row["s2_10m.offset"] + row["s2_10m.length"] // 2] ^= 4
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{name}: sample {row['key']} layer s2_10m.*damaged"):
        Store(path)[17]
    assert Store(path)[18].key
    assert [one.where for one in differing_samples(Store(path))] == [row["key"]]
    assert [one.where for one in differing_files(Store(path), deep=True)] == [name]
    shard.write_bytes(data[: row["s2_10m.offset"] + 10])
    with pytest.raises(StoreError, match="ends early"):
        Store(path)[17]
    assert [one.where for one in differing_files(Store(path))] == [name]
    shard.unlink()
    with pytest.raises(StoreError, match=f"{name}.*cannot be read"):
        Store(path)[17]
