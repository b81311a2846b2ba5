"""Backbones loaded: by name, run folder or checkpoint, or by what a plan has found already."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.errors import ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.inputs.spec import MissingPolicy
from seamo.inputs.statistics import store_statistics
from seamo.inputs.steps import STORE_OPS
from seamo.inputs.wiring import Wiring
from seamo_bench.facts import Budget
from seamo_bench.network import Backbone
from seamo_bench.zoo.catalogue import Source, budget_card, check_selection, find_card, weights_path
from seamo_bench.zoo.loading import load_network

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
        wiring = Adapter(
            card.expects, store.spec, missing=missing, size=size, statistics=known, date=date, inputs=inputs
        ).wiring
        check_selection(wiring, found.family)
    elif missing or size or date or inputs or any(step.op in STORE_OPS for want in card.inputs for step in want.steps):
        raise ProtocolError(
            "needs a store for its bands, statistics or settings", card.id, "load_backbone(..., store=store)"
        )
    return load_source(Source(found.family, card, weights_path(card, weights)), wiring, seed=seed)


def load_source(source: Source, wiring: Wiring | None, *, seed: int = 0) -> Backbone:
    """Load a backbone that has been found: nothing is looked up again.

    Args:
        source: Its family, card and weights.
        wiring: How it reads the store that it will see; None: the first batch decides.
        seed: Of a random initialisation.

    Raises:
        CheckpointError: If the weights do not fit.
    """
    card = source.card if wiring is None else source.card.fed(wiring)
    make = partial(load_network, source.family, card, source.weights)
    return Backbone(card, make(seed), None if wiring is None else Adapter.of(wiring), make)
