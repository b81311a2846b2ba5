"""Image statistics: mean, standard deviation, 10th and 90th percentile of every band. The floor of every table."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec

if TYPE_CHECKING:
    from seamo_bench.network import Network

NUMBERS = ("mean", "std", "p10", "p90")
NAN = float("nan")  # what was not measured must not enter a statistic

CARDS = (
    BackboneCard(
        id="image-statistics",
        family="statistics",
        title="Image statistics",
        inputs=tuple(
            InputSpec(sensor, (), unit, (), "raw values, not normalised", fill=NAN)
            for sensor, unit in (("s2", Unit.DN), ("s1", Unit.DB), ("rgb", Unit.UINT8))
        ),
        embed_dim=0,
        size=0,
        multiple_of=1,
        pooling="mean, standard deviation, 10th and 90th percentile of the valid pixels of each band",
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

    class ImageStatistics(Network):
        """(B, C, H, W) -> (B, 4 C): band by band mean, std (population), p10, p90; 0 for a band without a pixel."""

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            parts = []
            for one in card.inputs:
                pixels = inputs[one.sensor].flatten(2).double()
                mean = pixels.nanmean(dim=2)
                std = (pixels - mean[..., None]).square().nanmean(dim=2).sqrt()
                tails = torch.nanquantile(pixels, pixels.new_tensor([0.1, 0.9]), dim=2)
                parts.append(torch.stack([mean, std, tails[0], tails[1]], dim=2).flatten(1))
            return Features(torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0).float())

    if weights is not None:
        raise ProtocolError("has no weights", where=card.id)
    del seed
    return ImageStatistics().eval()
