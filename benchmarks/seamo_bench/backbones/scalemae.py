"""Scale-MAE (Reed et al. 2023, arXiv 2212.14532): ViT-L on fMoW RGB, positions scaled by ground resolution."""

from typing import TYPE_CHECKING

from seamo_bench.backbones._inputs import rgb_inputs
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.scalemae import ScaleMAE

CARDS = (
    BackboneCard(
        id="scalemae-vitl",
        family="scalemae",
        title="Scale-MAE ViT-L/16",
        inputs=rgb_inputs("torchgeo ScaleMAELarge16_Weights (ImageNet mean and standard deviation)"),
        embed_dim=1024,
        size=224,
        multiple_of=16,
        code_licence="CC-BY-NC-4.0",
        source="arXiv 2212.14532; github.com/bair-climate-initiative/scale-mae",
        pos_interp="none needed: computed from grid and ground sampling distance (10 m assumed)",
        pooling="class token after the final norm",
        levels=((1024, 16),) * 4,
        weights=Weights(
            urls=(
                "https://hf.co/torchgeo/vit_large_patch16_224_fmow_rgb_scalemae/resolve/"
                "9dc7f569424baeb780698352cf6e87638c882123/vit_large_patch16_224_fmow_rgb_scalemae-98ed9821.pth",
            ),
            filename="vit_large_patch16_224_fmow_rgb_scalemae-98ed9821.pth",
            licence="CC-BY-NC-4.0",
            noncommercial=True,
            sha256="98ed9821",
        ),
        pretrained_on=("fmow-rgb",),
        verified=("manifest", "package"),
        variant=(*vit_variant("vitl", img_size=224, patch_size=16), ("gsd_m", 10.0)),
    ),
)


def _build(card: BackboneCard) -> "ScaleMAE":
    from seamo_bench.networks.scalemae import ScaleMAE

    return ScaleMAE(card)


FAMILY = Family(
    cards=CARDS,
    build=_build,
    rules=KeyRules(  # a MAE; the stored table is not used, because positions are computed
        places=("model", ""), drop=("pos_embed", "head.*", "decoder*", "mask_token*", "fc_norm.*", "fpn.*")
    ),
)
