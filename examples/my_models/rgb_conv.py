"""A small random convolution on red, green and blue: the pattern of a backbone."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec, Step

if TYPE_CHECKING:
    from seamo_bench.network import Network

CARDS = (
    BackboneCard(
        id="rgb-conv",
        family="rgb_conv",
        title="Random convolution on RGB",
        inputs=(
            InputSpec(
                sensor="s2",
                bands=("B04", "B03", "B02"),
                unit=Unit.DN,
                steps=(Step("scale", (1e-4,)), Step("clip", (0.0,), (1.0,))),
                source="this guide",
                product="L2A",
            ),
        ),
        embed_dim=32,
        size=64,
        multiple_of=8,
        pooling="mean over space",
        levels=((32, 8),),
        code_licence="Apache-2.0",
        availability="none needed",
        source="this guide",
        variant=(("floor", "random init"),),
    ),
)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """The network; random from `seed`, because it has no weights."""
    import torch
    from torch import Tensor, nn

    from seamo.errors import ProtocolError
    from seamo_bench.network import Features, Network

    class RgbConv(Network):
        """One convolution of stride 8."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, card.embed_dim, kernel_size=8, stride=8, bias=False)
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                self.conv.weight.normal_(0, 0.05, generator=generator)

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            level = self.conv(inputs["s2"]).relu()
            return Features(level.mean(dim=(2, 3)), (level,))

    if weights is not None:
        raise ProtocolError("has no weights", where=card.id)
    return RgbConv().eval()
