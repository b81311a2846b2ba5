"""SoftCon (Wang et al. 2024, arXiv 2405.20462): DINOv2 ViTs trained on with land-cover labels as soft targets.

The network is timm's; its files carry timm's names. What is fed has no reference output, hence "unverified".
"""

from typing import TYPE_CHECKING

from seamo.bands import S1, S2_L1C, Unit
from seamo_bench.backbones._steps import two_sigma_8bit
from seamo_bench.backbones._variant import VIT_SIZES
from seamo_bench.card import BackboneCard, InputSpec, Weights
from seamo_bench.family import Family, KeyRules
from seamo_bench.networks.variant import whole, word

if TYPE_CHECKING:
    from seamo_bench.networks.timm_trunk import TimmTrunk

REVISION = "bae909781911f8ec034b4b959992fae17b973c0c"
# SSL4EO-S12's statistics, as torchgeo 0.8.1 states them for these weights.
# fmt: off
S2_MEAN = (1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4)
S2_STD = (791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9)
# fmt: on
SOURCE = "github.com/zhu-xlab/softcon: mean +- 2 standard deviations to 8 bit; numbers as in torchgeo 0.8.1"
INPUTS = {
    "s2": InputSpec("s2", S2_L1C, Unit.DN, two_sigma_8bit(S2_MEAN, S2_STD), SOURCE, product="L1C"),
    "s1": InputSpec("s1", S1, Unit.DB, two_sigma_8bit((-12.59, -20.26), (5.26, 5.91)), SOURCE, product="GRD"),
}


def _card(vit: str, sensor: str) -> BackboneCard:
    dim = VIT_SIZES[vit][0]
    file = f"{'B13' if sensor == 's2' else 'B2'}_{vit}14_softcon_enc.pth"
    return BackboneCard(
        id=f"softcon-{vit}14-{sensor}",
        family="softcon",
        title=f"SoftCon ViT-{vit[-1].upper()}/14 ({sensor.upper()})",
        inputs=(INPUTS[sensor],),
        embed_dim=dim,
        size=224,
        multiple_of=14,
        code_licence="Apache-2.0",
        source="arXiv 2405.20462; github.com/zhu-xlab/softcon",
        pos_interp="as timm has it: bicubic, antialiased",
        pooling="class token after the final norm",
        levels=((dim, 14),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/wangyi111/softcon/resolve/{REVISION}/{file}",),
            filename=file,
            licence="unknown: see the model's page (code: Apache-2.0)",
        ),
        pretrained_on=("ssl4eo-s12",),
        variant=(
            ("model", f"vit_{'base' if vit == 'vitb' else 'small'}_patch14_dinov2"),
            ("img_size", 224),
        ),
    )


def _build(card: BackboneCard) -> "TimmTrunk":
    from seamo_bench.networks.timm_trunk import TimmTrunk, make_trunk

    (spec,) = card.inputs
    trunk = make_trunk(word(card, "model"), in_chans=len(spec.bands), size=whole(card, "img_size"))
    return TimmTrunk(trunk, (spec.sensor,), shared=True)


FAMILY = Family(
    cards=tuple(_card(vit, sensor) for vit in ("vitb", "vits") for sensor in INPUTS),
    build=_build,
    rules=KeyRules(rename=(("^", "trunk."),), drop=("head.*",)),
    stem="trunk.patch_embed.proj",
)
