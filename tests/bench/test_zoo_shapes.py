"""Every card's promise of features: pooled width and dense levels, at its own size and at others, at full width.

On the meta device, where a network of any size costs neither memory nor arithmetic; no weights are needed for shapes.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from seamo.errors import SampleError
from seamo_bench.network import Network
from seamo_bench.zoo.catalogue import Found, cards
from seamo_bench.zoo.loading import load_network

# Networks that follow the store's bands, or that look at values on the way.
REAL = {"pixel-values", "presto", "resnet18", "seamo-random", "image-statistics", "unet", "vit-s16"}
LARGE = ("vitl", "vith", "large")  # the same code as their smaller siblings


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def names() -> list[object]:
    listed: list[object] = []
    for name, found in cards().items():
        if found.card.inputs and name not in REAL and found.card.availability == "weights":
            large = any(part in name for part in LARGE) and name != "dinov3-sat-vitl16"
            listed.append(pytest.param(name, marks=pytest.mark.soak) if large else name)
    return listed


def on_meta(found: Found) -> Network:
    with torch.device("meta"):
        network = found.family.build(found.card)
    return network.eval()


def shapes(network: Network, found: Found, height: int, width: int) -> tuple[torch.Size, list[torch.Size]]:
    inputs = {one.sensor: torch.empty(2, len(one.bands), height, width, device="meta") for one in found.card.inputs}
    if {"rgb", "s2"} <= set(inputs):
        del inputs["s2"]  # two ways to feed one stem
    with torch.inference_mode(), torch.device("meta"):
        features = network.forward_features(inputs)
    return features.pooled.shape, [level.shape for level in features.levels]


def test_no_card_is_left_out() -> None:
    seen = {getattr(one, "values", (one,))[0] for one in names()}
    assert seen | REAL | {"fusmae-vitb", "ijepa-vitb"} >= {
        name for name, found in cards().items() if found.card.availability != "no loader"
    }


@pytest.mark.parametrize("name", names())
def test_features_have_the_shapes_that_the_card_promises(name: str) -> None:
    found = cards()[name]
    card = found.card
    network = on_meta(found)
    sizes = [(card.size, card.size)]
    if card.any_size:  # one patch more, and rectangular
        sizes.append((card.size + card.multiple_of, card.size + 2 * card.multiple_of))
    for height, width in sizes:
        pooled, levels = shapes(network, found, height, width)
        assert pooled == (2, card.embed_dim)
        assert levels == [(2, channels, height // stride, width // stride) for channels, stride in card.levels]
    if not card.any_size:
        with pytest.raises((SampleError, RuntimeError, AssertionError)):
            shapes(network, found, card.size + card.multiple_of, card.size + card.multiple_of)


def test_presto_takes_any_image_and_gives_a_map_of_its_pixels() -> None:
    found = cards()["presto"]
    network = load_network(found.family, found.card, None, 0)
    with torch.inference_mode():
        features = network.forward_features({"s2": torch.rand(2, 10, 3, 5), "s1": torch.rand(2, 2, 3, 5)})
    assert features.pooled.shape == (2, 128)
    assert [level.shape for level in features.levels] == [(2, 128, 3, 5)]


@pytest.mark.parametrize("name", ["vit-s16", "resnet18", "unet"])
def test_networks_trained_from_scratch_take_the_bands_of_the_store(name: str) -> None:
    found = cards()[name]
    fed = tuple(
        replace(one, bands=bands) for one, bands in zip(found.card.inputs, (("B02", "B8A"), ("VH",)), strict=False)
    )
    card = replace(found.card, inputs=fed)
    card = found.family.narrow(card)
    side = card.multiple_of * 3
    network = load_network(found.family, card, None, 0)
    x = {"s2": torch.rand(2, 2, side, side), "s1": torch.rand(2, 1, side, side)}
    with torch.inference_mode():
        features = network.forward_features(x)
        other = network.forward_features({**x, "s1": x["s1"] + 1})
    assert features.pooled.shape == (2, card.embed_dim)
    assert [level.shape for level in features.levels] == [
        (2, chans, side // stride, side // stride) for chans, stride in card.levels
    ]
    assert not torch.allclose(features.pooled, other.pooled)
