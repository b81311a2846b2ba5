"""GASSL (Ayush et al. 2021, arXiv 2011.09980): geography-aware MoCo of ResNet-50 on fMoW RGB."""

from seamo_bench.backbones._inputs import rgb_inputs
from seamo_bench.backbones._networks import resnet
from seamo_bench.backbones._rules import MOCO_QUERY
from seamo_bench.backbones._variant import resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

CARDS = (
    BackboneCard(
        id="gassl-r50",
        family="gassl",
        title="GASSL ResNet-50",
        inputs=rgb_inputs("github.com/sustainlab-group/geography-aware-ssl (ImageNet mean and standard deviation)"),
        embed_dim=2048,
        size=224,
        multiple_of=32,
        code_licence="none stated",
        source="arXiv 2011.09980; github.com/sustainlab-group/geography-aware-ssl",
        pooling="global average of the last stage",
        levels=resnet_levels("r50"),
        weights=Weights(
            urls=("https://zenodo.org/record/7379715/files/moco_geo%2Btp.pth.tar",),
            filename="moco_geo+tp.pth.tar",
            licence="none stated",
        ),
        pretrained_on=("fmow-rgb",),
        verified=("golden", "manifest"),
        variant=resnet_variant("r50"),
    ),
)


FAMILY = Family(cards=CARDS, build=resnet, rules=MOCO_QUERY)
