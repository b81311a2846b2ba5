"""DINO-MC (Wanyan et al. 2023, arXiv 2303.06670): DINO with multi-sized local crops on Sentinel-2 RGB."""

from dataclasses import replace
from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import bigearthnet_rgb, rgb_inputs
from seamo_bench.backbones._networks import resnet, vit
from seamo_bench.backbones._rules import DINO_TEACHER
from seamo_bench.backbones._variant import resnet_levels, resnet_variant, vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.network import Network

SOURCE = "arXiv 2303.06670; github.com/WennyXY/DINO-MC"
BEN = "bigearthnet-loader: mean +- 2 sigma in 8 bit, as the official BigEarthNet loader, instead of ImageNet statistics"
VIT = vit("cls-last4", "dino", shared=True)
INPUTS = rgb_inputs("github.com/WennyXY/DINO-MC (ImageNet mean and standard deviation after 8 bit)")


def _drive(name: str, file: str) -> Weights:
    how = f"Google Drive, file {file} (linked from github.com/WennyXY/DINO-MC)."
    return Weights(urls=(), filename=name, licence="MIT", how=how)


def _resnet(net: str, title: str, weights: Weights) -> BackboneCard:
    return BackboneCard(
        id=f"dino-mc-{net}",
        family="dino_mc",
        title=title,
        inputs=INPUTS,
        embed_dim=2048,
        size=224,
        multiple_of=32,
        code_licence="MIT",
        source=SOURCE,
        pooling="global average of the last stage",
        levels=resnet_levels(net),
        weights=weights,
        pretrained_on=("seco-100k",),
        quirks=(BEN,),
        verified=("golden",),
        variant=resnet_variant(net),
    )


CARDS = (
    BackboneCard(
        id="dino-mc-vits8",
        family="dino_mc",
        title="DINO-MC ViT-S/8",
        inputs=INPUTS,
        embed_dim=4 * 384,
        size=224,
        multiple_of=8,
        code_licence="MIT",
        source=SOURCE,
        pos_interp="bicubic with DINO's scale factor (n + 0.1) / sqrt(L)",
        pooling="class tokens of the last four blocks, each after the final norm, concatenated",
        levels=((384, 8),) * 4,
        weights=_drive("dino_mc_vits8.pth", "18RqKqZYzigOjwbyNzLsys8bmwqxrNhyt"),
        pretrained_on=("seco-100k",),
        quirks=(BEN,),
        verified=("golden",),
        variant=vit_variant("vits", img_size=224, patch_size=8),
    ),
    _resnet("r50", "DINO-MC ResNet-50", _drive("dino_mc_resnet50.pth", "1Tku4QoQDc3BU1BOr8PzQWFPyVStUDsVE")),
    _resnet("wrn50", "DINO-MC WRN-50-2", _drive("dino_mc_wrn50_2.pth", "1WlNDoks3Uo_Al5pUHWrhQpljDrt4Ip__")),
)


def _bigearthnet_loader(card: BackboneCard) -> BackboneCard:
    return replace(card, inputs=(bigearthnet_rgb("github.com/WennyXY/DINO-MC, BigEarthNet loader"),))


def _build(card: BackboneCard) -> "Network":
    return VIT(card) if "vit" in card.id else resnet(card)


FAMILY = Family(cards=CARDS, build=_build, rules=DINO_TEACHER, quirks={"bigearthnet-loader": _bigearthnet_loader})
