"""DINO-MM (Wang et al. 2022, arXiv 2204.05381): ViT-S/8 over stacked Sentinel-2 and Sentinel-1 by DINO."""

from dataclasses import replace
from typing import TYPE_CHECKING

from seamo.bands import S2_L2A, Unit
from seamo_bench.backbones._networks import VIT_STEM, vit
from seamo_bench.backbones._rules import DINO_TEACHER
from seamo_bench.backbones._steps import BEN_MEAN, BEN_STD, in_order, two_sigma_8bit
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family

if TYPE_CHECKING:
    from seamo_bench.networks.vit import ViT

CARDS = (
    BackboneCard(
        id="dino-mm-vits8",
        family="dino_mm",
        title="DINO-MM ViT-S/8",
        inputs=(
            InputSpec(
                sensor="s2",
                bands=S2_L2A,
                unit=Unit.DN,
                steps=two_sigma_8bit(in_order(BEN_MEAN, S2_L2A), in_order(BEN_STD, S2_L2A)),
                source="github.com/zhu-xlab/DINO-MM, BigEarthNet loader",
                product="L2A",
            ),
            InputSpec(
                sensor="s1",
                bands=("VH", "VV"),
                unit=Unit.DB,
                steps=(
                    Step("image-quantile-clip", (0.01,), (0.99,)),
                    *two_sigma_8bit((-19.22, -12.59), (5.42, 5.04)),
                ),
                source="github.com/zhu-xlab/DINO-MM, BigEarthNet loader",
                product="GRD",
            ),
        ),
        embed_dim=4 * 384,
        size=112,
        multiple_of=8,
        code_licence="Apache-2.0",
        source="arXiv 2204.05381; github.com/zhu-xlab/DINO-MM",
        pos_interp="bicubic with DINO's scale factor (n + 0.1) / sqrt(L)",
        pooling="class tokens of the last four blocks, each after the final norm, concatenated",
        levels=((384, 8),) * 4,
        weights=Weights(
            urls=("https://huggingface.co/wangyi111/dino-mm/resolve/main/B14_vits8_dinomm_ep99.pth",),
            filename="B14_vits8_dinomm_ep99.pth",
            licence="Apache-2.0",
        ),
        pretrained_on=("bigearthnet-mm",),
        verified=("golden", "manifest"),
        variant=vit_variant("vits", img_size=224, patch_size=8),
    ),
)


def _build(card: BackboneCard) -> "ViT":
    """A sensor that is not given is zero after normalisation, as its authors drop one."""
    own = {one.sensor: one.bands for one in CARDS[0].inputs}
    if any(own.get(one.sensor) != one.bands for one in card.inputs):  # a new tokenizer reads them and no others
        return vit("cls-last4", "dino")(card)
    # A store with one sensor has a card with one input; the network keeps both.
    return vit("cls-last4", "dino")(replace(card, inputs=CARDS[0].inputs))


FAMILY = Family(cards=CARDS, build=_build, rules=DINO_TEACHER, tokenizers={"s2": VIT_STEM})
