"""Readings of one record's predictions: against scikit-learn or a plain loop, between their ends, and one is ours."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

from seamo_bench.board import contested
from seamo_bench.board.contested import contest, contests_of
from seamo_bench.board.contested_text import spread_text, to_text
from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions, tile_confusion
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.scores.readings import READINGS
from tests.bench.contested_records import RNG, many_labels, masks, one_label, record_of, value


def test_averages_of_many_labels_are_scikit_learns() -> None:
    p, scoring = many_labels(), Scoring("multi-label")
    said = p.scores > 0
    assert value("ap_weighted", p, scoring) == pytest.approx(
        average_precision_score(p.labels, p.scores, average="weighted")
    )
    assert value("ap_samples", p, scoring) == pytest.approx(
        average_precision_score(p.labels, p.scores, average="samples")
    )
    for name, average in (("f1_weighted", "weighted"), ("f1_samples", "samples")):
        assert value(name, p, scoring) == pytest.approx(f1_score(p.labels, said, average=average, zero_division=0))


def test_averages_of_one_label_are_scikit_learns() -> None:
    p = one_label()
    guess = p.scores.argmax(axis=1)
    assert value("f1_weighted", p, Scoring("single-label")) == pytest.approx(
        f1_score(p.labels, guess, average="weighted")
    )
    # What the page calls micro F1 is the share of right samples.
    assert f1_score(p.labels, guess, average="micro") == pytest.approx(np.mean(p.labels == guess))


@pytest.mark.parametrize("k", [2, 4])
def test_averages_of_pixels_are_scikit_learns(k: int) -> None:
    truth, guess, p = masks(k=k)
    scoring = Scoring("segmentation")
    a, b = np.concatenate([one.ravel() for one in truth]), np.concatenate([one.ravel() for one in guess])
    assert value("f1_macro_pixels", p, scoring) == pytest.approx(f1_score(a, b, average="macro"))
    assert value("f1_weighted_pixels", p, scoring) == pytest.approx(f1_score(a, b, average="weighted"))
    assert value("iou_micro_pixels", p, scoring) == pytest.approx(jaccard_score(a, b, average="micro"))
    assert f1_score(a, b, average="micro") == pytest.approx(np.mean(a == b))
    own = []
    for x, y in zip(truth, guess, strict=True):
        there = sorted(set(x.ravel()) | set(y.ravel()))
        own.append(np.mean([((x == c) & (y == c)).sum() / ((x == c) | (y == c)).sum() for c in there]))
    assert value("miou_per_image", p, scoring) == pytest.approx(np.mean(own))


def test_images_without_change_count_as_each_reading_says() -> None:
    truth, guess, p = masks()
    scoring = Scoring("change", positive=1)
    own = {name: [] for name in ("out", "zero", "one")}
    for x, y in zip(truth, guess, strict=True):
        for name, empty in (("zero", 0.0), ("one", 1.0)):
            own[name].append(f1_score(x.ravel(), y.ravel(), pos_label=1, zero_division=empty))
        if x.any() or y.any():
            own["out"].append(own["zero"][-1])
    assert len(own["out"]) < len(truth), "no image is empty, so that nothing is told apart"
    assert value("f1_per_image_zero", p, scoring) == pytest.approx(np.mean(own["zero"]))
    assert value("f1_per_image_one", p, scoring) == pytest.approx(np.mean(own["one"]))
    named = {one.id: one.value for one in averages(p, "change")}
    assert named["f1_positive_per_image"] == pytest.approx(np.mean(own["out"]))
    every = f1_score(np.concatenate([x.ravel() for x in truth]), np.concatenate([y.ravel() for y in guess]))
    assert named["f1_positive"] == pytest.approx(every)


@pytest.mark.parametrize("named", READINGS, ids=lambda one: one.id)
def test_a_weight_of_two_is_a_sample_twice(named) -> None:
    kind = named.kinds[0]
    p = {"single-label": one_label, "multi-label": many_labels}.get(kind, lambda: masks()[2])()
    scoring = Scoring(kind, positive=1)
    weights = RNG(3).integers(0, 3, len(p.keys))
    rows = np.repeat(np.arange(len(p.keys)), weights)
    if isinstance(p, ClassPredictions):
        twice = ClassPredictions(p.keys[rows], p.labels[rows], p.scores[rows])
    else:
        twice = TilePredictions(p.keys[rows], p.confusion[rows])
    weighted = named.prepare(p, scoring)(weights[None].astype(np.float64))[0]
    assert weighted == pytest.approx(value(named.id, twice, scoring))


# Contests of one record ----------------------------------------------------------------------------------


def averages(p, kind: str):
    return [one for c in contests_of(record_of(p, kind), p) if c.question == "average" for one in c.readings]


@pytest.mark.parametrize(
    ("kind", "p"),
    [
        ("single-label", one_label()),
        ("multi-label", many_labels()),
        ("change", masks()[2]),
        ("segmentation", masks(k=3)[2]),
    ],
    ids=["one", "many", "change", "masks"],
)
def test_every_reading_has_a_number_between_its_ends_and_one_is_ours(kind, p) -> None:
    made = contests_of(record_of(p, kind), p)
    assert {one.question for one in made} == {"average", "test list"}
    for one in made:
        assert sum(reading.ours for reading in one.readings) <= 1
        for reading in one.readings:
            assert reading.value is not None
            if reading.low is None:
                assert "no interval" in reading.note
            else:
                assert 0 <= reading.low <= reading.value <= reading.high <= 1
    ours = [reading.id for one in made if one.question == "average" for reading in one.readings if reading.ours]
    assert set(ours) == {PRIMARY[kind]}


def test_a_large_image_and_many_small_ones_are_worlds_apart() -> None:
    """Pooled: the large image that is all right decides; per image: the many small ones that are all wrong."""
    large = np.array([[0, 0], [0, 10_000]])
    small = np.array([[0, 5], [5, 0]])
    p = TilePredictions(np.array([f"t{i:02d}" for i in range(51)]), np.stack([large] + [small] * 50))
    named = {one.id: one.value for one in averages(p, "change")}
    assert named["f1_positive"] == pytest.approx(20_000 / 20_500)
    assert named["f1_positive_per_image"] == pytest.approx(1 / 51)
    (found,) = [one for one in contests_of(record_of(p, "change"), p) if one.question == "average"]
    assert found.ends == pytest.approx((named["f1_positive_per_image"], named["f1_positive"]))
    assert found.spread > 0.9
    assert "points apart" in spread_text(found)


def test_overlaps_that_count_twice_are_a_reading() -> None:
    """Tiles that show the missed half twice: 2 x 8 hits of 16 + 8 once, of 16 + 16 tile by tile."""
    stitched = np.array([[[100, 0], [8, 8]]] * 2)
    tiles = np.array([[[100, 0], [16, 8]]] * 2)
    p = TilePredictions(np.array(["a", "b"]), stitched, tilewise=tiles)
    named = {one.id: one.value for one in averages(p, "change")}
    assert named["f1_positive"] == pytest.approx(2 * 8 / (2 * 8 + 8))
    assert named["f1_positive_tilewise"] == pytest.approx(2 * 8 / (2 * 8 + 16))


@pytest.mark.parametrize("kind", ["single-label", "multi-label", "change"])
def test_where_all_is_right_no_reading_differs(kind: str) -> None:
    if kind == "change":
        truth, _, _ = masks()
        some = [one for one in truth if one.any()]
        counts = np.stack([tile_confusion(one, one, 2) for one in some])
        p = TilePredictions(np.array([f"t{i:03d}" for i in range(len(some))]), counts)
    else:
        p = many_labels() if kind == "multi-label" else one_label(right=1.0)
        p = replace(p, scores=(p.labels * 2.0 - 1).astype(np.float32)) if kind == "multi-label" else p
    made = [one for one in contests_of(record_of(p, kind), p) if one.question == "average"]
    assert all(one.spread == 0 for one in made)
    assert all(reading.value == 1 for one in made for reading in one.readings)
    assert "left out; --json has them" in to_text(made)


def test_halves_and_tenths_of_the_test_list() -> None:
    p = one_label(n=200, right=0.5)
    p = replace(p, keys=p.keys[RNG(1).permutation(200)])
    right = dict(zip(p.keys.tolist(), (p.scores.argmax(axis=1) == p.labels).tolist(), strict=True))
    (lists,) = [one for one in contests_of(record_of(p, "single-label"), p) if one.question == "test list"]
    named = {one.id: one.value for one in lists.readings}
    ordered = sorted(right)
    assert named["all"] == pytest.approx(np.mean(list(right.values())))
    assert named["first half"] == pytest.approx(np.mean([right[key] for key in ordered[:100]]))
    assert named["second half"] == pytest.approx(np.mean([right[key] for key in ordered[100:]]))
    tenths = []
    for draw in range(20):
        marks = {hashlib.sha256(f"contested:{draw}:{key}".encode()).hexdigest(): key for key in right}
        tenths.append(np.mean([right[marks[mark]] for mark in sorted(marks)[:20]]))
    assert named["lowest tenth"] == pytest.approx(min(tenths))
    assert named["highest tenth"] == pytest.approx(max(tenths))
    assert min(tenths) < max(tenths)


def test_folds_and_few_samples_are_not_cut() -> None:
    p = one_label(n=20)
    folded = replace(p, repeats=np.zeros(20, np.int16), folds=(np.arange(20) % 2).astype(np.int16))
    for one in (p, folded):
        (lists,) = [c for c in contests_of(record_of(one, "single-label"), one) if c.question == "test list"]
        assert [reading.id for reading in lists.readings] == ["all"]


def test_folds_have_no_batches_and_tiles_without_overlaps_no_reading_of_their_own() -> None:
    p = many_labels()
    folded = replace(p, repeats=np.zeros(80, np.int16), folds=(np.arange(80) % 2).astype(np.int16))
    assert "f1_micro" in {one.id for one in averages(folded, "multi-label")}
    assert contested.PER_BATCH in {one.id for one in averages(p, "multi-label")}
    assert contested.PER_BATCH not in {one.id for one in averages(folded, "multi-label")}
    assert "f1_positive_tilewise" not in {one.id for one in averages(masks()[2], "change")}


def test_rounding_is_no_spread() -> None:
    made = [contested.ReadAs(id=str(value), title="", value=value) for value in (0.1 + 0.2, 0.3)]
    assert contest("split", record_of(one_label(), "single-label"), made).spread == 0
