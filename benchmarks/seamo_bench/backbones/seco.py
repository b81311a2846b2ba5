"""SeCo (Manas et al. 2021, arXiv 2103.16607): seasonal contrast of ResNets on Sentinel-2 RGB."""

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


CARDS = tuple(_card(net, images) for net in ("r50", "r18") for images in ("1m", "100k"))


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
