"""FG-MAE (Wang et al. 2023, arXiv 2310.18653): masked autoencoding of image features (HOG, NDI) on SSL4EO-S12."""

from seamo_bench.backbones._inputs import S1_SSL4EO, S2_SSL4EO, WRAP, WRAP_QUIRK
from seamo_bench.backbones._networks import VIT_STEM, vit
from seamo_bench.backbones._variant import VIT_SIZES, vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family, KeyRules


def _card(size: str, patch: int, sensor: str) -> BackboneCard:
    spec = S2_SSL4EO if sensor == "s2" else S1_SSL4EO
    name = f"B{len(spec.bands)}_{size}{patch}_fgmae_ep99_enc.pth"
    dim = VIT_SIZES[size][0]
    return BackboneCard(
        id=f"fgmae-{size}{patch}-{sensor}",
        family="fgmae",
        title=f"FGMAE ViT-{size[-1].upper()}/{patch}",
        inputs=(spec,),
        embed_dim=dim,
        size=224,
        multiple_of=patch,
        code_licence="Apache-2.0",
        source="arXiv 2310.18653; github.com/zhu-xlab/FGMAE",
        pos_interp="bicubic to the size, not antialiased",
        pooling="class token after the final norm",
        levels=((dim, patch),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/wangyi111/FGMAE/resolve/main/{name}",),
            filename=name,
            licence="CC-BY-4.0",
        ),
        pretrained_on=("ssl4eo-s12",),
        quirks=(WRAP,) if sensor == "s2" else (),
        verified=("golden",),
        variant=vit_variant(size, img_size=224, patch_size=patch),
    )


FAMILY = Family(
    cards=tuple(
        _card(size, patch, sensor)
        for size, patch in (("vits", 16), ("vitb", 16), ("vitl", 16), ("vith", 14))
        for sensor in ("s2", "s1")
    ),
    build=vit("cls", "bicubic"),
    rules=KeyRules(  # as MAE files, and the fixed filters of the HOG target
        places=("model", ""), drop=("decoder_*", "mask_token", "head.*", "fc_norm.*", "hog*")
    ),
    stem=VIT_STEM,
    quirks=WRAP_QUIRK,
)
