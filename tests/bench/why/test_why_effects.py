"""What each fact moves: every effect is held against another way to it, and what no fact says stays unexplained."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seamo.errors import UsageError
from seamo.store.reader import open_store
from seamo_bench import load_backbone
from seamo_bench.facts import AdapterFacts
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records.record import About, load_predictions, write_record
from seamo_bench.suites.suite import Row
from seamo_bench.why.aspects import aspects_of, mixed
from seamo_bench.why.attribution import attribute
from seamo_bench.why.explained import explain, side_of
from seamo_bench.why.shown import to_text
from tests.bench.test_records import make_facts
from tests.bench.why.planted import NETWORK, World, changed, other_steps
from tests.prep.demo_stores import build_quietly

torch.set_num_threads(1)


def test_micro_or_macro_is_told_from_stored_predictions_and_nothing_is_run(demo):
    a = demo.made("rgb-statistics", store="bigearthnet-v1", inputs=("s2",))
    b = demo.made("rgb-statistics", store="bigearthnet-v1", inputs=("s2",), params={"max_iter": 1999})
    told = demo.why(a, b, "micro_ap", metric_b="macro_ap", runs=False)
    p = load_predictions(b, demo.results)
    seen = p.labels.any(axis=0)
    macro = np.mean([average_precision_score(p.labels[:, k], p.scores[:, k]) for k in np.flatnonzero(seen)])
    assert told.values[1] == pytest.approx(macro, abs=1e-6)
    assert told.values[0] == pytest.approx(average_precision_score(p.labels.ravel(), p.scores.ravel()), abs=1e-6)
    assert [one.aspects[0].name for one in told.moved] == ["metric", "parameter max_iter"]
    assert told.explained >= 0.95
    assert told.runs == 0
    assert not told.would_run

    per_batch = demo.why(a, b, "micro_ap", metric_b="micro_ap_per_batch_4", runs=False)
    parts = [slice(start, start + 4) for start in range(0, len(p.keys), 4)]
    by_hand = [average_precision_score(p.labels[part].ravel(), p.scores[part].ravel()) for part in parts]
    assert f" {100 * per_batch.values[1]:.2f}\n" in to_text(per_batch)
    assert per_batch.values[1] == pytest.approx(np.mean(by_hand), abs=1e-6)
    with pytest.raises(UsageError, match="no metric 'miou_all' of a multi-label task"):
        side_of(a, demo.results, "miou_all")


def test_two_causes_are_told_apart_as_scikit_learn_tells_them(toy):
    """Four cells fitted by another program on the same features: their Shapley values are ours."""
    settings = {"a": (1.0, 1.0), "C": (0.002, 1.0), "fraction": (1.0, 0.1), "both": (0.002, 0.1)}
    store = open_store(next((toy.stores / "toy").glob("*/store.json")).parent)
    labels = store.read_columns(["label"]).column("label").to_numpy()
    backbone = load_backbone("image-statistics", store=store)
    batch = next(iter(store.loader("all", len(store), shuffle=False)))
    order = np.argsort(batch.rows.numpy())
    features = backbone.features(batch).pooled.double().numpy()[order]
    test = store.rows("test")
    loss = {}
    for name, (c, fraction) in settings.items():
        train = store.rows("train", fraction, 0) if fraction < 1 else store.rows("train")
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000, tol=1e-8))
        model.fit(features[train], labels[train])
        chance = model.predict_proba(features[test])
        loss[name] = -np.mean(np.log(chance[np.arange(len(test)), labels[test]]))
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    b = toy.made("image-statistics", store="toy", params={"C": 0.002}, fraction=0.1)
    told = toy.why(a, b, "nll")
    effects = {one.aspects[0].name: one.effect for one in told.moved}
    c = ((loss["C"] - loss["a"]) + (loss["both"] - loss["fraction"])) / 2
    fraction = ((loss["fraction"] - loss["a"]) + (loss["both"] - loss["C"])) / 2
    assert abs(loss["both"] - loss["C"] - loss["fraction"] + loss["a"]) > 0.01, "the two do not interact"
    assert effects == pytest.approx({"parameter C": c, "label fraction": fraction}, abs=2e-3)
    assert told.unexplained == pytest.approx(0, abs=1e-9)
    assert told.how == "mean over 2 of 2 orders"


def test_other_samples_of_one_data_set_are_named(tmp_path, demo):
    """Of two builds under one root the one that each record names is read."""
    world, raw = World(tmp_path), demo.stores.parent / "raw" / "eurosat"
    build_quietly("eurosat", raw, world.stores)
    a = world.made("rgb-statistics", store="eurosat")
    part = open_store(build_quietly("eurosat", raw, world.stores, limit=40).path)
    b = world.made("rgb-statistics", store="eurosat", view=part.meta.build, params={"max_iter": 1999})
    assert b.facts.stores[0].content == part.content != a.facts.stores[0].content
    told = world.why(a, b, "nll")
    assert [one.aspects[0].name for one in told.moved] == ["data", "parameter max_iter"]
    assert told.explained >= 0.95
    assert told.runs == 2 + 2


def test_more_than_three_facts_are_walked_forth_and_back(toy):
    a = toy.made("image-statistics", store="toy")
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500}, fraction=0.5, seeds=2)
    b = next(one for one in toy.all() if one.facts == b.facts.model_copy(update={"seed": 1, "split": one.facts.split}))
    told = toy.why(a, b, "nll", metric_b="top1")
    names = ["label fraction", "parameter C", "parameter max_iter", "seed", "metric"]
    assert sorted(one.aspects[0].name for one in told.moved) == sorted(names)
    assert sum(one.effect for one in told.moved) == pytest.approx(told.difference)
    assert told.how == "mean of the stated order and its reverse"
    assert told.runs <= 2 + 5  # the ends; of 2 x 3 the metric needs none, and one is the first record of B


def test_what_no_fact_says_stays_unexplained(toy, tmp_path):
    """A record under the right key whose predictions its facts do not give."""
    a = toy.made("image-statistics", store="toy")
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500})
    p = load_predictions(b, toy.results)
    forged = replace(p, scores=p.scores[:, ::-1].copy())
    other = write_record(tmp_path, b.facts, about=b.about, predictions=forged)
    assert other.key == b.key
    told = explain(side_of(a, toy.results, "nll"), side_of(other, tmp_path, "nll"), bench=toy.bench)
    assert told.unexplained == pytest.approx(other.scores["nll"] - b.scores["nll"], abs=1e-6)
    assert sum(one.effect for one in told.moved) == pytest.approx(b.scores["nll"] - a.scores["nll"], abs=1e-6)
    assert told.notes == (f"B, run here by its facts, is {b.scores['nll']:.4f}, not {other.scores['nll']:.4f}",)


def test_nothing_runs_without_stores_and_records_that_lie_there_are_used(toy):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0, "max_iter": 2000})
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500})
    before = sorted(path.name for path in toy.results.glob("*.json"))
    told = toy.why(a, b, "nll", runs=False)
    assert sorted(path.name for path in toy.results.glob("*.json")) == before
    assert told.would_run == ("A with B's parameter C", "A with B's parameter max_iter")
    assert [one.name for one in told.together.aspects] == ["parameter C", "parameter max_iter"]
    assert told.explained == 0
    toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 2000})
    told = toy.why(a, b, "nll", runs=False)
    assert told.moved[0].aspects[0].name == "parameter C"
    assert told.explained >= 0.95
    one = toy.why(a, toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 2000}), "nll", runs=False)
    assert (one.explained, one.how, one.runs) == (1.0, "nothing else differs", 0)


def test_of_an_older_protocol_it_is_said_that_it_cannot_be_run(toy):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    b = toy.made("image-statistics", store="toy", params={"C": 0.01})
    old = a.facts.model_copy(update={"protocol": a.facts.protocol.model_copy(update={"version": 1})})
    other = toy.made("image-statistics", store="toy", params={"C": 0.1})
    kept = write_record(toy.results, old, about=a.about, predictions=load_predictions(other, toy.results))
    told = toy.why(kept, b, "nll")
    effects = {one.aspects[0].name: one.effect for one in told.moved}
    loss = [one.scores["nll"] for one in (other, a, b)]
    assert effects == pytest.approx({"protocol": loss[1] - loss[0], "parameter C": loss[2] - loss[1]})
    assert told.how == "mean over 1 of 2 orders"
    assert any("protocol logreg: version here is" in one for one in told.why_not)
    (toy.results / f"{kept.key}.json").unlink()


def test_a_part_of_the_test_samples_is_scored_without_a_run(toy, tmp_path):
    whole = toy.made("image-statistics", store="toy")
    p = load_predictions(whole, toy.results)
    rows = np.arange(0, len(p.keys), 2)
    half = ClassPredictions(p.keys[rows], p.labels[rows], 0.5 * p.scores[rows], p.scale)  # and another C
    lists = {**whole.facts.split.lists, "test": "0" * 64}
    facts = whole.facts.model_copy(
        update={
            "split": whole.facts.split.model_copy(update={"lists": lists}),
            "protocol": whole.facts.protocol.model_copy(update={"params": {**whole.facts.protocol.params, "C": 0.5}}),
        }
    )
    part = write_record(tmp_path, facts, about=About(stores=("Toy",), backbone="x"), predictions=half)
    first, second = side_of(whole, toy.results, "nll"), side_of(part, tmp_path, "nll")
    for a, b, sign in ((first, second, 1), (second, first, -1)):
        told = explain(a, b)
        chance = np.exp(p.scores - p.scores.max(1, keepdims=True)) if p.scale == "logits" else p.scores
        chance = chance / chance.sum(1, keepdims=True)
        nll = -np.log(chance[np.arange(len(p.keys)), p.labels])
        effects = {one.aspects[0].name: one.effect for one in told.moved}
        assert effects["test samples"] == pytest.approx(sign * (nll[rows].mean() - nll.mean()), abs=1e-5)
        assert told.common[0] == len(rows)
        assert told.common[1 if sign > 0 else 2] == pytest.approx(nll[rows].mean(), abs=1e-5)
        assert told.explained == pytest.approx(1.0)


def test_facts_of_two_are_facts_of_one_and_the_other(demo):
    a = demo.made(store="eurosat", size=32).facts
    card = changed(NETWORK, steps=other_steps, bands=lambda bands: bands[::-1])
    b = demo.made(store="eurosat", size=48, card=card, fraction=0.5, params={"C": 0.1}).facts
    names = [one.name for one in aspects_of(a, b)]
    assert names == ["label fraction", "bands", "normalisation", "size", "parameter C"]
    for count in range(len(names) + 1):
        for chosen in map(frozenset, itertools.combinations(names, count)):
            between = mixed(a, b, chosen)
            assert {one.name for one in aspects_of(a, between)} - {"backbone", "split"} == chosen
            assert {one.name for one in aspects_of(between, b)} - {"backbone", "split"} == set(names) - chosen
    assert mixed(a, b, frozenset()) == a
    assert mixed(a, b, frozenset(names)) == b
    assert mixed(a, b, frozenset(["parameter C"])).split == a.split


def test_the_size_of_the_one_is_asked_for_as_a_row_asks():
    def of(size, seed):
        adapter = AdapterFacts(inputs=(), missing="new-tokenizer", size=(size, size), resize=f"{size} x {size}")
        asked = Row(store="toy", protocol="finetune", inputs=("s2:B02",), missing="new-tokenizer", seeds=1).asks
        return make_facts(seed=seed).model_copy(update={"adapter": adapter, "inputs": asked})

    a, b = of(32, 0), of(48, 1)
    row = Row(store="toy", protocol="finetune", inputs=("s2:B02",), missing="new-tokenizer", size=48)
    assert mixed(a, b, frozenset(["size"])).inputs == row.asks


def shapley(names, value):
    """By its formula: weights of coalitions."""
    n = len(names)
    found = {}
    for name in names:
        rest = [one for one in names if one != name]
        parts = [set(c) for size in range(n) for c in itertools.combinations(rest, size)]
        weight = {len(p): math.factorial(len(p)) * math.factorial(n - len(p) - 1) / math.factorial(n) for p in parts}
        found[(name,)] = sum(weight[len(p)] * (value(frozenset(p | {name})) - value(frozenset(p))) for p in parts)
    return found


def test_effects_are_shapley_values_and_add_up():
    rng = np.random.default_rng(0)
    table = {frozenset(c): rng.random() for k in range(4) for c in itertools.combinations("abc", k)}
    made = attribute("abc", table.get)
    assert made.effects == pytest.approx(shapley("abc", table.get))
    weights = dict(zip("abcdef", rng.random(6), strict=True))
    asked = []

    def additive(chosen):
        asked.append(chosen)
        return sum(weights[one] for one in chosen)

    made = attribute("abcdef", additive)
    assert made.effects == pytest.approx({(name,): value for name, value in weights.items()})
    assert len(set(asked)) == 2 * 5 + 2  # of 64


def test_what_is_not_known_is_not_told_apart():
    known = {frozenset(): 0.0, frozenset("a"): 0.25, frozenset("abc"): 1.0}
    assert attribute("abc", known.get).effects == {("a",): 0.25, ("b", "c"): 0.75}
    assert attribute("abc", {frozenset(): 0.0, frozenset("abc"): 1.0}.get).effects == {("a", "b", "c"): 1.0}
    one_way = {frozenset(): 0.0, frozenset("x"): 0.5, frozenset("xy"): 1.0}
    made = attribute("xy", one_way.get)
    assert (made.effects, made.how) == ({("x",): 0.5, ("y",): 0.5}, "mean over 1 of 2 orders")


def test_masks_are_scored_anew_tile_by_tile_and_without_background(toy, tmp_path):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (6, 3, 3))
    tiles = counts + rng.integers(1, 50, (6, 3, 3))
    keys = np.array([f"i{k}" for k in range(6)])
    like = toy.made("image-statistics", store="toy")
    task = like.facts.task.model_copy(update={"kind": "segmentation", "background": 0})
    facts = like.facts.model_copy(update={"task": task})
    made = TilePredictions(keys, counts, tilewise=tiles)
    record = write_record(tmp_path, facts, about=like.about, predictions=made)

    def iou(pooled):
        hit = np.diag(pooled)
        return hit / (pooled.sum(0) + pooled.sum(1) - hit)

    whole = iou(counts.sum(0))
    for name, value in (
        ("miou_present_no_background", whole[1:].mean()),
        ("miou_present_tilewise", iou(tiles.sum(0)).mean()),
    ):
        told = explain(side_of(record, tmp_path), side_of(record, tmp_path, name))
        assert told.values == pytest.approx((whole.mean(), value))
        assert told.moved[0].aspects[0].name == "metric"
        assert told.explained == pytest.approx(1.0)
