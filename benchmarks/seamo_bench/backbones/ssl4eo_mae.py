"""SSL4EO-S12 MAE (Wang et al. 2023, arXiv 2211.07044): ViTs pretrained by masked autoencoding on SSL4EO-S12."""

from pathlib import Path
from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import S1_SSL4EO, S2_SSL4EO, WRAP, wrapped
from seamo_bench.backbones._variant import VIT_SIZES, check_quirk, quirky_card, vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.vit import ViT

SELECTS_COLUMNS = True
# First digits, as the model page shows them.
SHA256_PREFIX = {
    "B13_vitb16_mae_ep99_enc.pth": "49be5af0cd97e501",
    "B2_vitb16_mae_ep99_enc.pth": "400fc36b54512342",
    "B13_vitl16_mae_ep99_enc.pth": "31c5550dd9b29c47",
}


def _card(size: str, patch: int, sensor: str) -> BackboneCard:
    spec = S2_SSL4EO if sensor == "s2" else S1_SSL4EO
    name = f"B{len(spec.bands)}_{size}{patch}_mae_ep99_enc.pth"
    dim = VIT_SIZES[size][0]
    proved = ("golden", "manifest") if (size, sensor) == ("vits", "s1") else ("golden",)
    return BackboneCard(
        id=f"ssl4eo-mae-{size}{patch}-{sensor}",
        family="ssl4eo_mae",
        title=f"SSL4EO-MAE ViT-{size[-1].upper()}/{patch}",
        inputs=(spec,),
        embed_dim=dim,
        size=224,
        multiple_of=patch,
        code_licence="Apache-2.0",
        source="arXiv 2211.07044; github.com/zhu-xlab/SSL4EO-S12",
        pos_interp="bicubic to the size, not antialiased",
        pooling="class token after the final norm",
        levels=((dim, patch),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/wangyi111/SSL4EO-S12/resolve/main/{name}",),
            filename=name,
            licence="CC-BY-4.0",
            sha256=SHA256_PREFIX.get(name, ""),
        ),
        pretrained_on=("ssl4eo-s12",),
        quirks=(WRAP,) if sensor == "s2" else (),
        verified=proved,
        variant=vit_variant(size, img_size=224, patch_size=patch),
    )


CARDS = tuple(
    _card(size, patch, sensor)
    for size, patch in (("vits", 16), ("vitb", 16), ("vitl", 16), ("vith", 14))
    for sensor in ("s2", "s1")
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
    """Full files keep the MAE under `model`, encoder-only files are bare; the decoder and the unused head go."""
    return KeyRules(places=("model", ""), drop=("decoder_*", "mask_token", "head.*", "fc_norm.*"))


def build(card: BackboneCard) -> "ViT":
    """The network of a card, with initial values."""
    from seamo_bench.networks.vit import plain_vit

    return plain_vit(card, pool="cls", pos_interp="bicubic")


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
