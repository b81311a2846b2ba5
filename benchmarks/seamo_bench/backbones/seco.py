"""SeCo (Manas et al. 2021, arXiv 2103.16607): seasonal contrast of ResNets on Sentinel-2 RGB."""

from seamo_bench.backbones._inputs import OSCD_QUIRK, bigearthnet_rgb
from seamo_bench.backbones._networks import RESNET_STEM, resnet
from seamo_bench.backbones._rules import SEQUENTIAL_RESNET
from seamo_bench.backbones._variant import resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

OSCD = "oscd-quantiles: the fixed quantiles of the official change-detection loader instead of mean +- 2 sigma"
# MD5 of the files of Zenodo record 4728033.
MD5 = {
    "seco_resnet50_1m.ckpt": "7b09c54aed33c0c988b425c54f4ef948",
    "seco_resnet50_100k.ckpt": "9672c303f6334ef816494c13b9d05753",
    "seco_resnet18_1m.ckpt": "53d5c41d0f479bdfd31d6746ad4126db",
    "seco_resnet18_100k.ckpt": "dcf336be31f6c6b0e77dcb6cc958fca8",
}


def _card(net: str, images: str) -> BackboneCard:
    depth = net.removeprefix("r")
    name = f"seco_resnet{depth}_{images}.ckpt"
    return BackboneCard(
        id=f"seco-{net}" if images == "1m" else f"seco-{net}-{images}",
        family="seco",
        title=f"SeCo ResNet-{depth}" + ("" if images == "1m" else f" ({images})"),
        inputs=(bigearthnet_rgb("github.com/ServiceNow/seasonal-contrast, datasets/bigearthnet_dataset.py"),),
        embed_dim=resnet_levels(net)[-1][0],
        size=224,
        multiple_of=32,
        code_licence="Apache-2.0",
        source="arXiv 2103.16607; github.com/ServiceNow/seasonal-contrast",
        pooling="global average of the last stage",
        levels=resnet_levels(net),
        weights=Weights(
            urls=(f"https://zenodo.org/record/4728033/files/{name}",),
            filename=name,
            licence="Apache-2.0",
            md5=MD5[name],
        ),
        pretrained_on=("seco",),
        quirks=(OSCD,),
        verified=("golden", "manifest") if net == "r50" else ("golden",),
        variant=resnet_variant(net),
    )


FAMILY = Family(
    cards=tuple(_card(net, images) for net in ("r50", "r18") for images in ("1m", "100k")),
    build=resnet,
    rules=SEQUENTIAL_RESNET,
    stem=RESNET_STEM,
    quirks=OSCD_QUIRK,
)
