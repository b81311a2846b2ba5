"""verify about values: what is infinite is counted, whichever tool wrote the store; radar bands by chance alike."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seamo.manifest import shipped_manifest
from seamo.sample import Sample, valid_pixels
from seamo.seal import seal_document
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan
from seamo.testing.stores import tiny_store
from seamo_prep.labels import _features
from seamo_prep.physics import _change, _reduce
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


def test_rows_that_are_not_counted_are_named(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, samples=12)
    facts = json.loads((store.path / "store.json").read_bytes())
    del facts["digest"]
    facts["counts"]["samples"] -= 2
    (store.path / "store.json").write_bytes(seal_document(facts))
    told = [one.what for one in verify(open_store(store.path), deep=False, leaks=False, say=lambda _: None)
            if one.severity == "error"]  # fmt: skip
    assert told == ["12 rows instead of 10", "there is no row 10 of 10", "there is no row 11 of 10"]
