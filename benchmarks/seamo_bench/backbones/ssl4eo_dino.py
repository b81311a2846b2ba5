"""SSL4EO-S12 DINO (Wang et al. 2023, arXiv 2211.07044): ViT-S/16 pretrained by DINO on SSL4EO-S12."""

from pathlib import Path
from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import S2_SSL4EO, WRAP, wrapped
from seamo_bench.backbones._variant import check_quirk, quirky_card, vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.vit import ViT

SELECTS_COLUMNS = True
CARDS = (
    BackboneCard(
        id="ssl4eo-dino-vits16-s2",
        family="ssl4eo_dino",
        title="SSL4EO-DINO ViT-S/16",
        inputs=(S2_SSL4EO,),
        embed_dim=4 * 384,
        size=224,
        multiple_of=16,
        code_licence="Apache-2.0",
        source="arXiv 2211.07044; github.com/zhu-xlab/SSL4EO-S12",
        pos_interp="bicubic with DINO's scale factor (n + 0.1) / sqrt(L)",
        pooling="class tokens of the last four blocks, each after the final norm, concatenated",
        levels=((384, 16),) * 4,
        weights=Weights(
            urls=(),
            filename="B13_vits16_dino_ep99.pth",
            licence="CC-BY-4.0",
            how="Google Drive, file 1CseO5vvMReGlAulm5o4ZgbjUgj8VlAH7 (linked from github.com/zhu-xlab/SSL4EO-S12).",
        ),
        pretrained_on=("ssl4eo-s12",),
        quirks=(WRAP,),
        verified=("golden",),
        variant=vit_variant("vits", img_size=224, patch_size=16),
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
    """The teacher is what is evaluated; with BatchNorm it is saved with `module.`, without it is not."""
    return KeyRules(places=("teacher", ""), strip=("module.", "backbone."), drop=("head.*", "module.head.*"))


def build(card: BackboneCard) -> "ViT":
    """The network of a card, with initial values."""
    from seamo_bench.networks.vit import plain_vit

    return plain_vit(card, pool="cls-last4", pos_interp="dino")


def load(card: BackboneCard, weights: Path | None, seed: int) -> "ViT":
    """The network with its published weights; with none, random from `seed`."""
    from seamo_bench.networks.select import assemble_selected

    return assemble_selected(
        card,
        CARDS,
        build=build,
        stem=lambda net: net.get_submodule("patch_embed.proj"),
        rules=rules(card),
        weights=weights,
        seed=seed,
    )
