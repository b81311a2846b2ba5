"""SpectralGPT and SpectralGPT+ (Hong et al. 2024, arXiv 2311.07113). Facts only: its code is GPL-3.0."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import S2_L2A, Unit
from seamo_bench.backbones._steps import FMOW_MEAN, FMOW_STD, in_order, two_sigma_8bit
from seamo_bench.backbones._variant import check_quirk, quirky_card, vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.spectral import SpectralViT

MINMAX = (Step("image-minmax", (1e-10,)),)
CUBE_ZSCORE = (Step("image-zscore"),)
QUIRKS = (
    "no-positions: official fine-tuning drops the stored position tables and starts from zero",
    "pool-without-first: official classification pools all tokens but the first, although there is no class token",
    "pretraining-minmax: per-image, per-band min-max, as the pretraining loader",
    "oscd-zscore: per-image z-score of all bands together, as the change-detection loader",
)
INPUT = InputSpec(
    sensor="s2",
    bands=S2_L2A,
    unit=Unit.DN,
    steps=two_sigma_8bit(in_order(FMOW_MEAN, S2_L2A), in_order(FMOW_STD, S2_L2A)),
    source="github.com/danfenghong/IEEE_TPAMI_SpectralGPT, BigEarthNet fine-tuning",
)


def _card(name: str, title: str, file: str, size: int) -> BackboneCard:
    return BackboneCard(
        id=name,
        family="spectralgpt",
        title=title,
        inputs=(INPUT,),
        embed_dim=768,
        size=size,
        multiple_of=8,
        any_size=False,
        code_licence="GPL-3.0",
        source="arXiv 2311.07113; github.com/danfenghong/IEEE_TPAMI_SpectralGPT",
        pos_interp="none: its authors define no other size",
        pooling="mean of all tokens, then the final norm",
        levels=((768, 8),) * 4,
        weights=Weights(
            urls=(f"https://zenodo.org/records/8412455/files/{file}",), filename=file, licence="GPL-3.0 (repository)"
        ),
        pretrained_on=("fmow-sentinel",) if name == "spectralgpt" else ("fmow-sentinel", "bigearthnet-s2"),
        quirks=QUIRKS,
        verified=("golden", "manifest"),
        variant=(*vit_variant("vitb", img_size=size, patch_size=8), ("t_patch_size", 3)),
    )


CARDS = (
    _card("spectralgpt", "SpectralGPT ViT-B", "SpectralGPT.pth", 96),
    _card("spectralgpt-plus", "SpectralGPT+ ViT-B", "SpectralGPT+.pth", 128),
)


def with_quirk(card: BackboneCard, quirk: str) -> BackboneCard:
    """The card with a deviation of the official code switched on.

    Raises:
        UsageError: If the card has no such quirk.
    """
    check_quirk(card, quirk)
    if quirk in ("no-positions", "pool-without-first"):
        return replace(card, variant=(*card.variant, (quirk.replace("-", "_"), True)))
    steps = MINMAX if quirk == "pretraining-minmax" else CUBE_ZSCORE
    return replace(card, inputs=tuple(replace(spec, steps=steps) for spec in card.inputs))


def card_of(name: str) -> BackboneCard | None:
    """The card of `<id>+<quirk>`."""
    return quirky_card(name, CARDS, with_quirk)


def rules(_card: BackboneCard) -> KeyRules:
    """The encoder of an MAE file."""
    return KeyRules(places=("model",), drop=("decoder_*", "mask_token"))


def build(card: BackboneCard) -> "SpectralViT":
    """The network of a card, with initial values."""
    from seamo_bench.networks.spectral import SpectralViT

    return SpectralViT(card)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "SpectralViT":
    """The network with its published weights; with none, random from `seed`."""
    from seamo_bench.weights import assemble

    return assemble(lambda: build(card), rules=rules(card), weights=weights, seed=seed, backbone=card.id)
