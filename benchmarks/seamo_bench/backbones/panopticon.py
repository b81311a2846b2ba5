"""Panopticon (Waldmann et al. 2025, arXiv 2503.10845): DINOv2 ViT-B/14 for any channels."""

from typing import TYPE_CHECKING

from seamo.bands import S1, S2_L1C, Unit, band
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.panopticon import Panopticon

SOURCE = "github.com/Panopticon-FM/panopticon: z-score with the statistics of the evaluated data set"
STEPS = (Step("store-zscore"),)
INPUTS = {
    "s2": InputSpec(sensor="s2", bands=S2_L1C, unit=Unit.DN, steps=STEPS, source=SOURCE),
    "s1": InputSpec(sensor="s1", bands=S1, unit=Unit.DB, steps=STEPS, source=SOURCE, product="GRD"),
}


def _card(sensor: str) -> BackboneCard:
    return BackboneCard(
        id=f"panopticon-vitb14-{sensor}",
        family="panopticon",
        title=f"Panopticon ViT-B/14 ({sensor.upper()})",
        inputs=(INPUTS[sensor],),
        embed_dim=768,
        size=224,
        multiple_of=14,
        any_size=False,
        code_licence="Apache-2.0",
        source="arXiv 2503.10845; torchgeo.models.panopticon; orbit of radar unknown",
        pos_interp="none: native size only",
        pooling="class token after the final norm",
        levels=((768, 14),) * 4,
        weights=Weights(
            urls=("https://huggingface.co/lewaldm/panopticon/resolve/main/panopticon_vitb14_teacher.pth",),
            filename="panopticon_vitb14_teacher.pth",
            licence="Apache-2.0",
        ),
        pretrained_on=("panopticon",),
        verified=("manifest", "package"),
        variant=(*vit_variant("vitb", img_size=224, patch_size=14), ("attn_dim", 2304), ("attn_heads", 16)),
    )


def _build(card: BackboneCard) -> "Panopticon":
    from seamo_bench.networks.panopticon import Panopticon

    return Panopticon(card, {spec.sensor: [_channel(spec.sensor, name) for name in spec.bands] for spec in card.inputs})


def _channel(sensor: str, name: str) -> float | str:
    """Name of a radar channel; of an optical one the wavelength in whole nanometres, cut off as the code does."""
    return name if sensor == "s1" else float(int(band(sensor, name).wavelength_nm))


FAMILY = Family(
    cards=tuple(_card(sensor) for sensor in INPUTS),
    build=_build,
    rules=KeyRules(  # names as in torchgeo, with or without the outer `model.`
        places=("model", "teacher", ""), strip=("model.",), drop=("mask_token", "model.mask_token")
    ),
    wavelengths=True,
    selects_columns=True,  # attention takes whatever channels there are
)
