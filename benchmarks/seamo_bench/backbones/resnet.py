"""ResNet-18 of timm with as many input channels as the store has bands; supervised means trained by `finetune`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec, Step
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.network import Network

_ZSCORE = (Step("store-zscore"),)

CARDS = (
    BackboneCard(
        id="resnet18",
        family="resnet",
        title="ResNet-18 (supervised, from scratch)",
        inputs=tuple(
            InputSpec(sensor, (), unit, _ZSCORE, "store")
            for sensor, unit in (("s2", Unit.DN), ("s1", Unit.DB), ("rgb", Unit.UINT8))
        ),
        embed_dim=512,
        size=64,
        multiple_of=32,
        pooling="mean of the last map",
        levels=((64, 4), (128, 8), (256, 16), (512, 32)),
        code_licence="Apache-2.0",
        availability="none needed",
        source="arXiv 1512.03385; timm resnet18",
        verified=("package",),
        variant=(("floor", "supervised"),),
    ),
)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """The network, random from `seed`, or filled from a torchvision-style file of the same bands."""
    import timm
    import torch
    from torch import Tensor, nn

    from seamo_bench.network import Features, Network
    from seamo_bench.weights import assemble

    class ResNet(Network):
        """Bands of all sensors as channels of one image."""

        def __init__(self) -> None:
            super().__init__()
            channels = sum(len(one.bands) for one in card.inputs)
            self.trunk: nn.Module = timm.create_model("resnet18", pretrained=False, num_classes=0, in_chans=channels)

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            x = torch.cat([inputs[one.sensor] for one in card.inputs], dim=1)
            levels: list[Tensor] = self.trunk.forward_intermediates(  # type: ignore[operator]
                x, indices=[1, 2, 3, 4], intermediates_only=True
            )
            return Features(levels[-1].mean(dim=(2, 3)), tuple(levels))

    rules = KeyRules(rename=(("^", "trunk."),), drop=("fc.*",))
    return assemble(ResNet, rules=rules, weights=weights, seed=seed, backbone=card.id)
