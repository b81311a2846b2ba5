"""Swin v2 pyramid from torchvision's class at any width, with torchvision's parameter names. Channels last inside."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.variant import number, whole, wholes
from seamo_bench.networks.vit import Taps, keep


class Swin(Network):
    """Swin Transformer v2 (Liu et al. 2022) without final norm and head.

    Args:
        card: Its variant has the constructor numbers.
    """

    def __init__(self, card: BackboneCard) -> None:
        super().__init__()
        window, patch, dim = whole(card, "window_size"), whole(card, "patch_size"), whole(card, "embed_dim")
        whole_network = SwinTransformer(
            patch_size=[patch, patch],
            embed_dim=dim,
            depths=list(wholes(card, "depths")),
            num_heads=list(wholes(card, "num_heads")),
            window_size=[window, window],
            mlp_ratio=number(card, "mlp_ratio"),
            block=SwinTransformerBlockV2,
            downsample_layer=PatchMergingV2,
        )
        self.features = nn.Sequential(*whole_network.features)
        stem = self.features[0]
        assert isinstance(stem, nn.Sequential)  # noqa: S101 (narrows the type)
        stem[0] = nn.Conv2d(len(card.inputs[0].bands), dim, patch, patch)

    def run(self, x_BCHW: Tensor, taps: Taps = None) -> list[Tensor]:
        """Outputs of the four stages, channels first."""
        x = self.features[0](x_BCHW)
        keep(taps, "tokens.embed", x)
        stages: list[Tensor] = []
        for layer in list(self.features)[1:]:
            stage = len(stages) + 1
            if isinstance(layer, nn.Sequential):
                for index, block in enumerate(layer):
                    x = block(x)
                    keep(taps, f"block.{stage}.{index:02d}", x)
                stages.append(x.permute(0, 3, 1, 2))
                keep(taps, f"stage.{stage}", stages[-1])
            else:
                x = layer(x)
                keep(taps, f"merge.{stage - 1}", x)
        return stages

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Global average of the last stage, and the pyramid. The one sensor given is the image."""
        (x,) = inputs.values()
        stages = self.run(x)
        return Features(stages[-1].mean((2, 3)), tuple(stages))
