"""SSL4EO-S12 MoCo-v2 (Wang et al. 2023, arXiv 2211.07044): ResNets pretrained on SSL4EO-S12."""

from pathlib import Path
from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import S2_SSL4EO, WRAP, wrapped
from seamo_bench.backbones._variant import check_quirk, quirky_card, resnet_levels, resnet_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.resnet import ResNet

SELECTS_COLUMNS = True
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


def with_quirk(card: BackboneCard, quirk: str) -> BackboneCard:
    """The card with a deviation of the official code switched on.

    Raises:
        UsageError: If the card has no such quirk.
    """
    check_quirk(card, quirk)
    return wrapped(card)


def card_of(name: str) -> BackboneCard | None:
    """The card of `<id>+<quirk>`."""
    return quirky_card(name, CARDS, with_quirk)


def rules(_card: BackboneCard) -> KeyRules:
    """The query encoder, without its projection, the key encoder and the queue."""
    return KeyRules(
        places=("state_dict",),
        strip=("module.encoder_q.",),
        drop=("module.encoder_q.fc.*", "module.encoder_k.*", "module.queue*"),
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
