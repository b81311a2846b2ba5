"""Backbone: a card, its network and the adapter that feeds it; loaded by name, run folder or checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.data.batch import Batch
from seamo_bench.adapter import Adapter
from seamo_bench.card import BackboneCard, MissingPolicy
from seamo_bench.network import Features, Network

if TYPE_CHECKING:
    from seamo.store.reader import Store


@dataclass(slots=True, eq=False)
class Backbone:
    """A backbone ready to look at batches.

    Args:
        card: Its card, inputs reduced to what the store has when it was loaded for one.
        network: The trunk, in evaluation mode.
        adapter: Turns batches of one store into inputs; None until the first batch shows which.
    """

    card: BackboneCard
    network: Network
    adapter: Adapter | None

    def features(self, batch: Batch) -> Features:
        """Pooled features and dense levels of a batch, without gradients.

        Args:
            batch: As the loader hands it out: the store's own numbers.

        Returns:
            `Features` with pooled (B, D).

        Raises:
            BandError, ProtocolError: If the card cannot read this store; see `seamo_bench.wiring.wire`.
        """
        raise NotImplementedError


def load_backbone(
    name_or_run: str | Path,
    *,
    store: "Store | None" = None,
    weights: Path | None = None,
    missing: MissingPolicy | None = None,
    size: int | None = None,
    date: int = 0,
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
        seed: Of a random initialisation.
    """
    raise NotImplementedError
