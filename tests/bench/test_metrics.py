"""Metrics against scikit-learn, against plain loops, and under weights against repeated rows."""

import numpy as np
import pytest
from sklearn import metrics as sk

from seamo.errors import ProtocolError
from seamo_bench.predictions import (
    ClassPredictions,
    Scoring,
    TilePredictions,
    check_predictions,
    probabilities,
    take,
    tile_confusion,
)
from seamo_bench.scores import metrics as m
from seamo_bench.scores.measures import classification

SINGLE = Scoring("single-label")
MULTI = Scoring("multi-label")
DENSE = Scoring("segmentation", background=0, positive=2)


def keys(n):
    return np.array([f"k{i:04d}" for i in range(n)])


def single(seed=0, n=300, k=7, decimals=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k - 1, n)  # class k-1 is absent from the truth
    scores = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    if decimals is not None:
        scores = scores.round(decimals)
    return ClassPredictions(keys(n), labels, scores.astype(np.float32))


def multi(seed=0, n=200, k=6, decimals=None):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, k)) < 0.3).astype(np.uint8)
    labels[:, k - 1] = 0  # a class nobody has
    scores = rng.normal(size=(n, k)) + labels
    if decimals is not None:
        scores = scores.round(decimals)
    return ClassPredictions(keys(n), labels, scores.astype(np.float32))


def tiles(seed=0, n=12, k=5, side=9):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k - 1, (n, side, side)).astype(np.uint8)  # class k-1 absent
    truth[rng.random(truth.shape) < 0.1] = 255
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, k, truth.shape)).astype(np.uint8)
    predicted[predicted == 255] = 1
    confusion = np.stack([tile_confusion(t, p, k) for t, p in zip(truth, predicted, strict=True)])
    return truth, predicted, TilePredictions(keys(n), confusion)


def value(name, predictions, scoring):
    return float(m.compute(name, predictions, scoring)[0])


@pytest.mark.parametrize("decimals", [None, 0])
def test_single_label_equals_scikit_learn(decimals):
    p = single(decimals=decimals)
    best = p.scores.argmax(axis=1)
    assert value("top1", p, SINGLE) == pytest.approx(sk.accuracy_score(p.labels, best))
    assert value("balanced_accuracy", p, SINGLE) == pytest.approx(
        np.mean([(best[p.labels == c] == c).mean() for c in range(6)])
    )
    assert value("f1_macro", p, SINGLE) == pytest.approx(sk.f1_score(p.labels, best, average="macro"))
    softmax = np.exp(p.scores.astype(np.float64))
    softmax /= softmax.sum(axis=1, keepdims=True)
    assert value("nll", p, SINGLE) == pytest.approx(sk.log_loss(p.labels, softmax, labels=range(7)))


def test_top5_equals_scikit_learn_without_ties():
    p = single()
    assert value("top5", p, SINGLE) == pytest.approx(sk.top_k_accuracy_score(p.labels, p.scores, k=5, labels=range(7)))


def test_ties_rank_by_class_id():
    scores = np.zeros((7, 7), np.float32)
    p = ClassPredictions(keys(7), np.arange(7), scores)
    assert value("top1", p, SINGLE) == pytest.approx(1 / 7)  # class 0 alone
    assert value("top5", p, SINGLE) == pytest.approx(5 / 7)  # classes 0 to 4


def test_top_k_against_a_loop():
    p = single(seed=3, decimals=0)
    hits = 0
    for row, label in zip(p.scores, p.labels, strict=True):
        ranking = sorted(range(7), key=lambda c, row=row: (-row[c], c))
        hits += label in ranking[:5]
    assert value("top5", p, SINGLE) == pytest.approx(hits / len(p.keys))


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_multi_label_equals_scikit_learn(decimals):
    p = multi(decimals=decimals)
    assert value("micro_ap", p, MULTI) == pytest.approx(sk.average_precision_score(p.labels, p.scores, average="micro"))
    assert value("macro_ap", p, MULTI) == pytest.approx(
        sk.average_precision_score(p.labels[:, :5], p.scores[:, :5], average="macro")
    )
    decided = p.scores > 0
    assert value("f1_micro", p, MULTI) == pytest.approx(sk.f1_score(p.labels, decided, average="micro"))
    assert value("f1_macro", p, MULTI) == pytest.approx(
        sk.f1_score(p.labels, decided, average="macro", zero_division=0)
    )


def test_average_precision_by_hand():
    # Ranking + - + -: precision 1 at recall 1/2, 2/3 at recall 1.
    ap = m.average_precision(np.array([4.0, 3, 2, 1]), np.array([1, 0, 1, 0]), np.ones((1, 4)))
    assert ap[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # All tied: one threshold, precision = prevalence.
    ap = m.average_precision(np.zeros(4), np.array([1, 0, 1, 0]), np.ones((1, 4)))
    assert ap[0] == pytest.approx(0.5)
    assert np.isnan(m.average_precision(np.arange(3.0), np.zeros(3, int), np.ones((1, 3)))[0])


def test_per_batch_micro_ap_is_the_mean_over_batches():
    p = multi(n=50)
    parts = [
        sk.average_precision_score(p.labels[s : s + 16], p.scores[s : s + 16], average="micro")
        for s in range(0, 50, 16)
    ]
    scores = m.score(p, MULTI, batches=(16,))
    assert scores["micro_ap_per_batch_16"] == pytest.approx(np.mean(parts))
    assert scores["micro_ap_per_batch_16"] != pytest.approx(scores["micro_ap"], abs=1e-4)


def test_ece_against_a_loop():
    p = single(seed=5)
    chance = probabilities(p)
    total = 0.0
    for b in range(15):
        inside = [i for i in range(len(p.keys)) if b / 15 < chance[i].max() <= (b + 1) / 15]
        if inside:
            right = np.mean([chance[i].argmax() == p.labels[i] for i in inside])
            total += len(inside) / len(p.keys) * abs(right - np.mean([chance[i].max() for i in inside]))
    assert value("ece_15", p, SINGLE) == pytest.approx(total)


def test_ece_of_labels_against_a_loop():
    p = multi(seed=5)
    chance = probabilities(p).ravel()
    truth = p.labels.ravel()
    total = 0.0
    for b in range(15):
        inside = (chance > b / 15) & (chance <= (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(truth[inside].mean() - chance[inside].mean())
    assert value("ece_15_labels", p, MULTI) == pytest.approx(total)


@pytest.mark.parametrize("decimals", [None, 0])
def test_weighted_average_precision_equals_scikit_learn(decimals, monkeypatch):
    p = multi(decimals=decimals)
    weights = np.random.default_rng(3).integers(0, 4, (7, len(p.keys))).astype(float)
    flat = p.labels.ravel(), p.scores.ravel()
    micro = [sk.average_precision_score(*flat, sample_weight=np.repeat(row, 6)) for row in weights]
    np.testing.assert_allclose(m.compute("micro_ap", p, MULTI, weights), micro)
    each = [
        np.mean([sk.average_precision_score(p.labels[:, k], p.scores[:, k], sample_weight=row) for k in range(5)])
        for row in weights
    ]
    np.testing.assert_allclose(m.compute("macro_ap", p, MULTI, weights), each)
    whole = m.compute("micro_ap", p, MULTI, weights)
    monkeypatch.setattr(classification, "_BLOCK", 2 * p.scores.size)  # blocks of two resamples, the last of one
    assert np.array_equal(m.compute("micro_ap", p, MULTI, weights), whole)


def test_probabilities_are_taken_as_they_are_and_a_zero_vote_stays_finite():
    votes = np.array([[1.0, 0.0], [0.25, 0.75]], np.float32)
    p = ClassPredictions(keys(2), np.array([1, 1]), votes, scale="probabilities")
    assert np.array_equal(probabilities(p), votes)
    assert 40 < value("nll", p, SINGLE) < 50  # -ln(float32 tiny) / 2 = 43.7


def test_dense_metrics_equal_pixel_loops():
    truth, predicted, p = tiles()
    there = truth != 255
    t, q = truth[there], predicted[there]
    iou = [((t == c) & (q == c)).sum() / ((t == c) | (q == c)).sum() for c in range(5)]
    assert iou[4] == 0  # absent from the truth, predicted somewhere
    assert value("oa", p, DENSE) == pytest.approx((t == q).mean())
    assert value("miou_present", p, DENSE) == pytest.approx(np.mean(iou[:4]))
    assert value("miou_all", p, DENSE) == pytest.approx(np.mean(iou))
    assert value("miou_present_no_background", p, DENSE) == pytest.approx(np.mean(iou[1:4]))
    assert value("miou_all_no_background", p, DENSE) == pytest.approx(np.mean(iou[1:]))
    assert value("iou_positive", p, DENSE) == pytest.approx(sk.jaccard_score(t == 2, q == 2))
    assert value("f1_positive", p, DENSE) == pytest.approx(sk.f1_score(t == 2, q == 2))
    each = [sk.f1_score(a[a != 255] == 2, b[a != 255] == 2) for a, b in zip(truth, predicted, strict=True)]
    assert value("f1_positive_per_image", p, DENSE) == pytest.approx(np.mean(each))
    each = [sk.jaccard_score(a[a != 255] == 2, b[a != 255] == 2) for a, b in zip(truth, predicted, strict=True)]
    assert value("iou_positive_per_image", p, DENSE) == pytest.approx(np.mean(each))
    present = m.per_class(p, DENSE)["iou"]
    assert present == pytest.approx(tuple(iou))


def test_tilewise_counts_are_those_of_the_tiles():
    _, _, p = tiles()
    _, _, other = tiles(seed=1)
    both = TilePredictions(p.keys, p.confusion, tilewise=other.confusion)
    for name in ("miou_present", "iou_positive", "f1_positive"):
        assert value(f"{name}_tilewise", both, DENSE) == value(name, other, DENSE)
        assert value(f"{name}_tilewise", p, DENSE) == value(name, p, DENSE)  # images are tiles


def test_per_class_values_equal_scikit_learn():
    p = single()
    best = p.scores.argmax(axis=1)
    recall = sk.recall_score(p.labels, best, average=None, labels=range(6))
    assert m.per_class(p, SINGLE)["recall"][:6] == pytest.approx(tuple(recall))
    assert m.per_class(p, SINGLE)["recall"][6] is None
    p = multi()
    ap = sk.average_precision_score(p.labels[:, :5], p.scores[:, :5], average=None)
    assert m.per_class(p, MULTI)["ap"][:5] == pytest.approx(tuple(ap))
    assert m.per_class(p, MULTI)["ap"][5] is None


def test_a_class_in_neither_truth_nor_prediction():
    confusion = np.zeros((1, 3, 3), int)
    confusion[0, 0, 0], confusion[0, 1, 1] = 3, 5
    p = TilePredictions(keys(1), confusion)
    scoring = Scoring("segmentation", positive=2)
    assert value("miou_present", p, scoring) == 1
    assert value("miou_all", p, scoring) == pytest.approx(2 / 3)
    scores = m.score(p, scoring)
    assert scores["f1_positive"] is None
    assert scores["f1_positive_per_image"] is None
    assert m.per_class(p, scoring)["iou"] == (1.0, 1.0, None)


def test_a_single_class_test_set():
    p = ClassPredictions(keys(4), np.zeros(4, int), np.ones((4, 1), np.float32))
    assert value("top1", p, SINGLE) == 1
    assert value("top5", p, SINGLE) == 1
    assert value("ece_15", p, SINGLE) == 0


@pytest.mark.parametrize(
    ("make", "scoring"),
    [(single, SINGLE), (multi, MULTI), (lambda: tiles()[2], DENSE)],
    ids=["single", "multi", "dense"],
)
def test_weights_equal_repeated_rows(make, scoring):
    p = make()
    rng = np.random.default_rng(1)
    n = len(p.keys)
    drawn = rng.integers(0, n, (3, n))
    weights = np.stack([np.bincount(rows, minlength=n) for rows in drawn]).astype(float)
    for name in m.metrics_for(scoring):
        expected = [float(m.compute(name, take(p, rows), scoring)[0]) for rows in drawn]
        np.testing.assert_allclose(m.compute(name, p, scoring, weights), expected, err_msg=name)


def test_folds_are_scored_apart_and_averaged():
    p = single(n=20)
    folds = np.arange(20) % 5
    p = ClassPredictions(p.keys, p.labels, p.scores, repeats=np.zeros(20, int), folds=folds)
    right = p.scores.argmax(axis=1) == p.labels
    f1 = [sk.f1_score(p.labels[folds == f], p.scores[folds == f].argmax(axis=1), average="macro") for f in range(5)]
    scores = m.score(p, SINGLE)
    assert scores["top1"] == pytest.approx(right.mean())
    assert scores["f1_macro"] == pytest.approx(np.mean(f1))


def test_confusion_refuses_ids_outside_the_classes():
    truth = np.array([[0, 1], [255, 1]])
    assert tile_confusion(truth, np.array([[0, 0], [7, 1]]), 2).tolist() == [[1, 0], [1, 1]]  # 7 lies on ignore
    with pytest.raises(ProtocolError, match=r"outside 0\.\.1"):
        tile_confusion(truth, np.array([[0, 7], [0, 1]]), 2)


def test_bad_predictions_are_refused():
    good = single(n=10)
    check_predictions(good, 7, "single-label")
    scores = good.scores.copy()
    scores[3, 2] = np.nan
    bad = {
        "1 of 10 samples have scores that are not finite, first k0003": ClassPredictions(
            good.keys, good.labels, scores
        ),
        "no sample": ClassPredictions(good.keys[:0], good.labels[:0], good.scores[:0]),
        "outside 0..6": ClassPredictions(good.keys, good.labels + 7, good.scores),
        "scores .* are not": ClassPredictions(good.keys, good.labels, good.scores[:, :5]),
        "stands twice": ClassPredictions(np.repeat(good.keys[:5], 2), good.labels, good.scores),
        "units for": ClassPredictions(good.keys, good.labels, good.scores, units=good.keys[:3]),
        "folds and repeats": ClassPredictions(good.keys, good.labels, good.scores, folds=np.zeros(10, int)),
    }
    for message, predictions in bad.items():
        with pytest.raises(ProtocolError, match=message):
            check_predictions(predictions, 7, "single-label")


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(ProtocolError, match="not defined for this multi-label task"):
        m.compute("top1", multi(), MULTI)
    with pytest.raises(ProtocolError, match="no metric 'map'"):
        m.metric("map")
    assert "f1_positive" not in m.metrics_for(Scoring("segmentation"))
