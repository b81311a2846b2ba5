"""Protocols: against plain training, scikit-learn used directly, brute force, and numbers worked out by hand."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import seamo_bench
from seamo.errors import ProtocolError
from seamo_bench.facts import TaskFacts
from seamo_bench.features.parts import read_parts, write_part
from seamo_bench.features.table import FeatureTable
from seamo_bench.network import Network
from seamo_bench.predictions import probabilities
from seamo_bench.protocol import Context, Split, silent
from seamo_bench.protocols import _layers, _source, find_protocol, runner
from seamo_bench.protocols.finetune import training as finetune
from seamo_bench.protocols.knn import votes as knn
from seamo_bench.protocols.linear import grid as linear
from seamo_bench.protocols.logreg import fits as logreg
from tests.bench.bench_store import toy_store

torch.set_num_threads(1)


def data(n=70, d=6, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = rng.normal(size=(n, d)) + np.eye(k, d)[y] * 2
    return x.astype(np.float32), y


def plain_probe(x, y, orders, init, lr, wd, *, batch, momentum):
    """One setting at a time, with torch's own layers, optimiser and gradients."""
    head = nn.Linear(x.shape[1], init.shape[1])
    norm = nn.BatchNorm1d(x.shape[1], affine=False)
    with torch.no_grad():
        head.weight.copy_(init.T)
        head.bias.zero_()
    groups = [{"params": [head.weight], "weight_decay": wd}, {"params": [head.bias], "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=lr, momentum=momentum)
    loss_of = nn.CrossEntropyLoss() if y.ndim == 1 else nn.BCEWithLogitsLoss()
    steps = orders.shape[1] // batch
    total = len(orders) * steps
    for step in range(total):
        chosen = orders[step // steps, (step % steps) * batch : (step % steps + 1) * batch]
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / total))
        optimiser.zero_grad()
        loss_of(head(norm(x[chosen])), y[chosen]).backward()
        optimiser.step()
    norm.eval()
    return lambda z: head(norm(z)).detach()


@pytest.mark.parametrize("multi", [False, True])
def test_linear_trains_the_grid_as_if_one_setting_at_a_time(multi):
    x, y = data()
    settings = list(product((0.01, 0.3), (0.0, 0.01)))
    features = torch.from_numpy(x)
    labels = torch.from_numpy(np.eye(3, dtype=np.float32)[y]) if multi else torch.from_numpy(y)
    rng = np.random.default_rng(1)
    orders = torch.from_numpy(np.stack([[rng.permutation(70)[:60] for _ in range(4)] for _ in range(2)]))
    init = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0)) * 0.01
    chosen = [orders[:, epoch, start : start + 16] for epoch in range(4) for start in (0, 16, 32)]
    heads = linear.train_heads(
        [(features[one], labels[one]) for one in chosen], steps=12, settings=settings, init=init, momentum=0.9
    )
    for s in range(2):
        scores = heads.scores(features, s, slice(0, 4))
        for g, (lr, wd) in enumerate(settings):
            model = plain_probe(features, labels, orders[s], init[s], lr, wd, batch=16, momentum=0.9)
            torch.testing.assert_close(scores[g], model(features), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(heads.scores(features, s, slice(g, g + 1))[0], scores[g], rtol=1e-5, atol=1e-6)
            head = heads.affine(s, g)
            np.testing.assert_allclose(x @ head["weight"] + head["bias"], scores[g], rtol=1e-4, atol=1e-5)


def test_every_seed_sees_each_of_its_samples_once_an_epoch():
    x, y = data(n=40)
    own = [np.arange(0, 33), np.arange(7, 40)]
    found = list(linear.batches(array_source(x), y, own, seeds=(3, 4), steps=7, batch=10))
    assert len(found) == 7
    assert [tuple(one.shape) for one in found[0]] == [(2, 10, 6), (2, 10)]
    where = {row.tobytes(): position for position, row in enumerate(x)}
    for s in range(2):
        rng = np.random.default_rng([3 + s, 0])
        for epoch in range(2):
            part = found[3 * epoch : 3 * epoch + 3]
            seen = [where[row.tobytes()] for features, _ in part for row in features[s].numpy()]
            assert seen == rng.permutation(own[s])[:30].tolist()
            assert [int(label) for _, labels in part for label in labels[s]] == y[seen].tolist()


def test_fewer_samples_are_trained_for_as_many_steps():
    x, y = data(n=40)
    few = list(linear.batches(array_source(x), y, [np.arange(4)], seeds=(0,), steps=9, batch=10))
    assert [tuple(one.shape) for one, _ in few] == [(1, 4, 6)] * 9


class Table:
    """An array in the place of a cache on disk."""

    def __init__(self, array):
        self.array, self.width, self.nbytes = array, array.shape[1], array.nbytes

    def __len__(self):
        return len(self.array)

    def read(self):
        return self.array

    def take(self, positions):
        return self.array[positions]

    def blocks(self, size):
        return (self.array[start : start + size] for start in range(0, len(self), size))


def array_source(array, block=0):
    """Held on the device; with `block`, read again each time, so many rows at a time."""
    table, device = Table(array), torch.device("cpu")
    if not block:
        return _source.held(table, device)

    class Short(_source.FeatureSource):
        def blocks(self, size=0):
            del size
            return _source.ahead(torch.from_numpy(one) for one in table.blocks(block))

    return Short(table, device)


def fit(x, y, k, block=0, C=1.0, **options):
    return paths(x, y, k, [C], block, **options)[0]


def paths(x, y, k, penalties, block=0, max_iter=2000):
    source = array_source(x, block)
    return logreg.fit(source, y, num_classes=k, penalties=penalties, max_iter=max_iter, progress=lambda _: None)


def scikit(x, y, test, C=1.0):
    """Probabilities of scikit-learn's logistic regression, run until nothing moves any more."""
    mean, std = x.astype(np.float64).mean(0), x.astype(np.float64).std(0)
    model = LogisticRegression(C=C, max_iter=20000, tol=1e-9).fit((x - mean) / std, y)
    return model.predict_proba((test - mean) / std)


@pytest.mark.parametrize(("n", "d", "classes"), [(90, 6, 3), (30, 80, 3), (90, 6, 2)])
@pytest.mark.parametrize("block", [0, 37])
def test_logreg_is_scikit_learn(monkeypatch, n, d, classes, block):
    x, y = data(n=n + 20, d=d, k=classes)
    x = x * np.linspace(0.01, 50, d, dtype=np.float32) + 30  # scales that standardisation must take off
    if block:
        monkeypatch.setattr(_source, "MEMORY", 0)
    test = torch.from_numpy(x[n:])
    found = fit(x[:n], y[:n], classes + 1, block, C=2.0)
    want = scikit(x[:n], y[:n], x[n:], C=2.0)
    got = found.probabilities(test, multi=False).numpy()
    assert found.converged
    np.testing.assert_allclose(got[:, :classes], want, atol=1e-4)
    assert (got[:, classes] == 0).all()  # a class that training never saw
    head = found.head()
    logits = torch.from_numpy(x[n:] @ head["weight"] + head["bias"])
    np.testing.assert_allclose(logits.softmax(dim=1), got, atol=1e-3)
    assert not fit(x[:n], y[:n], classes, block, max_iter=1).converged


def test_a_penalty_after_another_ends_where_it_ends_alone():
    x, y = data(n=60, d=80)
    together = paths(x, y, 3, [1e-3, 0.1, 10.0])
    for own, C in zip(together, [1e-3, 0.1, 10.0], strict=True):
        test = torch.from_numpy(x)
        alone = scikit(x, y, x, C=C)
        np.testing.assert_allclose(own.probabilities(test, multi=False), alone, atol=1e-4)


@pytest.mark.parametrize("block", [0, 32])
def test_logreg_fits_every_class_of_a_multi_label_task(monkeypatch, block):
    x, y = data(n=100)
    rare = np.random.default_rng(0).random(100) < 0.1
    hot = np.stack([y == 0, np.ones(100, bool), rare, np.zeros(100, bool)], axis=1).astype(np.uint8)
    if block:
        monkeypatch.setattr(_source, "MEMORY", 0)
    found = fit(x[:80], hot[:80], 4, block)
    got = found.probabilities(torch.from_numpy(x[80:]), multi=True).numpy()
    for k in (0, 2):
        np.testing.assert_allclose(got[:, k], scikit(x[:80], hot[:80, k], x[80:])[:, 1], atol=1e-4)
    assert (got[:, 1] == 1).all()
    assert (got[:, 3] == 0).all()
    head = found.head()
    logits = torch.from_numpy(x[80:] @ head["weight"] + head["bias"])
    np.testing.assert_allclose(logits.sigmoid(), got, atol=1e-4)


def test_one_class_and_constant_features_are_no_trouble():
    x, y = data()
    x[:, 2] = 3.0
    assert np.isfinite(fit(x, y, 3).head()["weight"]).all()
    alone = fit(x, np.full(70, 2), 3).probabilities(torch.from_numpy(x), multi=False)
    assert (alone[:, 2] == 1).all()


@pytest.mark.parametrize("block", [40, 7])
def test_knn_against_brute_force(block):
    x, y = data(n=40)
    test = data(n=9, seed=5)[0]
    near, where = knn.nearest(
        (torch.from_numpy(x[s : s + block]) for s in range(0, 40, block)), torch.from_numpy(test), 5
    )
    got = knn.vote(near, torch.eye(3)[y][where], 0.07).numpy()
    for i, row in enumerate(test):
        cosine = [float(row @ other / np.linalg.norm(row) / np.linalg.norm(other)) for other in x]
        order = sorted(range(40), key=lambda j: -cosine[j])[:5]
        assert where[i].tolist() == order
        votes = np.zeros(3)
        for j in order:
            votes[y[j]] += math.exp(cosine[j] / 0.07)
        np.testing.assert_allclose(got[i], votes / votes.sum(), atol=1e-4)


def test_moments_of_blocks_are_those_of_all_rows():
    x = (np.random.default_rng(0).normal(size=(50, 4)) * 3 + [0, 1e4, -5, 2]).astype(np.float32)
    mean, std = _source.moments(torch.from_numpy(x[start : start + 16]) for start in range(0, 50, 16))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, x.astype(np.float64).std(0), rtol=1e-9)


def test_schedule_and_layers_by_hand():
    assert finetune.factor(0.5, 10, 2.0) == 0.25
    assert finetune.factor(2.0, 10, 2.0) == 1.0
    assert finetune.factor(6.0, 10, 2.0) == pytest.approx(0.5)
    names = ["stem.weight", "stages.0.blocks.0.w", "stages.0.blocks.1.w", "stages.1.blocks.0.w", "norm.bias"]
    assert list(_layers.layer_ids(names).values()) == [0, 1, 2, 3, 4]


def test_layer_decay_and_weight_decay_of_every_parameter():
    class Net(Network):
        def __init__(self):
            super().__init__()
            self.stem = nn.Linear(2, 2)
            self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
            self.norm = nn.LayerNorm(2)

        def forward_features(self, _inputs):
            raise AssertionError("only its parameters count here")

    model = finetune.Classifier(Net(), 2, 3)
    groups = finetune.parameter_groups(model, weight_decay=0.05, decay=0.5)
    found = {id(p): (group["scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(model.parameters()))
    assert found[id(model.head.weight)] == (1.0, 0.05)
    assert found[id(model.head.bias)] == (1.0, 0.0)
    assert found[id(model.network.norm.weight)] == (1.0, 0.0)
    assert found[id(model.network.blocks[1].weight)] == (0.5, 0.05)
    assert found[id(model.network.stem.weight)] == (0.125, 0.05)


class Settings:
    def __init__(self, kind="single-label", **params):
        self.params = {"flip": False, "mixup": 0.0, "cutmix": 0.0, **params}
        self.task = type("Task", (), {"kind": kind, "classes": ("a", "b")})()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_mixes_pixels_and_targets_in_one_proportion(name):
    x = torch.stack([torch.zeros(1, 10, 10), torch.ones(1, 10, 10)])
    target = torch.eye(2)
    for seed in range(5):
        inputs, mixed = finetune.augment({"s2": x}, target, Settings(**{name: 1.0}), np.random.default_rng(seed))
        torch.testing.assert_close(inputs["s2"].mean(dim=(1, 2, 3)), mixed[:, 1])  # the share of ones in each image
        torch.testing.assert_close(mixed.sum(dim=1), torch.ones(2))
    same, kept = finetune.augment({"s2": x}, target, Settings("multi-label", **{name: 1.0}), np.random.default_rng(0))
    assert torch.equal(same["s2"], x)
    assert torch.equal(kept, target)


def test_flips_hit_all_sensors_alike():
    x = torch.arange(16.0).view(1, 1, 4, 4).repeat(8, 1, 1, 1)
    flipped, _ = finetune.augment(
        {"s1": x, "s2": x}, torch.eye(2).repeat(4, 1), Settings(flip=True), np.random.default_rng(0)
    )
    assert torch.equal(flipped["s1"], flipped["s2"])
    assert not torch.equal(flipped["s1"], x)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("stores"))


@pytest.mark.parametrize("protocol", ["linear", "logreg", "knn"])
@pytest.mark.parametrize("kind", ["single-label", "multi-label"])
def test_frozen_protocols_learn_the_toy_classes(tmp_path, store, kind, protocol):
    if kind == "multi-label":
        store = toy_store(tmp_path, kind=kind)
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    params = {"steps": 50} if protocol == "linear" else {}
    result = seamo_bench.evaluate(backbone, store, protocol, params=params)[0]
    name, chance = ("top1", 0.34) if kind == "single-label" else ("macro_ap", 0.5)
    assert result.scores[name] > chance + 0.3
    assert set(result.predictions.keys) == {store.index["key"][row] for row in store.rows("test")}


@pytest.fixture
def context(tmp_path, monkeypatch):
    """A context of 150 samples in parts of 32, and in memory: `context(protocol, memory, **params)`."""
    x, y = data(n=150)
    for start in range(0, 150, 32):
        write_part(tmp_path, np.arange(start, min(start + 32, 150)), x[start : start + 32])
    parts = read_parts(tmp_path, 150)
    rows = np.random.default_rng(0).permutation(150)
    splits = {s: (Split(np.sort(rows[s : 90 + s]), rows[100:125], rows[125:]),) for s in range(2)}

    def make(name, memory, **params):
        monkeypatch.setattr(_source, "MEMORY", memory)
        return Context(
            task=TaskFacts(kind="single-label", classes=("a", "b", "c")),
            backbone=None,
            store=SimpleNamespace(index=pd.DataFrame({"key": [f"s{row}" for row in range(150)]})),
            labels=y,
            features=lambda rows: FeatureTable(parts.files, parts.where[rows], parts.width),
            splits=splits,
            params={**find_protocol(name).defaults, **params},
            budget="full",
            precision="fp32",
            device=torch.device("cpu"),
            progress=silent,
        )

    make.x = x
    make.splits = splits
    return make


@pytest.mark.parametrize(("name", "params"), [("linear", {"steps": 6, "batch": 40}), ("logreg", {}), ("knn", {})])
def test_nothing_depends_on_whether_features_fit_into_memory(monkeypatch, context, name, params):
    fits = list(runner(name)(context(name, 2**20, **params)))
    monkeypatch.setattr(linear, "_SCORES", 1)  # one setting at a time
    read = list(runner(name)(context(name, 0, **params)))
    for one, other in zip(fits, read, strict=True):
        assert one.chosen == other.chosen
        if name == "logreg":
            np.testing.assert_allclose(one.predictions.scores, other.predictions.scores, atol=1e-4)
        else:
            np.testing.assert_array_equal(one.predictions.scores, other.predictions.scores)


def grid_search(x, y, held_out, grid):
    """The C of scikit-learn's models that does best on rows that were held out: by hits, then by log loss."""
    found = []
    for C in grid:
        parts = [(scikit(x[rows], y[rows], x[tried], C=C), y[tried]) for rows, tried in held_out]
        own, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        hits = (own.argmax(axis=1) == labels).mean()
        found.append((hits, np.log(own[np.arange(len(labels)), labels]).mean()))
    return grid[max(range(len(grid)), key=found.__getitem__)], max(found)[0]


def test_logreg_chooses_its_penalty_on_validation_as_a_search_by_hand(context):
    grid = find_protocol("logreg").defaults["C"]
    made = context("logreg", 2**20)
    x, y = context.x, made.labels
    for outcome in runner("logreg")(made):
        (trial,) = context.splits[outcome.seed]
        C, hits = grid_search(x, y, [(trial.train, trial.val)], grid)
        assert dict(outcome.chosen) == {"C": C, "validation": pytest.approx(hits)}
        want = scikit(x[trial.train], y[trial.train], x[trial.test], C=C)
        np.testing.assert_allclose(outcome.predictions.scores, want, atol=1e-4)
    for outcome in runner("logreg")(context("logreg", 2**20, C=1.0)):
        (trial,) = context.splits[outcome.seed]
        want = scikit(x[trial.train], y[trial.train], x[trial.test])
        np.testing.assert_allclose(outcome.predictions.scores, want, atol=1e-4)
        assert not outcome.chosen


def test_logreg_chooses_its_penalty_on_training_folds_in_cross_validation(context):
    folds = np.array_split(np.random.default_rng(1).permutation(150), 3)
    trials = [
        Split(np.setdiff1d(np.arange(150), fold), np.empty(0, int), np.sort(fold), 0, at)
        for at, fold in enumerate(folds)
    ]
    other = [Split(one.train, one.val, one.test, 1, one.fold) for one in trials]  # another repeat is none of its folds
    grid = (1e-3, 0.1, 10.0)
    made = replace(context("logreg", 2**20, C=grid), splits={0: (*trials, *other)})
    (outcome,) = runner("logreg")(made)
    x, y = context.x, made.labels
    want, chosen, merits = [], Counter(), []
    for at, trial in enumerate(trials):
        rest = [np.sort(fold) for number, fold in enumerate(folds) if number != at]
        C, hits = grid_search(x, y, [(np.setdiff1d(trial.train, fold), fold) for fold in rest], grid)
        chosen[C] += 2
        merits.append(hits)  # of the training folds alone
        want.append(scikit(x[trial.train], y[trial.train], x[trial.test], C=C))
    np.testing.assert_allclose(outcome.predictions.scores, np.concatenate(want * 2), atol=1e-4)
    assert outcome.chosen["validation"] == pytest.approx(np.mean(merits))
    assert outcome.chosen["C"] == ", ".join(f"{C:g} ({chosen[C]} x)" for C in grid if chosen[C])
    lonely = replace(made, splits={0: (replace(trials[0], repeat=-1, fold=-1),)})
    with pytest.raises(ProtocolError, match="neither validation rows nor folds to choose C on"):
        list(runner("logreg")(lonely))


@pytest.mark.parametrize(("name", "params"), [("linear", {"steps": 6, "batch": 40}), ("logreg", {})])
def test_the_kept_head_gives_the_stored_scores(context, name, params):
    for one in runner(name)(context(name, 2**20, **params)):
        features = context.x[context.splits[one.seed][0].test]
        assert one.head["weight"].dtype == np.float32
        logits = torch.from_numpy(features @ one.head["weight"] + one.head["bias"]).softmax(dim=1)
        np.testing.assert_allclose(logits, probabilities(one.predictions), atol=1e-5)


def test_cross_validation_tests_every_sample_once_a_repeat(store):
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    found = seamo_bench.evaluate(backbone, store, "knn", split="cv5x5")[0].predictions
    for repeat in range(5):
        assert sorted(found.keys[found.repeats == repeat]) == sorted(store.index["key"])
    parts = {(r, f) for r, f in zip(found.repeats.tolist(), found.folds.tolist(), strict=True)}
    assert len(parts) == 25


def test_finetuning_learns_and_leaves_the_backbone_alone(store):
    backbone = seamo_bench.load_backbone("resnet18", store=store, size=32)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    params = {"epochs": 8, "warmup": 1, "batch": 16, "base_lrs": (0.02,), "mixup": 0.0, "cutmix": 0.0, "flip": False}
    result = seamo_bench.evaluate(backbone, store, "finetune", params={**params, "layer_decay": 1.0})[0]
    assert result.scores["top1"] > 0.6
    assert all(torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items())
