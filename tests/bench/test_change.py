"""Change detection: what a difference is, which date is read, weights counted by hand, scores per image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import seamo_bench
from seamo.errors import ProtocolError
from seamo_bench.network import Features, Network
from seamo_bench.protocols.change import dates as change
from seamo_bench.protocols.dense import tiles as _dense
from seamo_bench.protocols.dense import training as _dense_training
from tests.bench.dense_store import SCENE, dense_samples, dense_spec, dense_store, scene, write_store
from tests.bench.test_dense import PIXELS, dense_context

torch.set_num_threads(1)
NAMES = ("no change", "change")
LEARN = {**PIXELS, "difference": "absolute", "flip": True}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return dense_store(tmp_path_factory.mktemp("stores"), kind="change", names=NAMES)


@pytest.fixture(scope="module")
def backbone(store):
    return seamo_bench.load_backbone("pixel-values", store=store)


class Toy(Network):
    """Two levels of a little network with batch norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)

    def forward_features(self, inputs):
        x = self.norm(self.conv(inputs["s2"]))
        return Features(x.mean(dim=(2, 3)), (x, nn.functional.avg_pool2d(x, 2)))


def test_signed_is_antisymmetric_and_absolute_symmetric_in_the_dates():
    network = Toy().eval()
    first, second = ({"s2": torch.randn(3, 4, 8, 8)} for _ in range(2))
    there = _dense.levels_of(network, (first, second), "signed")
    back = _dense.levels_of(network, (second, first), "signed")
    own = [network.forward_features(one).levels for one in (first, second)]
    for a, b, before, after in zip(there, back, *own, strict=True):
        torch.testing.assert_close(a, after - before)
        torch.testing.assert_close(a, -b)
    for a, b, c in zip(
        _dense.levels_of(network, (first, second), "absolute"),
        _dense.levels_of(network, (second, first), "absolute"),
        there,
        strict=True,
    ):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c.abs())
    same = _dense.levels_of(network, (first, first), "signed")
    assert all((level.abs() < 1e-6).all() for level in same)


def test_both_dates_are_read_each_in_its_place(store, backbone):
    first, second = change.both_dates(dense_context(store, backbone, "change", LEARN))
    batch = next(iter(store.loader("test", 4)))
    pixels = batch.layers["s2"].float()
    mean, std = (
        np.array([one[name] for one in store.meta.statistics["train"]["s2"].values()]) for name in ("mean", "std")
    )
    for date, adapter in enumerate((first, second)):
        want = (pixels[:, date] - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
        torch.testing.assert_close(adapter(batch)["s2"].double(), want, atol=1e-4, rtol=1e-4)
    assert backbone.adapter.wiring.dates == (0, 1)
    assert backbone.adapter.wiring.resampling() == "dates 0 and 1, then not resized"


def test_weights_by_hand(store, backbone, monkeypatch):
    context = dense_context(store, backbone, "change", LEARN)
    rows = store.rows("train")
    masks = np.stack([store.read_layer(int(row), "label") for row in rows])
    p = (masks == 1).sum() / (masks != 255).sum()
    assert change.change_weights(context, rows) == pytest.approx((20 * p, 2 * (1 - p)))
    three = replace(context, task=context.task.model_copy(update={"positive": None, "classes": ("a", "b", "c")}))
    with pytest.raises(ProtocolError, match="two classes"):
        change.change_weights(three, rows)
    monkeypatch.setattr(change, "mask_of", lambda batch: torch.zeros_like(batch.mask))
    with pytest.raises(ProtocolError, match="no training tile shows a change"):
        change.change_weights(context, rows)


def test_change_is_learned_and_scored_per_scene_and_pooled(store, backbone):
    result = seamo_bench.evaluate(backbone, store, "change", params=LEARN)[0]
    truth = np.stack([scene(number, "change", 2)[1] for number in (3, 5)])
    predicted = result.predictions.ids.reshape(2, SCENE, SCENE)
    there = truth != 255
    hit, wrong = ((truth == 1) & (predicted == 1) & there), (truth != predicted) & there
    hits, wrongs = hit.sum(axis=(1, 2)), wrong.sum(axis=(1, 2))
    assert result.scores["f1_positive"] == pytest.approx(2 * hits.sum() / (2 * hits.sum() + wrongs.sum()))
    assert result.scores["iou_positive"] == pytest.approx(hits.sum() / (hits.sum() + wrongs.sum()))
    assert result.scores["f1_positive_per_image"] == pytest.approx(np.mean(2 * hits / (2 * hits + wrongs)))
    assert result.scores["f1_positive"] > 0.9
    assert result.predictions.units.tolist() == ["scene3", "scene5"]


def test_weights_move_the_balance_of_the_classes(store, backbone):
    # Signed differences of single pixels point every way: a linear head can only weigh its errors.
    params = {**LEARN, "difference": "signed"}
    shares = {}
    for weights in ("change-share", "none"):
        result = seamo_bench.evaluate(backbone, store, "change", params={**params, "class_weights": weights})[0]
        shares[weights] = result.predictions.confusion[:, :, 1].sum() / result.predictions.confusion.sum()
    # Half of the pixels change here: 20 p = 10 for no change, 2 (1 - p) = 1 for change.
    assert shares["change-share"] < shares["none"]


def test_an_encoder_is_trained_through_the_difference(store):
    backbone = seamo_bench.load_backbone("unet", store=store, size=16)
    context = dense_context(store, backbone, "change", {**LEARN, "frozen": False, "epochs": 1, "base_lrs": (1e-3,)})
    task = _dense.DenseTask(context, change.both_dates(context), "signed", lambda _rows: None)
    (one,) = _dense_training.train(task, context.splits[0][0], (1e-3,), seed=0)
    moved = [
        not torch.equal(a, b)
        for a, b in zip(one.model.network.parameters(), backbone.make(0).parameters(), strict=True)
    ]
    assert np.mean(moved) > 0.9


def test_one_date_is_not_enough_and_unknown_words_are_refused(tmp_path, store, backbone):
    spec = dense_spec(names=NAMES)
    one_date = spec.model_copy(update={"task": spec.task.model_copy(update={"kind": "change"})})
    samples, splits = dense_samples(one_date, 4)
    single = write_store(tmp_path, one_date, samples, splits)
    other = seamo_bench.load_backbone("pixel-values", store=single)
    with pytest.raises(ProtocolError, match="2 dates"):
        seamo_bench.evaluate(other, single, "change", params=LEARN)
    for wrong in ({"difference": "squared"}, {"class_weights": "both"}, {"schedule": "steps"}):
        with pytest.raises(ProtocolError, match=next(iter(wrong.values()))):
            seamo_bench.evaluate(backbone, store, "change", params={**LEARN, **wrong})
