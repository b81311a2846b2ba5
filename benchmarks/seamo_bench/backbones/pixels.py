"""Pixel values: the standardised bands of a pixel and nothing around it. The floor of dense tables.

A linear head on it is a linear classifier of single spectra: what context adds must show above it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec, Step

if TYPE_CHECKING:
    from seamo_bench.network import Network

CARDS = (
    BackboneCard(
        id="pixel-values",
        family="pixels",
        title="Pixel values",
        inputs=tuple(
            InputSpec(sensor, (), unit, (Step("store-zscore"),), "store")
            for sensor, unit in (("s2", Unit.DN), ("s1", Unit.DB), ("rgb", Unit.UINT8))
        ),
        embed_dim=0,
        size=0,
        multiple_of=1,
        pooling="mean of each standardised band",
        levels=((0, 1),),
        code_licence="Apache-2.0",
        availability="none needed",
        source="this project",
        verified=("package",),
        trainable=False,
        variant=(("floor", "image statistics"),),
    ),
)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """There is nothing to load and nothing random."""
    import torch
    from torch import Tensor

    from seamo.errors import ProtocolError
    from seamo_bench.network import Features, Network

    class PixelValues(Network):
        """Bands of all sensors as one level of stride 1."""

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            x = torch.cat([inputs[one.sensor] for one in card.inputs], dim=1)
            return Features(x.mean(dim=(2, 3)), (x,))

    if weights is not None:
        raise ProtocolError("has no weights", where=card.id)
    del seed
    return PixelValues().eval()
