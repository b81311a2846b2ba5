"""Infinite numbers are missing: when a store is built, read, cropped, normalised, drawn and counted."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from seamo.data.crops import crop_stack, whole_view
from seamo.data.loader import Loader
from seamo.inputs.adapter import measured
from seamo.inputs.resize import resize
from seamo.inputs.statistics import store_statistics
from seamo.manifest import LayerSpec
from seamo.resample import resize as resize_array
from seamo.sample import Sample, settle_missing, valid_pixels
from seamo.store.check import content_of, infinite_pixels
from seamo.store.pictures import MISSING, to_rgb
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

SPEC = seasons_spec()
S1 = SPEC.layer("s1")
PLACES = {0: (0, 0, 2, 2), 7: (1, 1, 0, 5), 9: (3, 0, 23, 23)}  # row -> date, band, row, column


def with_holes(value: float, *, row_of_nothing: int | None = None) -> list[Sample]:
    """The usual samples with a value in three places of s1, and no number at all in one of them."""
    samples = [one for one in seasons_samples(20) if isinstance(one, Sample)]
    samples = [replace(one, layers={k: v.copy() for k, v in one.layers.items()}) for one in samples]
    for row, place in PLACES.items():
        samples[row].layers["s1"][place] = -value if row == 9 else value
    if row_of_nothing is not None:
        samples[row_of_nothing].layers["s1"][...] = value
    return samples


def built(root, value: float, layout: str = "zarr", **change) -> Store:
    plan = BuildPlan(SPEC, "none", layout=layout)
    return open_store(build(root, plan, with_holes(value, **change)))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return built(tmp_path_factory.mktemp("infinite"), -math.inf)


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_store_of_infinite_numbers_is_the_store_of_nan(tmp_path, layout):
    one = built(tmp_path / "a", -math.inf, layout, row_of_nothing=11)
    two = built(tmp_path / "b", math.nan, layout, row_of_nothing=11)
    assert one.content == two.content == content_of(one)
    assert one.meta.statistics == two.meta.statistics
    assert not one.is_valid(11, "s1")
    pixels = np.concatenate([s.layers["s1"] for s in with_holes(math.nan, row_of_nothing=11) if "s1" in s.layers])
    for c, name in enumerate(S1.bands):
        said = one.meta.statistics["all"]["s1"][name]
        assert said["count"] == np.isfinite(pixels[:, c]).sum()
        assert said["mean"] == pytest.approx(np.nanmean(pixels[:, c], dtype=np.float64), rel=1e-9)
        assert said["std"] == pytest.approx(np.nanstd(pixels[:, c].astype(np.float64)), rel=1e-9)
        assert said["min"] == np.nanmin(pixels[:, c])


def test_other_readers_see_nan(store: Store):
    array = np.asarray(zarr.open(store.path / "data.zarr", mode="r")["s1"])
    for row, place in PLACES.items():
        assert np.isnan(array[row][place])
    assert not np.isinf(array).any()


def test_the_ledger_counts_them_by_band(store: Store):
    ledger = json.loads((store.path / "ledger.json").read_text())
    assert {entry["name"]: entry["reason"][:25] for entry in ledger} == {
        "s1 VV": "2 pixels in 2 samples are", "s1 VH": "1 pixels in 1 samples are"}  # fmt: skip
    assert [(entry["name"], entry["reason"]) for entry in ledger] == list(infinite_pixels(store))


def test_a_band_without_a_number_has_no_statistics(tmp_path):
    samples = with_holes(-math.inf)
    for sample in samples:
        if "s1" in sample.layers:
            sample.layers["s1"][:, 0] = math.inf
    store = open_store(build(tmp_path, BuildPlan(SPEC, "none"), samples))
    assert store.meta.statistics["all"]["s1"]["VV"]["mean"] is None
    assert set(store_statistics(store, part="all")["s1"].mean) == {"VH"}


@pytest.fixture
def unsettled(tmp_path, monkeypatch) -> Store:
    """A store that holds infinite numbers, as older builders wrote them."""
    monkeypatch.setattr("seamo.store.sidecar.settle_missing", lambda pixels, _: (pixels, np.zeros(1, np.int64)))
    return built(tmp_path, -math.inf)


def test_what_stands_in_an_older_store_is_not_fed(unsettled: Store):
    rows = np.array(sorted(PLACES))
    batch = next(iter(Loader(unsettled, rows, 3, layers=["s1"], find_holes=True)))
    assert batch.holes == {"s1"}
    assert torch.isinf(batch.layers["s1"]).sum() == 3
    for at, row in enumerate(rows.tolist()):
        date, band, y, x = PLACES[row]
        seen = measured(batch, S1, date)
        assert seen[at, band, y, x].isnan()
        assert not seen.isinf().any()
    view = whole_view(3, 4, device=torch.device("cpu"))
    for holes in (batch.holes, None):
        crop = crop_stack(batch.layers, [S1], view, bands=S1.bands, size=24, holes=holes)
        assert crop.pixels.isfinite().all()
        assert crop.valid is not None
        assert sorted(map(tuple, (~crop.valid).nonzero()[:, 1:].tolist())) == sorted(PLACES.values())


def test_floats_of_any_fill():
    pixels = np.array([-np.inf, np.inf, np.nan, -9999.0, -12.0], np.float32).reshape(1, 1, 1, 5)
    for fill, want in (("nan", [3, 4]), (None, [3, 4]), (-9999, [4])):
        layer = LayerSpec.model_validate({**S1.model_dump(), "fill": fill, "bands": ["VV"]})
        assert np.flatnonzero(valid_pixels(pixels, layer)).tolist() == want
        stored, infinite = settle_missing(pixels, layer)
        assert stored.dtype == np.float32
        assert infinite.tolist() == [2]
        assert not np.isinf(stored).any()
        assert np.isnan(stored).any() == (fill != -9999)


def test_untouched_pixels_are_the_same_object():
    pixels = np.full((1, 2, 3, 3), -12.0, np.float32)
    assert settle_missing(pixels, S1)[0] is pixels


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_resizing_takes_them_for_missing(value: float):
    image = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    hole, bad = image.copy(), image.copy()
    hole[0, 1, 1], bad[0, 1, 1] = math.nan, value
    assert np.array_equal(resize_array(bad, (3, 3), "bilinear"), resize_array(hole, (3, 3), "bilinear"))
    assert torch.equal(resize(torch.from_numpy(bad), (3, 3)), resize(torch.from_numpy(hole), (3, 3)))


def test_pictures_show_them_as_missing():
    image = np.full((1, 3, 2, 2), 100.0, np.float32)
    image[0, 1, 0, 0] = -math.inf
    (picture,) = to_rgb(image, ((0, 255),) * 3)
    assert tuple(picture[0, 0]) == MISSING
    assert tuple(picture[1, 1]) != MISSING
