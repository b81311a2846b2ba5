"""How families of plain ResNets and ViTs build their networks; torch is loaded when one is built."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from seamo_bench.card import BackboneCard

if TYPE_CHECKING:
    from seamo_bench.networks.resnet import ResNet
    from seamo_bench.networks.vit import Pool, PosInterp, ViT

VIT_STEM = "patch_embed.proj"
RESNET_STEM = "conv1"


def resnet(card: BackboneCard) -> "ResNet":
    """The ResNet that a card's inputs and variant describe."""
    from seamo_bench.networks.resnet import resnet as make

    return make(card)


def vit(
    pool: "Pool", pos_interp: "PosInterp", *, cls: bool = True, shared: bool = False
) -> Callable[[BackboneCard], "ViT"]:
    """A builder of the ViT that a card's inputs and variant describe; arguments as `seamo_bench.networks.vit.ViT`."""

    def build(card: BackboneCard) -> "ViT":
        from seamo_bench.networks.vit import plain_vit

        return plain_vit(card, pool=pool, pos_interp=pos_interp, cls=cls, shared=shared)

    return build
