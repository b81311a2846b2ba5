"""verify about values: what is infinite is counted, whichever tool wrote the store; radar bands by chance alike."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seamo.manifest import shipped_manifest
from seamo.sample import GeoRef, Sample, valid_pixels
from seamo.seal import seal_document
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan
from seamo.testing.stores import tiny_store
from seamo_prep.labels import _features
from seamo_prep.physics import _change, _reduce, _stated
from seamo_prep.verify import Finding, verify
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

SPEC = seasons_spec()


def found(root: Path, *, vh: float = -7.0, infinite: int = 0, seed: int = 0) -> list[Finding]:
    """What verify finds about s1 in a store of 30 samples, VH so many dB above VV, with infinite pixels in VV."""
    rng = np.random.default_rng(seed)
    samples = []
    for sample in (one for one in seasons_samples(31) if isinstance(one, Sample)):
        s1 = rng.normal(-12, 2, (4, 2, 24, 24)).astype(np.float32)
        s1[:, 1] += np.float32(vh)
        samples.append(replace(sample, layers={**sample.layers, "s1": s1}))
    for number in range(infinite):
        samples[number % 5].layers["s1"][0, 0, number // 5, 0] = -np.inf
    store = open_store(build(root, BuildPlan(SPEC, "none"), samples))
    return [one for one in verify(store, deep=True, leaks=False, say=lambda _: None) if "s1" in one.where]


def test_infinite_pixels_are_counted_and_named(tmp_path: Path) -> None:
    (note,) = found(tmp_path, infinite=12)
    assert (note.severity, note.where) == ("note", "s1 VV")
    assert "12 pixels in 5 samples are infinite (first in a0/sample_0000)" in note.what


def test_infinite_pixels_of_an_older_store_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seamo.store.sidecar.settle_missing", lambda pixels, _: (pixels, np.zeros(1, np.int64)))
    (warning,) = found(tmp_path, infinite=12)
    assert (warning.severity, warning.where) == ("warning", "s1 VV")
    assert warning.what.startswith("12 pixels are infinite")


@pytest.mark.parametrize("seed", [0, 1])
def test_bands_of_one_level_are_no_exchange(tmp_path: Path, seed: int) -> None:
    assert found(tmp_path, vh=0.0, seed=seed) == []
    assert [one.severity for one in found(tmp_path / "other", vh=2.0)] == ["error"]


@pytest.mark.parametrize(("layer", "change", "word"), [
    ("s2_10m", lambda x: np.minimum(x // 12, 255), "8-bit"),
    ("s1", lambda x: 10 ** (x / 10), "linear power"),
    ("s1", lambda x: x * 100, r"db\*100"),
])  # fmt: skip
def test_values_of_another_unit_are_an_error(layer: str, change, word: str, tmp_path: Path) -> None:
    samples = [one for one in seasons_samples(8) if isinstance(one, Sample)]
    changed = [
        replace(one, layers={k: change(v).astype(v.dtype) if k == layer else v for k, v in one.layers.items()})
        for one in samples
    ]
    root = build(tmp_path, BuildPlan(SPEC, "none"), changed)
    wrong = [one for one in verify(open_store(root), deep=False, leaks=False, say=lambda _: None)
             if one.severity == "error"]  # fmt: skip
    assert any(one.where == layer and re.search(f"look like .*{word}", one.what) for one in wrong)


@pytest.mark.parametrize("missing", [0, 1, 40])
def test_where_nothing_is_missing_the_short_ways_give_the_same_bits(missing: int) -> None:
    rng = np.random.default_rng(5)
    image = rng.uniform(0, 9000, (4, 31, 29))
    image.reshape(-1)[rng.choice(image.size, missing, replace=False)] = np.nan
    down, right = np.abs(image[:, 2:] - image[:, :-2]), np.abs(image[:, :, 2:] - image[:, :, :-2])
    both = np.concatenate([down.reshape(4, -1), right.reshape(4, -1)], axis=1)
    there = ~np.isnan(both)
    assert np.array_equal(_change(image, 2), np.where(there, both, 0).sum(axis=1) / there.sum(axis=1))
    mean, _low, _high, least, most, _sharp = _reduce(image, shipped_manifest()["eurosat"].layer("s2"))[0]
    flat = image.reshape(4, -1)
    assert np.array_equal(mean, np.nanmean(flat, axis=1))
    assert np.array_equal([least, most], [np.nanmin(flat, axis=1), np.nanmax(flat, axis=1)])


def test_features_are_those_of_what_is_there(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, samples=6)
    for row in range(len(store)):
        want = []
        for layer in store.spec.layers:
            pixels = store.read_layer(row, layer.id)
            image = np.where(valid_pixels(pixels, layer), pixels.astype(np.float64), np.nan)[0]
            image = image.reshape(len(image), -1)
            want += [np.nanmean(image, axis=1), np.nanstd(image, axis=1)]
        found = _features(store, row)
        assert found is None or np.array_equal(found, np.concatenate(want))


@pytest.mark.parametrize("samples", [1, 3])
def test_a_batch_of_one_row_is_looked_at(tmp_path: Path, monkeypatch, samples: int) -> None:
    store = open_store(tiny_store(tmp_path, samples=samples).path)
    read = store.read_batches
    monkeypatch.setattr(store, "read_batches", lambda columns: read(columns, 2))
    assert [one for one in verify(store, deep=False, leaks=False, say=lambda _: None) if one.severity == "error"] == []


def test_rows_that_are_not_counted_are_named(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, samples=12)
    facts = json.loads((store.path / "store.json").read_bytes())
    del facts["digest"]
    facts["counts"]["samples"] -= 2
    (store.path / "store.json").write_bytes(seal_document(facts))
    told = [one.what for one in verify(open_store(store.path), deep=False, leaks=False, say=lambda _: None)
            if one.severity == "error"]  # fmt: skip
    assert told == ["12 rows instead of 10", "there is no row 10 of 10", "there is no row 11 of 10"]


def wrong(root: Path, samples: list[Sample], spec=SPEC, severity: str = "error") -> list[str]:
    store = open_store(build(root, BuildPlan(spec, "none"), samples))
    found = verify(store, deep=False, leaks=False, say=lambda _: None)
    return [f"{one.where}: {one.what}" for one in found if one.severity == severity]


def test_a_fill_of_which_nobody_said_so_is_an_error(tmp_path: Path) -> None:
    samples = [one for one in seasons_samples(8) if isinstance(one, Sample) and "s1" in one.layers]
    assert not any("s1:" in one for one in wrong(tmp_path / "right", samples))
    for one in samples:
        pixels = one.layers["s1"]
        pixels[:, :, :, :6] = np.where(np.isnan(pixels[:, :, :, :6]), np.nan, -9999)
    (said,) = [one for one in wrong(tmp_path / "wrong", samples) if "s1:" in one]
    assert "25 % of values are -9999, which no place has in db" in said
    assert said.endswith("state -9999 as the layer's fill, or as nodata in the files, and build again")


@pytest.mark.parametrize("fill", ["-9999", "-3.4028234663852886e+38", "1e+20", "-9999.900390625"])
def test_what_is_advised_of_a_fill_can_be_done(fill: str) -> None:
    advice = _stated((fill,))
    assert ("the layer's fill" in advice) == (fill == "-9999")
    assert f"nodata in the files (gdal_edit.py -a_nodata {fill})" in advice or fill == "-9999"
    facts = SPEC.layer("s1").model_dump() | {"fill": -9999}
    assert type(SPEC.layer("s1")).model_validate(facts).fill == -9999
    with pytest.raises(ValueError, match="fill"):
        type(SPEC.layer("s1")).model_validate(facts | {"fill": -9999.9})


@pytest.mark.parametrize(
    ("crs", "transform", "size"),
    [
        ("EPSG:32633", (3.0, 0, 500_000, 0, -3.0, 5_000_000), "3 m"),
        ("EPSG:32633", (10.0, 0, 500_000, 0, -10.0, 5_000_000), ""),
        ("EPSG:32633", (7.0711, 7.0711, 500_000, 7.0711, -7.0711, 5_000_000), ""),  # turned by 45 degrees
        ("EPSG:2263", (10.0, 0, 980_000, 0, -10.0, 200_000), "3.05 m"),  # feet
        ("EPSG:4326", (9e-5, 0, 3, 0, -9e-5, 45), ""),  # 10 m by 7.1 m
        ("EPSG:4326", (1.0, 0, -60, 0, -1.0, 30), "1.0[0-9]e\\+05 m"),
        ("EPSG:3857", (20.0, 0, 1_000_000, 0, -20.0, 8_399_738), ""),  # at 60 degrees 20 are 10
        ("EPSG:4326", (9e-5, 0, 179.99999, 0, -9e-5, 0), ""),  # across the antimeridian
    ],
)
def test_pixels_of_another_size_than_the_layer_says(crs: str, transform, size: str, tmp_path: Path) -> None:
    samples = [replace(one, geo=GeoRef(crs, transform)) for one in seasons_samples(6) if isinstance(one, Sample)]
    said = [one for one in wrong(tmp_path, samples, severity="warning") if "gsd_m" in one]
    assert len(said) == bool(size)
    assert not size or re.search(f"pixels of {size} by what the files say, and gsd_m is 10", said[0])


@pytest.mark.parametrize("names", [("水", "森林", "農地"), ("<1", ">1", "crop"), ("Wald", "Wälder", "see")])
def test_keys_say_no_class_whose_name_is_not_in_them(names: tuple[str, ...], tmp_path: Path) -> None:
    spec = seasons_spec(label_spaces={"toy": {"classes": [{"name": name} for name in names]}})
    samples = [
        replace(one, key=f"1/{number:03d}", label=number % 3)
        for number, one in enumerate(one for one in seasons_samples(70) if isinstance(one, Sample))
    ]
    assert not any("name of another class" in one for one in wrong(tmp_path, samples, spec))
