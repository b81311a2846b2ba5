"""Contamination: planted overlaps are found exactly, parts are scored as by hand, and what is not known is said."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seamo.errors import UsageError
from seamo.sample import GeoRef
from seamo.store.placelist import Footprints, footprints_of, of_boxes, read_footprints, write_footprints
from seamo.store.reader import Store
from seamo_bench import facts as f
from seamo_bench.board import overlap as board
from seamo_bench.board.compare import Runs, column_of
from seamo_bench.board.report import write_report
from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions
from seamo_bench.questions import overlap as questions
from seamo_bench.questions import seen
from seamo_bench.questions.corpora import CORPORA, corpus_of
from seamo_bench.questions.overlap import EXAMPLES, overlaps
from seamo_bench.questions.seen import SeenShelf
from seamo_bench.questions.touching import touching
from seamo_bench.records import record as r
from seamo_bench.records.answers import read_answers, write_answer
from seamo_bench.records.layout import PREDICTIONS, RECORDS, is_shared
from seamo_bench.scores.metrics import compute
from seamo_bench.tasks.stores import find_build, store_facts
from seamo_bench.zoo.catalogue import cards
from seamo_prep.cli import main as prep
from tests.bench import bench_store, dense_store
from tests.bench.test_report import Page
from tests.bench.test_touching import boxes, only

SINGLE = Scoring("single-label")
UTM = "EPSG:32633"


# Lists of footprints ---------------------------------------------------------------------------------------


def placed_store(root: Path, n: int = 90, *, name: str = "toy", step: float = 80.0, shift: float = 0.0) -> Store:
    """Samples of 80 m side by side in rows of ten, from 500 km east and 5,400 km north of UTM zone 33."""
    spec = bench_store.toy_spec()
    spec = spec.model_copy(update={"id": name, "title": name.title()})
    samples = bench_store.toy_samples(spec, n)
    for i, sample in enumerate(samples):
        x, y = 600_000.0 + step * (i % 10) + shift, 5_400_000.0 - step * (i // 10)
        samples[i] = dataclasses.replace(sample, geo=GeoRef(UTM, (10.0, 0.0, x, 0.0, -10.0, y)))
    return bench_store.build_store(root, spec, samples)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores: `toy`; `corpus`, whose 30 samples are its first three rows, and `beside`, a store to the east."""
    made = tmp_path_factory.mktemp("stores")
    placed_store(made, 90)
    placed_store(made, 30, name="corpus")
    placed_store(made, 90, name="beside", shift=800.0)
    return made


def opened(root: Path, name: str) -> Store:
    return find_build(root / name)


def test_neighbours_of_one_grid_do_not_touch_and_shifted_ones_do(root: Path) -> None:
    store = opened(root, "toy")
    whole, rows = footprints_of(store, np.arange(len(store)))
    assert rows.tolist() == list(range(90))
    wide = whole.corners[0].max(axis=0) - whole.corners[0].min(axis=0)
    assert whole.boxes[0, 2] > whole.boxes[1, 0]  # as boxes, neighbours do overlap: the grid is turned against north
    for k in range(0, 90, 7):
        one = dataclasses.replace(whole, **only(whole, k))
        rest = Footprints(*(np.delete(getattr(whole, name), k, axis=0) for name in ("ids", "corners", "begin", "end")))
        assert touching(one, rest).tolist() == [-1], k
        pushed = dataclasses.replace(one, corners=one.corners + 0.5 * wide)
        assert touching(pushed, rest)[0] >= 0
    beside, _ = footprints_of(opened(root, "beside"), np.arange(90))
    assert (touching(whole, beside) == -1).all()
    assert touching(whole, whole).tolist() == list(range(90))


def test_samples_without_a_place_are_no_footprints_and_cut_ones_are_boxes(tmp_path: Path) -> None:
    spec = bench_store.toy_spec()
    samples = bench_store.toy_samples(spec, 3)
    samples[0] = dataclasses.replace(samples[0], geo=GeoRef("EPSG:4326", (0.01, 0.0, 179.95, 0.0, -0.01, -16.0)))
    samples[2] = dataclasses.replace(samples[2], geo=GeoRef("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, -16.0)))
    found, rows = footprints_of(bench_store.build_store(tmp_path, spec, samples), np.array([2, 1, 0]))
    assert rows.tolist() == [2, 0]
    np.testing.assert_allclose(found.boxes, [[10, -16.08, 10.08, -16], [179.95, -16.08, 180.03, -16]])
    assert found.num_dated == 0


def test_lists_are_read_as_they_were_written(tmp_path: Path, root: Path) -> None:
    known, _ = footprints_of(opened(root, "toy"), np.arange(90))
    day = np.datetime64("2020-02-29", "D")
    known = dataclasses.replace(known, begin=np.full(90, day), end=np.array([day] * 89 + [np.datetime64("NaT", "D")]))
    write_footprints(tmp_path / "toy.parquet", known)
    back = read_footprints(tmp_path / "toy.parquet")
    for name in ("ids", "corners", "begin", "end"):
        np.testing.assert_array_equal(getattr(back, name), getattr(known, name))
    assert back.num_dated == 89
    (tmp_path / "a.csv").write_text(
        "id,west,south,east,north,begin,end\n007,179.9,-16,-179.9,-15.9,2020-01-05,\nb,1,2,3,4,,\n"
    )
    table = read_footprints(tmp_path / "a.csv")
    assert table.ids.tolist() == ["007", "b"]
    np.testing.assert_allclose(table.boxes, [[179.9, -16, 180.1, -15.9], [1, 2, 3, 4]])
    assert table.begin[0] == np.datetime64("2020-01-05")
    assert np.isnat(table.end).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id,west,south,east,north\na,10,50,10,50\n", "have no area"),
        ("id,west,south,east,north\na,10,50,11,95\n", "have no area"),
        ("id,west,south,east,north\na,180,50,-180,51\n", "have no area"),
        ("id,west,south,east,north\na,10,50,,51\n", "have no area"),
        ("id,lon,lat\na,10,50\n", "is no list of footprints"),
        ("id,west,south,east,north,begin\na,10,50,11,51,soon\n", "is no list of footprints"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=why):
        read_footprints(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_text(text)
    with pytest.raises(UsageError, match="is no list"):
        read_footprints(tmp_path / "a.parquet")


def test_a_store_is_exported_as_a_list(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv",
        ["seamo-prep", "export", str(root / "toy"), "--footprints", "-o", str(tmp_path / "toy.parquet"), "--json"],
    )
    with pytest.raises(SystemExit) as end:
        prep()
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)[0]["footprints"] == 90
    known, _ = footprints_of(opened(root, "toy"), np.arange(90))
    np.testing.assert_array_equal(read_footprints(tmp_path / "toy.parquet").corners, known.corners)


# What overlaps do to a score -------------------------------------------------------------------------------


def guesses(keys: list[str], labels: np.ndarray, right: np.ndarray, **more: np.ndarray) -> ClassPredictions:
    guess = np.where(right, labels, (labels + 1) % 3)
    return ClassPredictions(np.array(keys), labels, (2 * np.eye(3)[guess]).astype(np.float32), **more)


def runs_of(n: int, rates: tuple[float, float], touched: np.ndarray, seeds: int, seed: int, **more: np.ndarray) -> Runs:
    """Runs that are right with one rate on touched samples and with another elsewhere."""
    labels = np.arange(n) % 3
    keys = [f"k{i:04d}" for i in range(n)]
    made = []
    for number in range(seeds):
        rng = np.random.default_rng([seed, number])
        right = rng.random(n) < np.where(touched, rates[0], rates[1])
        made.append(guesses(keys, labels, right, **more))
    return Runs(tuple(made), tuple(str(number) for number in range(seeds)))


@pytest.mark.parametrize("metric", ["top1", "balanced_accuracy"])
def test_the_gap_is_that_of_two_scores_and_its_error_that_of_both_resampled(metric: str) -> None:
    n = 400
    touched = np.arange(n) % 4 == 0
    runs = runs_of(n, (0.95, 0.6), touched, 1, 3)
    (run,) = runs.predictions
    (made,) = board.gaps_of(runs, run.keys[touched], metric, SINGLE, resamples=400)
    whole, rest = (float(compute(metric, run, SINGLE, one[None])[0]) for one in (np.ones(n), 1.0 - touched))
    assert made.value == pytest.approx(whole - rest)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(float)
        a, b = (float(compute(metric, run, SINGLE, one[None])[0]) for one in (weights, weights * ~touched))
        drawn.append(a - b)
    assert float(np.std(made.values)) == pytest.approx(float(np.std(drawn)), rel=0.15)
    found = board.gap_of([made], runs.parents)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.p is not None
    assert found.value == made.value
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * float(np.std(drawn)), rel=0.2)
    assert found.low > 0
    assert found.p < 1e-3


def test_scenes_are_the_units_where_they_are_known() -> None:
    n = 400
    touched = np.arange(n) < 100
    scenes = np.array([f"scene{i // 10}" for i in range(n)])
    alone, together = (
        board.gaps_of(runs_of(n, (0.9, 0.6), touched, 1, 5, **more), runs_of(n, (0, 0), touched, 1, 5).predictions[0]
                      .keys[touched], "top1", SINGLE, resamples=200)[0]
        for more in ({}, {"units": scenes})
    )  # fmt: skip
    assert (alone.unit, together.unit, together.num_units) == ("samples", "scenes", 40)
    assert alone.value == together.value


def test_no_gap_is_found_where_there_is_none() -> None:
    """In 95 % of worlds without an effect the interval holds 0; allow what chance does to 50."""
    held = 0
    for seed in range(50):
        touched = np.random.default_rng(seed).random(300) < 0.3
        runs = runs_of(300, (0.7, 0.7), touched, 2, 1000 + seed)
        found = board.gap_of(
            board.gaps_of(runs, runs.predictions[0].keys[touched], "top1", SINGLE, resamples=100), runs.parents
        )
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert held >= 43  # fewer: three times in a thousand


def test_what_floors_gain_on_the_same_samples_is_taken_off() -> None:
    n = 600
    touched = np.arange(n) % 3 == 0
    floors = runs_of(n, (0.8, 0.5), touched, 2, 11)  # easier where the corpus lies, for whoever saw nothing, too
    keys = floors.predictions[0].keys[touched]
    bare = board.gaps_of(floors, keys, "top1", SINGLE, resamples=300)
    told = {}
    for name, rates in (("as easy", (0.9, 0.6)), ("contaminated", (0.99, 0.4))):
        runs = runs_of(n, rates, touched, 2, 12)
        gaps = board.gaps_of(runs, keys, "top1", SINGLE, resamples=300)
        gap = board.gap_of(gaps, runs.parents)
        told[name] = board.gap_beyond(gaps, runs.parents, bare, ["floor", "floor"])
        assert gap is not None
        assert gap.low is not None
        assert gap.low > 0
    easy, seen = told["as easy"], told["contaminated"]
    assert easy is not None
    assert easy.low is not None
    assert easy.high is not None
    assert easy.low <= 0 <= easy.high
    assert seen is not None
    assert seen.low is not None
    assert seen.low > 0


# From records to rows --------------------------------------------------------------------------------------


def put(
    results: Path,
    store: Store,
    name: str,
    rates: tuple[float, float],
    *,
    seed: int = 0,
    content: str = "",
    split: str = "all",
    floor: str = "",
    folds: bool = False,
    weights: str = "",
    told: dict[str, str] | None = None,
) -> r.Record:
    """A record of all samples of a store, right with one rate on its first 30 samples and with another elsewhere."""
    n = len(store)
    keys = [f"s{i:04d}" for i in range(n)]
    labels = np.arange(n) % 3
    right = np.random.default_rng([seed, len(name)]).random(n) < np.where(np.arange(n) < 30, *rates)
    more = {"repeats": np.zeros(n, np.int16), "folds": (np.arange(n) % 5).astype(np.int16)} if folds else {}
    facts = f.Facts(
        stores=(store_facts(store),),
        split=f.SplitFacts(scheme="cv" if folds else "all", lists={"test": "2" * 64}),
        task=f.TaskFacts(kind="single-label", classes=("a", "b", "c")),
        backbone=f.BackboneFacts(id=name, card="d" * 64, weights=weights),
        protocol=f.ProtocolFacts(id="linear", version=1),
        seed=seed,
    )
    if content:
        told = {"pretrained_on.content": json.dumps(content), "data.split": json.dumps(split)}
    about = r.About(stores=(store.title,), backbone=name, floor=floor, pretraining=told or {})  # type: ignore[arg-type]
    return r.write_record(results, facts, about=about, predictions=guesses(keys, labels, right, **more))


def rows_of(results: Path, root: Path, **more: object) -> dict[str, board.OverlapRow]:
    lists = more.pop("lists", None)
    shelf = SeenShelf(root, lists)  # type: ignore[arg-type]
    answer, _ = overlaps(r.read_records(results), results, shelf, resamples=200, **more)  # type: ignore[arg-type]
    return {row.row: row for row in answer.rows}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A run of ours that saw `corpus`, one that saw a store elsewhere, a floor, and listed backbones."""
    made = tmp_path_factory.mktemp("made") / "results"
    toy, corpus, beside = (opened(root, name) for name in ("toy", "corpus", "beside"))
    for seed in range(2):
        put(made, toy, "saw", (1.0, 0.5), seed=seed, content=corpus.content)
    put(made, toy, "elsewhere", (0.7, 0.7), content=beside.content)
    put(made, toy, "texture-statistics", (0.6, 0.6), floor="image statistics")
    for name in ("croma-base-s2", "resnet50-in1k", "somebodys", "clay-v1.5"):
        put(made, toy, name, (0.8, 0.7))
    return made


def test_planted_overlaps_are_counted_sample_by_sample(results: Path, root: Path) -> None:
    rows = rows_of(results, root)
    saw, elsewhere, stats = rows["saw"], rows["elsewhere"], rows["texture-statistics"]
    assert (saw.samples, saw.touched, saw.clean, saw.unknown) == (90, 30, 60, 0)
    assert [(one.id, one.origin, one.footprints, one.touched) for one in saw.corpora] == [("corpus", "store", 30, 30)]
    assert [one.key for one in saw.examples] == [f"s{i:04d}" for i in range(EXAMPLES)]
    assert all(one.footprint == one.key for one in saw.examples)  # of the corpus, at the same place
    assert "30 of 90 test samples (33.3 %) lie where corpus has images" in saw.flag
    assert "by the word of its record" in saw.corpora[0].note
    assert sum(cell.touched for cell in saw.cells) == 30
    assert sum(cell.clean for cell in saw.cells) == 60
    assert (elsewhere.touched, elsewhere.clean, elsewhere.flag, elsewhere.gap) == (0, 90, "", None)
    assert (stats.touched, stats.clean, stats.corpora) == (0, 90, ())


def test_scores_with_and_without_are_those_of_the_same_predictions(results: Path, root: Path) -> None:
    saw = rows_of(results, root)["saw"]
    records = [one for one in r.read_records(results).records if one.facts.backbone.id == "saw"]
    hits = []
    for record in records:
        predictions = r.load_predictions(record, results)
        assert isinstance(predictions, ClassPredictions)
        order = np.argsort(predictions.keys)
        hits.append((predictions.scores.argmax(axis=1) == predictions.labels)[order])
    part, rest, whole = (np.mean([one[which].mean() for one in hits]) for which in (np.s_[:30], np.s_[30:], np.s_[:]))
    assert saw.part
    assert saw.rest
    assert saw.whole
    assert saw.gap
    assert saw.beyond
    assert saw.part.value == pytest.approx(part) == 1.0
    assert saw.rest.value == pytest.approx(rest)
    assert saw.whole.value == pytest.approx(whole)
    assert saw.gap.value == pytest.approx(whole - rest)
    assert (saw.part.samples, saw.rest.samples, saw.whole.samples) == (30, 60, 90)
    assert saw.gap.low is not None
    assert saw.gap.low > 0
    assert saw.floors == ("texture-statistics",)
    assert saw.synthetic


def test_what_is_not_known_is_said_and_never_clean(results: Path, root: Path) -> None:
    rows = rows_of(results, root)
    for name, why in (
        ("croma-base-s2", "no list ssl4eo-s12.parquet and no store of it here"),
        ("somebodys", "is no listed backbone"),
        ("clay-v1.5", "its card does not say"),
    ):
        row = rows[name]
        assert (row.touched, row.clean, row.unknown, row.gap) == (0, 0, 90, None), name
        assert row.corpora[0].origin == "unknown"
        assert why in row.corpora[0].note
        assert "cannot be said" in row.flag
    photographs = rows["resnet50-in1k"]
    assert (photographs.clean, photographs.corpora[0].origin, photographs.flag) == (90, "photographs", "")


def test_a_list_makes_an_unknown_corpus_known(results: Path, root: Path, tmp_path: Path) -> None:
    known, _ = footprints_of(opened(root, "toy"), np.arange(40, 90))
    write_footprints(tmp_path / "ssl4eo-s12.parquet", known)
    row = rows_of(results, root, lists=tmp_path)["croma-base-s2"]
    assert (row.touched, row.clean, row.unknown) == (50, 40, 0)
    assert [(one.origin, one.note) for one in row.corpora] == [("list", "ssl4eo-s12.parquet")]
    early = dataclasses.replace(known, begin=np.full(50, np.datetime64("2001-01-01", "D")),
                                end=np.full(50, np.datetime64("2001-01-01", "D")))  # fmt: skip
    write_footprints(tmp_path / "ssl4eo-s12.parquet", early)
    row = rows_of(results, root, lists=tmp_path, days=30)["croma-base-s2"]
    assert row.touched == 50  # the test samples have no day: their place decides
    write_footprints(tmp_path / "ssl4eo-s12.parquet", of_boxes(["all"], np.array([[0.0, 0.0, 90.0, 90.0]])))
    row = rows_of(results, root, lists=tmp_path)["croma-base-s2"]
    assert (row.touched, row.clean) == (90, 0)
    assert row.rest is None
    assert row.gap is None
    assert "nothing is left" in row.note
    write_footprints(tmp_path / "ssl4eo-s12.parquet", of_boxes([], np.empty((0, 4))))
    with pytest.raises(UsageError, match="holds no footprint"):
        rows_of(results, root, lists=tmp_path)


def test_a_synthetic_store_is_not_what_a_published_backbone_saw(results: Path, tmp_path: Path) -> None:
    placed_store(tmp_path, 30, name="ssl4eo-s12")
    placed_store(tmp_path, 90)
    row = rows_of(results, tmp_path)["croma-base-s2"]
    assert row.corpora[0].note == "the store of ssl4eo-s12 here is synthetic: not what it was pretrained on"
    assert row.unknown == 90


def test_only_the_split_that_was_pretrained_on_counts(root: Path, tmp_path: Path) -> None:
    toy, corpus = opened(root, "toy"), opened(root, "corpus")
    put(tmp_path, toy, "saw", (0.9, 0.5), content=corpus.content, split="train")
    row = rows_of(tmp_path, root)["saw"]
    keys = {str(corpus.index["key"][one]) for one in corpus.rows("train")}
    assert 0 < row.touched == len(keys) < 30
    assert {one.key for one in row.examples} <= keys


def test_cross_validated_runs_are_counted_and_not_scored_in_parts(root: Path, tmp_path: Path) -> None:
    put(tmp_path, opened(root, "toy"), "saw", (0.9, 0.5), content=opened(root, "corpus").content, folds=True)
    row = rows_of(tmp_path, root)["saw"]
    assert (row.touched, row.gap, row.rest) == (30, None, None)
    assert row.whole is not None
    assert "cross-validated" in row.note


def test_a_scene_is_touched_if_one_of_its_tiles_is(tmp_path: Path) -> None:
    spec = dense_store.dense_spec()
    samples, splits = dense_store.dense_samples(spec, 2)
    for i, sample in enumerate(samples):
        y0, x0 = sample.offset
        west = 10.0 if sample.scene == "scene0" else 20.0
        geo = GeoRef("EPSG:4326", (0.001, 0.0, west + x0 * 0.001, 0.0, -0.001, 50.0 - y0 * 0.001))
        samples[i] = dataclasses.replace(sample, geo=geo)
    store = dense_store.write_store(tmp_path / "stores", spec, samples, splits)
    classes = next(iter(spec.label_spaces.values())).classes
    facts = f.Facts(
        stores=(store_facts(store),),
        split=f.SplitFacts(scheme="official", lists={"test": "2" * 64}),
        task=f.TaskFacts(kind="segmentation", classes=tuple(one.name for one in classes)),
        backbone=f.BackboneFacts(id="croma-base-s2", card="d" * 64),
        protocol=f.ProtocolFacts(id="dense", version=1),
    )
    counts = np.ones((2, len(classes), len(classes)), np.int64)
    about = r.About(stores=(store.title,), backbone="x")
    results = tmp_path / "results"
    r.write_record(results, facts, about=about, predictions=TilePredictions(np.array(["scene0", "scene1"]), counts))
    (tmp_path / "lists").mkdir()
    write_footprints(tmp_path / "lists" / "ssl4eo-s12.parquet", boxes((20.0005, 49.9995, 20.0006, 49.9996)))
    (row,) = rows_of(results, tmp_path / "stores", lists=tmp_path / "lists").values()
    assert (row.samples, row.touched, row.clean) == (2, 1, 1)
    assert [one.key for one in row.examples] == ["scene1"]


def test_what_is_known_of_corpora_covers_every_card() -> None:
    named = {name for found in cards().values() for name in found.card.pretrained_on}
    assert named <= set(CORPORA)
    assert corpus_of("nobody-knows").places == "unknown"
    page = (Path(__file__).parents[2] / "docs" / "overlap.md").read_text("utf-8")
    for one in CORPORA.values():
        assert f"| `{one.id}` | {one.places} | {one.where} |" in page, one.id


# The command and the report --------------------------------------------------------------------------------


def test_the_command_keeps_what_it_found_and_the_report_shows_it(
    here: Path, call: Callable[..., tuple[int, str]], root: Path
) -> None:
    toy, made = opened(root, "toy"), here / "results"
    put(made, toy, "saw", (1.0, 0.5), content=opened(root, "corpus").content)
    status, said = call("overlap", made, "--stores", root)
    assert status == 0, said
    assert "Synthetic data: Toy synthetic (90 samples)." in said
    put(made, toy, "croma-base-s2", (0.8, 0.7))
    put(made, toy, "texture-statistics", (0.6, 0.6), floor="image statistics")
    status, text = call("overlap", made, "--stores", root, "--json")
    assert status == 0, text
    rows = {row["row"]: row for row in json.loads(text[: text.rindex("]") + 1])}
    assert [rows[name]["touched"] for name in ("saw", "croma-base-s2", "texture-statistics")] == [30, 0, 0]
    known = [one.key for one in r.read_records(made).records]
    answers = read_answers(made, board.KIND, board.OverlapRow, version=board.VERSION, known=known)
    assert sorted(len(answer.records) for answer in answers) == [1, 3]
    write_report(made, here / "page.html", resamples=50)
    page = Page((here / "page.html").read_text("utf-8"))
    assert "overlap" in page.ids
    assert page.text.count("30 of 90 test samples (33.3 %) lie where corpus has images") == 1  # the newer answer alone
    assert "newer record" not in page.text
    assert "beyond floors" in page.text
    assert "Floors: texture-statistics." in page.text
    assert "s0000" in page.text
    assert "cannot be said of 90" in page.text
    status, said = call("overlap", made, "--stores", root, "--footprints", here / "nowhere")
    assert status == 2
    assert "is no folder" in said


def test_a_record_s_own_word_makes_no_backbone_clean(root: Path, tmp_path: Path) -> None:
    toy = opened(root, "toy")
    for name in ("croma-base-s2", "croma-base-s2+a-quirk", "somebodys"):
        put(tmp_path, toy, name, (0.8, 0.7), floor="random init")
    put(tmp_path, toy, "softcon-vitb14-s2", (0.8, 0.7), content=opened(root, "beside").content)
    put(tmp_path, toy, "resnet18", (0.8, 0.7), weights="a" * 64)  # from a checkpoint of nobody knows what
    put(tmp_path, toy, "pixel-values", (0.6, 0.6))
    rows = rows_of(tmp_path, root)
    clean = {name: row.clean for name, row in rows.items()}
    assert clean.pop("pixel-values") == 90
    assert set(clean.values()) == {0}, clean
    assert rows["softcon-vitb14-s2"].corpora[0].id == "ssl4eo-s12"
    assert all(row.floors in ((), ("pixel-values",)) for row in rows.values())


def test_words_that_cannot_be_read_are_unknown_and_stop_no_other_row(root: Path, tmp_path: Path) -> None:
    toy = opened(root, "toy")
    content = json.dumps(opened(root, "corpus").content)
    for at, told in enumerate(
        [{"pretrained_on.content": "{"}, {"pretrained_on.content": "[" * 100_000},
         {"pretrained_on.content": content, "data.split": "no JSON"},
         {"pretrained_on.content": content, "data.split": '"nowhere"'},
         {"pretrained_on.content": content, "data.split": "[1]"}]
    ):  # fmt: skip
        put(tmp_path, toy, f"run{at}", (0.8, 0.7), told=told)
    put(tmp_path, toy, "saw", (0.9, 0.5), content=opened(root, "corpus").content)
    rows = rows_of(tmp_path, root)
    assert rows.pop("saw").touched == 30
    assert {(row.touched, row.clean, row.unknown) for row in rows.values()} == {(0, 0, 90)}
    assert len(rows) == 5


def half_placed(root: Path, n: int, name: str) -> Store:
    """A store as `placed_store` makes it, of which every second sample has no place."""
    spec = bench_store.toy_spec()
    spec = spec.model_copy(update={"id": name, "title": name.title()})
    samples = bench_store.toy_samples(spec, n)
    for i in range(0, n, 2):
        x, y = 600_000.0 + 80.0 * (i % 10), 5_400_000.0 - 80.0 * (i // 10)
        samples[i] = dataclasses.replace(samples[i], geo=GeoRef(UTM, (10.0, 0.0, x, 0.0, -10.0, y)))
    return bench_store.build_store(root, spec, samples)


def test_images_of_a_corpus_without_a_place_leave_no_sample_clean(
    here: Path, call: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stores, made, lists = tmp_path / "stores", tmp_path / "results", here / "lists"
    toy, half = placed_store(stores, 30), half_placed(stores, 20, "half")
    put(made, toy, "saw", (0.9, 0.5), content=half.content)
    put(made, toy, "croma-base-s2", (0.9, 0.5))
    row = rows_of(made, stores)["saw"]
    assert (row.touched, row.clean, row.unknown) == (10, 0, 20)
    assert [(one.footprints, one.unplaced) for one in row.corpora] == [(10, 10)]
    assert "cannot be said of 20: 10 images of half have no place" in row.flag
    where = lists / "ssl4eo-s12.parquet"
    monkeypatch.setattr("sys.argv", ["seamo-prep", "export", str(half.url), "--footprints", "-o", str(where)])
    with pytest.raises(SystemExit) as end:
        prep()
    assert not end.value.code
    assert "of 10 samples no place is known" in capsys.readouterr().err
    assert read_footprints(where).unplaced == 10
    row = rows_of(made, stores, lists=lists)["croma-base-s2"]
    assert (row.touched, row.clean, row.unknown, row.corpora[0].origin) == (10, 0, 20, "list")
    known = read_footprints(where)
    boxed = [
        f"{one}" + "".join(f",{side:.9f}" for side in box) for one, box in zip(known.ids, known.boxes, strict=True)
    ]
    where.unlink()
    where.with_suffix(".csv").write_text("\n".join(["id,west,south,east,north", *boxed, "nowhere,,,,", ""]))
    row = rows_of(made, stores, lists=lists)["croma-base-s2"]
    assert (row.touched >= 10, row.clean, row.corpora[0].unplaced) == (True, 0, 1)  # boxes reach over neighbours
    status, said = call("overlap", made, "--stores", stores, "--footprints", lists)
    assert status == 0, said
    assert "croma-base-s2: ssl4eo-s12 is partly unknown" in said


def test_a_damaged_corpus_is_unknown(tmp_path: Path) -> None:
    stores, made = tmp_path / "stores", tmp_path / "results"
    toy, corpus = placed_store(stores, 30), placed_store(stores, 10, name="corpus")
    put(made, toy, "saw", (0.9, 0.5), content=corpus.content)
    assert rows_of(made, stores)["saw"].touched == 10
    index = Path(corpus.url) / "index.parquet"
    index.write_bytes(index.read_bytes() + b"\0")
    row = rows_of(made, stores)["saw"]
    assert (row.touched, row.clean, row.unknown) == (0, 0, 30)


def test_stores_of_equal_facts_are_two_and_a_run_of_ours_is_not_the_published_corpus(
    root: Path, tmp_path: Path
) -> None:
    put(tmp_path, opened(root, "toy"), "somebodys", (0.9, 0.5))
    (record,) = r.read_records(tmp_path).records
    shelf = SeenShelf(root)
    ours, published = (seen._of_corpus(shelf, "corpus", is_ours=which) for which in (True, False))
    assert ours is not published
    assert "not what it was pretrained on" in published.corpus.note
    facts = board.SeenData(id="corpus", origin="store", footprints=1)
    places = [seen.SeenPlaces(facts, boxes((10 + k, 50, 11 + k, 51))) for k in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "seen_by", lambda _shelf, _record: places)
        assert questions._seen(shelf, [record, record]) == tuple(places)


def test_what_was_asked_with_lists_stands_beside_what_was_asked_without(
    here: Path, call: Callable[..., tuple[int, str]], root: Path
) -> None:
    toy, made, lists = opened(root, "toy"), here / "results", here / "lists"
    put(made, toy, "croma-base-s2", (0.8, 0.7))
    lists.mkdir()
    write_footprints(lists / "ssl4eo-s12.parquet", footprints_of(toy, np.arange(40))[0])
    for more in (("--footprints", lists), ()):
        assert call("overlap", made, "--stores", root, *more)[0] == 0
    asked = [one.asked["lists"] for one in read_answers(made, board.KIND, board.OverlapRow, version=board.VERSION)]
    assert sorted(map(len, asked)) == [0, len("ssl4eo-s12.parquet (sha256 0123456789abcdef)")]
    put(made, toy, "croma-base-s2", (0.8, 0.7), seed=1)
    write_report(made, here / "page.html", resamples=50)
    text = Page((here / "page.html").read_text("utf-8")).text
    assert "Lists of footprints: ssl4eo-s12.parquet (sha256" in text
    assert "Lists of footprints: none." in text
    assert text.count("1 newer record of the leaderboard not in it: make it again") == 2


def test_a_repository_is_refused_and_shows_no_answer(
    here: Path, call: Callable[..., tuple[int, str]], root: Path
) -> None:
    made = here / "results"
    record = put(made, opened(root, "toy"), "texture-statistics", (0.6, 0.6))
    assert call("overlap", made, "--stores", root)[0] == 0
    asked = {"version": board.VERSION, "known": [record.key]}
    assert read_answers(made, board.KIND, board.OverlapRow, **asked)  # type: ignore[arg-type]
    for name in (RECORDS, PREDICTIONS):
        (made / name).mkdir()
    assert is_shared(made)
    assert not read_answers(made, board.KIND, board.OverlapRow, **asked)  # type: ignore[arg-type]
    status, said = call("overlap", made, "--stores", root)
    assert status == 2
    assert "is a results repository" in said
    status, said = call("overlap", "https://example.org/results", "--stores", root)
    assert status == 2
    assert "on this disk" in said


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "nothing"}, {"clean": 7}, {"step": 0.0}, {"cells": [{"touched": -1}]}, {"cells": [{"clean": 10**15}]},
     {"cells": [{"south": -95.0}]}, {"touched": -1, "clean": 11}],
)  # fmt: skip
def test_a_row_that_cannot_be_is_none(wrong: dict[str, object]) -> None:
    cell = {"west": 10.0, "south": 50.0, "touched": 1, "clean": 0, "unknown": 0}
    row = {"column": "c", "dataset": "d", "protocol": "linear", "metric": "top1", "row": "m", "title": "m",
           "records": ("k",), "samples": 10, "touched": 2, "clean": 8, "unknown": 0, "cells": [cell]}  # fmt: skip
    assert board.OverlapRow.model_validate(row)
    if isinstance(cells := wrong.get("cells"), list):
        wrong = {"cells": [{**cell, **cells[0]}]}
    with pytest.raises(ValueError, match=r"metric|samples|greater|globe"):
        board.OverlapRow.model_validate({**row, **wrong})


def test_hostile_words_are_shown_as_words_and_without_an_answer_there_is_no_tab(tmp_path: Path) -> None:
    from tests.bench.test_report import HOSTILE
    from tests.bench.test_report import put as put_record

    record = put_record(tmp_path, "model", 0.9)
    write_report(tmp_path, tmp_path / "page.html")
    assert "overlap" not in Page((tmp_path / "page.html").read_text("utf-8")).ids
    from seamo_bench.records.answers import Answer

    row = board.OverlapRow(
        column=column_of(record).id, dataset=HOSTILE, protocol="linear", metric="top1", row="model", title=HOSTILE,
        records=(record.key,), samples=120, touched=1, clean=119, unknown=0, flag=HOSTILE, note=HOSTILE,
        corpora=(board.SeenData(id=HOSTILE, origin="list", footprints=1, touched=1, note=HOSTILE),),
        examples=(board.TouchedSample(key=HOSTILE, corpus=HOSTILE, footprint=HOSTILE, longitude=10, latitude=50),),
        cells=(board.OverlapCell(west=10, south=50, touched=1, clean=119, unknown=0),),
    )  # fmt: skip
    write_answer(tmp_path, Answer(board.KIND, board.VERSION, HOSTILE, {"days": None}, (record.key,), (row,)))
    write_report(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "overlap" in Page(text).ids
    assert HOSTILE not in text
