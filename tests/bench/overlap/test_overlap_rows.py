"""Planted overlaps are found exactly, parts are scored as by hand, and what is not known is said."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from seamo.errors import UsageError
from seamo.sample import GeoRef
from seamo.store.placelist import footprints_of, of_boxes, write_footprints
from seamo_bench import facts as f
from seamo_bench.board import overlap as board
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.questions import overlap as questions
from seamo_bench.questions import seen
from seamo_bench.questions.corpora import CORPORA, corpus_of
from seamo_bench.questions.overlap import EXAMPLES
from seamo_bench.questions.seen import SeenShelf
from seamo_bench.records import record as r
from seamo_bench.tasks.stores import store_facts
from seamo_bench.zoo.catalogue import cards
from tests.bench import dense_store
from tests.bench.overlap.placed import opened, placed_store, put, rows_of
from tests.bench.test_touching import boxes
from tests.conftest import ROOT


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
    page = (ROOT / "docs" / "overlap.md").read_text("utf-8")
    for one in CORPORA.values():
        assert f"| `{one.id}` | {one.places} | {one.where} |" in page, one.id


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
