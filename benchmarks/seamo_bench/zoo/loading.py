"""Networks of a family: built from a seed, filled from a file, their first layer cut to the bands that are fed."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from seamo.bands import positions
from seamo.errors import ProtocolError
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family
from seamo_bench.network import Network
from seamo_bench.weights import assemble
from seamo_bench.zoo.catalogue import base_id, check_available


def load_network(family: Family, card: BackboneCard, weights: Path | None, seed: int) -> Network:
    """The network of a card, in evaluation mode.

    Args:
        family: Of the card.
        card: Its `inputs` hold the bands that will be fed.
        weights: Published or converted file; None for a random network.
        seed: Of every value that is not loaded. The caller's random state is left as it is.

    Raises:
        ProtocolError: If the card is only listed: its weights are not public, or nothing here loads them.
        CheckpointError: If the file does not fit; see `seamo_bench.weights`.
    """
    check_available(card)
    if family.load is not None:
        with torch.random.fork_rng(devices=[]):  # layers draw before they are filled
            return family.load(card, weights, seed).eval()
    build = family.build
    if build is None:
        raise ProtocolError("its family neither builds nor loads it", card.id, "Give it `build` or `load`.")
    whole = _with_every_band(card, family) if family.stem else card
    network = assemble(lambda: build(whole), rules=family.rules_of(card), weights=weights, seed=seed, backbone=card.id)
    if whole != card:
        kept = positions(whole.inputs[0].bands, card.inputs[0].bands, card.id)
        _keep_columns(network.get_submodule(family.stem), kept)
    return network


def _with_every_band(card: BackboneCard, family: Family) -> BackboneCard:
    """A card of one sensor with the bands that its file has columns for."""
    (listed,) = next(known for known in family.cards if known.id == base_id(card.id)).inputs
    return replace(card, inputs=(replace(card.inputs[0], bands=listed.bands),))


def _keep_columns(stem: nn.Module, kept: list[int]) -> None:
    assert isinstance(stem, nn.Conv2d)  # noqa: S101 (narrows the type)
    stem.weight = nn.Parameter(stem.weight.detach()[:, kept].clone())
    stem.in_channels = len(kept)
