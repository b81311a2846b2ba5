"""Season diagnostics: hand-worked ranks, features whose answer is known, chance."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from seamo.errors import UsageError
from seamo.model.config import SeaMoConfig
from seamo.sample import GeoRef
from seamo.use.diagnose import calendar_seasons, diagnose, in_words, season_probe, season_retrieval
from seamo.use.inputs import load_pretrained
from seamo.use.pooled import Reading
from tests.seamo import small_store
from tests.seamo.small_model import model_folder, write_card
from tests.seamo.small_store import build_small_store, make_sample
from tests.seamo.test_cli_seamo import seamo


def rng():
    return np.random.default_rng(0)


def turned(*degrees):
    """Unit vectors in the plane: similarity is the cosine of the angle between them."""
    at = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(at), np.sin(at)], axis=-1)


def test_ranks_by_hand():
    # Three places on two dates. Angles of date 1: 0, 40, 90; of date 2: 10, 80, 60.
    # From date 1: 0 is nearest to 10 (itself, rank 1); 40 to 60, then 10, then itself (80): rank 3; 90 to 80, then
    # itself (60): rank 2. From date 2: 10 to 0 (rank 1); 80 to 90, then itself (40): rank 2; 60 to 40, then itself
    # (90): rank 2.
    features = np.stack([turned(0, 40, 90), 5 * turned(10, 80, 60)], axis=1)  # the length does not matter
    found = season_retrieval(features, rng())
    assert found.recall_at_1.value == pytest.approx(2 / 6)
    assert found.mean_reciprocal_rank.value == pytest.approx((1 + 1 / 3 + 1 / 2 + 1 + 1 / 2 + 1 / 2) / 6)
    assert (found.places, found.queries) == (3, 6)
    assert found.recall_at_1.chance == pytest.approx(1 / 3)
    assert found.mean_reciprocal_rank.chance == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_absent_dates_are_neither_asked_nor_found():
    features = np.stack([turned(0, 40, 90), turned(10, 80, 60)], axis=1)
    features[1, 1] = np.nan
    found = season_retrieval(features, rng())
    # Date 1 -> 2, gallery 10 and 60: place 0 rank 1, place 2 rank 1. Date 2 -> 1, gallery 0, 40, 90: 10 -> rank 1;
    # 60 -> 40, then 90: rank 2.
    assert found.recall_at_1.value == pytest.approx(3 / 4)
    assert found.recall_at_1.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 1 / 3) / 4)
    assert (found.places, found.queries) == (3, 4)
    with pytest.raises(UsageError, match="no two dates"):
        season_retrieval(features[:1], rng())


def test_invariant_features_are_found_and_equal_ones_score_at_chance():
    places = np.random.default_rng(1).normal(size=(30, 1, 8))
    perfect = season_retrieval(np.repeat(places, 4, axis=1), rng())
    assert (perfect.recall_at_1.value, perfect.mean_reciprocal_rank.value) == (1.0, 1.0)
    assert (perfect.recall_at_1.low, perfect.recall_at_1.high) == (1.0, 1.0)
    equal = season_retrieval(np.ones((30, 4, 8)), rng())
    assert equal.recall_at_1.value == pytest.approx(1 / 30)
    assert equal.mean_reciprocal_rank.value == pytest.approx(sum(1 / k for k in range(1, 31)) / 30)
    assert equal.mean_reciprocal_rank.chance == pytest.approx(equal.mean_reciprocal_rank.value)
    noise = season_retrieval(np.random.default_rng(2).normal(size=(200, 2, 8)), rng())
    assert noise.recall_at_1.low <= 1 / 200 <= noise.recall_at_1.high


def test_the_probe_reads_a_season_that_is_there_and_no_other():
    generator = np.random.default_rng(3)
    seasons = np.tile(np.arange(4), (60, 1))
    noise = generator.normal(size=(60, 4, 8))
    marked = noise.copy()
    marked[:, :, :4] += 8 * np.eye(4)
    assert season_probe(marked, seasons, rng()).balanced_accuracy.value > 0.98
    blind = season_probe(noise, seasons, rng())
    assert blind.balanced_accuracy.chance == 0.25
    assert blind.balanced_accuracy.low <= 0.25 <= blind.balanced_accuracy.high
    # Features that name the place and nothing else, one place a season: folds by place leave nothing to recognise.
    place = np.repeat(generator.normal(size=(40, 1, 50)), 4, axis=1)
    assert season_probe(place, np.tile(np.arange(40)[:, None] % 4, (1, 4)), rng()).balanced_accuracy.value < 0.5


def test_balanced_accuracy_counts_every_season_the_same():
    # 9 winters and 1 summer a place; features that never tell: everything is called winter.
    features = np.ones((20, 10, 3))
    seasons = np.tile([0] * 9 + [2], (20, 1))
    found = season_probe(features, seasons, rng())
    want = balanced_accuracy_score(seasons.ravel(), np.zeros(200))
    assert found.balanced_accuracy.value == pytest.approx(want) == pytest.approx(0.5)
    assert (found.seasons, found.images, found.places) == (("winter", "summer"), 200, 20)
    with pytest.raises(UsageError, match="1 seasons at 20 places"):
        season_probe(features, np.zeros((20, 10), dtype=np.int64), rng())


def test_intervals_are_over_places():
    """Four dates of a place that agree are one piece of evidence: the interval is that of the places."""
    right = np.random.default_rng(4).random(400) < 0.5
    features = np.zeros((400, 2, 401))
    features[np.arange(400), :, np.arange(400)] = 1
    features[~right, 1] = 0  # not found from either side: all its similarities are 0
    found = season_retrieval(features, rng()).recall_at_1
    # Of a binomial share p over 400 places: 1.96 sqrt(p (1 - p) / 400) on either side.
    half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)


def test_seasons_of_the_calendar():
    months = np.array([[f"2021-{month:02d}-01" for month in range(1, 13)]], dtype="datetime64[s]")
    north = calendar_seasons(months, np.array([50.0]))[0].tolist()
    south = calendar_seasons(months, np.array([-50.0]))[0].tolist()
    assert north == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]
    assert south == [2, 2, 3, 3, 3, 0, 0, 0, 1, 1, 1, 2]
    dates = np.array([["2021-01-01", "NaT"], ["1969-12-31", "2021-06-01"]], dtype="datetime64[s]")
    assert calendar_seasons(dates, np.array([10.0, np.nan])).tolist() == [[0, -1], [-1, -1]]


def test_the_command_compares_with_random_weights_and_image_statistics(tmp_path):
    config = SeaMoConfig(size=24, patch=4, dim=16, depth=1, heads=2)
    model_folder(tmp_path / "model", config)
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    card["normalisation"]["s1"] |= {"mean": {"VV": -14, "VH": -14}, "std": {"VV": 4, "VH": 4}}
    write_card(tmp_path / "model", card)
    store = build_small_store(tmp_path / "st", n=12, absent=(3,))
    done = seamo("info", tmp_path / "model", "--store", store.path, "--sensor", "s1", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)[0]
    assert list(facts["seasons"]) == ["model", "random weights", "image statistics"]
    # The synthetic ground is the same on every date but for noise and a drift: its means and deviations find it again.
    found = facts["seasons"]["image statistics"]["retrieval"]
    assert found["queries"] == 11 * 12 + 2  # ordered pairs of 4 dates at 11 places, of 2 at one
    assert found["recall_at_1"]["low"] > found["recall_at_1"]["chance"]
    assert "synthetic" in facts["seasons"]["model"]["store"]
    # The store has no places on the globe, so no hemisphere and no season.
    assert "It takes two of each" in facts["seasons"]["model"]["probe"]["impossible"]
    assert "12/12 places" in done.stderr


def test_the_table_in_words():
    def score(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01, "chance": 0.004}

    retrieval = {"recall_at_1": score(0.5), "mean_reciprocal_rank": score(0.6)}
    measured = [
        {"id": "model", "retrieval": retrieval, "probe": {"impossible": "one season"}},
        {"id": "random weights", "retrieval": retrieval, "probe": {"impossible": "one season"}},
    ]
    assert in_words(measured) == [
        "features        recall at 1           reciprocal rank       season read off",
        "model           50.0% [49.0%, 51.0%]  60.0% [59.0%, 61.0%]  -",
        "random weights  50.0% [49.0%, 51.0%]  60.0% [59.0%, 61.0%]  -",
        "chance          0.4%                  0.4%                  -",
        "one season",
    ]


def test_the_hemisphere_comes_from_the_place(tmp_path, monkeypatch):
    def southern(spec, i, *, absent):
        place = GeoRef("EPSG:32733", (10.0, 0.0, 500000.0 + 300 * i, 0.0, -10.0, 6000000.0))  # 36 degrees south
        return dataclasses.replace(make_sample(spec, i, absent=absent), geo=place)

    monkeypatch.setattr(small_store, "make_sample", southern)
    store = build_small_store(tmp_path / "st", n=6, absent=tuple(range(6)))
    model_folder(tmp_path / "model", SeaMoConfig(size=24, patch=4, dim=16, depth=1, heads=2))
    pretrained = load_pretrained(tmp_path / "model", device="cpu")
    reading = Reading(sensors=("s1",), statistics="store")
    found = diagnose(pretrained, store, reading, places=5)
    # January and April, far south.
    assert {one["probe"]["seasons"] for one in found} == {("summer", "autumn")}
    assert {(one["probe"]["places"], one["probe"]["images"]) for one in found} == {(5, 10)}
    assert diagnose(pretrained, store, reading, places=5) == found
