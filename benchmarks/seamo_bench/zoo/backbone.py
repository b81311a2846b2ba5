"""Backbone: a card, its network and the adapter that feeds it; loaded by name, run folder or checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from seamo.data.batch import Batch
from seamo.errors import ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.inputs.statistics import store_statistics
from seamo.inputs.steps import STORE_OPS
from seamo_bench.card import BackboneCard, MissingPolicy
from seamo_bench.facts import Budget
from seamo_bench.network import Features, Network
from seamo_bench.zoo.catalogue import budget_card, check_selection, family, find_card, weights_path

if TYPE_CHECKING:
    from seamo.store.reader import Store


@dataclass(slots=True, eq=False)
class Backbone:
    """A backbone ready to look at batches.

    Args:
        card: Its card, inputs reduced to what the store has when it was loaded for one.
        network: The trunk, in evaluation mode.
        adapter: Turns batches of one store into inputs; None until the first batch shows which.
        make: Seed -> a new network with the same weights; what has none is random from the seed.
    """

    card: BackboneCard
    network: Network
    adapter: Adapter | None
    make: Callable[[int], Network]

    def features(self, batch: Batch) -> Features:
        """Pooled features and dense levels of a batch, without gradients.

        Args:
            batch: As the loader hands it out: the store's own numbers.

        Returns:
            `Features` with pooled (B, D).

        Raises:
            BandError, ProtocolError: If the card cannot read this store; see `seamo.inputs.wiring.wire`.
        """
        if self.adapter is None:
            self.adapter = Adapter(self.card.expects, batch.spec)
        with torch.no_grad():
            return self.network.forward_features(self.adapter(batch))


def load_backbone(
    name_or_run: str | Path,
    *,
    store: "Store | None" = None,
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
    module = family(found.module)
    card = budget_card(found, budget)
    adapter = None
    if store is not None:
        known = store_statistics(store)
        adapter = Adapter(
            card.expects, store.spec, missing=missing, size=size, statistics=known, date=date, inputs=inputs
        )
        check_selection(adapter.wiring, module)
        card = card.fed(adapter.wiring)
    elif any(step.op in STORE_OPS for one in card.inputs for step in one.steps) or missing or size or date or inputs:
        raise ProtocolError(
            "needs a store for its bands, statistics or settings", card.id, "load_backbone(..., store=store)"
        )
    path = weights_path(card, weights)
    network: Network = module.load(card, path, seed)
    return Backbone(card, network.eval(), adapter, lambda s: module.load(card, path, s))
