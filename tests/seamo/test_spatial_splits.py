"""Blocks of land and distances on the earth, and the split scheme that is made of them, against slow readings."""

import hashlib

import numpy as np
import pytest

from seamo.earth import RADIUS_KM, blocks_of, nearest_km
from seamo.errors import StoreError
from seamo.store.spatial import SpatialScheme, parse_spatial, spatial_splits
from seamo.store.splits import COMPUTED, SampleFacts, assign, is_computed
from tests.seamo.store_samples import seasons_spec

SCHEME = "spatial-20km-2km"


def haversine(a, b):
    """(N, M) km between places, by another formula than ours."""
    (lon_a, lat_a), (lon_b, lat_b) = np.radians(a).T, np.radians(b).T
    half = (
        np.sin((lat_a[:, None] - lat_b) / 2) ** 2
        + np.cos(lat_a)[:, None] * np.cos(lat_b) * np.sin((lon_a[:, None] - lon_b) / 2) ** 2
    )
    return 2 * RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1)))


def places_in(rng, n, west, east, south, north):
    return np.stack([rng.uniform(west, east, n), rng.uniform(south, north, n)], axis=1)


@pytest.mark.parametrize(
    "window",
    [(-180, 180, -90, 90), (10, 10.3, 48, 48.2), (179.5, 180.5, -17, -16), (-180, 180, 88, 90), (0, 0.01, 0, 0.01)],
    ids=["world", "county", "antimeridian", "pole", "village"],
)
def test_the_nearest_is_what_the_slow_search_finds(window):
    rng = np.random.default_rng(0)
    a, b = places_in(rng, 300, *window), places_in(rng, 200, *window)
    b[::7] = a[: len(b[::7])]  # the same place: a distance of 0
    slow = haversine(a, b).min(axis=1)
    np.testing.assert_allclose(nearest_km(a, b), slow, rtol=1e-9, atol=1e-5)
    for within in (0.4, 1.0, 3.0, 16.0, 500.0):
        found = nearest_km(a, b, within=within)
        np.testing.assert_array_equal(np.isfinite(found), slow <= within)
        np.testing.assert_allclose(found[slow <= within], slow[slow <= within], rtol=1e-9, atol=1e-5)


def test_nothing_near_is_infinitely_far_and_an_unknown_place_unknown():
    here, nowhere = np.array([[10.0, 50.0]]), np.array([[np.nan, 50.0]])
    assert np.isinf(nearest_km(here, np.empty((0, 2)))).all()
    assert np.isinf(nearest_km(here, nowhere)).all()
    assert np.isnan(nearest_km(nowhere, here)).all()
    assert np.isinf(nearest_km(here, here + 1, within=0)).all()
    assert nearest_km(here, np.array([[-170.0, -50.0]]))[0] == pytest.approx(np.pi * RADIUS_KM)


def test_blocks_are_about_square_and_of_one_size_everywhere():
    rng = np.random.default_rng(1)
    for side in (5, 50):
        for latitude in (-70.0, 0.0, 35.0, 60.0):
            places = places_in(rng, 1500, 20, 20 + 3 * side / 111, latitude, latitude + 3 * side / 111)
            blocks = blocks_of(places, side)
            for one in np.unique(blocks, axis=0):
                mine = places[(blocks == one).all(axis=1)]
                assert haversine(mine, mine).max() < 1.05 * side * np.sqrt(2)
            east, north = np.radians(np.ptp(places, axis=0)) * RADIUS_KM
            area = east * north * np.cos(np.radians(latitude + 1.5 * side / 111))
            inner = np.unique(blocks, axis=0, return_counts=True)[1].max() / len(places) * area
            assert inner == pytest.approx(side**2, rel=0.35)
    ends = blocks_of(np.array([[180.0, 10.0], [-180.0, 10.0], [0.0, 90.0], [0.0, -90.0], [np.nan, 1.0]]), 20)
    assert ends[0].tolist() == ends[1].tolist()  # one meridian
    assert (ends[4] == -1).all()
    assert (ends[:4] >= 0).all()


MISWRITTEN = """spatial|spatial-20km|spatial-020km-2km|spatial-20km-2.5km|spatial-0km-0km|spatial-20km-21km|
spatial-20km-02km|Spatial-20km-2km|spatial-20km-2km """.replace("\n", "").split("|")


@pytest.mark.parametrize("name", MISWRITTEN)
def test_a_scheme_has_one_name(name):
    assert parse_spatial(name) is None
    assert not is_computed(name)


def test_a_scheme_says_block_and_guard():
    assert parse_spatial(SCHEME) == SpatialScheme(20, 2)
    assert parse_spatial("spatial-5km-0km") == SpatialScheme(5, 0)
    assert is_computed(SCHEME)
    assert SCHEME not in COMPUTED


def split(places, name=SCHEME):
    return np.array(spatial_splits("toy", parse_spatial(name), places))


def test_blocks_stay_whole_and_what_is_learnt_keeps_its_distance():
    rng = np.random.default_rng(2)
    places = places_in(rng, 4000, 7, 9, 45, 46.5).round(4)
    splits = split(places)
    blocks = blocks_of(places, 20)
    shares = {name: np.mean(splits == name) for name in ("train", "val", "test", "")}
    assert shares["test"] == pytest.approx(0.2, abs=0.05)
    assert 0.45 < shares["train"] < 0.7
    assert 0.005 < shares[""] < 0.2
    for block in np.unique(blocks, axis=0):
        assert len(set(splits[(blocks == block).all(axis=1)]) - {""}) <= 1
    away = haversine(places, places[splits == "test"]).min(axis=1)
    learnt = np.isin(splits, ("train", "val"))
    assert away[learnt].min() >= 2
    # Who is in no split would be in one without the guard, and is near a test sample: nobody else is left out.
    unguarded = split(places, "spatial-20km-0km")
    np.testing.assert_array_equal(splits == "", (unguarded != "test") & (away < 2))
    np.testing.assert_array_equal(splits[splits != ""], unguarded[splits != ""])
    wider = split(places, "spatial-20km-10km")
    np.testing.assert_array_equal(wider == "test", splits == "test")  # guards compare on the same test samples
    assert np.isin(wider, ("train", "val")).sum() < learnt.sum()


def test_a_split_depends_on_no_order_and_on_no_sample_far_away():
    rng = np.random.default_rng(3)
    places = places_in(rng, 800, 5, 6, 45, 46).round(4)
    splits = split(places)
    order = rng.permutation(800)
    np.testing.assert_array_equal(split(places[order]), splits[order])
    more = np.concatenate([places, places_in(rng, 300, 30, 31, 10, 11)])
    np.testing.assert_array_equal(split(more)[:800], splits)
    assert not np.array_equal(np.array(spatial_splits("other", SpatialScheme(20, 2), places)), splits)
    unknown = places.copy()
    unknown[0] = np.nan
    assert split(unknown)[0] == ""
    with pytest.raises(StoreError, match="does not say where its samples lie"):
        split(np.full((3, 2), np.nan))


def test_what_is_drawn_never_changes():
    """By the formulas of the documentation: records name their samples by them."""
    places = places_in(np.random.default_rng(5), 40, -179, 179, -60, 80)
    rows = round(np.pi * RADIUS_KM / 20)
    by_hand = []
    for longitude, latitude in places.tolist():
        row = int((latitude + 90) / 180 * rows)
        round_it = 2 * np.pi * RADIUS_KM * np.cos(np.radians((row + 0.5) * 180 / rows - 90))
        by_hand.append([row, int((longitude + 180) / 360 * round(round_it / 20))])
    assert blocks_of(places, 20).tolist() == by_hand
    names = [hashlib.sha256(f"toy:spatial-20km:{row}/{column}".encode()).digest() for row, column in by_hand]
    shares = [int.from_bytes(one[:8], "big") / 2**64 for one in names]
    assert split(places).tolist() == ["train" if one < 0.6 else "val" if one < 0.8 else "test" for one in shares]
    assert set(split(places)) == {"train", "val", "test"}


def test_it_is_asked_for_with_places_alone():
    spec = seasons_spec()
    keys = [f"k{i}" for i in range(60)]
    places = places_in(np.random.default_rng(4), 60, 5, 7, 45, 47)
    facts = SampleFacts(keys, [0] * 60, [""] * 60)
    with pytest.raises(StoreError, match="is made when a store is evaluated"):
        assign(spec, SCHEME, facts)
    found = assign(spec, SCHEME, SampleFacts(keys, [0] * 60, [""] * 60, places))
    assert found.splits == spatial_splits(spec.id, SpatialScheme(20, 2), places)
    assert found.folds is None
