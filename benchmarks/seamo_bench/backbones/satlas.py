"""SatlasPretrain (Bastani et al. 2023, arXiv 2211.15660): single-image Swin-v2-B for Sentinel-2 and Sentinel-1."""

from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.swin import Swin

REST = ("B05", "B06", "B07", "B08", "B11", "B12")
S2_BANDS = ("B04", "B03", "B02", *REST)  # true colour R, G, B first
CLIP = Step("clip", (0.0,), (1.0,))
REST_STEPS = (Step("affine", (0.0,), (8160.0,)), CLIP)
TCI_STEPS = (Step("affine", (0.0,), (255.0,)),)
S1_STEPS = (Step("affine", (0.0,), (255.0,)), CLIP)
SOURCE = "github.com/allenai/satlas, Normalization.md"
S2_INPUT = InputSpec(
    sensor="s2",
    bands=S2_BANDS,
    unit=Unit.DN,
    steps=(Step("affine", (0.0,), (3558.0,) * 3 + (8160.0,) * 6), CLIP),
    source=SOURCE + " (true colour / 255, others / 8160); true colour from DN: 3558 = 255 (ESA)",
    product="L1C",
)
S1_INPUT = InputSpec(
    sensor="s1",
    bands=("VH", "VV"),
    unit=Unit.UINT8,
    steps=S1_STEPS,
    source=SOURCE + "; its own 16-bit radar product, to which no way from dB is published",
    product="GRD",
)


def _card(sensor: str, file: str, spec: InputSpec) -> BackboneCard:
    return BackboneCard(
        id=f"satlas-swinb-{sensor}",
        family="satlas",
        title=f"Satlas Swin-v2-B ({sensor.upper()})",
        inputs=(spec,),
        embed_dim=1024,
        size=256,
        multiple_of=32,
        code_licence="Apache-2.0",
        source="arXiv 2211.15660; github.com/allenai/satlaspretrain_models",
        pos_interp="none needed: relative position bias in windows of 8",
        pooling="global average of the last stage, no final norm",
        levels=((128, 4), (256, 8), (512, 16), (1024, 32)),
        weights=Weights(
            urls=(f"https://huggingface.co/allenai/satlas-pretrain/resolve/main/{file}",),
            filename=file,
            licence="ODC-BY",
        ),
        pretrained_on=("satlaspretrain",),
        verified=("golden", "manifest") if sensor == "s2" else ("golden",),
        variant=(
            ("embed_dim", 128),
            ("depths", (2, 2, 18, 2)),
            ("num_heads", (4, 8, 16, 32)),
            ("window_size", 8),
            ("patch_size", 4),
            ("mlp_ratio", 4),
        ),
    )


def _build(card: BackboneCard) -> "Swin":
    from seamo_bench.networks.swin import Swin

    return Swin(card)


FAMILY = Family(
    cards=(
        _card("s2", "sentinel2_swinb_si_ms.pth", S2_INPUT),
        _card("s1", "sentinel1_swinb_si.pth", S1_INPUT),
    ),
    build=_build,
    rules=KeyRules(  # the trunk under a doubled prefix; feature pyramid, heads, final norm and classifier go
        strip=("backbone.backbone.",),
        drop=("intermediates.*", "heads.*", "*.head.*", "head.*", "backbone.backbone.norm.*", "norm.*"),
    ),
    stem="features.0.0",
)
