"""Input layers that lose the columns of bands which a store does not have (policy `select-columns`)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from torch import nn

from seamo.bands import positions
from seamo_bench.backbones._variant import base_id
from seamo_bench.card import BackboneCard
from seamo_bench.family import KeyRules
from seamo_bench.weights import assemble

N = TypeVar("N", bound=nn.Module)


def assemble_selected(
    card: BackboneCard,
    cards: Sequence[BackboneCard],
    *,
    build: Callable[[BackboneCard], N],
    stem: Callable[[N], nn.Module],
    rules: KeyRules,
    weights: Path | None,
    seed: int,
) -> N:
    """Load the whole network, then keep the stem's columns of the bands that the card is left with.

    Args:
        card: A family's card of one sensor, its bands perhaps reduced to those that a store has.
        cards: The family's cards as listed.
        build: Makes the network of a card.
        stem: The network's first convolution.
        rules: The family's key rules.
        weights: Published or converted file, or None for a random network.
        seed: Seed of every initial value.
    """
    (listed,) = next(one for one in cards if one.id == base_id(card.id)).inputs
    whole = replace(card, inputs=(replace(card.inputs[0], bands=listed.bands),))
    network = assemble(lambda: build(whole), rules=rules, weights=weights, seed=seed, backbone=card.id)
    kept = positions(listed.bands, card.inputs[0].bands, card.id)
    if kept != list(range(len(listed.bands))):
        first = stem(network)
        assert isinstance(first, nn.Conv2d)  # noqa: S101 (narrows the type)
        first.weight = nn.Parameter(first.weight.detach()[:, kept].clone())
        first.in_channels = len(kept)
    return network
