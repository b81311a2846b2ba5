"""What every backbone is: a card, a network that gives a pooled vector and dense levels, the adapter that feeds it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seamo.data.batch import Batch
from seamo.inputs.adapter import Adapter
from seamo.inputs.wiring import wire
from seamo.summary import Summary
from seamo_bench.card import BackboneCard


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a batch.

    Args:
        pooled: (B, D), pooled as the card says.
        levels: Dense maps (B, C, h, w), shallow to deep, as the card's `levels` lists them.
    """

    pooled: Tensor
    levels: tuple[Tensor, ...] = ()


class Network(nn.Module, ABC):
    """Base of every backbone's trunk.

    Attributes:
        fresh: Beginnings of the names of parameters that are new and untrained in a trained network: fine-tuning
            gives them the learning rate of its head.
    """

    fresh: tuple[str, ...] = ()

    @abstractmethod
    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Features of normalised images.

        Args:
            inputs: Sensor -> (B, C, H, W), channels as the card's `InputSpec.bands`, normalised.
        """


@dataclass(slots=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return self._shown().text()

    def _repr_html_(self) -> str:
        return self._shown().html()

    def _shown(self) -> Summary:
        card = self.card
        count = sum(one.numel() for one in self.network.parameters())
        lines = [(one.sensor, f"{', '.join(one.bands) or 'every band'} in {one.unit}") for one in card.inputs]
        lines.append(("size", f"{card.size} x {card.size}" if card.size else "as the store has it"))
        lines.append(("gives", f"{card.embed_dim or '?'} features, {len(card.levels)} maps; {count:,} parameters"))
        return Summary(f"{card.title} ({card.id})", tuple(lines))

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
            self.adapter = Adapter(wire(self.card.expects, batch.spec))
        with torch.no_grad():
            return self.network.forward_features(self.adapter(batch))
