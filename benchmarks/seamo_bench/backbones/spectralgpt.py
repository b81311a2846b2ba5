"""SpectralGPT and SpectralGPT+ (Hong et al. 2024, arXiv 2311.07113). Facts only: its code is GPL-3.0."""

from dataclasses import replace
from typing import TYPE_CHECKING

from seamo.bands import S2_L2A, Unit
from seamo_bench.backbones._inputs import normalised_by
from seamo_bench.backbones._steps import FMOW_MEAN, FMOW_STD, in_order, two_sigma_8bit
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Change, Family, KeyRules

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


def _switched_on(name: str) -> Change:
    """A quirk that is a switch of the network."""
    return lambda card: replace(card, variant=(*card.variant, (name, True)))


def _build(card: BackboneCard) -> "SpectralViT":
    from seamo_bench.networks.spectral import SpectralViT

    return SpectralViT(card)


FAMILY = Family(
    cards=(
        _card("spectralgpt", "SpectralGPT ViT-B", "SpectralGPT.pth", 96),
        _card("spectralgpt-plus", "SpectralGPT+ ViT-B", "SpectralGPT+.pth", 128),
    ),
    build=_build,
    rules=KeyRules(places=("model",), drop=("decoder_*", "mask_token")),
    quirks={
        "no-positions": _switched_on("no_positions"),
        "pool-without-first": _switched_on("pool_without_first"),
        "pretraining-minmax": normalised_by(MINMAX),
        "oscd-zscore": normalised_by(CUBE_ZSCORE),
    },
)
