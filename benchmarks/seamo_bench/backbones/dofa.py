"""DOFA v1 (Xiong et al. 2024, arXiv 2403.15356): a ViT whose patch kernels are generated from wavelengths."""

from typing import TYPE_CHECKING

from seamo.bands import Unit, band
from seamo_bench.backbones._steps import in_order, zscore
from seamo_bench.backbones._variant import VIT_SIZES, vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.dofa import DOFA

S2_BANDS = ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")
S1_BANDS = ("VH", "VV")
# Micrometres; radar is 5.405 (the frequency in GHz), as the published example has it.
WAVES_UM = {
    **dict(zip(S2_BANDS, (0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19), strict=True)),
    **dict.fromkeys(S1_BANDS, 5.405),
}
# fmt: off
MEAN_8BIT = {
    **dict(zip(S2_BANDS, (114.1099739, 114.81779093, 126.63977424, 84.33539309, 97.84789168, 103.94461911, 101.435633,
                          72.32804172, 56.66528851), strict=True)),
    **dict(zip(S1_BANDS, (166.36275909, 88.45542715), strict=True)),
}
STD_8BIT = {
    **dict(zip(S2_BANDS, (77.84352553, 69.96844919, 67.42465279, 64.57022983, 61.72545487, 61.34187099, 60.29744676,
                          47.88519516, 42.55886798), strict=True)),
    **dict(zip(S1_BANDS, (64.83126309, 43.07350145), strict=True)),
}
# fmt: on
README = "github.com/zhu-xlab/DOFA, README (8-bit statistics)"
# Satlas' 8-bit bands from DN: true colour saturates at 3558, the other bands at 8160.
FULL_DN = {name: 3558.0 if name in ("B04", "B03", "B02") else 8160.0 for name in S2_BANDS}


def steps_8bit(bands: tuple[str, ...]) -> tuple[Step, ...]:
    """The published z-score of 8-bit values."""
    return zscore(in_order(MEAN_8BIT, bands), in_order(STD_8BIT, bands))


INPUTS = {
    "s2": InputSpec(
        sensor="s2",
        bands=S2_BANDS,
        unit=Unit.DN,
        steps=(
            Step("affine", (0.0,), in_order(FULL_DN, S2_BANDS)),
            Step("scale", (255.0,)),
            Step("truncate-uint8"),
            *steps_8bit(S2_BANDS),
        ),
        source=README + "; DN to 8 bit as Satlas (true colour / 3558, others / 8160)",
        product="L1C",
    ),
    "s1": InputSpec(
        sensor="s1",
        bands=S1_BANDS,
        unit=Unit.DB,
        steps=(Step("store-zscore"),),
        source="z-score with the store's statistics: how dB became the published 8-bit values is not documented",
        product="GRD",
    ),
}


def _card(size: str, vit: str, sensor: str) -> BackboneCard:
    dim = VIT_SIZES[vit][0]
    file = f"DOFA_ViT_{size}_e100.pth"
    return BackboneCard(
        id=f"dofa-{size}-{sensor}",
        family="dofa",
        title=f"DOFA ViT-{size[0].upper()}/16 ({sensor.upper()})",
        inputs=(INPUTS[sensor],),
        embed_dim=dim,
        size=224,
        multiple_of=16,
        code_licence="MIT",
        source="arXiv 2403.15356; github.com/zhu-xlab/DOFA",
        pos_interp="bicubic to the size, not antialiased (helper of the repository)",
        pooling="mean of patch tokens, then a LayerNorm that is not in the file (weight 1, bias 0)",
        levels=((dim, 16),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/earthflow/DOFA/resolve/main/{file}",), filename=file, licence="CC-BY-4.0"
        ),
        pretrained_on=("satlas", "five-billion-pixels", "enmap"),
        verified=("golden", "manifest") if size == "base" else ("golden",),
        variant=(*vit_variant(vit, img_size=224, patch_size=16), ("wv_planes", 128)),
    )


def _build(card: BackboneCard) -> "DOFA":
    from seamo_bench.networks.dofa import DOFA

    return DOFA(card, {spec.sensor: [_wave_um(spec.sensor, name) for name in spec.bands] for spec in card.inputs})


def _wave_um(sensor: str, name: str) -> float:
    """As its authors list it; of other bands the declared centre."""
    return WAVES_UM[name] if name in WAVES_UM else band(sensor, name).wavelength_nm / 1000


FAMILY = Family(
    cards=tuple(_card(size, vit, sensor) for size, vit in (("base", "vitb"), ("large", "vitl")) for sensor in INPUTS),
    build=_build,
    rules=KeyRules(
        # Bare; the projector goes. The official file has `norm` and no `fc_norm`, torchgeo's copy the reverse.
        rename=((r"^patch_embed\.", "dynamic."),),
        drop=("mask_token", "projector.*", "head.*"),
        init=("fc_norm.*", "norm.*"),
    ),
    wavelengths=True,
    selects_columns=True,  # kernels are generated for whatever bands there are
)
