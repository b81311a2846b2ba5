"""Why two numbers differ: planted differences found on the demo's data, and every number held against another way."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seamo.errors import ProtocolError, UsageError
from seamo.files import open_files
from seamo.seal import seal_document
from seamo.store.reader import open_store
from seamo_bench import load_backbone
from seamo_bench.board.compare import compare
from seamo_bench.board.explanations import KIND, VERSION, KeptExplanation, kept_explanations
from seamo_bench.board.report import write_report
from seamo_bench.facts import AdapterFacts, run_key
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.protocol import silent
from seamo_bench.records.answers import Answer, write_answer
from seamo_bench.records.record import About, Record, load_predictions, read_record, read_records, write_record
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Row, Suite
from seamo_bench.why import sides
from seamo_bench.why.aspects import aspects_of, mixed
from seamo_bench.why.attribution import attribute
from seamo_bench.why.between import Bench
from seamo_bench.why.explained import Explanation, Side, averaged, explain, side_of
from seamo_bench.why.kept import keep_explanation
from seamo_bench.why.shown import to_text
from seamo_bench.why.sides import find_published, find_record, pairs_of, published_side
from seamo_bench.why.waterfall import levels
from seamo_bench.zoo.catalogue import find_card
from seamo_prep.demo import write_demos
from tests.bench.bench_store import toy_store
from tests.bench.test_records import make_facts
from tests.bench.test_shared_results import predictions_of
from tests.conftest import ROOT
from tests.prep.demo_stores import build_quietly

torch.set_num_threads(1)
NETWORK = "timm:test_vit@random"  # small, and every channel has weights of its own


class World:
    """Stores, and a folder of records that are run when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.stores, self.results, self.scratch = folder / "stores", folder / "results", folder / "between"

    def made(self, name=NETWORK, *, card=None, into=None, **row) -> Record:
        """The record of a row; with a card, as a wrapper that nobody here knows would have made it."""
        places = Places(self.stores, into or self.results, self.stores)
        given = {} if card is None else {name: replace(find_card(name), card=card)}
        row = {"protocol": "logreg", "seeds": 1, **row}
        if row["protocol"] == "logreg":  # one penalty, and none chosen on validation
            row["params"] = {"C": 1.0, **row.get("params", {})}
        suite = Suite(id="one", rows=(Row(**row),))
        (cell,) = make_plan(suite, [name], places, past=NOTHING, speed=CPU, given=given)
        list(run_plan([cell], places, machine=Machine(), progress=silent, inner=silent))
        return read_record(places.results / f"{run_key(cell.facts[0])}.json")

    def all(self) -> list[Record]:
        return [read_record(path) for path in self.results.glob("*.json")]

    @property
    def bench(self) -> Bench:
        return Bench(Places(self.stores, self.scratch, self.stores))

    def why(self, a: Record, b: Record, metric="", *, metric_b="", runs=True) -> Explanation:
        sides = side_of(a, self.results, metric), side_of(b, self.results, metric_b or metric)
        return explain(*sides, bench=self.bench if runs else None)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("demo")
    write_demos(folder / "raw", only=["eurosat", "bigearthnet-v1"], workers=1, tell=lambda *_: None)
    for name in ("eurosat", "bigearthnet-v1"):
        build_quietly(name, folder / "raw" / name, folder / "stores")
    return World(folder)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("toy")
    toy_store(folder / "stores")
    return World(folder)


def changed(name, **how):
    """The card of a wrapper that feeds something else: field of its inputs -> what it makes of that."""
    card = find_card(name).card
    inputs = [replace(one, **{field: make(getattr(one, field)) for field, make in how.items()}) for one in card.inputs]
    return replace(card, inputs=tuple(inputs))


def other_steps(steps):
    return (replace(steps[0], op="affine", a=(0.0,), b=(50_000.0,)),)


# What is planted -> (the fact that must be named first, how).
PLANTED = {
    "normalisation": lambda: {"card": changed(NETWORK, steps=other_steps)},
    "bands": lambda: {"card": changed(NETWORK, bands=lambda bands: bands[::-1])},
    "kernel": lambda: {"card": replace(find_card(NETWORK).card, resize="bicubic-native")},
    "split": lambda: {"split": "hash-60-20-20"},
    "label fraction": lambda: {"fraction": 0.2},
    "parameter C": lambda: {"params": {"C": 0.003}},
}


def check_planted(world: World, fact: str, *, metric: str, planted=None, **common) -> Explanation:
    """One fact is planted and one that moves next to nothing lies beside it: which of the two it was is measured."""
    a = world.made(store="eurosat", **common)
    planted = PLANTED[fact]() if planted is None else dict(planted)
    params = {"max_iter": 1999, **planted.pop("params", {})}
    b = world.made(store="eurosat", **common, **planted, params=params)
    told = world.why(a, b, metric)
    assert {one.name for one in aspects_of(a.facts, b.facts)} == {fact, "parameter max_iter"}
    assert told.values == (a.scores[metric], b.scores[metric])
    assert abs(told.difference) > 1e-4, "nothing was planted"
    assert told.moved[0].aspects[0].name == fact
    assert abs(told.moved[0].effect - told.difference) <= 0.05 * abs(told.difference)
    assert told.explained >= 0.95
    return told


@pytest.mark.parametrize("fact", PLANTED)
def test_a_planted_fact_is_named_first_and_explains_the_difference(demo, fact):
    check_planted(demo, fact, metric="nll", size=32)


@pytest.fixture(scope="module")
def real(samples, tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("real")
    build_quietly("eurosat", samples / "eurosat_ms", folder / "stores", splits="hash-60-20-20")
    return World(folder)


@pytest.mark.soak
@pytest.mark.parametrize("metric", ["nll", "top1"])
@pytest.mark.parametrize("fact", PLANTED)
def test_planted_facts_on_the_real_eurosat_subset(real, fact, metric):
    planted = {"split": "cv5x5"} if fact == "split" else None  # the subset has no other lists
    check_planted(real, fact, metric=metric, size=96, planted=planted)


@pytest.mark.soak
def test_the_averaging_on_the_real_eurosat_subset(real):
    """Of one label a sample, micro is the share of samples that are right, and macro the mean recall of classes."""
    a = real.made(store="eurosat", size=96)
    b = real.made(store="eurosat", size=96, params={"max_iter": 1999})
    told = real.why(a, b, "top1", metric_b="balanced_accuracy", runs=False)
    p = load_predictions(b, real.results)
    right = p.scores.argmax(axis=1) == p.labels
    assert told.values[1] == pytest.approx(np.mean([right[p.labels == k].mean() for k in np.unique(p.labels)]))
    assert told.moved[0].aspects[0].name == "metric"
    assert told.explained >= 0.95


@pytest.mark.soak
def test_all_at_once_on_the_real_eurosat_subset(real):
    """Seven facts: one order and its reverse, twelve runs; what they move adds up to the difference."""
    card = replace(PLANTED["normalisation"]()["card"], resize="bicubic-native")
    card = replace(card, inputs=tuple(replace(one, bands=one.bands[::-1]) for one in card.inputs))
    a = real.made(store="eurosat", size=96)
    b = real.made(store="eurosat", size=112, card=card, fraction=0.4, params={"C": 0.003})
    told = real.why(a, b, "top1", metric_b="balanced_accuracy")
    names = {"label fraction", "bands", "normalisation", "size", "kernel", "parameter C", "metric"}
    assert {one.aspects[0].name for one in told.moved} == names
    assert told.values == (a.scores["top1"], b.scores["balanced_accuracy"])
    assert sum(one.effect for one in told.moved) == pytest.approx(told.difference)
    assert told.explained == pytest.approx(1.0)
    assert told.how == "mean of the stated order and its reverse"


@pytest.mark.soak
def test_the_page_says_what_comes_out(tmp_path):
    page = (ROOT / "docs" / "why.md").read_text()
    world = World(tmp_path)
    write_demos(tmp_path / "raw", only=["eurosat"], size="small", workers=1, tell=lambda *_: None)
    build_quietly("eurosat", tmp_path / "raw" / "eurosat", world.stores)
    rows = yaml.safe_load(page.partition("<<'END'\n")[2].partition("END")[0])["rows"]
    a, b = (world.made("texture-statistics", **row) for row in rows)
    for runs in (False, True):
        said = to_text(world.why(a, b, runs=runs)).splitlines()
        lines = [line for line in said if line and not line.startswith(("A  ", "B  "))]
        assert lines
        assert [line for line in lines if line not in page] == []


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


def test_a_published_number_beside_a_record(demo):
    record = demo.made("image-statistics", store="eurosat")
    published = find_published("ELSEWHERE/image-statistics//eurosat-spatial/eurosat/logreg/top1/1")
    ours = side_of(record, demo.results)
    theirs, notes = published_side(published, ours, None)
    told = explain(ours, theirs, notes=notes)
    assert told.values == (record.scores["top1"], pytest.approx(0.8837))
    assert told.unexplained == pytest.approx(told.difference)  # nothing of theirs can be run
    assert any("eurosat-spatial" in note for note in told.notes)
    assert any(note.startswith("synthetic data") for note in told.notes)
    with pytest.raises(UsageError, match="Did you mean T1/SeaMo"):
        find_published("T1/SeaMo/ViT-B/eurosat/finetune")
    of_others = next(one for one in demo_published() if one.dataset == "bigearthnet-v1")
    with pytest.raises(ProtocolError, match="is of bigearthnet-v1, not eurosat"):
        published_side(of_others, side_of(record, demo.results), None)


def demo_published():
    from seamo_bench.suites.published import load_published

    return load_published()


def test_what_a_published_number_was_made_with_is_run_and_the_rest_stays_unexplained(demo, monkeypatch):
    record = demo.made("rgb-statistics", store="eurosat", params={"C": 0.001}, fraction=0.5)
    monkeypatch.setattr(sides, "recipe_of", lambda *_: Row(store="eurosat", protocol="logreg", params={"C": 1.0}))
    published = replace(find_published("T1/SeaMo/ViT-B//eurosat/finetune/top1/1"), metric="top1")
    ours = side_of(record, demo.results)
    theirs, notes = published_side(published, ours, demo.bench)
    told = explain(ours, theirs, bench=demo.bench, notes=notes)
    again = demo.made("rgb-statistics", store="eurosat").scores["top1"]  # the recipe, run by hand
    assert {one.aspects[0].name for one in told.moved} == {"parameter C", "label fraction"}
    assert sum(one.effect for one in told.moved) == pytest.approx(again - record.scores["top1"])
    assert told.unexplained == pytest.approx(0.9937 - again)
    assert f"B, run here by its facts, is {again:.4f}, not 0.9937" in told.notes

    elsewhere = find_published("elsewhere/image-statistics//eurosat-spatial/eurosat/logreg/top1/1")
    theirs, notes = published_side(elsewhere, side_of(record, demo.results), demo.bench)
    assert [one.name for one in aspects_of(record.facts, theirs.facts)] == ["label fraction"]
    assert notes[0] == "its split, eurosat-spatial, is not that of ours"


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


def test_rows_of_two_tables_are_paired_and_equal_ones_left_out(toy, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, c in ((first, 1.0), (second, 0.01)):
        toy.made("image-statistics", store="toy", into=folder, params={"C": c})
        toy.made("image-statistics", store="toy", protocol="knn", into=folder)
        toy.made("image-statistics", store="toy", into=folder, fraction=0.5, seeds=2, params={"C": c})
    toy.made("pixel-values", store="toy", into=second)
    rows, alone = pairs_of(first, second, "nll")
    assert sorted(len(row) for row in rows) == [1, 2]
    assert {one.a.facts.protocol.id for row in rows for one in row} == {"logreg"}
    assert alone == ("only in B: pixel-values | toy | logreg, seed 0",)
    seeds = [explain(one.a, one.b) for one in max(rows, key=len)]
    mean = averaged(seeds)
    assert mean.a == "image-statistics | toy | logreg, mean of 2 seeds"
    assert mean.difference == pytest.approx(np.mean([one.difference for one in seeds]))
    assert [one.aspects[0].name for one in mean.moved] == ["parameter C"]
    assert mean.moved[0].effect == pytest.approx(mean.difference)
    assert averaged([seeds[0], replace(seeds[1], moved=())]) is None
    assert all(one.chance or one.no_chance for one in seeds)
    assert set(mean.records) == {key for one in seeds for key in one.keys}
    keep_explanation(first, mean, made_by="seamo-bench why first second --keep")
    records = read_records(first).records
    ((kept,),) = [one.rows for one in kept_explanations(first, records)]
    assert (kept.low, kept.no_interval) == (None, "it is the mean of 2 seeds, each of which has one of its own")
    gone = seeds[1].keys[0]  # the second seed is no less behind it than the first
    assert not kept_explanations(first, tuple(one for one in records if one.key != gone))
    with pytest.raises(UsageError, match="no record of it is there"):
        keep_explanation(tmp_path / "elsewhere", mean, made_by="seamo-bench why")


def test_a_number_without_a_paired_interval_says_why(toy, tmp_path):
    a, b = (toy.made("image-statistics", store="toy", params={"C": c}) for c in (1.0, 0.01))
    assert toy.why(a, b, runs=False).no_chance == ""
    assert toy.why(a, b, "top1", metric_b="nll", runs=False).no_chance == "the two are of different metrics"
    alone = replace(load_predictions(a, toy.results), units=np.full(len(load_predictions(a, toy.results).keys), "only"))
    for one, right in ((a, alone), (b, replace(alone, scores=1 - alone.scores))):
        write_record(tmp_path, one.facts, about=one.about, predictions=right)
    told = explain(*(side_of(read_record(tmp_path / f"{one.key}.json"), tmp_path) for one in (a, b)))
    assert told.no_chance == "one of scenes alone: no interval"
    assert "No paired interval of the difference: one of scenes alone" in to_text(told)


def test_a_kept_explanation_that_is_odd_is_left_out(tmp_path, caplog):
    whole = {
        "a": "A", "b": "B", "a_metric": "top1", "b_metric": "top1", "a_value": 0.5, "b_value": 0.6,
        "changes": [{"name": "unexplained", "effect": 0.1}], "explained": 0.0, "low": None, "high": None,
        "no_interval": "one scene", "how": "", "runs": 0, "would_run": ["A with B's split"], "notes": [],
    }  # fmt: skip
    record = write_record(
        tmp_path, make_facts(), about=About(stores=("Toy (synthetic)",), backbone="Mine"), predictions=predictions_of(1)
    )
    path = write_answer(
        tmp_path, Answer(KIND, VERSION, "seamo-bench why", {}, (record.key,), (KeptExplanation(**whole),))
    )
    assert kept_explanations(tmp_path, (record,))
    write_report(tmp_path, tmp_path / "r.html", resamples=50)
    page = (tmp_path / "r.html").read_text()
    assert "No paired interval of the difference: one scene." in page
    assert "Nothing was run for it; 1 run between the two would tell more" in page
    document = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "digest"}
    for odd in (
        {"low": 0.1}, {"a_value": "high"}, {"more": 1}, {"changes": [{"name": "C"}]}, {"a_metric": "gone"}
    ):  # fmt: skip
        path.write_bytes(seal_document(document | {"rows": [whole | odd]}))
        assert not kept_explanations(tmp_path, (record,)), odd
    write_report(tmp_path, tmp_path / "r.html", resamples=50)
    assert "Why two numbers differ</h2>" not in (tmp_path / "r.html").read_text()
    assert caplog.text.count(f"{path.name}: is no answer") == 6, caplog.text


def test_the_command(toy, call, here):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500})
    paths = [toy.results / f"{one.key}.json" for one in (a, b)]
    status, said = call("why", *paths, "--metric", "nll", "--json")
    assert status == 0, said
    (told,) = json.loads(said)
    assert told["difference"] == pytest.approx(b.scores["nll"] - a.scores["nll"])
    assert told["would_run"]
    words = ["--metric", "nll", "--stores", toy.stores, "-o", here / "why.png", "--threads", "1", "--device", "cpu"]
    status, said = call("why", str(paths[0])[:-50], paths[1], *words)
    assert status == 0, said
    assert "parameter C" in said
    assert "explain 100 % of the difference" in said
    assert (here / "why.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        ((paths[0], "nothing"), "no record, no folder of results and no published number"),
        ((here / "nothing", paths[1]), "is no record and no folder of results"),
        ((paths[0], toy.results), "so B must be one, or a published number"),
        ((toy.results, paths[1]), "so B must be one, too"),
        ((*paths, "--results", here / "x"), "which need --stores"),
        ((*paths, "--stores", toy.stores, "--results", toy.results), "Name a folder of its own"),
        ((*paths, "-o", "why.svg"), "is no .png"),
    ):
        status, said = call("why", *arguments)
        assert (status, message in said) == (2, True), said


def test_a_kept_explanation_is_a_waterfall_of_the_report(toy, call, here):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500})
    for one in (a, b):
        for name in (f"{one.key}.json", one.predictions.name):
            (here / "r").mkdir(exist_ok=True)
            (here / "r" / name).write_bytes((toy.results / name).read_bytes())
    words = ["why", f"r/{a.key}.json", f"r/{b.key}.json", "--metric", "nll", "--keep"]
    status, said = call(*words, "--stores", toy.stores, "--threads", "1", "--device", "cpu")
    assert status == 0, said
    ((kept,),) = [one.rows for one in kept_explanations(here / "r", (a, b))]
    assert kept.a_value + sum(one.effect for one in kept.changes) == pytest.approx(kept.b_value)
    assert (kept.a_value, kept.b_value) == (a.scores["nll"], b.scores["nll"])
    assert kept.changes[0].name == "parameter C"
    assert call("report", "r", "-o", "page.html")[0] == 0
    page = (here / "page.html").read_text("utf-8")
    told = page[page.index("Why two numbers differ</h2>") :]
    assert f"{b.scores['nll'] - a.scores['nll']:+.4f}" in told
    assert "1 -&gt; 0.01" in told or "1 -> 0.01" in told
    (here / "r" / f"{b.key}.json").unlink()  # it rests on a record that is gone
    assert call("report", "r", "-o", "page.html")[0] == 0
    assert "Why two numbers differ</h2>" not in (here / "page.html").read_text("utf-8")


def test_records_are_named_by_their_addresses(toy, call, here, bucket):
    records = [toy.made("image-statistics", store="toy", params={"C": c}) for c in (1.0, 0.01)]
    files = open_files(f"{bucket}/results")
    for one in records:
        for name in (f"{one.key}.json", one.predictions.name):
            files.put_once(name, (toy.results / name).read_bytes())
    there = [f"{bucket}/results/{one.key}.json" for one in records]
    for a, b in (there, (toy.results / f"{records[0].key}.json", there[1])):
        status, said = call("why", a, b, "--metric", "nll")
        assert (status, "parameter C" in said) == (0, True), said
    status, said = call("why", f"{bucket}/results", toy.results)
    assert (status, said.startswith("no row differs")) == (0, True), said
    assert not list(here.glob("tmp/seamo-*"))


def test_a_waterfall_begins_and_ends_at_the_numbers(toy):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    told = toy.why(a, toy.made("image-statistics", store="toy", params={"C": 0.01}), "nll", runs=False)
    steps = levels(told)
    assert steps[0][2] == told.values[0]
    assert steps[-2][2] == pytest.approx(told.values[1])
    assert [end for _, _, end in steps[:-2]] == pytest.approx([begin for _, begin, _ in steps[1:-1]])


def test_whether_chance_may_make_the_difference_is_what_compare_says(toy, tmp_path):
    c = {"image-statistics": 1.0, "pixel-values": 1.0}
    a, b = (toy.made(name, store="toy", into=tmp_path, params={"C": value}) for name, value in c.items())
    told = explain(side_of(a, tmp_path), side_of(b, tmp_path))
    (known,) = compare([a, b], tmp_path, *c)
    assert told.chance == pytest.approx((-known.difference.interval.high, -known.difference.interval.low))
    other = explain(side_of(a, tmp_path), side_of(b, tmp_path, "nll"))
    assert other.chance is None


def test_a_side_is_a_record_with_a_score(toy, tmp_path):
    a = toy.made("image-statistics", store="toy")
    failed = write_record(tmp_path, a.facts, about=a.about, status="failed", reason="it rained")
    with pytest.raises(ProtocolError, match="has no score, it is failed: it rained"):
        side_of(failed, tmp_path)
    assert find_record(tmp_path / failed.key[:10])[0].key == failed.key
    assert find_record(tmp_path / "zzz") is None
    other = Side(
        "x", "f1_positive", a.facts.model_copy(update={"task": a.facts.task.model_copy(update={"kind": "change"})})
    )
    with pytest.raises(ProtocolError, match="are scores of different tasks"):
        explain(side_of(a, toy.results), other)


def test_the_nearest_rows_belong_together_whichever_key_comes_first(toy, tmp_path):
    """Half of the labels has no partner: the whole one takes the row of another C, though its key may come later."""
    places = [tmp_path / name for name in "ab"]
    toy.made("image-statistics", into=places[0], store="toy")
    toy.made("image-statistics", into=places[0], store="toy", fraction=0.5)
    toy.made("image-statistics", into=places[1], store="toy", params={"C": 0.002})
    rows, alone = pairs_of(*places)
    ((pair,),) = rows
    assert pair.a.facts.split.fraction == pair.b.facts.split.fraction == 1.0
    assert len(alone) == 1
    assert alone[0].startswith("only in A")
