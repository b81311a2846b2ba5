"""ResNet-18 of timm with as many input channels as the store has bands; supervised means trained by `finetune`."""

from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import any_bands
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.floors import ResNet18

CARDS = (
    BackboneCard(
        id="resnet18",
        family="resnet",
        title="ResNet-18 (supervised, from scratch)",
        inputs=any_bands(),
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


def _build(card: BackboneCard) -> "ResNet18":
    from seamo_bench.networks.floors import ResNet18

    return ResNet18(tuple(spec.sensor for spec in card.inputs), sum(len(spec.bands) for spec in card.inputs))


FAMILY = Family(
    cards=CARDS,
    build=_build,
    rules=KeyRules(rename=(("^", "trunk."),), drop=("fc.*",)),  # a torchvision-style file of the same bands
)
