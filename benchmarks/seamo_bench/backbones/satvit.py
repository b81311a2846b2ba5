"""SatViT V1 and V2 (Fuller et al. 2022, arXiv 2209.14969): masked autoencoders of stacked Sentinel-1 and -2."""

from typing import TYPE_CHECKING

from seamo.bands import S1, S2_L2A, Unit
from seamo_bench.backbones._steps import zscore
from seamo_bench.card import BackboneCard, InputSpec, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.satvit import SatViT

SOURCE = "github.com/antofuller/SatViT, tutorials (table of means and standard deviations)"
# fmt: off
S2_STEPS = zscore(
    (884.7334, 958.7927, 1144.4814, 1152.3252, 1559.3584, 2384.0615, 2680.8501, 2769.1274, 2886.8269, 3064.9661,
     2169.6279, 1491.0271),
    (1254.2722, 1269.499, 1201.9749, 1262.4783, 1241.1108, 1175.8447, 1203.6945, 1223.6914, 1193.583, 1439.5085,
     998.298, 907.8351),
)
# fmt: on
# Ascending VV, VH, descending VV, VH. The released weights have 15 channels, the text describes 12 + 4; which one is
# missing is not documented. Assumed here: the last. Stores have one orbit, read as ascending.
S1_FOUR_STEPS = zscore((-10.97, -17.9148, -10.9671, -18.0231), (3.6673, 4.5137, 3.6928, 4.4928))
INPUTS = (
    InputSpec(sensor="s2", bands=S2_L2A, unit=Unit.DN, steps=S2_STEPS, source=SOURCE, product="L2A"),
    InputSpec(
        sensor="s1",
        bands=S1,
        unit=Unit.DB,
        steps=zscore((-10.97, -17.9148), (3.6673, 4.5137)),
        source=SOURCE + "; channel list assumed, descending VV zero",
        product="GRD",
    ),
)


def _card(version: str, patch: int) -> BackboneCard:
    file = f"SatViT_{version}.pt"
    return BackboneCard(
        id=f"satvit-{version.lower()}",
        family="satvit",
        title=f"SatViT {version} ViT-B/{patch}",
        inputs=INPUTS,
        embed_dim=768,
        size=256,
        multiple_of=patch,
        any_size=False,
        code_licence="MIT",
        source="arXiv 2209.14969; github.com/antofuller/SatViT",
        pos_interp="none: the image must give the stored number of patches",
        pooling="mean of all tokens after the final norm",
        levels=((768, patch),) * 4,
        weights=Weights(
            urls=(f"https://github.com/antofuller/SatViT/releases/download/pretrained_weights/{file}",),
            filename=file,
            licence="MIT",
        ),
        pretrained_on=("satvit",),
        verified=("golden", "manifest"),
        variant=(
            ("encoder_dim", 768),
            ("encoder_depth", 12),
            ("encoder_num_heads", 12),
            ("patch_size", patch),
            ("in_chans", 15),
            ("num_patches", (256 // patch) ** 2),
        ),
    )


def _build(card: BackboneCard) -> "SatViT":
    from seamo_bench.networks.satvit import SatViT

    return SatViT(card)


FAMILY = Family(
    cards=(_card("V1", 16), _card("V2", 8)),
    build=_build,
    tokenizers={"s2": "linear_input"},
    selects_columns=True,  # what is not fed is zero, as a sensor that is not given
    rules=KeyRules(  # a bare MAE; the decoder goes
        drop=("decoder.*", "decoder_pos_embed", "enc_to_dec.*", "linear_output.*", "mask_token")
    ),
)
