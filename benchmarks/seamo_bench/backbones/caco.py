"""CaCo (Mall, Hariharan and Bala, CVPR 2023): change-aware contrast of ResNets on Sentinel-2 RGB."""

from seamo_bench.backbones._inputs import OSCD_QUIRK, bigearthnet_rgb
from seamo_bench.backbones._networks import RESNET_STEM, resnet
from seamo_bench.backbones._rules import SEQUENTIAL_RESNET
from seamo_bench.backbones._variant import resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

OSCD = "oscd-quantiles: the fixed quantiles of SeCo's change-detection loader instead of mean +- 2 sigma"


def _card(net: str, images: str) -> BackboneCard:
    depth = net.removeprefix("r")
    name = f"resnet{depth}_caco_geo_{images}.pth"
    return BackboneCard(
        id=f"caco-{net}" if images == "1m_200" else f"caco-{net}-100k",
        family="caco",
        title=f"CaCo ResNet-{depth}" + ("" if images == "1m_200" else " (100k)"),
        inputs=(bigearthnet_rgb("github.com/utkarshmall13/CACo, src/datasets/bigearthnet_dataset.py"),),
        embed_dim=resnet_levels(net)[-1][0],
        size=224,
        multiple_of=32,
        code_licence="MIT",
        source="CVPR 2023; github.com/utkarshmall13/CACo",
        pooling="global average of the last stage",
        levels=resnet_levels(net),
        weights=Weights(
            urls=(f"https://research.cs.cornell.edu/caco/checkpoints/{name}",), filename=name, licence="MIT"
        ),
        pretrained_on=("caco",),
        quirks=(OSCD,),
        verified=("golden", "manifest") if net == "r50" else ("golden",),
        variant=resnet_variant(net),
    )


FAMILY = Family(
    cards=tuple(_card(net, images) for net in ("r50", "r18") for images in ("1m_200", "100k_1000")),
    build=resnet,
    rules=SEQUENTIAL_RESNET,
    stem=RESNET_STEM,
    quirks=OSCD_QUIRK,
)
