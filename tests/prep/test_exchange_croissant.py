"""A store as Croissant, against its own files and index, and read by mlcroissant."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from seamo.errors import UsageError
from seamo.store.reader import Store
from seamo.testing.stores import TinyTask, tiny_store
from seamo_prep.cli.program import app
from seamo_prep.exchange.croissant import croissant, croissant_bytes
from tests import servers
from tests.prep.exchange_stores import odd_store, packed_store


def test_files_are_those_of_the_store(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    facts = croissant(store)
    files = [one for one in facts["distribution"] if one["@type"] == "cr:FileObject"]
    assert {one["name"] for one in files} == {
        "store.json", "index.parquet", "moments.parquet", "checksums.json", "ledger.json"
    }  # fmt: skip
    for one in files:
        data = Path(one["contentUrl"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(data).hexdigest()
        assert one["contentSize"] == f"{len(data)} B"
    (pixels,) = (one for one in facts["distribution"] if one["@type"] == "cr:FileSet")
    assert pixels["includes"] == f"{store.path}/data.zarr/**"


def test_a_description_in_the_folder_names_files_below_it(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores", layout="webdataset")
    assert [one.get("contentUrl") for one in croissant(store, store.path)["distribution"]][:2] == [
        "store.json",
        "index.parquet",
    ]
    above = croissant(store, tmp_path / "stores")["distribution"]
    assert above[1]["contentUrl"] == f"tiny/{store.meta.build}/index.parquet"
    assert above[-1]["includes"] == f"tiny/{store.meta.build}/shards/*.tar"
    assert croissant(store, tmp_path / "elsewhere")["distribution"][1]["contentUrl"] == f"{store.path}/index.parquet"


def test_it_says_what_the_store_says_and_no_more(tmp_path: Path) -> None:
    facts = croissant(tiny_store(tmp_path / "stores"))
    assert facts["name"] == "Tiny synthetic (12 samples)"
    said = "Tiny synthetic (12 samples). Synthetic: made by seamo.testing. Synthetic: the pixels are made up."
    assert facts["description"] == said
    assert facts["license"] == "none"
    assert not {"url", "version", "datePublished", "creator"} & set(facts)
    bands = next(one for one in facts["recordSet"] if one["@id"] == "bands")["data"]
    assert [one["bands/band"] for one in bands] == ["B02", "B03", "B04", "B08", "B11", "VV", "VH"]
    assert bands[4]["bands/wavelength_nm"] == 1613.7
    assert bands[4]["bands/unit"] == "dn"
    classes = next(one for one in facts["recordSet"] if one["@id"] == "classes")["data"]
    assert classes[2] == {"classes/id": 2, "classes/name": "crop"}


def test_a_packed_layer_is_read_by_what_its_record_says(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    store = packed_store(tmp_path)
    bands = next(one for one in croissant(store)["recordSet"] if one["@id"] == "bands")
    said = {name.removeprefix("bands/"): value for name, value in bands["data"][-1].items()}
    array = zarr.open_array(f"{store.path}/data.zarr/s1", mode="r")
    assert (said["band"], said["dtype"]) == ("VH", str(array.dtype)) == ("VH", "int16")
    stored = np.asarray(array[0, :, said["position"]], dtype=np.float64)
    values = np.where(stored == said["missing"], np.nan, stored * said["scale"] + said["offset"])
    np.testing.assert_array_equal(values.astype(np.float32), store[0].layers["s1"][:, said["position"]])
    assert np.isnan(values).sum() == 1
    assert [bands["data"][0][f"bands/{name}"] for name in ("dtype", "scale", "missing")] == ["uint16", None, None]
    plain = next(one for one in croissant(tiny_store(tmp_path / "plain"))["recordSet"] if one["@id"] == "bands")
    assert not {"bands/scale", "bands/offset", "bands/missing"} & {one["@id"] for one in plain["field"]}


def test_every_plain_column_of_the_index_is_a_field(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores", task="segmentation")
    index = next(one for one in croissant(store)["recordSet"] if one["@id"] == "index")
    fields = [one["source"]["extract"]["column"] for one in index["field"]]
    assert [name for name in store.index_schema.names if name not in fields] == ["footprint", "bbox", "sha256"]
    assert all(one["description"] != one["source"]["extract"]["column"] for one in index["field"])


def test_the_command_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    out = tmp_path / "made" / "croissant.json"
    ran = CliRunner().invoke(app, ["export", str(tmp_path / "stores" / "tiny"), "--croissant", "-o", str(out)])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.strip() == str(out)
    assert out.read_bytes() == croissant_bytes(Store(store.url), out.parent)


def test_a_root_of_several_stores_is_asked_for_one(tmp_path: Path) -> None:
    root = tmp_path / "stores"
    tiny_store(root), tiny_store(root, task="multi-label")
    ran = CliRunner().invoke(app, ["export", str(root), "--croissant", "-o", str(tmp_path / "x.json")])
    assert isinstance(ran.exception, UsageError)
    assert "holds 2 stores" in str(ran.exception)


def test_a_store_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    address = f"{bucket}/stores/tiny/{store.meta.build}"
    servers.upload(store.path, address)
    facts = croissant(Store(address), tmp_path)
    assert facts["distribution"][1]["contentUrl"] == f"{address}/index.parquet"
    here = croissant(store)
    assert {name: one for name, one in facts.items() if name != "distribution"} == {
        name: one for name, one in here.items() if name != "distribution"
    }


@pytest.mark.parametrize("task", ["multi-label", "segmentation", "pretrain"])
def test_mlcroissant_reads_the_index(task: TinyTask, tmp_path: Path) -> None:
    pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (extra dev)")
    import mlcroissant

    store = tiny_store(tmp_path, task=task)
    out = tmp_path / "croissant.json"
    out.write_bytes(croissant_bytes(store, tmp_path))
    found = mlcroissant.Dataset(jsonld=out)
    records = list(found.records("index"))
    assert [one["index/key"].decode() for one in records] == list(store.index["key"])
    assert [one["index/s2_10m.offset"] for one in records] == list(store.index["s2_10m.offset"])
    if task == "multi-label":
        assert [list(one["index/label"]) for one in records] == [list(one) for one in store.index["label"]]
    assert len(list(found.records("bands"))) == 7


def test_mlcroissant_reads_how_a_layer_is_packed(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (extra dev)")
    out = tmp_path / "croissant.json"
    out.write_bytes(croissant_bytes(packed_store(tmp_path), tmp_path))
    records = list(mlcroissant.Dataset(jsonld=out).records("bands"))
    assert (records[-1]["bands/scale"], records[-1]["bands/offset"], records[-1]["bands/missing"]) == (0.01, 0, -32768)


def test_mlcroissant_reads_samples_without_place_and_date(tmp_path: Path) -> None:
    pytest.importorskip("mlcroissant", reason="mlcroissant is not installed (extra dev)")
    import mlcroissant

    store = odd_store(tmp_path)
    out = tmp_path / "croissant.json"
    out.write_bytes(croissant_bytes(store, tmp_path))
    assert json.loads(out.read_text())["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    records = list(mlcroissant.Dataset(jsonld=out).records("index"))
    assert [one["index/s1.valid"] for one in records] == [True] * 5 + [False, True]
