"""SSL4EO-S12 MoCo-v2 (Wang et al. 2023, arXiv 2211.07044): ResNets pretrained on SSL4EO-S12."""

from seamo_bench.backbones._inputs import S2_SSL4EO, WRAP, WRAP_QUIRK
from seamo_bench.backbones._networks import RESNET_STEM, resnet
from seamo_bench.backbones._rules import MOCO_QUERY
from seamo_bench.backbones._variant import resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

CARDS = (
    BackboneCard(
        id="ssl4eo-moco-r18-s2",
        family="ssl4eo_moco",
        title="SSL4EO-MoCo ResNet-18",
        inputs=(S2_SSL4EO,),
        embed_dim=512,
        size=224,
        multiple_of=32,
        code_licence="Apache-2.0",
        source="arXiv 2211.07044; github.com/zhu-xlab/SSL4EO-S12",
        pooling="global average of the last stage",
        levels=resnet_levels("r18"),
        weights=Weights(
            urls=(),
            filename="B13_rn18_moco_ep99.pth",
            licence="CC-BY-4.0",
            how="Google Drive, file 1iWLm7ljQ6tKZiVp47pJUPDe3Un0BUd9o (linked from github.com/zhu-xlab/SSL4EO-S12).",
        ),
        pretrained_on=("ssl4eo-s12",),
        quirks=(WRAP,),
        verified=("golden",),
        variant=resnet_variant("r18"),
    ),
)


FAMILY = Family(cards=CARDS, build=resnet, rules=MOCO_QUERY, stem=RESNET_STEM, quirks=WRAP_QUIRK)
