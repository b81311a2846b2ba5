"""What nearness adds to a score: planted leaks are found, worlds without one raise no alarm, distances are measured."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from seamo.earth import RADIUS_KM
from seamo.errors import ProtocolError
from seamo.sample import GeoRef
from seamo.store.spatial import parse_spatial, spatial_splits
from seamo.store.splits import hash_split
from seamo_bench.board.report.tabs import spatial as tab
from seamo_bench.board.spatial import KIND, VERSION, DistanceBin, SpatialGaps, list_names, spatial_gaps, unplaced_texts
from seamo_bench.predictions import ClassPredictions, Scoring, take
from seamo_bench.questions import spatial as questions
from seamo_bench.questions.spatial import distance_curves
from seamo_bench.records.answers import read_answers, write_answer
from seamo_bench.records.record import load_predictions, read_records
from seamo_bench.runs.cells import Impossible
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.scores.blocks import SplitSide, block_names, in_blocks, land_interval, share_units, split_difference
from seamo_bench.scores.intervals import interval, sampling
from seamo_bench.suites.suite import Row, Suite, load_suite
from tests.bench import bench_store

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


# Records, command, report ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A store of 80 villages whose look and class are the village's; results of a suite under both schemes."""
    folder = tmp_path_factory.mktemp("planted")
    spec = bench_store.toy_spec(bands=("B02", "B03", "B04", "B08"), size=4)
    rng = np.random.default_rng(0)
    samples = []
    for village in range(80):
        look, label = rng.normal(0, 300, 4), int(rng.integers(3))
        east, north = rng.uniform(2e5, 8e5), rng.uniform(52e5, 57e5)
        for tile in range(12):  # enough for 30 that both splits test
            mine = label if rng.random() < 0.9 else int(rng.integers(3))
            level = 3000 + look + 20 * mine + rng.normal(0, 20, 4)
            pixels = (level[:, None, None] + rng.normal(0, 5, (4, 4, 4))).clip(0, 9999).astype(np.uint16)
            x, y = (east, north) + rng.uniform(-1500, 1500, 2)
            sample = bench_store.Sample(key=f"v{village:03d}-{tile}", layers={"s2_10m": pixels[None]}, label=mine)
            samples.append(dataclasses.replace(sample, geo=GeoRef("EPSG:32632", (10.0, 0.0, x, 0.0, -10.0, y))))
    store = bench_store.build_store(folder / "stores", spec, samples)
    row = "- {{store: toy, protocol: knn, split: {}, params: {{k: 3}}}}\n"
    rows = "".join(map(row.format, ("hash-60-20-20", SPATIAL)))
    (folder / "suite.yaml").write_text(f"id: mine\nbackbones: [image-statistics]\nrows:\n{rows}")
    return folder, store


@pytest.fixture(scope="module")
def results(planted):
    from seamo_bench.protocol import silent
    from seamo_bench.runs.run import Machine, run_plan

    folder, _ = planted
    places = Places(folder / "stores", folder / "results", folder)
    cells = make_plan(load_suite(str(folder / "suite.yaml")), (), places, past=NOTHING, speed=CPU)
    assert not any(isinstance(one, Impossible) for one in cells)
    list(run_plan(cells, places, machine=Machine(), progress=silent, inner=silent))
    return folder / "results"


def document(said):
    """The one JSON document on stdout, before what stderr says."""
    return json.JSONDecoder().raw_decode(said)[0]


def test_records_under_both_schemes_have_a_gap(results):
    records = read_records(results).records
    assert len(records) == 2
    (gap,) = spatial_gaps(records, results).gaps
    assert (gap.other, gap.column.scheme, gap.metric) == ("hash-60-20-20", SPATIAL, "top1")
    assert gap.difference.interval.low > 0
    assert gap.synthetic
    by_scheme = {one.facts.split.scheme: one for one in records}
    values = [by_scheme[one].scores["top1"] for one in (gap.other, SPATIAL)]
    assert gap.difference.interval.value == pytest.approx(values[0] - values[1])
    assert [one.value for one in gap.scores] == pytest.approx(values)
    assert gap.train == tuple(by_scheme[one].about.samples["train"] for one in (gap.other, SPATIAL))
    both = [set(load_predictions(by_scheme[one], results).keys.tolist()) for one in (gap.other, SPATIAL)]
    assert gap.common_samples == len(both[0] & both[1]) >= 30
    right = []
    for one in (gap.other, SPATIAL):
        run = load_predictions(by_scheme[one], results)
        here = np.isin(run.keys, sorted(both[0] & both[1]))
        right.append((run.scores.argmax(axis=1) == run.labels)[here].mean())
    assert gap.common.interval.value == pytest.approx(right[0] - right[1])
    assert gap.common.interval.low is not None
    folded = by_scheme[gap.other].facts.split.model_copy(update={"scheme": "cv5x5"})
    changes = ({"precision": "bf16"}, {"inputs": "s2:B02"}, {"budget": "demo"}, {"split": folded})
    for change in changes:  # another question; and folds are no side of any
        other = changed(by_scheme[gap.other], **change)
        assert spatial_gaps([other, by_scheme[SPATIAL]], results) == SpatialGaps((), ())
    weights = by_scheme[SPATIAL].facts.backbone.model_copy(update={"weights": "0" * 64})
    other = changed(by_scheme[SPATIAL], backbone=weights)
    found = spatial_gaps([by_scheme[gap.other], other], results)
    assert found.gaps == ()
    assert "the weights or the card differ between the two splits" in found.left_out[0]
    uncounted = [one.model_copy(update={"about": one.about.model_copy(update={"samples": {}})}) for one in records]
    (unsure,) = spatial_gaps(uncounted, results).gaps
    assert unsure.difference.interval.low is None
    assert unsure.difference.interval.value == gap.difference.interval.value
    tiles = [
        one.model_copy(update={"about": one.about.model_copy(update={"samples": {"train": 100, "test": 900}})})
        for one in records
    ]
    (wider,) = spatial_gaps(tiles, results).gaps  # as of whole scenes: what records count, not the predictions
    assert (wider.train, wider.test) == ((100, 100), (900, 900))
    assert wider.difference.interval.low < gap.difference.interval.low


def test_a_test_sample_is_as_far_from_what_was_learnt_as_the_slow_way_says(planted, results, call):
    folder, store = planted
    code, said = call("spatial", results, "--stores", folder / "stores", "--json")
    assert code == 0, said
    rows = document(said)
    assert [row["what"] for row in rows].count("gap") == 1
    assert rows[0]["difference_low"] > 0
    from seamo_bench.tasks.trials import labels_of, make_trials, task_facts

    for scheme in ("hash-60-20-20", SPATIAL):
        labels = labels_of(store, task_facts(store, scheme))
        (trial,) = make_trials(store, labels, scheme=scheme, fraction=1.0, salt=0, budget="full")
        (record,) = [one for one in read_records(results).records if one.facts.split.scheme == scheme]
        run = load_predictions(record, results)
        box = store.read_index(["bbox"])["bbox"]
        places = np.radians([[(one[a] + one[b]) / 2 for a, b in (("xmin", "xmax"), ("ymin", "ymax"))] for one in box])
        unit = np.stack([np.cos(places[:, 1]) * np.cos(places[:, 0]), np.cos(places[:, 1]) * np.sin(places[:, 0]),
                         np.sin(places[:, 1])], axis=1)  # fmt: skip
        away = RADIUS_KM * np.arccos((unit[trial.test] @ unit[trial.train].T).clip(-1, 1)).min(axis=1)
        right = run.scores.argmax(axis=1) == run.labels
        at = {key: i for i, key in enumerate(run.keys.tolist())}
        order = [at[key] for key in store.index["key"].iloc[trial.test]]
        mine = [row for row in rows if row["what"] == "distance" and row["scheme"] == scheme]
        assert sum(row["samples"] for row in mine) == len(trial.test)
        for row in mine:
            inside = (away >= row["low_km"]) & (away < row["high_km"])
            assert row["samples"] == inside.sum()
            assert row["value"] == pytest.approx(right[order][inside].mean())
            assert (row["low"] is None) == (row["samples"] < 30 or row["value"] in (0, 1))
        assert (scheme == SPATIAL) == (min(row["low_km"] for row in mine) >= 2)  # the guard holds
    answers = read_answers(results, KIND, DistanceBin, version=VERSION)
    assert sum(len(one.rows) for one in answers) == sum(row["what"] == "distance" for row in rows)
    code, said = call("spatial", results)
    assert code == 0
    assert "villages" not in said
    assert "toy knn, spatial-20km-2km (synthetic)" in said
    assert f"{gap_units(rows)} test blocks" in said


def gap_units(rows):
    return next(row["units"] for row in rows if row["what"] == "gap")


def test_pairs_that_were_refused_are_told(results, call, monkeypatch):
    def refuse(*_):
        raise ProtocolError("refused")

    monkeypatch.setattr("seamo_bench.board.spatial.check_comparable", refuse)
    code, said = call("spatial", results)
    assert code == 0
    assert "no difference: image-statistics on toy/knn" in said
    assert "every pair of splits was left out" in said
    assert "suite spatial makes both" not in said


def changed(record, **facts):
    return record.model_copy(update={"facts": record.facts.model_copy(update=facts)})


def test_what_is_not_of_the_store_or_not_of_a_kind_has_no_curve(planted, results):
    folder, _ = planted
    (record,) = [one for one in read_records(results).records if one.facts.split.scheme == SPATIAL]
    split = record.facts.split
    forged = split.model_copy(update={"lists": {**split.lists, "train": "0" * 64}})
    for records, why in (
        ([record, changed(record, precision="bf16")], "they differ in precision"),
        ([changed(record, split=forged)], "its split lists are not the store's: train"),
    ):
        found = distance_curves(records, results, folder / "stores")
        assert found.bins == ()
        assert why in found.left_out[0]


def test_samples_of_unknown_distance_are_counted(planted, results, monkeypatch):
    folder, store = planted
    (record,) = [one for one in read_records(results).records if one.facts.split.scheme == SPATIAL]
    keys = load_predictions(record, results).keys
    lost = np.isin(store.index["key"].to_numpy(dtype=np.str_), keys[:7])
    places = questions.centres_of(store)
    monkeypatch.setattr(questions, "centres_of", lambda _: np.where(lost[:, None], np.nan, places))
    found = distance_curves([record], results, folder / "stores").bins
    assert sum(one.samples for one in found) == len(keys) - 7
    assert all(one.unplaced == 7 for one in found)
    assert unplaced_texts(found) == (
        f"image-statistics on {SPATIAL}: 7 test samples are of unknown distance, and in no line",
    )
    monkeypatch.setattr(questions, "centres_of", lambda _: np.full_like(places, np.nan))
    found = distance_curves([record], results, folder / "stores")
    assert found.bins == ()
    assert "of no test sample the distance" in found.left_out[0]


def test_curves_of_several_training_lists_are_told_apart():
    one = DistanceBin(row="a", column="c", scheme=SPATIAL, records=("k",), low_km=0, high_km=1, samples=40, unplaced=0,
                      metric="top1", value=0.5, low=0.4, high=0.6)  # fmt: skip
    other, alone = (one.model_copy(update=change) for change in ({"records": ("j",)}, {"row": "b", "records": ("i",)}))
    assert list_names([one, other, alone]) == {("j",): "training list 1 of 2", ("k",): "training list 2 of 2"}
    assert list_names([one, alone]) == {}


def test_where_distances_cannot_be_kept_is_asked_first(tmp_path, call):
    code, said = call("spatial", "https://nowhere.invalid/results", "--stores", tmp_path)
    assert code == 2
    assert "in a folder on this disk" in said
    for name in ("records", "predictions"):
        (tmp_path / "shared" / name).mkdir(parents=True)
    code, said = call("spatial", tmp_path / "shared", "--stores", tmp_path)
    assert code == 2
    assert "results repository" in said


def test_the_report_has_both(planted, results, call, tmp_path, monkeypatch):
    folder, _ = planted
    results = shutil.copytree(results, tmp_path / "results")
    call("spatial", results, "--stores", folder / "stores")
    (answer, *_) = read_answers(results, KIND, DistanceBin, version=VERSION)
    other = tuple(one.model_copy(update={"records": ("! another list",), "unplaced": 3}) for one in answer.rows)
    write_answer(results, dataclasses.replace(answer, rows=other, asked={**answer.asked, "list": 2}))
    monkeypatch.setattr(tab, "spatial_gaps", lambda *given, **how: dataclasses.replace(
        spatial_gaps(*given, **how), left_out=tuple(f"refused {i}" for i in range(21))))  # fmt: skip
    code, said = call("report", results, "-o", tmp_path / "report.html")
    assert code == 0, said
    page = (tmp_path / "report.html").read_text()
    assert 'id="spatial"' in page
    part = page.partition('id="spatial"')[2].partition("</section>")[0]
    (gap,) = spatial_gaps(read_records(results).records, results).gaps
    assert f"{100 * gap.difference.interval.value:.2f} [" in part
    assert "Score by distance" in part
    assert "one of up to 2 training lists" in part
    assert "3 test samples are of unknown distance" in part
    assert "refused 19" in part
    assert "refused 20" not in part
    assert "and 1 more" in part
    assert "synthetic" in part


def test_a_store_without_places_is_told_apart(tmp_path):
    bench_store.toy_store(tmp_path / "stores", 30)
    rows = tuple(Row(store="toy", protocol="knn", split=one) for one in (SPATIAL, "spatial-2km-20km"))
    suite = Suite(id="mine", backbones=("image-statistics",), rows=rows)
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path)
    placeless, miswritten = make_plan(suite, (), places, past=NOTHING, speed=CPU)
    assert isinstance(placeless, Impossible)
    assert placeless.hindrance == "unsuitable"
    assert "does not say where its samples lie" in placeless.reason
    assert isinstance(miswritten, Impossible)
    assert "the guard no more than a block" in miswritten.reason


def test_nothing_to_compare_is_said(tmp_path, call):
    (tmp_path / "results").mkdir()
    code, said = call("spatial", tmp_path / "results")
    assert code == 0
    assert "suite spatial makes both" in said
    code, said = call("spatial", tmp_path / "results", "--json")
    assert document(said) == []
    code, said = call("spatial", tmp_path / "nothing")
    assert code != 0
