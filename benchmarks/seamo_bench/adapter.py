"""The adapter: the one place where pixels of a store become normalised inputs of a network."""

from collections.abc import Mapping

from torch import Tensor

from seamo.data.batch import Batch
from seamo.manifest import DatasetSpec, Statistics
from seamo_bench.card import BackboneCard, MissingPolicy
from seamo_bench.records import AdapterFacts
from seamo_bench.wiring import Wiring, wire


class Adapter:
    """Batch -> {sensor: (B, C, H, W)} as a card wants it.

    Bands are selected by name, units converted, layers of several resolutions brought to the finest grid, the
    image resized to the network's size, the card's steps applied, and pixels without a measurement set to the
    card's fill. `describe()` says all of it.

    Args:
        card: The backbone.
        spec: The store's data set.
        missing, size, statistics, date, stacks: See `seamo_bench.wiring.wire`.
    """

    def __init__(
        self,
        card: BackboneCard,
        spec: DatasetSpec,
        *,
        missing: MissingPolicy | None = None,
        size: int | None = None,
        statistics: Mapping[str, Statistics] | None = None,
        date: int = 0,
        stacks: Mapping[str, str] | None = None,
    ) -> None:
        self.wiring: Wiring = wire(
            card, spec, statistics=statistics, missing=missing, size=size, date=date, stacks=stacks
        )

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Inputs of the network, float32."""
        raise NotImplementedError

    def describe(self) -> AdapterFacts:
        """What a record says about the way from the store to the network."""
        return self.wiring.facts()
