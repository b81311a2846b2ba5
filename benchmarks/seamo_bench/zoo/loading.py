"""Backbones loaded, by name or as a plan has found them: networks built, filled from a file, cut to the bands fed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from seamo.bands import positions
from seamo.errors import ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.inputs.spec import MissingPolicy
from seamo.inputs.statistics import store_statistics
from seamo.inputs.steps import STORE_OPS
from seamo.inputs.wiring import Wiring, wire
from seamo_bench.card import BackboneCard
from seamo_bench.facts import Budget
from seamo_bench.family import Family
from seamo_bench.network import Backbone, Network
from seamo_bench.weights import assemble, check_values
from seamo_bench.zoo.catalogue import (
    BackboneSource,
    budget_card,
    check_available,
    check_selection,
    find_card,
    weights_path,
)

if TYPE_CHECKING:
    from seamo.store.samples import Samples


def load_backbone(
    name_or_run: str | Path,
    *,
    store: "Samples | None" = None,
    weights: Path | None = None,
    missing: MissingPolicy | None = None,
    size: int | None = None,
    date: int = 0,
    inputs: Sequence[str] = (),
    budget: Budget = "full",
    seed: int = 0,
) -> Backbone:
    """Load a backbone by card id, or a SeaMo run folder, checkpoint or exported folder.

    Args:
        name_or_run: `seamo-bench list backbones` shows the ids; a path may end in `@pretrain` (normalise with
            the statistics of pretraining instead of the store's) or `@random` (same architecture, random init).
        store: The store it will see. Needed by cards that follow the store's bands or statistics.
        weights: The checkpoint file of a card that needs one.
        missing: Missing-band policy; None = the card's.
        size: Image size in pixels; None = the card's.
        date: Which date of every stack, for stores with several.
        inputs: Sensors (`s2`), or some of their bands (`s2:B02+B03`), that it is to see alone.
        budget: `demo` makes networks without weights narrow, where their family knows how.
        seed: Of a random initialisation.

    Raises:
        UsageError: If there is no such backbone.
        CheckpointError: If its weights are missing or do not fit.
        BandError, ProtocolError: If it cannot read the store.

    Example:
        >>> load_backbone("image-statistics").card.title
        'Image statistics'
    """
    found = find_card(str(name_or_run))
    card = budget_card(found, budget)
    wiring = None
    if store is not None:
        known = store_statistics(store)
        wiring = wire(card.expects, store.spec, missing=missing, size=size, statistics=known, date=date, inputs=inputs)
        check_selection(wiring, found.family)
    elif missing or size or date or inputs or any(step.op in STORE_OPS for want in card.inputs for step in want.steps):
        raise ProtocolError(
            "needs a store for its bands, statistics or settings", card.id, "load_backbone(..., store=store)"
        )
    path = weights_path(card, weights)
    return load_source(BackboneSource(found.family, card, path), wiring, seed=seed)


def load_source(source: BackboneSource, wiring: Wiring | None, *, seed: int = 0) -> Backbone:
    """Load a backbone that has been found: nothing is looked up again.

    Args:
        source: Its family, whole card and weights.
        wiring: How it reads the store that it will see; None: the first batch decides.
        seed: Of a random initialisation.

    Raises:
        CheckpointError: If the weights do not fit.
    """
    fed = source.card if wiring is None else source.card.fed(wiring)
    make = partial(load_network, source.family, source.card, source.weights, fed=fed)
    return Backbone(fed, make(seed), None if wiring is None else Adapter(wiring), make)


def load_network(
    family: Family, card: BackboneCard, weights: Path | None, seed: int, *, fed: BackboneCard | None = None
) -> Network:
    """The network of a card, in evaluation mode.

    Args:
        family: Of the card.
        card: Whole: its `inputs` hold every band that its file has columns for.
        weights: Published or converted file; None for a random network.
        seed: Of every value that is not loaded. The caller's random state is left as it is.
        fed: The card with the inputs that will really be fed (`BackboneCard.fed`); None: all of them.

    Raises:
        ProtocolError: If the card is only listed: its weights are not public, or nothing here loads them.
        CheckpointError: If the file does not fit; see `seamo_bench.weights`.
    """
    fed = fed or card
    check_available(card)
    if family.load is not None:
        with torch.random.fork_rng(devices=[]):  # layers draw before they are filled
            network = family.load(fed, weights, seed).eval()
        if weights is not None:
            check_values(dict(network.named_parameters()), str(weights))
        return network
    build = family.build
    if build is None:
        raise ProtocolError("its family neither builds nor loads it", card.id, "Give it `build` or `load`.")
    new = family.new_layers(card, fed) if fed.missing == "new-tokenizer" else ()
    made = card if family.stem and not new else fed
    network = assemble(
        lambda: build(made), rules=family.rules_of(card), weights=weights, seed=seed, backbone=card.id, new=new
    )
    if new:
        network.fresh = tuple(f"{layer}." for layer in new)
    elif family.stem and fed.inputs[0].bands != card.inputs[0].bands:
        kept = positions(card.inputs[0].bands, fed.inputs[0].bands, card.id)
        _keep_columns(network.get_submodule(family.stem), kept)
    return network


def _keep_columns(stem: nn.Module, kept: list[int]) -> None:
    assert isinstance(stem, nn.Conv2d | nn.Conv3d)  # noqa: S101 (narrows the type)
    stem.weight = nn.Parameter(stem.weight.detach()[:, kept].clone())
    stem.in_channels = len(kept)
