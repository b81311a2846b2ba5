"""Records under two splits, their distances from what was learnt, the command and the report."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from seamo.earth import RADIUS_KM
from seamo.errors import ProtocolError
from seamo.sample import GeoRef
from seamo_bench.board.report.tabs import spatial as tab
from seamo_bench.board.spatial import KIND, VERSION, DistanceBin, SpatialGaps, list_names, spatial_gaps, unplaced_texts
from seamo_bench.questions import spatial as questions
from seamo_bench.questions.spatial import distance_curves
from seamo_bench.records.answers import read_answers, write_answer
from seamo_bench.records.record import load_predictions, read_records
from seamo_bench.runs.cells import Impossible
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.suites.suite import Row, Suite, load_suite
from tests.bench import bench_store

SPATIAL = "spatial-20km-2km"


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
