"""A network of one's own, given in Python, evaluated without registering anything."""

import numpy as np
import pytest
import torch
from torch import nn

import seamo_bench
from seamo.errors import BandError, ManifestError, ProtocolError, UsageError
from seamo.testing.stores import tiny_store
from seamo_bench.network import Features

RGB = {"bands": ["B04", "B03", "B02"], "mean": [1000.0, 900.0, 800.0], "std": [500.0, 400.0, 300.0], "unit": "dn"}


def conv():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.ReLU())


def test_its_images_are_the_bands_by_name_normalised():
    store = tiny_store()
    own = seamo_bench.backbone(nn.Flatten(), size=24, **RGB)
    batch = next(iter(store.loader("train", 4)))
    features = own.features(batch).pooled.numpy().reshape(4, 3, 24, 24)
    spec = store.spec.layer("s2_10m")
    for i, row in enumerate(store.rows("train")[:4]):
        pixels = store.read_layer(row, "s2_10m")[0].astype(np.float64)
        for channel, (name, mean, std) in enumerate(zip(RGB["bands"], RGB["mean"], RGB["std"], strict=True)):
            right = (pixels[spec.bands.index(name)] - mean) / std
            right[pixels[spec.bands.index(name)] == spec.fill_value] = 0
            np.testing.assert_allclose(features[i, channel], right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "width", "levels"),
    [
        (conv(), 16, ((16, 4),)),
        (nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 16, ()),
    ],
    ids=["a map", "a vector"],
)
def test_what_a_module_returns(module, width, levels):
    card = seamo_bench.backbone(module, **RGB).card
    assert (card.embed_dim, card.levels) == (width, levels)


def test_several_maps_and_features():
    class Several(nn.Module):
        def __init__(self, whole):
            super().__init__()
            self.conv, self.whole = conv(), whole

        def forward(self, x):
            one = self.conv(x)
            maps = (one, nn.functional.avg_pool2d(one, 2))
            return Features(one.amax(dim=(2, 3)), maps) if self.whole else maps

    assert seamo_bench.backbone(Several(False), **RGB).card.levels == ((16, 4), (16, 8))
    assert seamo_bench.backbone(Several(True), **RGB).card.embed_dim == 16


@pytest.mark.parametrize("protocol", ["knn", "linear", "finetune"])
def test_it_is_evaluated_like_any_other_and_stays_as_it_is(protocol):
    module, store = conv(), tiny_store()
    before = [one.clone() for one in module.parameters()]
    own = seamo_bench.backbone(module, **RGB)
    params = {"epochs": 1} if protocol == "finetune" else {}
    (result,) = seamo_bench.evaluate(own, store, protocol, params=params)
    assert set(result.predictions.keys) == set(store.index["key"][store.rows("test")])
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert own.adapter is None  # of no store: the same value serves the next one


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="3 bands, 2 means"):
        seamo_bench.backbone(conv(), **(RGB | {"mean": [1.0, 2.0]}))
    with pytest.raises(UsageError, match="no unit 'grey'"):
        seamo_bench.backbone(conv(), **(RGB | {"unit": "grey"}))
    with pytest.raises(UsageError, match="std above 0"):
        seamo_bench.backbone(conv(), **(RGB | {"std": [1.0, 0.0, 1.0]}))
    with pytest.raises(UsageError, match="no sensor 's9'"):
        seamo_bench.backbone(conv(), sensor="s9", **RGB)
    with pytest.raises(ProtocolError, match="A vector"):
        seamo_bench.backbone(nn.Flatten(2), **RGB)  # tokens (B, N, D)
    missing = seamo_bench.backbone(conv(), **(RGB | {"bands": ["B04", "B03", "B12"]}))
    with pytest.raises(BandError, match="B12"):
        seamo_bench.evaluate(missing, tiny_store(), "knn")


def test_a_module_of_one_size_is_asked_for_it():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3 * 24 * 24, 8)

        def forward(self, x):
            return self.head(x.flatten(1))

    with pytest.raises(ProtocolError, match=r"takes no image \(1, 3, 64, 64\).*say size="):
        seamo_bench.backbone(Fixed(), **RGB)
    assert seamo_bench.backbone(Fixed(), size=24, **RGB).card.embed_dim == 8
    with pytest.raises(ProtocolError, match="are its channels, in order"):
        seamo_bench.backbone(nn.Conv2d(4, 8, 4), **RGB)


def test_a_network_loaded_for_one_store_is_not_evaluated_on_another():
    store, other = tiny_store(), tiny_store(layers=["s1"])
    own = seamo_bench.backbone(conv(), **RGB)
    own.features(next(iter(store.loader("train", 2))))  # is of this store from here on
    with pytest.raises(ManifestError, match="no layer 's2_10m'"):
        seamo_bench.evaluate(own, other, "knn")
    with pytest.raises(ProtocolError, match="was not loaded for a store"):  # it follows the bands of a store
        seamo_bench.evaluate(seamo_bench.load_backbone("image-statistics"), store, "knn")


def test_it_shows_its_bands_and_width():
    text = repr(seamo_bench.backbone(conv(), name="My net", **RGB))
    for word in ("My net (my-net)", "B04, B03, B02 in dn", "16 features", "784 parameters"):
        assert word in text
