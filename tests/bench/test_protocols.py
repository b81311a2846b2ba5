"""Protocols: against plain training, scikit-learn used directly, brute force, and numbers worked out by hand."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import seamo_bench
from seamo_bench.network import Network
from seamo_bench.protocols import _layers, finetune, knn, linear, logreg
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
    heads = linear.train_heads(
        features, labels, orders, num_classes=3, settings=settings, init=init, batch=16, epochs=4, momentum=0.9
    )
    for s in range(2):
        scores = heads.scores(features, s)
        for g, (lr, wd) in enumerate(settings):
            model = plain_probe(features, labels, orders[s], init[s], lr, wd, batch=16, momentum=0.9)
            torch.testing.assert_close(scores[g], model(features), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(heads.scores(features, s, g), scores[g], rtol=1e-5, atol=1e-6)


def test_logreg_is_scikit_learn():
    x, y = data()
    train, test = np.arange(50), np.arange(50, 70)
    mean, std = x[train].astype(np.float64).mean(0), x[train].astype(np.float64).std(0)
    model = LogisticRegression(C=1.0, max_iter=2000).fit((x[train] - mean) / std, y[train])
    want = model.predict_proba((x[test] - mean) / std)
    got, converged = logreg.fit_scores(x[train], y[train], x[test], num_classes=4, C=1.0, max_iter=2000)
    np.testing.assert_allclose(got[:, :3], want, atol=1e-4)
    assert converged
    assert (got[:, 3] == 0).all()  # a class that training never saw


def test_logreg_keeps_constant_classes_of_a_multi_label_task():
    x, y = data()
    hot = np.stack([y == 0, np.ones(70, bool), np.zeros(70, bool)], axis=1).astype(np.uint8)
    got, _ = logreg.fit_scores(x, hot, x, num_classes=3, C=1.0, max_iter=2000)
    assert (got[:, 1] == 1).all()
    assert (got[:, 2] == 0).all()
    assert ((got[:, 0] > 0.5) == (y == 0)).mean() > 0.8


def test_knn_against_brute_force():
    x, y = data(n=40)
    test = data(n=9, seed=5)[0]
    got = knn.vote(torch.from_numpy(x), torch.eye(3)[y], torch.from_numpy(test), k=5, temperature=0.07).numpy()
    for i, row in enumerate(test):
        cosine = [float(row @ other / np.linalg.norm(row) / np.linalg.norm(other)) for other in x]
        near = sorted(range(40), key=lambda j: -cosine[j])[:5]
        votes = np.zeros(3)
        for j in near:
            votes[y[j]] += math.exp(cosine[j] / 0.07)
        np.testing.assert_allclose(got[i], votes / votes.sum(), atol=1e-4)


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
    params = {"epochs": 20} if protocol == "linear" else {}
    result = seamo_bench.evaluate(backbone, store, protocol, params=params)[0]
    name, chance = ("top1", 0.34) if kind == "single-label" else ("macro_ap", 0.5)
    assert result.scores[name] > chance + 0.3
    assert set(result.predictions.keys) == {store.index["key"][row] for row in store.rows("test")}


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
