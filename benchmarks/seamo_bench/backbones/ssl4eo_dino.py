"""SSL4EO-S12 DINO (Wang et al. 2023, arXiv 2211.07044): ViT-S/16 pretrained by DINO on SSL4EO-S12."""

from seamo_bench.backbones._inputs import S2_SSL4EO, WRAP, WRAP_QUIRK
from seamo_bench.backbones._networks import VIT_STEM, vit
from seamo_bench.backbones._rules import DINO_TEACHER
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family

CARDS = (
    BackboneCard(
        id="ssl4eo-dino-vits16-s2",
        family="ssl4eo_dino",
        title="SSL4EO-DINO ViT-S/16",
        inputs=(S2_SSL4EO,),
        embed_dim=4 * 384,
        size=224,
        multiple_of=16,
        code_licence="Apache-2.0",
        source="arXiv 2211.07044; github.com/zhu-xlab/SSL4EO-S12",
        pos_interp="bicubic with DINO's scale factor (n + 0.1) / sqrt(L)",
        pooling="class tokens of the last four blocks, each after the final norm, concatenated",
        levels=((384, 16),) * 4,
        weights=Weights(
            urls=(),
            filename="B13_vits16_dino_ep99.pth",
            licence="CC-BY-4.0",
            how="Google Drive, file 1CseO5vvMReGlAulm5o4ZgbjUgj8VlAH7 (linked from github.com/zhu-xlab/SSL4EO-S12).",
        ),
        pretrained_on=("ssl4eo-s12",),
        quirks=(WRAP,),
        verified=("golden",),
        variant=vit_variant("vits", img_size=224, patch_size=16),
    ),
)


FAMILY = Family(cards=CARDS, build=vit("cls-last4", "dino"), rules=DINO_TEACHER, stem=VIT_STEM, quirks=WRAP_QUIRK)
