"""What the season does, as numbers: flips held against a slow loop, planted shares, and what must not be found."""

import itertools
import math

import numpy as np
import pytest

from seamo.use.diagnose import SEASONS
from seamo_bench.board import seasons as s
from seamo_bench.board.report.tabs.seasons import _about
from seamo_bench.predictions import ClassPredictions, Scoring
from seamo_bench.questions.places import Dated, same_places
from seamo_bench.scores.intervals import interval, number_of
from seamo_bench.scores.replicates import replicate_mean

DAYS = np.array(["2020-01-10", "2020-02-10", "2020-05-10", "2020-07-10", "2020-10-10"], dtype="datetime64[D]")
OF_DAYS = np.array([0, 0, 1, 2, 3])


def images(places, *, units=None, days=DAYS, seasons=OF_DAYS):
    """Every place on every day."""
    names = np.repeat([f"p{i:04d}" for i in range(places)], len(days))
    when = np.tile(days, places)
    own = np.empty(0, dtype=np.str_) if units is None else np.repeat(units, len(days))
    keys = np.array([f"{place}@{day}" for place, day in zip(names, when, strict=True)])
    return s.DatedImages(keys, names, own, when, np.tile(seasons, places))


def predicted(seen, classes, count=3):
    """Predictions of one class an image."""
    return ClassPredictions(seen.keys, np.zeros(len(classes), int), 5 * np.eye(count, dtype=np.float32)[classes])


def slow_flips(seen, sets, which):
    """Place -> mean share of its pairs of days that flips, one pair at a time, in plain Python."""
    found = {}
    for place in dict.fromkeys(seen.places.tolist()):
        mine = [i for i in range(len(seen.keys)) if seen.places[i] == place and not np.isnat(seen.days[i])]
        shares = []
        for i, j in itertools.combinations(mine, 2):
            if seen.days[i] == seen.days[j]:
                continue
            same = seen.seasons[i] == seen.seasons[j]
            unknown = min(seen.seasons[i], seen.seasons[j]) < 0
            if which != "all" and (unknown or same != (which == "within")):
                continue
            either = sets[i] | sets[j]
            shares.append(1 - len(sets[i] & sets[j]) / len(either) if either else 0.0)
        if shares:
            found[place] = sum(shares) / len(shares)
    return found


@pytest.mark.parametrize("which", ["all", "across", "within"])
@pytest.mark.parametrize("multi", [False, True])
def test_flips_are_those_of_a_slow_loop(which, multi):
    rng = np.random.default_rng(5)
    n = 60
    days = DAYS[rng.integers(0, 5, n)]
    days[::11] = np.datetime64("NaT")
    seen = s.DatedImages(
        np.array([f"k{i}" for i in range(n)]),
        np.array([f"p{i}" for i in rng.integers(0, 15, n)]),
        np.empty(0, dtype=np.str_),
        days,
        rng.integers(-1, 4, n),
    )
    if multi:
        hot = rng.random((n, 4)) < 0.4
        run = ClassPredictions(seen.keys, hot.astype(int), np.where(hot, 2.0, -2.0).astype(np.float32))
        sets = [set(np.flatnonzero(one).tolist()) for one in hot]
    else:
        classes = rng.integers(0, 3, n)
        run, sets = predicted(seen, classes), [{int(one)} for one in classes]
    pairs = s.date_pairs(seen)
    made = s.decisions(run)
    found = s.place_flips(pairs, s.flipped(made[pairs.a], made[pairs.b]), which)
    slow = slow_flips(seen, sets, which)
    assert {
        str(name): one for name, one in zip(pairs.names, found, strict=True) if not math.isnan(one)
    } == pytest.approx(slow)
    assert len(slow) > 5


def test_of_many_dates_as_many_are_paired_as_the_limit_says_the_first_and_the_last_among_them():
    days = np.datetime64("2020-01-01") + 10 * np.arange(30)
    seen = images(1, days=days, seasons=np.zeros(30, int))
    pairs = s.date_pairs(seen)
    assert len(pairs.a) == s.MOST_DATES * (s.MOST_DATES - 1) // 2
    assert {0, 29} <= set(pairs.a.tolist()) | set(pairs.b.tolist())


def test_two_images_of_one_day_are_no_pair():
    seen = images(3, days=DAYS[[0, 0]], seasons=np.zeros(2, int))
    assert not len(s.date_pairs(seen).a)
    found = s.flip_figures(s.date_pairs(seen), [predicted(seen, np.arange(6) % 3)], ["a"])
    assert (found["flips"].value, found["flips"].note) == (None, "no place has two days")


def coverage(draw, truth, times=40):
    """Of each number the share of simulated data sets whose interval holds the truth."""
    held = dict.fromkeys(truth, 0)
    for number in range(times):
        seen, classes = draw(np.random.default_rng(number))
        found = s.flip_figures(s.date_pairs(seen), [predicted(seen, classes)], ["a"])
        for which, one in truth.items():
            held[which] += found[which].low <= one <= found[which].high
    return {which: count / times for which, count in held.items()}


def planted(rng, *, places=60, share=0.25, noise=0.0, units=None):
    """In winter a share of the places looks like another class; with noise any image does now and then."""
    seen = images(places, units=units)
    own = np.repeat(np.arange(places) % 3, len(DAYS))
    turns = np.repeat(rng.random(places) < share, len(DAYS)) & (seen.seasons == 0)
    return seen, (own + (turns ^ (rng.random(len(own)) < noise))) % 3


def test_a_planted_share_of_flips_is_within_its_interval_as_often_as_it_says():
    # Of ten pairs of days six are of winter and another season.
    truth = {"flips": 0.25 * 6 / 10, "across": 0.25 * 6 / 9, "excess": 0.25 * 6 / 9}
    assert min(coverage(planted, truth).values()) >= 0.85


def test_noise_alone_flips_and_is_no_excess_of_the_seasons():
    def noisy(rng):
        return planted(rng, share=0.0, noise=0.1)

    flips = 2 * 0.1 * 0.9  # one of the two is turned; two turned ones are alike
    assert min(coverage(noisy, {"flips": flips, "within": flips, "excess": 0.0}).values()) >= 0.85
    seen, classes = planted(np.random.default_rng(0), places=400, share=0.0, noise=0.1)
    found = s.flip_figures(s.date_pairs(seen), [predicted(seen, classes)], ["a"])
    assert found["flips"].low > 0.1  # flips there are
    assert found["excess"].low < 0 < found["excess"].high
    seen, classes = planted(np.random.default_rng(0), places=400, share=0.25, noise=0.1)
    assert s.flip_figures(s.date_pairs(seen), [predicted(seen, classes)], ["a"])["excess"].low > 0


def test_without_any_flip_the_interval_ends_where_a_share_of_so_many_places_does():
    seen, classes = planted(np.random.default_rng(0), places=100, share=0.0)
    one = s.flip_figures(s.date_pairs(seen), [predicted(seen, classes)], ["a"])["flips"]
    assert (one.value, one.low, one.units) == (0.0, 0.0, 100)
    assert one.high == pytest.approx(1.959964**2 / (100 + 1.959964**2))  # Wilson 1927


def test_places_of_one_scene_are_drawn_together():
    # Ten scenes of ten places that all flip or all do not: ten facts, not a hundred.
    units = np.repeat([f"s{i}" for i in range(10)], 10)
    seen = images(100, units=units)
    own = np.repeat(np.arange(100) % 3, len(DAYS))
    turns = np.isin(np.repeat(units, len(DAYS)), ["s1", "s4", "s7"]) & (seen.seasons == 0)
    alone = s.DatedImages(seen.keys, seen.places, np.empty(0, dtype=np.str_), seen.days, seen.seasons)
    wide, narrow = (
        s.flip_figures(s.date_pairs(one), [predicted(one, (own + turns) % 3)], ["a"])["flips"] for one in (seen, alone)
    )
    assert (wide.units, narrow.units) == (10, 100)
    assert (wide.unit, narrow.unit) == ("scenes", "places")
    assert wide.value == narrow.value == pytest.approx(0.3 * 0.6)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_of_one_scene_alone_there_is_no_interval():
    seen, classes = planted(np.random.default_rng(0), places=40, units=np.repeat("s", 40))
    run = predicted(seen, classes)
    run = ClassPredictions(run.keys, run.labels, run.scores, units=seen.units)
    parts = s.season_parts(seen, [run], ["a"], name="top1", scoring=Scoring("single-label"))
    flips = s.flip_figures(s.date_pairs(seen), [run], ["a"])
    for one in (*(part.score for part in parts), *flips.values()):
        assert (one.low, one.high, one.units, one.unit) == (None, None, 1, "scenes")
        assert one.value is not None
        assert one.note == "1 scene alone: no interval"


def test_a_note_names_the_units_that_there_are():
    seen, classes = planted(np.random.default_rng(1), places=12)
    run = predicted(seen, classes)
    run = ClassPredictions(run.keys, run.labels, run.scores, units=seen.places)
    for part in s.season_parts(seen, [run], ["a"], name="top1", scoring=Scoring("single-label")):
        assert (part.score.units, part.score.unit) == (12, "places")
        assert "scenes" not in part.score.note
    flips = s.flip_figures(s.date_pairs(seen), [run], ["a"])["flips"]
    assert flips.note.startswith("only 12 places")


def test_seeds_are_averaged_and_their_spread_is_in_the_interval():
    seen, classes = planted(np.random.default_rng(1), places=80)
    calm = predicted(seen, np.repeat(np.arange(80) % 3, len(DAYS)))
    wild = predicted(seen, classes)
    pairs = s.date_pairs(seen)
    one, two = (s.flip_figures(pairs, [wild], ["a"])["flips"], s.flip_figures(pairs, [wild, calm], ["a", "b"])["flips"])
    assert two.value == pytest.approx(one.value / 2)
    assert two.high - two.low > one.high - one.low


def test_the_mean_of_numbers_has_the_textbook_s_error():
    rng = np.random.default_rng(2)
    keys, numbers = np.array([f"k{i:03d}" for i in range(500)]), rng.normal(0.4, 0.1, 500)
    none = np.empty(0, dtype=np.str_)
    many = number_of([replicate_mean(keys, numbers, none, "x")], bounds=(0.0, 1.0))
    assert many.value == pytest.approx(numbers.mean())
    assert many.error == pytest.approx(numbers.std(ddof=1) / math.sqrt(500), rel=0.1)
    few = number_of([replicate_mean(keys[:12], numbers[:12], none, "x")])
    assert few.error == pytest.approx(numbers[:12].std(ddof=1) / math.sqrt(12))  # the jackknife's is exact
    again = number_of([replicate_mean(keys[::-1], numbers[::-1], none, "x")], bounds=(0.0, 1.0))
    assert interval(again) == interval(many)  # whatever the order


def test_scores_by_season_are_those_of_the_season_s_images_alone():
    seen, classes = planted(np.random.default_rng(3), places=60, share=1.0)
    labels = np.repeat(np.arange(60) % 3, len(DAYS))
    run = ClassPredictions(seen.keys, labels, 5 * np.eye(3, dtype=np.float32)[classes], units=seen.places)
    parts = s.season_parts(seen, [run], ["a"], name="top1", scoring=Scoring("single-label"))
    assert [(one.season, one.images, one.score.value) for one in parts] == [
        ("winter", 120, 0.0),
        ("spring", 60, 1.0),
        ("summer", 60, 1.0),
        ("autumn", 60, 1.0),
    ]
    assert "no interval" not in parts[0].score.note
    # 60 places with two winter images each: all wrong, as sure as 60 places make it.
    assert parts[0].score.high == pytest.approx(1.959964**2 / (60 + 1.959964**2))
    assert s.SEASON_NAMES == SEASONS


def test_a_place_is_what_one_scene_shows_of_one_spot():
    boxes = np.array(
        [
            [10.00, 50.00, 10.02, 50.02],  # a
            [10.001, 50.001, 10.021, 50.021],  # b: a again, a little aside
            [10.02, 50.00, 10.04, 50.02],  # c: the tile beside a, of the same scene
            [10.00, 50.00, 10.02, 50.02],  # d: a again, of another scene
            [np.nan] * 4,  # e: nowhere
            [10.00, 50.00, 10.02, 50.02],  # f: of no scene
            [10.009, 50.009, 10.0095, 50.0095],  # g: a's centre is not in this small one
        ]
    )
    days = np.datetime64("2020-01-01") + np.array([5, 1, 2, 3, 4, 6, 7])
    scenes = np.array(["x", "x", "x", "y", "x", "", "x"])
    found = same_places(Dated(np.arange(7), np.array(list("abcdefg")), scenes, days[:, None], boxes))
    assert found.tolist() == ["b", "b", "c", "d", "e", "f", "g"]  # named by its earliest image


def test_tiles_of_a_scene_of_one_day_are_places_of_their_own():
    boxes = np.repeat([[10.00, 50.00, 10.02, 50.02]], 3, axis=0)
    days = np.repeat(np.datetime64("2020-01-01"), 3)[:, None]
    assert same_places(Dated(np.arange(3), np.array(list("abc")), np.repeat("x", 3), days, boxes)).tolist() == [*"abc"]


@pytest.mark.parametrize("wider", [1.0, 1.04])
def test_tiles_with_half_an_overlap_are_places_of_their_own(wider):
    """4 x 4 tiles of a scene on one grid, the next one half a tile on, of two days; boxes of turned grids are wider."""
    centre = 10 + 0.01 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    centre = np.concatenate([centre, centre])
    boxes = np.concatenate([centre - 0.01 * wider, centre + 0.01 * wider], axis=1)
    days = np.datetime64("2020-01-01") + np.repeat([0, 40], 16)
    keys = np.array([f"k{i:02d}" for i in range(32)])
    found = same_places(Dated(np.arange(32), keys, np.repeat("x", 32), days[:, None], boxes))
    assert found.tolist() == [f"k{i % 16:02d}" for i in range(32)]


def test_over_how_many_pretrainings_features_are_averaged_is_said():
    one = s.SeasonFigure(value=0.5, low=0.4, high=0.6, units=30, unit="scenes", chance=0.25)
    told = one.model_copy(update={"pretrainings": 3})
    assert (s.averaged(one), s.averaged(told)) == ("", "mean of 3 pretraining runs")
    none = s.SeasonFigure(note="no probe")
    row = s.SeasonRow(
        row="r", column="c", metric="top1", form="one date a place", dates=1, places=50, images=50, undated=0, parts=(),
        flips=none, across=none, within=none, excess=none, probe=told, recall=none,
    )  # fmt: skip
    lines = dict(s.asked_lines(row))
    read_off = "50.00 [40.00, 60.00], 30 scenes, chance 25.00, mean of 3 pretraining runs"
    assert lines["season read off the features"] == read_off
    assert lines["place found again on another date"] == "no probe"
    first = row.model_copy(update={"probe": none})
    assert _about([first, row]).endswith("By chance: season read off 25.00.")
    other = row.model_copy(update={"probe": told.model_copy(update={"chance": 0.5})})
    assert _about([other, row]).endswith("By chance: season read off 25.00 to 50.00.")


def test_spots_are_those_of_a_slow_reading():
    rng = np.random.default_rng(4)
    corner = rng.uniform(0, 5, (60, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.5, 1.5, (60, 2))], axis=1)
    days = np.datetime64("2020-01-01") + rng.permutation(60)
    keys = np.array([f"k{i:02d}" for i in range(60)])
    found = same_places(Dated(np.arange(60), keys, np.repeat("x", 60), days[:, None], boxes))
    firsts, slow = [], {}
    for i in np.argsort(days).tolist():
        for j in firsts:
            (ax, ay, bx, by), (cx, cy, dx, dy) = boxes[i].tolist(), boxes[j].tolist()
            mine, theirs = ((ax + bx) / 2, (ay + by) / 2), ((cx + dx) / 2, (cy + dy) / 2)
            edge = [0.05 * (high - low) for low, high in ((cx, dx), (cy, dy), (ax, bx), (ay, by))]
            in_theirs = cx + edge[0] < mine[0] < dx - edge[0] and cy + edge[1] < mine[1] < dy - edge[1]
            in_mine = ax + edge[2] < theirs[0] < bx - edge[2] and ay + edge[3] < theirs[1] < by - edge[3]
            if in_theirs and in_mine:
                slow[i] = j
                break
        else:
            firsts.append(i)
            slow[i] = i
    assert found.tolist() == [f"k{slow[i]:02d}" for i in range(60)]
    assert 10 < len(firsts) < 60
