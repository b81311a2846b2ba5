"""Places and countries of predictions: from the store, into the file and back, into cells and countries."""

import dataclasses

import numpy as np
import pytest
from rasterio.warp import transform

from seamo.errors import ProtocolError
from seamo.sample import GeoRef
from seamo.store.joined import JoinedStore
from seamo_bench.board import geography as g
from seamo_bench.board.compare import Runs
from seamo_bench.predictions import (
    ClassPredictions,
    Scoring,
    TilePredictions,
    check_predictions,
    predictions_bytes,
    predictions_from_bytes,
)
from seamo_bench.tasks.locate import locate
from tests.bench import bench_store, dense_store

SINGLE = Scoring("single-label")
UTM1 = "EPSG:32701"  # zone 1, south: its western edge is the 180th meridian


def of_keys(keys, **more):
    n = len(keys)
    return ClassPredictions(np.array(keys), np.zeros(n, np.int32), np.zeros((n, 3), np.float32), **more)


def tiles(keys):
    return TilePredictions(np.array(keys), np.ones((len(keys), 3, 3), np.int64))


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """Samples in UTM zones 33 north and 1 south; the third has no georeference."""
    spec = bench_store.toy_spec()
    samples = bench_store.toy_samples(spec, 6)
    homes = {0: ("EPSG:32633", 500_000.0, 5_400_000.0), 1: ("EPSG:32633", 520_000.0, 5_410_000.0),
             3: (UTM1, 180_000.0, 8_000_000.0)}  # fmt: skip
    for i, (crs, x, y) in homes.items():
        samples[i] = dataclasses.replace(samples[i], geo=GeoRef(crs, (10.0, 0.0, x, 0.0, -10.0, y)))
    return bench_store.build_store(tmp_path_factory.mktemp("placed"), spec, samples), homes


def test_the_centre_of_a_sample_is_where_its_grid_says(placed):
    store, homes = placed
    found = locate(of_keys([f"s{i:04d}" for i in (3, 0, 2, 1, 0)]), store)
    assert found.places.dtype == np.float32
    for row, i in enumerate((3, 0, 2, 1, 0)):
        if i not in homes:
            assert np.isnan(found.places[row]).all()
            continue
        crs, x, y = homes[i]
        (lon,), (lat,) = transform(crs, "EPSG:4326", [x + 40.0], [y - 40.0])
        np.testing.assert_allclose(found.places[row], (lon, lat), atol=2e-4)
    assert len(found.countries) == 0
    assert len(locate(of_keys(["s0002"]), store).places) == 0  # no place is known: nothing is stored
    joined = locate(of_keys(["s0001"]), JoinedStore([store]))
    np.testing.assert_array_equal(joined.places, found.places[3:4])


def test_the_centre_of_a_scene_is_that_of_its_tiles_also_across_the_date_line(tmp_path):
    spec = dense_store.dense_spec()
    samples, splits = dense_store.dense_samples(spec, 2)
    step = 0.001
    for i, sample in enumerate(samples):
        y0, x0 = sample.offset
        west = 179.99 if sample.scene == "scene0" else 10.0  # scene 0 is 0.032 degrees wide: half of it is beyond 180
        geo = GeoRef("EPSG:4326", (step, 0.0, west + x0 * step, 0.0, -step, -16.0 - y0 * step))
        samples[i] = dataclasses.replace(sample, geo=geo)
    store = dense_store.write_store(tmp_path, spec, samples, splits)
    found = locate(tiles(["scene1", "scene0"]), store)
    np.testing.assert_allclose(found.places, [[10.016, -16.016], [-179.994, -16.016]], atol=2e-4)
    mixed = locate(tiles(["scene1", "scene0/t00-00"]), store)  # scenes whose tiles have no places come tile by tile
    np.testing.assert_allclose(mixed.places[1], [179.998, -16.008], atol=2e-4)


def test_files_with_and_without_geography(placed):
    plain = of_keys(["s0000", "s0003"])
    located = locate(plain, placed[0])
    named = dataclasses.replace(located, countries=np.array(["Fiji", ""]))
    back = predictions_from_bytes(predictions_bytes(named))
    np.testing.assert_array_equal(back.places, located.places)
    assert back.countries.tolist() == ["Fiji", ""]
    assert predictions_bytes(named) == predictions_bytes(back)
    # As before geography was kept: no such member, and such a file is read.
    assert b"places" not in predictions_bytes(plain)
    assert b"countries" not in predictions_bytes(located)
    assert predictions_from_bytes(predictions_bytes(plain)).places.shape == (0, 2)
    assert predictions_from_bytes(predictions_bytes(tiles(["a"]))).countries.shape == (0,)
    with pytest.raises(ProtocolError, match="places or countries"):
        check_predictions(dataclasses.replace(plain, places=np.zeros((3, 2))), 3, "single-label")
    with pytest.raises(ProtocolError, match="places or countries"):
        check_predictions(dataclasses.replace(plain, countries=np.array(["Fiji"])), 3, "single-label")


def right(keys, hits, **more):
    """Predictions of class 0, right where `hits`."""
    scores = np.where(np.asarray(hits)[:, None], [[2.0, 0, 0]], [[0, 2.0, 0]]).astype(np.float32)
    return ClassPredictions(np.array(keys), np.zeros(len(keys), np.int32), scores, **more)


def test_cells_hold_what_lies_in_them():
    places = np.array([[10.1, 50.1], [10.4, 50.4], [10.6, 50.1], [-0.2, -0.2], [np.nan, np.nan]])
    keys = ["e", "d", "c", "b", "a"]
    run = right(keys, [1, 0, 1, 0, 1], places=places)
    other = right(keys[::-1], [1, 0, 1, 1, 1])  # an older file in another order: a b c d e
    known = g.geography_of([other, run])
    grid = g.make_grid(known, most=3)
    assert grid.step == 0.5
    assert grid.corners.tolist() == [[-0.5, -0.5], [10.0, 50.0], [10.5, 50.0]]
    assert grid.counts.tolist() == [1, 2, 1]
    scores = g.cell_scores(Runs((run, other), ("1", "2")), known, grid, name="top1", scoring=SINGLE)
    assert scores.tolist() == [0.0, 0.75, 1.0]  # (0 + 0) / 2, (1/2 + 2/2) / 2, (1 + 1) / 2
    assert g.make_grid(known).step == 0.05  # four cells of the finest size
    assert g.geography_of([other]) is None


def test_countries_by_number_of_samples_and_without_an_interval_where_they_are_few():
    names = np.array(["Kosovo"] * 12 + ["Finland"] * 60 + [""] * 3)
    hits = np.array([1] * 9 + [0] * 3 + [1] * 40 + [0] * 20 + [0] * 3, dtype=bool)
    runs = Runs((right([f"k{i:02d}" for i in range(75)], hits, countries=names),), ("1",))
    known = g.geography_of(runs.predictions)
    assert g.count_countries(known) == {"Finland": 60, "Kosovo": 12}
    few = g.country_score(runs, known, "Kosovo", name="top1", scoring=SINGLE)
    assert (few.value, few.low, few.note) == (0.75, None, "n = 12: no interval")
    many = g.country_score(runs, known, "Finland", name="top1", scoring=SINGLE)
    assert many.value == pytest.approx(2 / 3)
    error = np.sqrt(2 / 9 / 60)  # of a binomial share
    assert many.low == pytest.approx(2 / 3 - 1.96 * error, abs=0.03)
    assert many.high == pytest.approx(2 / 3 + 1.96 * error, abs=0.03)
    fold = np.zeros(75, np.int16)
    folded = dataclasses.replace(runs.predictions[0], folds=fold, repeats=fold)
    one = g.country_score(Runs((folded,), ("1",)), known, "Finland", name="top1", scoring=SINGLE)
    assert (one.low, one.note) == (None, "cross-validation: no interval")
