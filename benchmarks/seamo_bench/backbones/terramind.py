"""TerraMind 1.0 base (Jakubik et al. 2025, arXiv 2504.11171): any-to-any model; its encoder of S2 L2A and S1 GRD."""

from typing import TYPE_CHECKING

from seamo.bands import S1, S2_L2A, Unit
from seamo_bench.backbones._steps import zscore
from seamo_bench.card import BackboneCard, InputSpec, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.terramind import TerraMind

SOURCE = "terratorch 1.2.11, terramind_register (v1 pretraining statistics)"
# fmt: off
S2_STEPS = zscore(
    (1390.458, 1503.317, 1718.197, 1853.91, 2199.1, 2779.975, 2987.011, 3083.234, 3132.22, 3162.988, 2424.884,
     1857.648),
    (2106.761, 2141.107, 2038.973, 2134.138, 2085.321, 1889.926, 1820.257, 1871.918, 1753.829, 1797.379, 1434.261,
     1334.311),
)
# fmt: on
CARDS = (
    BackboneCard(
        id="terramind-v1-base",
        family="terramind",
        title="TerraMind 1.0 base",
        inputs=(
            InputSpec(sensor="s2", bands=S2_L2A, unit=Unit.DN, steps=S2_STEPS, source=SOURCE, product="L2A"),
            InputSpec(
                sensor="s1",
                bands=S1,
                unit=Unit.DB,
                steps=zscore((-12.599, -20.293), (5.195, 5.89)),
                source=SOURCE,
                product="GRD",
            ),
        ),
        embed_dim=768,
        size=224,
        multiple_of=16,
        any_size=False,
        code_licence="Apache-2.0",
        source="arXiv 2504.11171; huggingface.co/ibm-esa-geospatial/TerraMind-1.0-base",
        pos_interp="none: native size only",
        pooling="mean of all tokens after the final norm",
        levels=((768, 16),) * 4,
        weights=Weights(
            urls=("https://huggingface.co/ibm-esa-geospatial/TerraMind-1.0-base/resolve/main/TerraMind_v1_base.pt",),
            filename="TerraMind_v1_base.pt",
            licence="Apache-2.0",
        ),
        pretrained_on=("terramesh",),
        verified=("manifest",),
        variant=(
            ("img_size", 224),
            ("patch_size", 16),
            ("embed_dim", 768),
            ("depth", 12),
            ("num_heads", 12),
            ("hidden", 2048),
        ),
    ),
)
CHANS = {"s2": 12, "s1": 2}


def _build(card: BackboneCard) -> "TerraMind":
    from seamo_bench.networks.terramind import TerraMind

    return TerraMind(card, CHANS | {one.sensor if one.sensor in CHANS else "s2": len(one.bands) for one in card.inputs})


FAMILY = Family(
    cards=CARDS,
    build=_build,
    tokenizers={
        "s2": "encoder_embeddings.untok_sen2l2a@224.proj",
        "s1": "encoder_embeddings.untok_sen1grd@224.proj",
    },
    rules=KeyRules(
        # The encoder and two of its modalities; other modalities, decoder and tokenizers go.
        places=("model", "state_dict", ""),
        drop=(
            "decoder*",
            "mask_token",
            "encoder_embeddings.tok_*",
            "encoder_embeddings.untok_sen2l1c@224.*",
            "encoder_embeddings.untok_sen2rgb@224.*",
            "encoder_embeddings.untok_sen1rtc@224.*",
            "encoder_embeddings.untok_dem@224.*",
            "encoder_embeddings.coords.*",
            "encoder_embeddings.caption.*",
        ),
    ),
)
