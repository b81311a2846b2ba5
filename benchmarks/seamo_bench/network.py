"""What every backbone's network gives: one pooled vector and dense feature levels."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a batch.

    Args:
        pooled: (B, D), pooled as the card says.
        levels: Dense maps (B, C, h, w), shallow to deep, as the card's `levels` lists them.
    """

    pooled: Tensor
    levels: tuple[Tensor, ...] = ()


class Network(nn.Module):
    """Base of every backbone's trunk.

    Attributes:
        fresh: Beginnings of the names of parameters that are new and untrained in a trained network: fine-tuning
            gives them the learning rate of its head.
    """

    fresh: tuple[str, ...] = ()

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Features of normalised images.

        Args:
            inputs: Sensor -> (B, C, H, W), channels as the card's `InputSpec.bands`, normalised.
        """
        raise NotImplementedError("a backbone family implements forward_features")
