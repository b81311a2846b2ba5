"""Samples as STAC-GeoParquet, against numbers typed by hand, rasterio, and the libraries of STAC."""

import hashlib
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio.warp
import shapely
from typer.testing import CliRunner

from seamo.errors import StoreError, UsageError
from seamo.licences import hub_licence, spdx_of
from seamo.store.columns import IndexColumns
from seamo.store.placelist import read_footprints
from seamo.store.reader import Store, open_store
from seamo.store.table import row_groups, table_bytes
from seamo.testing.stores import tiny_store
from seamo_prep.cli.program import app
from seamo_prep.exchange.facts import stores_at
from seamo_prep.exchange.items import SeenItems, items_of, schema_of
from seamo_prep.exchange.stac import write_stac
from tests import servers
from tests.prep.exchange_stores import odd_store, packed_store, store_of


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return odd_store(tmp_path_factory.mktemp("odd"))


def written(stores: list[Store], out: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Rows by id and collections, read by pyarrow alone."""
    write_stac(stores, out)
    metadata = pq.read_schema(out).metadata
    rows = pq.read_table(out).to_pylist()
    return {row["id"]: row for row in rows}, json.loads(metadata[b"stac-geoparquet"])["collections"]


def test_an_item_says_where_and_when_its_sample_is(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    rows, _ = written([store], tmp_path / "items.parquet")
    item = rows["tiny_004"]
    # 24 pixels of 10 m; the fifth sample begins 960 m east of the first.
    left, top, right, bottom = 500960.0, 5600000.0, 501200.0, 5599760.0
    lon, lat = rasterio.warp.transform(
        "EPSG:32633", "EPSG:4326", [left, right, right, left], [bottom, bottom, top, top]
    )
    ring = np.array(shapely.from_wkb(item["geometry"]).exterior.coords)
    np.testing.assert_allclose(ring[:4], np.stack([lon, lat], axis=1), rtol=0, atol=1e-9)
    assert item["bbox"] == {"xmin": min(lon), "ymin": min(lat), "xmax": max(lon), "ymax": max(lat)}
    assert item["proj:code"] == "EPSG:32633"
    assert item["assets"]["s2_10m"]["proj:shape"] == [24, 24]
    assert item["assets"]["s2_10m"]["proj:transform"] == [10, 0, left, 0, -10, top]
    assert item["assets"]["s2_20m"]["proj:shape"] == [12, 12]
    assert item["assets"]["s2_20m"]["proj:transform"] == [20, 0, left, 0, -20, top]
    assert item["datetime"] is None
    assert item["start_datetime"].isoformat() == "2021-01-05T10:20:34+00:00"
    assert item["end_datetime"].isoformat() == "2021-04-05T10:20:34+00:00"
    assert (item["seamo:row"], item["seamo:split"], item["seamo:classes"]) == (4, "test", ["forest"])


def test_assets_lead_to_the_pixels(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    store = tiny_store(tmp_path / "stores")
    rows, _ = written([store], tmp_path / "items.parquet")
    item = rows["tiny_007"]
    array = zarr.open_array(item["assets"]["s1"]["href"], mode="r")
    np.testing.assert_array_equal(array[item["seamo:row"]], store[7].layers["s1"])
    address = item["assets"]["store.json"]["href"]
    np.testing.assert_array_equal(open_store(address)[item["seamo:row"]].layers["s1"], store[7].layers["s1"])
    tars = tiny_store(tmp_path / "tars", layout="webdataset")
    rows, _ = written([tars], tmp_path / "tars.parquet")
    assert rows["tiny_007"]["assets"]["s1"]["href"] == f"{tars.path}/shards/000000.tar"
    assert Path(rows["tiny_007"]["assets"]["s1"]["href"]).is_file()


def test_what_has_no_place_or_date_is_counted_and_left_out(odd: Store, tmp_path: Path) -> None:
    rows, collections = written([odd], tmp_path / "items.parquet")
    assert sorted(rows) == ["tiny_000", "tiny_003", "tiny_004", "tiny_005", "tiny_006"]
    (facts,) = collections.values()
    assert facts["seamo:left_out"] == {"without a date": 1, "without a georeference": 1}
    listed = read_footprints(tmp_path / "items.parquet")  # as a list of places it lacks them, and says so
    assert (len(listed), listed.unplaced) == (5, 2)
    assert facts["seamo:samples"] == 7
    assert facts["seamo:synthetic"] is True
    assert rows["tiny_003"]["datetime"].isoformat() == "2020-02-29T12:00:00+00:00"  # the only one of its dates
    assert rows["tiny_003"]["seamo:split"] is None  # of no split
    assert rows["tiny_005"]["assets"]["s1"] is None
    assert rows["tiny_005"]["assets"]["s2_10m"] is not None
    assert rows["tiny_006"]["proj:code"] is None


def test_across_the_antimeridian(odd: Store, tmp_path: Path) -> None:
    rows, collections = written([odd], tmp_path / "items.parquet")
    item = rows["tiny_004"]
    assert item["bbox"]["xmin"] == pytest.approx(179.99)
    assert item["bbox"]["xmax"] == pytest.approx(-179.986)
    assert shapely.from_wkb(item["geometry"]).geom_type == "MultiPolygon"
    (facts,) = collections.values()
    (box,) = facts["extent"]["spatial"]["bbox"]
    assert (box[0], box[2]) == (-180, 180)
    assert facts["extent"]["temporal"]["interval"] == [["2020-02-29T12:00:00.000Z", "2021-04-05T10:20:36.000Z"]]
    geo = json.loads(pq.read_schema(tmp_path / "items.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon", "Polygon"]


def test_a_root_is_one_file_and_a_collection_a_store(tmp_path: Path) -> None:
    root = tmp_path / "stores"
    both = [tiny_store(root, layers=["s1"], samples=5), tiny_store(root, task="multi-label", samples=6)]
    out = tmp_path / "made" / "items.parquet"
    ran = CliRunner().invoke(app, ["export", str(root), "--stac", "-o", str(out), "--json"])
    assert ran.exit_code == 0, ran.output
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == 11
    names = {store.meta.build: f"tiny-{store.meta.build}" for store in both}
    assert {row["collection"] for row in rows} == set(names.values())
    (alone,) = {
        tuple(name for name, one in row["assets"].items() if one is not None)
        for row in rows
        if row["collection"] == names[both[0].meta.build]
    }
    assert sorted(alone) == ["s1", "store.json"]
    for name in names.values():
        facts = json.loads((out.parent / f"{name}.json").read_text())
        assert facts["assets"]["items"]["href"] == "./items.parquet"
    assert {row["links"][0]["href"] for row in rows} == {f"./{name}.json" for name in names.values()}


def test_bands_and_licence_of_a_collection(tmp_path: Path) -> None:
    _, collections = written([tiny_store(tmp_path / "stores")], tmp_path / "items.parquet")
    (facts,) = collections.values()
    layer = facts["item_assets"]["s2_20m"]
    assert layer["bands"] == [
        {"name": "B11", "eo:common_name": "swir16", "eo:center_wavelength": 1.6137, "eo:full_width_half_max": 0.091}
    ]
    assert (layer["gsd"], layer["nodata"], layer["unit"]) == (20, 65535, "dn")
    assert facts["item_assets"]["s1"]["bands"] == [{"name": "VV"}, {"name": "VH"}]  # the extension is of optical bands
    assert (facts["license"], facts["seamo:licence"]) == ("other", "none")
    assert "ynthetic" in facts["title"]
    assert spdx_of("CC-BY-4.0; contains modified Copernicus Sentinel data 2018-2020") == "CC-BY-4.0"
    assert spdx_of("CC-BY-4.0 (data)") == ""
    assert [hub_licence(one) for one in ("CC-BY-4.0", "GPL-3.0-only", "not stated")] == [
        "cc-by-4.0",
        "gpl-3.0",
        "other",
    ]


def test_a_packed_layer_is_read_by_what_its_collection_says(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    store = packed_store(tmp_path)
    rows, collections = written([store], tmp_path / "items.parquet")
    (facts,) = collections.values()
    said = facts["item_assets"]["s1"]
    array = zarr.open_array(rows["tiny_000"]["assets"]["s1"]["href"], mode="r")
    assert said["data_type"] == str(array.dtype) == "int16"
    stored = np.asarray(array[0], dtype=np.float64)
    values = np.where(stored == said["nodata"], np.nan, stored * said["raster:scale"] + said["raster:offset"])
    np.testing.assert_array_equal(values.astype(np.float32), store[0].layers["s1"])
    assert np.isnan(values).sum() == 1
    plain = facts["item_assets"]["s2_20m"]
    assert (plain["data_type"], plain["nodata"], "raster:scale" in plain) == ("uint16", 65535, False)
    assert [one for one in facts["stac_extensions"] if "/raster/v2.0.0/" in one]
    _, collections = written([tiny_store(tmp_path / "plain")], tmp_path / "plain.parquet")
    assert "raster" not in json.dumps(collections)


def test_the_same_store_gives_the_same_bytes(odd: Store, tmp_path: Path) -> None:
    digests = []
    for folder in ("a", "b"):
        write_stac([Store(odd.url)], tmp_path / folder / "items.parquet")
        digests.append(
            [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / folder).iterdir())]
        )
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_batches_are_as_small_as_asked(odd: Store) -> None:
    assert [batch.num_rows for batch in odd.read_batches(["key", "s2.time"], rows=3)] == [3, 3, 1]
    keys = [key for batch in odd.read_batches(["key"], rows=2) for key in batch.column("key").to_pylist()]
    assert keys == list(odd.index["key"])
    seen = SeenItems()
    assert sum(batch.num_rows for batch in items_of(odd, schema_of([odd]), seen)) == seen.items == 5


def test_a_damaged_index_leaves_nothing_behind(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    index = store.path / "index.parquet"
    data = bytearray(index.read_bytes())
    data[40] ^= 1
    index.write_bytes(data)
    out = tmp_path / "made" / "items.parquet"
    with pytest.raises(StoreError, match="sha256"):
        write_stac([Store(store.url)], out)
    assert list(out.parent.iterdir()) == []


def test_no_item_at_all_is_an_error(odd: Store, tmp_path: Path) -> None:
    nowhere = store_of(tmp_path / "stores", [replace(odd[i], geo=None) for i in range(3)], odd)
    with pytest.raises(StoreError, match="without a georeference"):
        write_stac([nowhere], tmp_path / "made" / "items.parquet")
    assert list((tmp_path / "made").iterdir()) == []


def test_the_command_says_what_is_left_out(odd: Store, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["export", odd.url, "--stac", "-o", str(tmp_path / "items.parquet")])
    assert ran.exit_code == 0, ran.output
    assert "1 samples left out, without a date" in ran.stderr
    assert "proj:code is null" in ran.stderr
    ran = CliRunner().invoke(app, ["export", odd.url, "--stac", "--croissant", "-o", str(tmp_path / "x")])
    assert isinstance(ran.exception, UsageError)


def test_a_store_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    address = f"{bucket}/stores/tiny/{store.meta.build}"
    servers.upload(store.path, address)
    rows, collections = written(stores_at(address), tmp_path / "there.parquet")
    here, _ = written([store], tmp_path / "here.parquet")
    (facts,) = collections.values()
    assert facts["seamo:store"] == address
    assert rows["tiny_003"]["assets"]["s1"]["href"] == f"{address}/data.zarr/s1"
    assert [row | {"assets": 0} for row in rows.values()] == [row | {"assets": 0} for row in here.values()]


def test_libraries_of_stac_accept_items_and_collections(odd: Store, tmp_path: Path) -> None:
    pytest.importorskip("stac_geoparquet", reason="stac-geoparquet is not installed (extra dev)")
    pytest.importorskip("jsonschema", reason="pystac[validation] is not installed (extra dev)")
    from pystac.validation import validate_dict
    from stac_geoparquet.arrow import stac_table_to_items

    out = tmp_path / "items.parquet"
    mask = tiny_store(tmp_path / "mask", task="segmentation", layout="webdataset", times=1)
    write_stac([odd, mask], out)
    items = list(stac_table_to_items(pq.read_table(out)))
    assert len(items) == 5 + 12
    metadata = pq.read_schema(out).metadata
    collections = json.loads(metadata[b"stac-geoparquet"])["collections"]
    for one in [*items, *collections.values()]:
        validate_dict(one | {"stac_extensions": []})  # whose schemas lie on the web
    assert set(items[-1]["assets"]) == {"store.json", "s2_10m", "s2_20m", "s1", "label"}
    assert items[-1]["properties"]["datetime"] == "2021-01-05T10:20:41.000Z"


@pytest.mark.soak
def test_a_hundred_thousand_samples_take_seconds_and_little_memory(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    num = 100_000
    table = store.read_table().take(np.arange(num) % len(store))
    table = table.set_column(0, "key", pa.array([f"tiny_{i:06d}" for i in range(num)]))
    (store.path / "index.parquet").write_bytes(data := table_bytes(table))
    store._columns = IndexColumns(store.files, store.spec, row_groups(data))
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = write_stac([store], tmp_path / "items.parquet")
    took, grown = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert [one.items for one in seen.values()] == [num]
    assert took < 20  # 2 s on a quiet core
    assert grown < 600_000  # kB; 190 MB here, and no more with ten times the samples
