"""Copernicus-FM (Wang et al. 2025, arXiv 2503.11849): one model for all Copernicus sensors."""

from typing import TYPE_CHECKING

from seamo.bands import S1, S2_L1C, Unit, band
from seamo.errors import BandError
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.copernicusfm import CopernicusFM

# (wavelength, bandwidth) in nanometres, as the repository lists them.
SPECTRA_NM: dict[str, tuple[float, float]] = {
    **dict(
        zip(
            S2_L1C,
            zip(
                (440, 490, 560, 665, 705, 740, 783, 842, 860, 940, 1370, 1610, 2190),
                (20, 65, 35, 30, 15, 15, 20, 115, 20, 20, 30, 90, 180),
                strict=True,
            ),
            strict=True,
        )
    ),
    **dict.fromkeys(S1, (5e7, 1e9)),
}
SOURCE = "github.com/zhu-xlab/Copernicus-FM: z-score with the statistics of the evaluated data set"
STEPS = (Step("store-zscore"),)
INPUTS = {
    "s2": InputSpec(sensor="s2", bands=S2_L1C, unit=Unit.DN, steps=STEPS, source=SOURCE, product="L1C"),
    "s1": InputSpec(sensor="s1", bands=S1, unit=Unit.DB, steps=STEPS, source=SOURCE, product="GRD"),
}


def _card(sensor: str) -> BackboneCard:
    return BackboneCard(
        id=f"copernicusfm-base-{sensor}",
        family="copernicusfm",
        title=f"Copernicus-FM ViT-B/16 ({sensor.upper()})",
        inputs=(INPUTS[sensor],),
        embed_dim=768,
        size=224,
        multiple_of=16,
        any_size=False,
        code_licence="Apache-2.0",
        source="arXiv 2503.11849; torchgeo.models.copernicusfm; place, scale and time not given",
        pos_interp="none: native size only",
        pooling="mean of patch tokens, then a LayerNorm that may not be in the file (weight 1, bias 0)",
        levels=((768, 16),) * 4,
        weights=Weights(
            urls=(
                "https://huggingface.co/wangyi111/Copernicus-FM/resolve/main/CopernicusFM_ViT_base_varlang_e100.pth",
            ),
            filename="CopernicusFM_ViT_base_varlang_e100.pth",
            licence="CC-BY-4.0",
        ),
        pretrained_on=("copernicus-pretrain",),
        verified=("manifest", "package"),
        variant=(*vit_variant("vitb", img_size=224, patch_size=16), ("wv_planes", 128)),
    )


def _build(card: BackboneCard) -> "CopernicusFM":
    from seamo_bench.networks.copernicusfm import CopernicusFM

    return CopernicusFM(
        card, {spec.sensor: [_spectrum(spec.sensor, name) for name in spec.bands] for spec in card.inputs}
    )


def _spectrum(sensor: str, name: str) -> tuple[float, float]:
    """As its repository lists it; of other bands the declared centre and width."""
    if name in SPECTRA_NM:
        return SPECTRA_NM[name]
    known = band(sensor, name)
    if known.width_nm is None:
        raise BandError(f"needs the width of {known.id}, and none is declared", "copernicusfm")
    return known.wavelength_nm, known.width_nm


FAMILY = Family(
    cards=tuple(_card(sensor) for sensor in INPUTS),
    build=_build,
    rules=KeyRules(  # the spectral half; projections of variables named in words go
        places=("model", ""), drop=("patch_embed_variable.*", "head.*", "mask_token"), init=("fc_norm.*",)
    ),
    wavelengths=True,
    selects_columns=True,  # kernels are generated for whatever bands there are
)
