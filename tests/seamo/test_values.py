"""Errors, identity, bands, specs and samples."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from seamo import bands, identity
from seamo.errors import ArchiveError, BandError, ManifestError, SampleError, SeamoError, UsageError
from seamo.manifest import DatasetSpec, load_manifest, parse_spec
from seamo.sample import Sample, check_sample, valid_pixels

SPEC = {
    "id": "toy",
    "title": "Toy",
    "summary": "Three layers of two sensors.",
    "licence": "none",
    "citation": "none",
    "task": {"kind": "single-label", "label_space": "two"},
    "label_spaces": {"two": {"classes": [{"name": "a"}, {"name": "b"}]}},
    "layers": [
        {
            "id": "s2_10m",
            "stack": "s2",
            "sensor": "s2",
            "bands": ["B02", "B08"],
            "gsd_m": 10,
            "dtype": "uint16",
            "unit": "dn",
            "fill": 65535,
            "size": [4, 4],
            "times": 2,
        },
        {
            "id": "s2_20m",
            "stack": "s2",
            "sensor": "s2",
            "bands": ["B05"],
            "gsd_m": 20,
            "dtype": "uint16",
            "unit": "dn",
            "fill": 65535,
            "size": [2, 2],
            "times": 2,
        },
        {
            "id": "s1",
            "stack": "s1",
            "sensor": "s1",
            "bands": ["VV", "VH"],
            "gsd_m": 10,
            "dtype": "float32",
            "unit": "db",
            "fill": "nan",
            "size": [4, 4],
            "times": 2,
        },
    ],
}


@pytest.fixture
def spec() -> DatasetSpec:
    return parse_spec(SPEC, "test")


def test_error_says_where_what_and_what_to_do() -> None:
    error = ArchiveError("is cut off", "a.tif", "Fetch it again.")
    assert str(error) == "a.tif: is cut off. Fetch it again."
    assert isinstance(error, SeamoError)
    assert isinstance(error, ValueError)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - errors travel between worker processes
    assert (type(copy), str(copy), copy.fix) == (ArchiveError, str(error), "Fetch it again.")


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert identity.canonical_json({"b": 1, "a": (True, None, "é")}) == b'{"a":[true,null,"\\u00e9"],"b":1}'
    assert identity.digest({"x": 1, "y": 2}) == identity.digest({"y": 2, "x": 1})
    # sha256 of b'{}' as coreutils prints it
    assert identity.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    for bad in ({"a": math.nan}, {1: "a"}, {"a": {1, 2}}):
        with pytest.raises(UsageError):
            identity.canonical_json(bad)


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    identity.write_atomically(target, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        identity.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_bands_are_found_by_name_only() -> None:
    assert len(bands.S2_L1C) == 13
    assert len(bands.S2_L2A) == 12
    assert bands.S2_L1C.index("B8A") == bands.S2_L1C.index("B08") + 1
    file_order = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
    assert bands.canonical("s2", file_order) == bands.S2_L1C
    assert bands.positions(file_order, ["B8A", "B10"]) == [12, 9]
    with pytest.raises(BandError, match="Did you mean 'B8A'"):
        bands.band("s2", "B8a")
    with pytest.raises(BandError, match="needs B10"):
        bands.positions(bands.S2_L2A, ["B10", "B11"], "store x")
    with pytest.raises(BandError, match="twice"):
        bands.canonical("s1", ["VV", "VV"])


def test_spec_refuses_an_unknown_key_with_the_nearest_one() -> None:
    with pytest.raises(ManifestError, match=r"unknown key 'licnce'.*'licence'"):
        parse_spec({**SPEC, "licnce": "x"}, "test")
    layer = {**SPEC["layers"][0], "bands": ["B2"]}
    with pytest.raises(ManifestError, match="no band 'B2'"):
        parse_spec({**SPEC, "layers": [layer]}, "test")


def test_spec_survives_json(spec: DatasetSpec) -> None:
    assert parse_spec(json.loads(spec.model_dump_json()), "again") == spec
    assert math.isnan(spec.layer("s1").fill_value)
    assert [layer.id for layer in spec.stack_layers("s2")] == ["s2_10m", "s2_20m"]
    with pytest.raises(ManifestError, match="Layers: s2_10m"):
        spec.layer("s3")


def test_manifest_file_refuses_what_yaml_would_swallow(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("datasets:\n  a: {title: x}\n  a: {title: y}\n")
    with pytest.raises(ManifestError, match="stands twice"):
        load_manifest(path)
    path.write_text("datasets: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ManifestError, match="tag tag:yaml"):
        load_manifest(path)
    path.write_text("- 1\n")
    with pytest.raises(ManifestError, match="is not a mapping"):
        load_manifest(path)


def sample(**changes: object) -> Sample:
    dates = np.array(["2020-01-02T03:04:05", "NaT"], "datetime64[s]")
    values: dict[str, object] = {
        "key": "a/b_1",
        "layers": {
            "s2_10m": np.zeros((2, 2, 4, 4), np.uint16),
            "s2_20m": np.zeros((2, 1, 2, 2), np.uint16),
            "s1": np.zeros((2, 2, 4, 4), np.float32),
        },
        "time": {"s2": dates},
        "label": 1,
    }
    return Sample(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "a.b"}, "key 'a.b'"),
        ({"key": "a//b"}, "key"),
        ({"layers": {"x": np.zeros((2, 2, 4, 4))}}, "no such layer"),
        ({"layers": {"s2_10m": np.zeros((2, 4, 4), np.uint16)}}, "is not"),
        ({"layers": {"s2_10m": np.zeros((1, 2, 4, 4), np.uint16)}}, "dates and bands"),
        ({"layers": {"s2_10m": np.zeros((2, 2, 5, 4), np.uint16)}}, "pixels instead of"),
        ({"layers": {"s2_10m": np.zeros((2, 2, 4, 4), np.int32)}}, "dtype int32"),
        ({"time": {"s2": np.array(["2020-01-02", "2020-01-01"], "datetime64[s]")}}, "ascending"),
        ({"time": {"s2": np.array(["NaT", "2020-01-01"], "datetime64[s]")}}, "before a date"),
        ({"label": 2}, "class ids"),
        ({"label": np.full((4, 4), 7, np.uint8)}, "class ids"),
    ],
)
def test_a_bad_sample_is_refused(spec: DatasetSpec, change: dict[str, object], message: str) -> None:
    check_sample(sample(), spec)
    with pytest.raises(SampleError, match=message):
        check_sample(sample(**change), spec)


def test_ignored_mask_pixels_are_fine(spec: DatasetSpec) -> None:
    check_sample(sample(label=np.array([[0, 1], [255, 255]], np.uint8)), spec)


def test_valid_pixels(spec: DatasetSpec) -> None:
    s1 = np.array([np.nan, 0.0, -12.0], np.float32)
    assert valid_pixels(s1, spec.layer("s1")).tolist() == [False, True, True]
    s2 = np.array([65535, 0, 12], np.uint16)
    assert valid_pixels(s2, spec.layer("s2_10m")).tolist() == [False, True, True]
