"""Seasons asked of stores: the synthetic world with and without them, planted flips, both forms of dates, refusals."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from seamo.manifest import SplitSpec
from seamo.sample import GeoRef, Sample
from seamo.testing.world import COVERS as EVERY
from seamo.testing.world import World
from seamo_bench.board.report import write_report
from seamo_bench.board.seasons import KIND, VERSION, SeasonRow, known_seasons
from seamo_bench.predictions import ClassPredictions, probabilities
from seamo_bench.questions import season_features as f
from seamo_bench.questions import seasons as q
from seamo_bench.questions.places import Dated
from seamo_bench.records.answers import read_answers
from seamo_bench.records.record import load_predictions, read_records
from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.dense_store import dense_samples, dense_spec, write_store
from tests.bench.trained_heads import run

torch.set_num_threads(1)
FOUR = ("B02", "B03", "B04", "B08")
DAYS = ("2021-01-10", "2021-02-10", "2021-05-10", "2021-07-10", "2021-10-10")
OF_DAYS = np.array([0, 0, 1, 2, 3])
SUMMER = 3  # the date that runs look at
COVERS = ("sea", "bare", "pasture")
PLANTED = 0.3
SUITE = """
id: seasons
rows:
  - {store: toy, protocol: logreg, params: {C: 1.0}, date: 3}
  - {store: toy, protocol: knn, date: 3}
"""


def look(scene, day):
    """(4, 12, 12) digital numbers."""
    bands = scene.s2(np.datetime64(day), "L2A", clouds=False)
    return np.stack([bands[name] for name in FOUR])


def northern(world, count):
    """Scenes of the northern hemisphere that show little else than their cover, with their classes and names."""
    number = 0
    while count:
        cover = COVERS[number % 3]
        own = world.scene(f"s/{number}", 12, focus=cover)
        if own.latitude > 0 and (own.cover == list(EVERY).index(cover)).mean() > 0.9:
            yield number % 3, own
            count -= 1
        number += 1


def world_store(root, *, seasons, share, count):
    """Places of a synthetic world on five days; in winter a share of them looks like another class."""
    spec = toy_spec(bands=FOUR, times=len(DAYS), size=12)
    spec = spec.model_copy(update={"splits": {"official": SplitSpec(in_archive=True)}})
    rng = np.random.default_rng(7)
    samples, turned, before = [], {}, {}
    for number, (label, own) in enumerate(northern(World(seed=11, seasons=seasons), count)):
        key = f"p{number:04d}"
        other = before.get((label + 1) % 3)
        turned[key] = other is not None and bool(rng.random() < share)
        seen = [other if turned[key] and season == 0 else own for season in OF_DAYS]
        before[label] = own
        pixels = np.stack([look(scene, day) for scene, day in zip(seen, DAYS, strict=True)])
        geo = GeoRef(f"EPSG:{own.epsg}", own.transform)
        time = {"s2": np.array(DAYS, dtype="datetime64[s]")}
        samples.append(Sample(key, {"s2_10m": pixels}, label=label, time=time, geo=geo))
    splits = {one.key: ("train", "train", "val", *["test"] * 5)[k * 5 % 8] for k, one in enumerate(samples)}
    write_store(root / "stores", spec, samples, splits)
    return turned


def ask(root, results, **options):
    """Rows by (backbone, protocol), and what was not asked."""
    rows, left = {}, []
    for answer, without in q.seasons_of(
        read_records(results).records, results, q.SeasonSources(root / "stores", **options)
    ):
        left += without
        for row in answer.rows if answer else ():
            rows[row.row, row.column.split("/")[1]] = row
    return rows, left


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Of a world without seasons and of one with them and planted flips: root, results, which places turn."""
    made = {}
    for name, seasons, share, count in (("still", False, 0.0, 56), ("seasons", True, PLANTED, 104)):
        root = tmp_path_factory.mktemp(name)
        turned = world_store(root, seasons=seasons, share=share, count=count)
        results, records = run(root, SUITE, root / "stores", backbones=("image-statistics",))
        made[name] = root, results, records, turned
    return made


def test_in_a_world_without_seasons_nothing_is_found(worlds):
    root, results, *_ = worlds["still"]
    rows, left = ask(root, results)
    one = rows["image-statistics", "logreg"]
    assert not left
    assert (one.form, one.dates, one.undated) == ("dates of a sample", 5, 0)
    assert one.flips.value < 0.02
    assert one.excess.low <= 0 <= one.excess.high
    assert one.probe.low <= one.probe.chance == 0.25
    every = sum(part.images * part.score.value for part in one.parts) / one.images
    for part in one.parts:
        assert part.score.low - 1e-9 <= every <= part.score.high + 1e-9


def test_in_a_world_with_seasons_the_planted_flips_are_within_their_interval(worlds):
    root, results, records, turned = worlds["seasons"]
    one = ask(root, results)[0]["image-statistics", "logreg"]
    # Six of ten pairs of days are of winter and another season, nine of ten of two seasons.
    assert one.flips.low <= PLANTED * 6 / 10 <= one.flips.high
    assert one.across.low <= PLANTED * 6 / 9 <= one.across.high
    assert one.excess.low <= PLANTED * 6 / 9 <= one.excess.high
    assert one.excess.low > 0
    assert one.probe.low > one.probe.chance
    # To the digit what the test places were planted with, if the head is never wrong; it is hardly ever.
    keys = load_predictions(next(iter(records.values())), results).keys.tolist()
    mine = np.mean([turned[key] for key in keys])
    assert one.places == len(keys)
    assert one.flips.value == pytest.approx(mine * 6 / 10, abs=0.02)
    score = {part.season: part.score for part in one.parts}
    assert score["winter"].high < min(score[name].low for name in ("spring", "summer", "autumn"))
    assert [part.images for part in one.parts] == [2 * len(keys), len(keys), len(keys), len(keys)]


def test_a_run_without_a_kept_head_is_asked_of_its_own_date_alone(worlds):
    root, results, *_ = worlds["seasons"]
    rows = ask(root, results)[0]
    one, other = rows["image-statistics", "knn"], rows["image-statistics", "logreg"]
    assert one.flips.value is None
    assert "no trained head" in one.flips.note
    assert [part.season for part in one.parts] == ["summer"]
    assert one.images == one.places == other.places
    assert (one.probe, one.recall) == (other.probe, other.recall)  # of the features, whatever the protocol


def test_features_are_those_of_the_run_and_of_a_slow_reading(worlds):
    """The probe sees mean and deviation of each band on each date, as they are in the store."""
    root, results, records, _ = worlds["seasons"]
    record = next(record for (name, _), record in records.items() if name == "logreg")
    store = q._Stores(root / "stores").of(record.facts)
    predictions = load_predictions(record, results)
    rows, _ = q.rows_of(predictions, store)
    ground = q.SeasonSources(root / "stores")
    one = q._again(record, store, results, ground, q.Work(torch.device("cpu")))
    there = np.ones((len(rows), 5), dtype=bool)
    found = f.features_on(one, rows, there)
    pixels = np.stack([store.read_layer(int(row), "s2_10m") for row in rows]).astype(np.float64)
    slow = np.concatenate([pixels.mean(axis=(3, 4)), pixels.std(axis=(3, 4))], axis=2)
    for k in range(slow.shape[2]):  # whatever the order and the normalisation
        near = [abs(np.corrcoef(slow[..., k].ravel(), found[..., d].ravel())[0, 1]) for d in range(found.shape[2])]
        assert max(near) > 0.999
    again = q.scores_on(one, results / f"{record.key}.json", rows, there)
    keys = store.index["key"].iloc[rows].to_numpy(dtype=np.str_)
    order = [predictions.keys.tolist().index(key) for key in keys]
    summer = ClassPredictions(keys, predictions.labels[order], again[:, SUMMER])
    assert np.abs(probabilities(summer) - probabilities(predictions)[order]).max() < 1e-4


def test_a_head_that_does_not_give_its_predictions_again_is_refused(worlds):
    _, results, records, _ = worlds["seasons"]
    run_of = load_predictions(records["logreg", "toy"], results)
    turned = ClassPredictions(run_of.keys, run_of.labels, run_of.scores[:, [1, 2, 0]])
    own, at = np.ones(len(run_of.keys), dtype=bool), np.arange(len(run_of.keys))
    q._check_same(run_of, run_of, own, at, "x")
    with pytest.raises(q.UsageError, match=r"gives other classes for 100.0 % of|gives other classes for 100.0%"):
        q._check_same(turned, run_of, own, at, "x")


def test_features_of_several_pretrainings_have_their_mean_and_their_spread_in_its_interval(monkeypatch):
    rng = np.random.default_rng(0)
    seasons = np.stack([np.arange(120) % 4, (np.arange(120) + 1) % 4], axis=1)
    look = np.repeat(rng.normal(size=(120, 1, 16)), 2, axis=1) + 0.1 * rng.normal(size=(120, 2, 16))
    runs = {"tells": look + 4 * np.eye(16)[seasons], "hides": look, "half": look + 0.5 * np.eye(16)[seasons]}
    monkeypatch.setattr(f, "features_on", lambda one, *_: runs[one].astype(np.float32))
    days = np.datetime64("2020-01-15") + 91 * seasons.astype("timedelta64[D]")
    keys = np.array([f"k{i:03d}" for i in range(120)])
    dated = Dated(np.arange(120), keys, np.repeat("", 120), days, np.zeros((120, 4)))

    def asked(*names):
        return f.features_asked(names, dated, keys, seasons, keys)

    alone = {name: asked(name) for name in runs}
    assert alone["tells"][0].value > 0.9 > 0.5 > alone["hides"][0].value
    for which in (0, 1):
        both = asked("tells", "hides", "half")[which]
        parts = [alone[name][which] for name in runs]
        assert both.value == pytest.approx(np.mean([one.value for one in parts]))
        assert (both.pretrainings, {one.pretrainings for one in parts}) == (3, {1})
        # Runs that differ so much: t with two degrees of freedom, and nothing else.
        spread = np.std([one.value for one in parts], ddof=1) / np.sqrt(3)
        assert both.high - both.low > 2 * spread
        assert both.chance == parts[0].chance
    same = asked("half", "half", "half")[0]  # no spread: what is left is what the places do to all alike
    assert same.value == alone["half"][0].value
    assert same.high - same.low == pytest.approx(alone["half"][0].high - alone["half"][0].low, rel=0.15)
    assert "two pretraining runs: an interval can reach" in asked("tells", "hides")[0].note


def test_no_season_is_found_where_tiles_share_the_look_of_their_scene():
    """40 scenes of 8 tiles, one day a scene, a look of its own and no season in it: folds go by scene."""
    rng = np.random.default_rng(0)
    scenes = np.repeat([f"s{k:02d}" for k in range(40)], 8)
    look = np.repeat(rng.normal(size=(40, 16)), 8, axis=0)
    features = (look + 0.1 * rng.normal(size=look.shape)).astype(np.float32)[:, None]
    seasons = np.repeat(np.arange(40) % 4, 8)[:, None]
    probe, recall = f.both_asked([features], seasons, scenes)
    assert (probe.units, probe.unit, probe.chance) == (40, "scenes", 0.25)
    assert probe.low <= 0.25
    assert probe.value < 0.4
    assert recall.value is None  # one date a place
    alone = f.both_asked([features], seasons, np.arange(320).astype(np.str_))[0]
    assert alone.low > 0.9  # what a fold of tiles would have said
    planted = features + 3 * np.eye(16, dtype=np.float32)[seasons]
    assert f.both_asked([planted], seasons, scenes)[0].low > 0.5  # a season that is there is found
    few = f.both_asked([features[:144]], seasons[:144], scenes[:144])[0]  # 18 scenes
    assert (few.value, few.note) == (None, "summer is in 4 scenes alone, of 5 that it takes: no probe")


def test_a_place_is_found_again_with_the_interval_of_scenes():
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(200, 1, 12)), 2, axis=1).astype(np.float32)
    scenes = np.repeat([f"s{k:02d}" for k in range(20)], 10)
    features[np.isin(scenes, ["s03", "s08", "s11", "s15"]), 1] = rng.normal(size=(40, 12))  # whole scenes change
    unknown = np.full((200, 2), -1)
    by_scene, by_place = (
        f.both_asked([features], unknown, units)[1] for units in (scenes, np.arange(200).astype(np.str_))
    )
    assert by_scene.value == by_place.value
    assert (by_scene.units, by_scene.unit, by_place.units, by_place.unit) == (20, "scenes", 200, "places")
    assert by_scene.high - by_scene.low > 2 * (by_place.high - by_place.low)
    few = f.both_asked([features[:40]], unknown[:40], scenes[:40])[1]
    assert (few.low, few.high, few.note) == (None, None, "4 scenes alone: no interval")


def test_of_a_place_one_image_a_day_is_sought_spread_evenly_over_its_days():
    rng = np.random.default_rng(2)
    place = np.repeat(np.arange(6), 40)
    days = np.datetime64("2020-01-01") + rng.integers(0, 25, 240)
    days[place == 5] = np.datetime64("2020-03-03")  # all of one day
    days[place == 4] = np.datetime64("NaT")
    there = f.one_a_day(days[:, None], place)[:, 0]
    assert not f.one_a_day(days[place == 4][:, None], place[place == 4]).any()
    row = np.flatnonzero(there)
    number = row.astype(np.float32)[:, None]
    found, when = f.by_place(number, row % 4, days[row], place[row], 6)
    assert found.shape == (6, 8, 1)
    for k in range(6):
        first = {}
        for i in range(240):
            if place[i] == k and not np.isnat(days[i]):
                first.setdefault(days[i], i)
        own = [first[day] for day in sorted(first)]
        if len(own) > 8:
            own = [own[round(slot * (len(own) - 1) / 7)] for slot in range(8)]
        assert found[k, : len(own), 0].tolist() == own
        assert np.isnan(found[k, len(own) :]).all()
        assert when[k].tolist() == [i % 4 for i in own] + [-1] * (8 - len(own))
    assert np.isnan(found[5, 1:]).all()


def test_records_that_may_not_stand_together_are_not_averaged(worlds):
    root, results, records, _ = worlds["seasons"]
    record = records["logreg", "toy"]
    other = record.model_copy(update={"facts": record.facts.model_copy(update={"precision": "bf16"})})
    ((answer, left),) = q.seasons_of([record, other], results, q.SeasonSources(root / "stores"))
    assert answer is None
    assert "they differ in precision" in left[0].why


def test_a_sample_that_nobody_predicted_is_refused():
    known = np.array(["b", "a", "d"])
    assert q._positions(known, np.array(["a", "d", "b"])).tolist() == [1, 2, 0]
    for unknown in ("c", "e", "0"):
        with pytest.raises(q.ProtocolError, match=f"lack 1 samples that are asked for, {unknown}"):
            q._positions(known, np.array(["a", unknown]))


def slow_share(keys, classes, place_of):
    """Mean over places of the share of pairs of images whose classes differ."""
    by_place = {}
    for key, one in zip(keys, classes, strict=True):
        by_place.setdefault(place_of[key], []).append(one)
    shares = [np.mean([a != b for a, b in itertools.combinations(own, 2)]) for own in by_place.values() if len(own) > 1]
    return float(np.mean(shares)), len(shares)


def test_samples_of_one_place_are_compared_as_they_were_predicted(tmp_path):
    """Three samples a place on three days, as in fMoW-Sentinel: nothing is applied, neighbours will do."""
    spec = toy_spec(bands=FOUR)
    spec = spec.model_copy(update={"splits": {"official": SplitSpec(in_archive=True)}})
    days = np.array(["2020-01-05", "2020-07-05", "2020-07-25"], dtype="datetime64[s]")
    samples, place_of = [], {}
    for number, one in enumerate(toy_samples(spec, 180, seed=3)):
        spot = number // 3
        place_of[one.key] = spot
        geo = GeoRef("EPSG:32632", (10.0, 0.0, 400000.0 + 500 * spot, 0.0, -10.0, 5500000.0))
        time = {"s2": days[number % 3 : number % 3 + 1]}
        samples.append(dataclasses.replace(one, time=time, geo=geo, scene=f"spot{spot}"))
    splits = {key: ("train", "val", "test", "test")[spot % 4] for key, spot in place_of.items()}
    write_store(tmp_path / "stores", spec, samples, splits)
    text = "id: s\nrows:\n  - {store: toy, protocol: knn}\n"
    results, records = run(tmp_path, text, tmp_path / "stores", backbones=("image-statistics",))
    one = ask(tmp_path, results)[0]["image-statistics", "knn"]
    made = load_predictions(records["knn", "toy"], results)
    share, places = slow_share(made.keys.tolist(), made.scores.argmax(axis=1), place_of)
    assert (one.form, one.dates) == ("samples of a place", 3)
    assert one.flips.value == pytest.approx(share)
    assert one.flips.units == places
    assert share > 0.5  # labels of the toy go round
    assert {part.season for part in one.parts} == {"winter", "summer"}
    assert one.probe.chance == 0.5


def test_masks_have_scores_by_season_and_no_flips(tmp_path):
    spec = dense_spec()
    samples, splits = dense_samples(spec, 8)
    days = ("2021-01-10", "2021-07-10")
    dated = []
    for one in samples:
        number = int(one.scene.removeprefix("scene"))
        time = {"s2": np.array([days[number % 2]], dtype="datetime64[s]")}
        y0, x0 = one.offset
        geo = GeoRef("EPSG:32632", (10.0, 0.0, 4e5 + 2000 * number + 10 * x0, 0.0, -10.0, 5.5e6 - 10 * y0))
        dated.append(dataclasses.replace(one, time=time, geo=geo))
    place = {f"scene{n}": ("train", "train", "train", "val", *["test"] * 4)[n] for n in range(8)}
    splits = {key: place[key.partition("/")[0]] for key in splits}
    write_store(tmp_path / "stores", spec, dated, splits)
    text = """
id: scenes
rows:
  - {store: scenes, protocol: dense, seeds: 1,
     params: {head: linear, frozen: true, epochs: 1, warmup: 0, batch: 8, base_lrs: [0.1], scale_lr: false}}
"""
    results, records = run(tmp_path, text, tmp_path / "stores", backbones=("pixel-values",))
    one = ask(tmp_path, results)[0]["pixel-values", "dense"]
    made = load_predictions(records["dense", "scenes"], results)
    assert one.images == len(made.keys) == 4  # whole scenes
    for part, odd in zip(one.parts, (0, 1), strict=True):
        mine = [k for k, key in enumerate(made.keys) if int(str(key).removeprefix("scene")) % 2 == odd]
        counts = made.confusion[mine].sum(axis=0).astype(float)
        union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
        assert part.images == 2
        assert part.score.value == pytest.approx(np.mean(np.diag(counts) / union))
    assert (one.flips.value, one.flips.note) == (None, "masks are not compared between dates")
    assert one.probe.note == "winter is in 2 scenes alone, of 5 that it takes: no probe"  # its tiles are no scenes


def test_what_has_no_dates_or_a_model_a_fold_is_left_out_and_said(tmp_path, call):
    spec = toy_spec(bands=FOUR)
    build_store(tmp_path / "stores", spec, toy_samples(spec, 60))
    text = "id: s\nrows: [{store: toy, protocol: knn}]"
    results, records = run(tmp_path, text, tmp_path / "stores", backbones=("image-statistics",))
    rows, left = ask(tmp_path, results)
    assert not rows
    assert [(one.row, one.column) for one in left] == [("image-statistics", "toy/knn/1/6a58bd")]
    assert "says no dates" in left[0].why
    record, facts = records["knn", "toy"], records["knn", "toy"].facts
    folded = record.model_copy(
        update={"facts": facts.model_copy(update={"split": facts.split.model_copy(update={"scheme": "cv5x5"})})}
    )
    ((answer, left),) = q.seasons_of([folded], results, q.SeasonSources(tmp_path / "stores"))
    assert answer is None
    assert "a model a fold" in left[0].why
    status, said = call("seasons", results, "--stores", tmp_path / "stores")
    assert status == 0
    assert "1  toy: its store says no dates" in said
    assert "no row has dates" in said


def test_a_trained_network_is_applied_to_every_date(tmp_path):
    spec = toy_spec(bands=FOUR, times=2)
    days = {"s2": np.array(["2021-01-10", "2021-07-10"], dtype="datetime64[s]")}
    geo = GeoRef("EPSG:32632", (10.0, 0.0, 4e5, 0.0, -10.0, 5.5e6))
    samples = [dataclasses.replace(one, time=days, geo=geo) for one in toy_samples(spec, 60)]
    half = [one.layers["s2_10m"].copy() for one in samples]
    for pixels in half:
        pixels[0] = 1000  # in winter all look alike
    samples = [dataclasses.replace(one, layers={"s2_10m": px}) for one, px in zip(samples, half, strict=True)]
    build_store(tmp_path / "stores", spec, samples)
    text = "id: s\nrows:\n  - {store: toy, protocol: finetune, missing: zero, size: 32, date: 1, seeds: 1}\n"
    results, records = run(
        tmp_path, text, tmp_path / "stores", backbones=("resnet18",), budget="demo", keep_models=True
    )
    rows, left = ask(tmp_path, results)
    assert not left, left
    (one,) = rows.values()
    made = load_predictions(records["finetune", "toy"], results)
    assert one.images == 2 * len(made.keys)
    by_season = {part.season: part.score.value for part in one.parts}
    right = (made.scores.argmax(axis=1) == made.labels).mean()
    assert by_season["summer"] == pytest.approx(right, abs=0.01)
    # Blank images are all of one class, so that a place flips unless its own class is that one.
    classes = made.scores.argmax(axis=1)
    assert any(one.flips.value == pytest.approx((classes != k).mean()) for k in range(3))


def test_the_command_keeps_its_answer_and_the_report_shows_it(worlds, call, tmp_path):
    root, results, records, _ = worlds["seasons"]
    write_report(results, tmp_path / "before.html", resamples=50)
    assert 'id="seasons"' not in (tmp_path / "before.html").read_text()
    status, said = call("seasons", results, "--stores", root / "stores", "--json")
    assert status == 0
    rows = {row["column"].split("/")[1]: row for row in json.JSONDecoder().raw_decode(said)[0]}
    assert rows["logreg"]["id"] == f"image-statistics | {rows['logreg']['column']}"
    answers = read_answers(results, KIND, SeasonRow, version=VERSION, known=[one.key for one in records.values()])
    kept = {row.column: row.model_dump(mode="json") for one in answers for row in one.rows}
    assert kept == {row["column"]: {name: one for name, one in row.items() if name != "id"} for row in rows.values()}
    status, text = call("seasons", results, "--stores", root / "stores", "--column", "toy/logreg")
    assert status == 0
    flips = rows["logreg"]["flips"]
    told = f"{100 * flips['value']:.2f} [{100 * flips['low']:.2f}, {100 * flips['high']:.2f}]"
    assert f"flips between two days of a place  {told}" in text
    assert "knn" not in text
    write_report(results, tmp_path / "after.html", resamples=50)
    page = (tmp_path / "after.html").read_text()
    assert 'id="seasons"' in page
    assert f"{100 * flips['value']:.2f}<span" in page
    assert "no trained head is kept" in page
    # An answer of records that are gone is none.
    assert not known_seasons(results, [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--column", "nothing"), "no record with a score"),
        (("--stores", "nowhere"), "holds no store"),
    ],
)
def test_what_cannot_be_asked_is_said(worlds, call, words, told):
    root, results, *_ = worlds["seasons"]
    status, said = call("seasons", results, "--stores", root / "stores", *words)
    assert status in (1, 2)
    assert told in said
