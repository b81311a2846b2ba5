"""Segmentation: the loss by hand, augmentation, rates, stitched scores against scikit-learn, plan, run and kills."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

import seamo_bench
from seamo.errors import ManifestError, ProtocolError, TrainingError, UsageError
from seamo.store.reader import open_store
from seamo_bench.network import Network
from seamo_bench.protocol import Context, silent
from seamo_bench.protocols import find_protocol, runner
from seamo_bench.protocols.dense import evaluation as _dense_evaluation
from seamo_bench.protocols.dense import seeds as _dense_run
from seamo_bench.protocols.dense import tiles as _dense
from seamo_bench.protocols.dense import training as _dense_training
from seamo_bench.records.record import load_predictions, read_records
from seamo_bench.runs.cells import Impossible
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Suite, load_suite
from seamo_bench.tasks.trials import labels_of, make_trials, task_facts
from tests.bench.dense_store import CLASSES, SCENE, STRIDE, TILE, dense_store, map_store, scene
from tests.bench.test_run import quiet, same
from tests.conftest import ROOT

torch.set_num_threads(1)
PIXELS = {"head": "linear", "frozen": True, "epochs": 8, "warmup": 0, "batch": 8, "base_lrs": (0.1,), "scale_lr": False}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    dense_store(root)
    return root


@pytest.fixture(scope="module")
def store(stores):
    return open_store(stores / "scenes")


def test_the_loss_by_hand_and_ignored_pixels_change_nothing():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 5))
    mask = rng.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.3] = 255
    weights = (0.5, 2.0, 1.0)
    log_chance = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    plain, smooth, weighted, total = [], [], 0.0, 0.0
    for b, y, x in np.argwhere(mask != 255):
        one, k = log_chance[b, :, y, x], mask[b, y, x]
        plain.append(-one[k])
        smooth.append(-(0.9 * one[k] + 0.1 * one.mean()))
        weighted += -weights[k] * one[k]
        total += weights[k]
    x, y = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(mask)
    assert _dense_training.dense_loss(x, y).item() == pytest.approx(np.mean(plain))
    assert _dense_training.dense_loss(x, y, smoothing=0.1).item() == pytest.approx(np.mean(smooth))
    assert _dense_training.dense_loss(x, y, weights=weights).item() == pytest.approx(weighted / total)
    _dense_training.dense_loss(x, y, smoothing=0.1).backward()
    assert (x.grad.abs().sum(dim=1)[y == 255] == 0).all()
    garbage = x.detach() + 100.0 * torch.randn(3).view(1, 3, 1, 1) * (y == 255)[:, None]
    assert _dense_training.dense_loss(garbage, y).item() == pytest.approx(np.mean(plain))


def test_a_batch_without_a_class_trains_nothing():
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = _dense_training.dense_loss(x, torch.full((1, 2, 2), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0.0
    assert (x.grad == 0).all()


def test_augmentation_moves_images_of_all_dates_and_sensors_with_their_mask():
    mask = torch.arange(36, dtype=torch.uint8).view(1, 6, 6).repeat(64, 1, 1)
    image = mask[:, None].float()
    dates = ({"s1": image, "s2": image.repeat(1, 2, 1, 1)}, {"s1": image + 100.0, "s2": image.repeat(1, 2, 1, 1)})
    moved, target = _dense_training.augment(dates, mask, {"flip": True, "rotate": True}, np.random.default_rng(0))
    assert torch.equal(moved[0]["s1"], target[:, None].float())
    assert torch.equal(moved[1]["s1"], target[:, None].float() + 100.0)
    assert torch.equal(moved[0]["s2"], target[:, None].repeat(1, 2, 1, 1).float())
    assert len({tuple(one.flatten().tolist()) for one in target}) == 8  # every flip and quarter turn of a square
    _, still = _dense_training.augment(dates, mask, {"flip": False, "rotate": False}, np.random.default_rng(0))
    assert torch.equal(still, mask)


def test_learning_rates_by_hand():
    class Net(Network):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Linear(2, 2)
            self.blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))

        def forward_features(self, _inputs):
            raise AssertionError("only its parameters count here")

    model = _dense.Segmenter(Net(), torch.nn.Linear(2, 3), "")
    params = {"frozen": False, "layer_decay": 0.5, "weight_decay": 0.05}
    groups = _dense_training._optimiser(model, 0.8, params).param_groups
    found = {id(one): (group["base_lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    assert found[id(model.head.weight)] == (0.8, 0.05)
    assert found[id(model.head.bias)] == (0.8, 0.0)
    assert found[id(model.network.blocks[1].weight)] == (0.8, 0.05)
    assert found[id(model.network.stem.weight)] == (0.2, 0.05)
    frozen = _dense_training._optimiser(model, 0.8, {**params, "frozen": True}).param_groups
    assert {id(one) for group in frozen for one in group["params"]} == {id(one) for one in model.head.parameters()}
    exponential = {"schedule": "exponential", "decay": 0.95, "warmup": 0}
    assert _dense_training._share(exponential, 2.7, 10) == pytest.approx(0.95**2)
    assert _dense_training._share({"schedule": "cosine", "warmup": 2}, 6.0, 10) == pytest.approx(0.5)


def test_single_spectra_are_learned_and_scores_are_those_of_the_scenes(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    result = seamo_bench.evaluate(backbone, store, "dense", params=PIXELS)[0]
    p = result.predictions
    assert p.keys.tolist() == p.units.tolist() == ["scene3", "scene5"]
    assert p.shapes.tolist() == [[SCENE, SCENE]] * 2
    assert result.scores["miou_present"] > 0.95
    truth = np.stack([scene(number, "segmentation", 3)[1] for number in (3, 5)])
    predicted = p.ids.reshape(2, SCENE, SCENE)
    there = truth != 255
    counts = confusion_matrix(truth[there], predicted[there], labels=range(3))
    np.testing.assert_array_equal(p.confusion.sum(axis=0), counts)
    assert result.scores["miou_present"] == pytest.approx(
        jaccard_score(truth[there], predicted[there], average="macro")
    )
    inner = result.scores["miou_present_no_background"]
    assert inner == pytest.approx(jaccard_score(truth[there], predicted[there], average="macro", labels=[1, 2]))
    assert p.tilewise.sum() == 2 * (9 * TILE * TILE - 3 * TILE * 2)  # nine tiles, two rows ignored in the upper three


def test_rates_side_by_side_are_trained_as_if_alone(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    weak = {**PIXELS, "epochs": 2}
    both = seamo_bench.evaluate(backbone, store, "dense", params={**weak, "base_lrs": (1e-5, 0.1)})[0]
    alone = seamo_bench.evaluate(backbone, store, "dense", params=weak)[0]
    assert both.chosen["base_lr"] == 0.1
    np.testing.assert_array_equal(both.predictions.ids, alone.predictions.ids)
    assert both.notes == ("the chosen learning rate 0.1 is the edge of the grid",)
    low = seamo_bench.evaluate(backbone, store, "dense", params={**weak, "base_lrs": (1e-5,)})[0]
    assert low.scores["miou_present"] < both.scores["miou_present"]


def test_a_rate_that_diverges_is_noted_and_never_chosen(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    params = {**PIXELS, "epochs": 2, "weight_decay": 0.0, "base_lrs": (math.inf, 0.1)}
    result = seamo_bench.evaluate(backbone, store, "dense", params=params)[0]
    assert result.chosen["base_lr"] == 0.1
    assert "1 of 2 learning rates diverged" in result.notes
    with pytest.raises(TrainingError, match="not finite"):
        seamo_bench.evaluate(backbone, store, "dense", params={**params, "base_lrs": (math.inf,)})


@pytest.mark.parametrize("frozen", [True, False])
def test_the_backbone_is_left_as_it_was_found(store, frozen):
    backbone = seamo_bench.load_backbone("resnet18", store=store, size=32)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    params = {
        "head": "upernet",
        "width": 8,
        "frozen": frozen,
        "epochs": 1,
        "warmup": 0,
        "batch": 8,
        "base_lrs": (1e-2,),
    }
    result = seamo_bench.evaluate(backbone, store, "dense", params=params)[0]
    assert result.predictions.confusion.sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items())
    assert not backbone.network.training


def test_a_u_net_from_scratch_sees_context(store):
    backbone = seamo_bench.load_backbone("unet", store=store, size=TILE)
    params = {**PIXELS, "frozen": False, "epochs": 5, "base_lrs": (0.01,), "layer_decay": 1.0}
    result = seamo_bench.evaluate(backbone, store, "dense", params=params)[0]
    assert result.scores["miou_present"] > 0.8
    x = torch.randn(1, 4, TILE, TILE)
    y = x.clone()
    y[..., 5, 5] += 1.0
    network = backbone.network
    moved = (network.forward_features({"s2": y}).levels[0] != network.forward_features({"s2": x}).levels[0]).any(dim=1)
    assert moved.sum() > 9


@pytest.mark.parametrize("head", ["linear", "upernet", "author"])
def test_one_training_tile_is_enough(store, head):
    backbone = seamo_bench.load_backbone("unet", store=store, size=TILE)
    params = {**PIXELS, "head": head, "width": 8, "frozen": False, "epochs": 1, "rotate": True}
    context = dense_context(store, backbone, "dense", params)
    alone = replace(context.splits[0][0], train=context.splits[0][0].train[:1])
    task = _dense.DenseTask(context, (backbone.adapter,), "", lambda _rows: None)
    (candidate,) = _dense_training.train(task, alone, (1e-3,), seed=0)
    assert not candidate.diverged
    wrong = _dense.DenseTask(
        replace(context, params={**context.params, "batch": 1}), task.adapters, "", lambda _r: None
    )
    with pytest.raises(ProtocolError, match="parameter batch"):
        _dense_training.train(wrong, context.splits[0][0], (1e-3,), seed=0)


def test_masks_of_another_grid_than_the_network_s(store):
    backbone = seamo_bench.load_backbone("unet", store=store, size=24)
    params = {**PIXELS, "frozen": False, "epochs": 1}
    result = seamo_bench.evaluate(backbone, store, "dense", params=params)[0]
    assert result.predictions.shapes.tolist() == [[SCENE, SCENE]] * 2


def test_an_unknown_head_is_named(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    with pytest.raises(UsageError, match="author, linear, upernet"):
        seamo_bench.evaluate(backbone, store, "dense", params={**PIXELS, "head": "unet"})


SUITE = """
id: small
rows:
  - {store: scenes, protocol: dense, fraction: 0.5, seeds: 2,
     params: {head: linear, frozen: true, epochs: 2, warmup: 0, batch: 8, base_lrs: [0.01, 0.1], scale_lr: false}}
  - {store: scenes, protocol: dense,
     params: {head: author, width: 8, frozen: false, epochs: 1, warmup: 0, batch: 8, base_lrs: [0.001]}, seeds: 1}
  - {store: scenes, protocol: change}
"""
BACKBONES = ("pixel-values", "image-statistics", "unet", "resnet18")


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "dense.yaml"
    path.write_text(SUITE)
    return str(path)


def cells_of(suite, places):
    return make_plan(load_suite(suite), BACKBONES, places)


@pytest.fixture(scope="module")
def results(tmp_path_factory, stores, suite):
    folder = tmp_path_factory.mktemp("results")
    places = Places(stores, folder, folder / "weights")
    for _ in run_plan(cells_of(suite, places), places, machine=Machine(), progress=quiet, inner=quiet):
        pass
    return folder


def test_plan_gives_sizes_and_reasons(tmp_path, stores, suite):
    cells = {
        (cell.backbone, cell.row.protocol, bool(cell.row.params.get("frozen"))): cell
        for cell in cells_of(suite, Places(stores, tmp_path, tmp_path))
    }
    assert cells["pixel-values", "dense", True].wiring.size is None
    assert cells["unet", "dense", False].wiring.size == (TILE, TILE)  # the card allows it
    assert cells["resnet18", "dense", False].wiring.size == (64, 64)  # multiples of 32 alone: the card's own
    reasons = {name: cell.reason for name, cell in cells.items() if cell.status == "impossible"}
    assert "nothing to train" in reasons["pixel-values", "dense", False]
    assert "no dense levels" in reasons["image-statistics", "dense", True]
    assert "trained from scratch" in reasons["unet", "dense", True]
    assert all("cannot run segmentation" in reasons[name, "change", False] for name in ("unet", "resnet18"))


def test_the_demo_budget_shrinks_large_tiles(tmp_path, stores, suite, monkeypatch):
    monkeypatch.setattr("seamo_bench.runs.plan.DEMO_SIDE", 8)
    places = Places(stores, tmp_path, tmp_path)
    sizes = {
        budget: [
            cell.wiring.size
            for cell in make_plan(load_suite(suite), ("unet",), places, budget)
            if not isinstance(cell, Impossible)
        ]
        for budget in ("demo", "full")
    }
    assert sizes == {"demo": [(8, 8)], "full": [(TILE, TILE)]}


def test_records_hold_what_was_run(results):
    records = [one for one in read_records(results).records if one.status == "ok"]
    found = sorted((one.facts.backbone.id, one.facts.seed) for one in records)
    assert found == [("pixel-values", 0), ("pixel-values", 1), ("resnet18", 0), ("unet", 0)]
    assert not [one for one in read_records(results).records if one.status == "failed"]
    for one in records:
        assert one.facts.task.background == 0
        assert one.facts.task.positive is None
        assert load_predictions(one, results).units.tolist() == ["scene3", "scene5"]
        assert one.cost.trainable_parameters
    halves = [one.facts.split for one in records if one.facts.backbone.id == "pixel-values"]
    assert halves[0].lists["train"] != halves[1].lists["train"]
    assert halves[0].lists["test"] == halves[1].lists["test"]


KILLED = """
import sys, torch
from pathlib import Path
from seamo_bench.runs.cells import Impossible
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
torch.set_num_threads(1)
def tell(done, total, what):
    print(what, flush=True)
suite, stores, results = sys.argv[1:]
places = Places(Path(stores), Path(results), Path(results) / "weights")
cells = make_plan(load_suite(suite), ("pixel-values", "image-statistics", "unet", "resnet18"), places)
for _ in run_plan(cells, places, machine=Machine(), progress=tell, inner=tell):
    print("record", flush=True)
"""


@pytest.mark.soak
def test_killed_in_training_and_started_again_gives_the_same_records(tmp_path, results, stores, suite):
    command = [sys.executable, "-c", KILLED, suite, str(stores), str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    seen = []
    for line in child.stdout:
        seen.append(line)
        if "record\n" in seen and "seed 1" in line:  # after the first record, inside the second seed
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    before = len(list(tmp_path.glob("*.npz")))
    places = Places(stores, tmp_path, tmp_path / "weights")
    for _ in run_plan(cells_of(suite, places), places, machine=Machine(), progress=quiet, inner=quiet):
        pass
    assert before == 1
    assert same(tmp_path) == same(results)


def test_two_classes_have_a_positive_one(tmp_path):
    water = dense_store(tmp_path, names=("no water", "water"), scenes=4)
    backbone = seamo_bench.load_backbone("pixel-values", store=water)
    result = seamo_bench.evaluate(backbone, water, "dense", params=PIXELS)[0]
    truth = scene(3, "segmentation", 2)[1]
    predicted = result.predictions.ids.reshape(SCENE, SCENE)
    there = truth != 255
    assert result.scores["iou_positive"] == pytest.approx(jaccard_score(truth[there], predicted[there]))
    assert result.scores["iou_positive"] > 0.9


def test_a_layer_of_class_ids_is_a_mask_in_its_own_label_space(tmp_path):
    store = map_store(tmp_path, without=("scene0/t00-00", "scene5/t16-16"))
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    context = dense_context(store, backbone, "dense", PIXELS, label_space="two")
    assert (context.task.kind, context.task.classes) == ("segmentation", CLASSES[:2])
    every = {str(store.index["key"].iloc[row]) for part in ("train", "val", "test") for row in store.rows(part)}
    trial = context.splits[0][0]
    used = {str(store.index["key"].iloc[row]) for part in (trial.train, trial.val, trial.test) for row in part}
    assert every - used == {"scene0/t00-00", "scene5/t16-16"}
    (outcome,) = runner("dense")(context)
    p = outcome.predictions
    assert p.keys.tolist() == ["scene3", "scene5"]
    truth = np.stack([scene(number, "segmentation", 3)[1] for number in (3, 5)])
    truth[1, 16 + STRIDE :, 16 + STRIDE :] = 255  # shown by the tile alone that lacks its map
    there = truth < 2
    counts = confusion_matrix(truth[there], p.ids.reshape(2, SCENE, SCENE)[there], labels=range(2))
    np.testing.assert_array_equal(p.confusion.sum(axis=0), counts)
    assert np.trace(counts) > 0.95 * counts.sum()
    with pytest.raises(ManifestError, match="no layer 'map'"):
        task_facts(build_without_map(tmp_path / "bare"), "official", "codes")


def build_without_map(root):
    whole = map_store(root)
    whole.meta = whole.meta.model_copy(update={"spec": whole.spec.only_layers(("s2",))})
    return whole


def test_the_plan_runs_a_second_task_by_its_label_space(tmp_path):
    map_store(tmp_path / "stores")
    rows = [
        {"store": "mapped", "protocol": "dense", "params": PIXELS, "label_space": space} for space in ("two", "own")
    ]
    suite = Suite.model_validate({"id": "x", "rows": [*rows, {"store": "mapped", "protocol": "knn"}]})
    mapped, sets, knn = make_plan(suite, ["pixel-values"], Places(tmp_path / "stores", tmp_path, tmp_path))
    assert (mapped.status, sets.status, knn.status) == ("will run", "impossible", "will run")
    assert "cannot run multi-label" in sets.reason
    assert mapped.facts[0].task.kind == "segmentation"
    assert mapped.facts[0].split == knn.facts[0].split  # the same samples in both tasks


def test_validation_counts_each_pixel_of_a_scene_once(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    context = dense_context(store, backbone, "dense", {**PIXELS, "epochs": 1, "base_lrs": (1e-5, 0.1)})
    task = _dense.DenseTask(context, (backbone.adapter,), "", lambda _rows: None)
    candidates = _dense_training.train(task, context.splits[0][0], (1e-5, 0.1), seed=0)
    rows = context.splits[0][0].val
    merits = _dense_evaluation.validate(task, candidates, rows)
    for candidate, (metric, _) in zip(candidates, merits, strict=True):
        found = _dense_evaluation.test(task, candidate.model, rows)  # val as if it were the test
        assert found.confusion.sum() == SCENE * (SCENE - 2)
        assert found.tilewise.sum() > found.confusion.sum()
        truth = scene(2, "segmentation", 3)[1]
        there = truth != 255
        want = jaccard_score(truth[there], found.ids.reshape(SCENE, SCENE)[there], average="macro")
        assert metric == pytest.approx(want)


def test_confusions_do_not_depend_on_the_order_of_test_rows(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    whole = seamo_bench.evaluate(backbone, store, "dense", params={**PIXELS, "epochs": 1})[0].predictions
    context = dense_context(store, backbone, "dense", {**PIXELS, "epochs": 1})
    task = _dense.DenseTask(context, (backbone.adapter,), "", lambda _rows: None)
    (candidate,) = _dense_training.train(task, context.splits[0][0], (0.1,), seed=0)
    mixed = np.random.default_rng(0).permutation(context.splits[0][0].test)
    found = _dense_evaluation.test(task, candidate.model, mixed)
    order = np.argsort(found.keys)
    np.testing.assert_array_equal(found.confusion[order], whole.confusion)


def dense_context(store, backbone, protocol, params, label_space=""):
    """What a protocol is given, outside of a run."""
    task = task_facts(store, "official", label_space)
    labels = labels_of(store, task)
    trials = make_trials(store, labels, scheme="official", fraction=1.0, salt=0, budget="full")
    return Context(
        task=task,
        backbone=backbone,
        store=store,
        labels=labels,
        features=lambda rows: np.empty((len(rows), 0), np.float32),
        splits={0: trials},
        params={**find_protocol(protocol).defaults, **params},
        budget="full",
        precision="fp32",
        device=torch.device("cpu"),
        progress=silent,
    )


def test_images_of_varying_size_are_refused_before_anything_runs(store):
    backbone = seamo_bench.load_backbone("pixel-values", store=store)
    context = dense_context(store, backbone, "dense", {**PIXELS, "epochs": 1})
    layers = tuple(one.model_copy(update={"size": None}) for one in store.spec.layers)

    class Varying:
        spec = store.spec.model_copy(update={"layers": layers})
        title = store.title

    task = _dense.DenseTask(replace(context, store=Varying()), (backbone.adapter,), "", lambda _rows: None)
    with pytest.raises(ProtocolError, match="varying size"):
        next(_dense_run.run_task(task))
