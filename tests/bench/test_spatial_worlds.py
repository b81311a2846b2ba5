"""What nearness adds to a score: planted leaks are found, and worlds without one raise no alarm."""

import dataclasses

import numpy as np
import pytest

from seamo.errors import ProtocolError
from seamo.store.spatial import parse_spatial, spatial_splits
from seamo.store.splits import hash_split
from seamo_bench.predictions import ClassPredictions, Scoring, take
from seamo_bench.scores.blocks import SplitSide, block_names, in_blocks, land_interval, share_units, split_difference
from seamo_bench.scores.intervals import interval, sampling

SINGLE = Scoring("single-label")
SPATIAL = "spatial-20km-2km"

# Worlds of features --------------------------------------------------------------------------------------------


def world(seed, *, n, villages, leak, d=5, classes=3):
    """Places around villages, features and labels.

    Without a leak features tell the class a little, and places tell nothing. With one, every village has a look and a
    usual class of its own: who has seen the village knows the answer, anywhere else it is of no use.
    """
    rng = np.random.default_rng([11, seed])
    centres = np.stack([rng.uniform(5, 12, villages), rng.uniform(45, 50, villages)], axis=1)
    home = rng.integers(0, villages, n)
    places = (centres[home] + rng.uniform(-0.03, 0.03, (n, 2))).round(4)
    labels = rng.integers(0, classes, n)
    looks = np.zeros((n, d))
    if leak:
        usual = rng.integers(0, classes, villages)
        labels = np.where(rng.random(n) < 0.9, usual[home], labels)
        looks = rng.normal(0, 3, (villages, d))[home]
    signal = rng.normal(0, 0.7, (classes, d))[labels]
    return places, looks + signal + rng.normal(0, 1, (n, d)), labels


def nearest_neighbours(x, y, tested, classes):
    away = (tested**2).sum(axis=1)[:, None] - 2 * tested @ x.T + (x**2).sum(axis=1)
    votes = y[np.argpartition(away, 9, axis=1)[:, :9]]
    return np.stack([(votes == one).sum(axis=1) for one in range(classes)], axis=1)


def logistic(x, y, tested, classes):
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0, max_iter=200).fit(x, y)
    assert len(fitted.classes_) == classes
    return fitted.predict_log_proba(tested)


def side(name, drawn, scheme, head):
    """A head that learns from one split and is tested on it, as `SplitSide`."""
    places, x, y = drawn
    keys = np.array([f"k{i:05d}" for i in range(len(y))])
    spatial = parse_spatial(scheme)
    splits = spatial_splits(name, spatial, places) if spatial else [hash_split(name, key) for key in keys.tolist()]
    train, test = (np.array(splits) == one for one in ("train", "test"))
    scores = head(x[train], y[train], x[test], int(y.max()) + 1).astype(np.float32)
    run = ClassPredictions(keys[test], y[test], scores, places=places[test].astype(np.float32))
    return SplitSide([run], train=int(train.sum()), test=int(test.sum()))


def measured(seed, head, **how):
    """Difference of the two splits in one world, and the same on the samples that both tested."""
    drawn = world(seed, **how)
    a, b, unit = share_units(*(side(f"world{seed}", drawn, one, head) for one in ("hash-60-20-20", SPATIAL)), 20)
    both = np.intersect1d(a.runs[0].keys, b.runs[0].keys)
    parts = [
        dataclasses.replace(one, runs=[take(one.runs[0], np.flatnonzero(np.isin(one.runs[0].keys, both)))])
        for one in (a, b)
    ]
    return [split_difference(*pair, "top1", SINGLE, unit=unit, resamples=200) for pair in ((a, b), parts)]


def excludes_zero(one):
    return one.interval.low is not None and (one.interval.low > 0 or one.interval.high < 0)


@pytest.mark.parametrize(
    ("head", "n", "times"),
    [
        (nearest_neighbours, 400, 200),
        pytest.param(nearest_neighbours, 1500, 400, marks=pytest.mark.soak),
        pytest.param(logistic, 400, 400, marks=pytest.mark.soak),
        pytest.param(logistic, 1500, 400, marks=pytest.mark.soak),
    ],
)
def test_no_gap_is_found_where_places_tell_nothing(head, n, times):
    """Nominal 5 %; 8 % is what 200 simulations may show."""
    found = [measured(seed, head, n=n, villages=n // 4, leak=False) for seed in range(times)]
    for kind in (0, 1):
        assert np.mean([excludes_zero(one[kind]) for one in found]) <= 0.08
    values = np.array([one[0].interval.value for one in found])
    spread = np.array([one[0].interval.high - one[0].interval.low for one in found]) / 2 / 1.96
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(times)  # no bias either
    assert 0.9 < spread.mean() / values.std() < 1.5  # and no interval that says nothing


@pytest.mark.parametrize(
    ("n", "times", "least"), [(1200, 20, 0.9), pytest.param(1200, 200, 0.9, marks=pytest.mark.soak)]
)
def test_a_planted_leak_is_found(n, times, least):
    found = [measured(seed, nearest_neighbours, n=n, villages=n // 10, leak=True)[0] for seed in range(times)]
    assert np.mean([one.interval.low > 0 for one in found]) >= least
    assert np.mean([one.interval.value for one in found]) > 0.2


# The interval ----------------------------------------------------------------------------------------------------


def test_the_error_is_that_of_the_formula():
    """Top-1 as a ratio over blocks, linearised by hand; both sides in the same blocks, so with their covariance."""
    drawn = world(3, n=800, villages=200, leak=True)
    a, b, unit = share_units(*(side("error", drawn, one, nearest_neighbours) for one in ("hash-60-20-20", SPATIAL)), 20)
    assert unit == "blocks"
    found = split_difference(a, b, "top1", SINGLE, resamples=1000)
    names = np.unique(np.concatenate([a.runs[0].units, b.runs[0].units]))
    parts = []
    for run in (a.runs[0], b.runs[0]):
        right = (run.scores.argmax(axis=1) == run.labels).astype(float)
        block = np.searchsorted(names, run.units)
        parts.append(np.bincount(block, right - right.mean(), minlength=len(names)) / len(right))
    units = found.interval.num_units
    assert units == len(np.unique(b.runs[0].units)) < len(np.unique(a.runs[0].units))
    own = [float((part**2).sum()) for part in parts]
    shares = [len(one.runs[0].keys) / one.train for one in (a, b)]
    variance = ((parts[0] - parts[1]) ** 2).sum() + own[0] * shares[0] + own[1] * shares[1]
    from scipy.stats import t

    half = (found.interval.high - found.interval.low) / 2
    assert half == pytest.approx(t.ppf(0.975, units - 1) * np.sqrt(variance * units / (units - 1)), rel=0.12)
    assert found.interval.value == pytest.approx(sum(np.mean(r.scores.argmax(1) == r.labels) * s for r, s in
                                                     ((a.runs[0], 1), (b.runs[0], -1))))  # fmt: skip
    again = split_difference(a, b, "top1", SINGLE, resamples=1000)
    assert again == found


def runs_of(n, *, places=None, scenes=None, right=0.7, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.where((rng.random(n) < right)[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    more = {} if scenes is None else {"units": np.array(scenes)}
    if places is not None:
        more["places"] = np.asarray(places, dtype=np.float32)
    return ClassPredictions(np.array([f"k{i:04d}" for i in range(n)]), np.zeros(n, int), scores, **more)


def test_units_are_blocks_or_scenes_whichever_are_fewer():
    places = np.stack([np.linspace(10, 14, 60), np.full(60, 48.0)], axis=1)
    run = runs_of(60, places=places, scenes=[f"scene{i // 20}" for i in range(60)])
    assert in_blocks(run, 20) == (run, "scenes")
    assert share_units(SplitSide([run]), SplitSide([run]), 20)[2] == "scenes"
    fine = runs_of(60, places=places, scenes=[f"scene{i}" for i in range(60)])
    assert len(np.unique(in_blocks(fine, 20)[0].units)) == len(np.unique(block_names(fine, 20))) < 30
    assert share_units(SplitSide([run]), SplitSide([fine]), 500)[2] == "blocks"
    places[5] = np.nan
    names = block_names(runs_of(60, places=places), 20)
    assert names[5] == "k0005"  # a unit of its own
    assert len(np.unique(names)) < 30


def test_few_blocks_have_a_note_and_very_few_no_interval():
    def made(blocks):
        places = np.stack([10 + np.arange(120) % blocks, np.full(120, 48.0)], axis=1)
        sides = [SplitSide([runs_of(120, places=places, seed=seed)], train=300, test=120) for seed in (0, 1)]
        a, b, unit = share_units(*sides, 20)
        return split_difference(a, b, "top1", SINGLE, unit=unit).interval

    assert made(1).low is None
    assert np.isfinite(made(1).value)
    assert "only 1 block on one side: no interval" in made(1).note
    assert made(4).low is None
    assert "only 4 blocks on one side: no interval" in made(4).note
    assert made(12).low is not None
    assert "only 12 blocks on one side" in made(12).note
    assert "only" not in made(40).note


def test_what_is_learnt_from_few_samples_is_less_sure():
    places = np.stack([10 + np.arange(200) / 10, np.full(200, 48.0)], axis=1)
    one, other = runs_of(200, places=places), runs_of(200, places=places, seed=1)

    def width(train, runs=1, redrawn=False, test=200):
        sides = [SplitSide([run] * runs, train=train, test=test, redrawn=redrawn) for run in (one, other)]
        found = split_difference(*share_units(*sides, 20)[:2], "top1", SINGLE).interval
        return found.high - found.low

    assert width(100) > width(600) > width(10**9)
    # Two runs of different samples hold that part in their spread (none here): it is not counted twice.
    assert width(100, 2, redrawn=True) < width(100, 2)
    # Whole scenes are tested and tiles trained on: what counts is tiles on both sides, not the 200 predictions.
    assert width(4000, test=8000) == width(100)
    sides = share_units(*(SplitSide([run], train=train, test=200) for run, train in ((one, 100), (other, 0))), 20)
    unsaid = split_difference(*sides[:2], "top1", SINGLE).interval
    assert unsaid.low is None
    assert "do not say how many samples trained" in unsaid.note


def test_without_places_there_are_no_blocks():
    """Keys that stood for blocks would be as many units as samples, and an interval that is too short."""
    placed = runs_of(60, places=np.full((60, 2), 48.0))
    for pair in ((placed, runs_of(60)), (runs_of(60), placed)):
        with pytest.raises(ProtocolError, match="hold no places"):
            share_units(*(SplitSide([run]) for run in pair), 20)


def test_one_scene_has_a_score_and_no_interval():
    places = np.stack([np.linspace(10, 14, 60), np.full(60, 48.0)], axis=1)
    runs = [runs_of(60, places=places, scenes=["scene"] * 60, seed=seed) for seed in (0, 1)]
    *sides, unit = share_units(*(SplitSide([run], train=90, test=60) for run in runs), 20)
    found = split_difference(*sides, "top1", SINGLE, unit=unit)
    assert (found.interval.low, found.p) == (None, None)
    assert "only 1 scene on one side: no interval" in found.interval.note


def test_an_interval_says_what_was_resampled():
    places = np.stack([10 + np.arange(120) % 12, np.full(120, 48.0)], axis=1)
    run, unit = in_blocks(runs_of(120, places=places), 20)
    one = land_interval([run], "top1", SINGLE, unit=unit)
    assert (one.num_units, one.unit) == (12, "blocks")
    assert "only 12 blocks" in one.note
    assert one == dataclasses.replace(interval(sampling([run], "top1", SINGLE)), unit="blocks", note=one.note,
                                      method=one.method)  # fmt: skip
