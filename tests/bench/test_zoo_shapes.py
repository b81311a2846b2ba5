"""Networks without weights take the bands of the store; what every card promises is in test_contract_backbones.py."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.loading import load_network


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
