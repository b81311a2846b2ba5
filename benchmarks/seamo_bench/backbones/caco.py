"""CaCo (Mall, Hariharan and Bala, CVPR 2023): change-aware contrast of ResNets on Sentinel-2 RGB."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import OSCD_QUANTILES, bigearthnet_rgb
from seamo_bench.backbones._variant import SEQUENTIAL_RESNET, check_quirk, quirky_card, resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.resnet import ResNet

SELECTS_COLUMNS = True
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


CARDS = tuple(_card(net, images) for net in ("r50", "r18") for images in ("1m_200", "100k_1000"))


def with_quirk(card: BackboneCard, quirk: str) -> BackboneCard:
    """The card with a deviation of the official code switched on.

    Raises:
        UsageError: If the card has no such quirk.
    """
    check_quirk(card, quirk)
    return replace(card, inputs=tuple(replace(spec, steps=OSCD_QUANTILES) for spec in card.inputs))


def card_of(name: str) -> BackboneCard | None:
    """The card of `<id>+<quirk>`."""
    return quirky_card(name, CARDS, with_quirk)


def rules(_card: BackboneCard) -> KeyRules:
    """A numbered nn.Sequential: bare, or the query encoder of a Lightning file."""
    return KeyRules(
        places=("state_dict", ""),
        strip=("encoder_q.",),
        rename=SEQUENTIAL_RESNET,
        drop=("encoder_k.*", "heads_q.*", "heads_k.*", "queue", "queue_ptr"),
    )


def build(card: BackboneCard) -> "ResNet":
    """The network of a card, with initial values."""
    from seamo_bench.networks.resnet import resnet

    return resnet(card)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "ResNet":
    """The network with its published weights; with none, random from `seed`."""
    from seamo_bench.networks.select import assemble_selected

    return assemble_selected(
        card,
        CARDS,
        build=build,
        stem=lambda net: net.conv1,
        rules=rules(card),
        weights=weights,
        seed=seed,
    )
