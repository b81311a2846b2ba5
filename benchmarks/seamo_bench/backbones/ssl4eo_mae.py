"""SSL4EO-S12 MAE (Wang et al. 2023, arXiv 2211.07044): ViTs pretrained by masked autoencoding on SSL4EO-S12."""

from seamo_bench.backbones._inputs import S1_SSL4EO, S2_SSL4EO, WRAP, WRAP_QUIRK
from seamo_bench.backbones._networks import VIT_STEM, vit
from seamo_bench.backbones._variant import VIT_SIZES, vit_variant
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family, KeyRules

# First digits, as the model page shows them.
SHA256_PREFIX = {
    "B13_vitb16_mae_ep99_enc.pth": "49be5af0cd97e501",
    "B2_vitb16_mae_ep99_enc.pth": "400fc36b54512342",
    "B13_vitl16_mae_ep99_enc.pth": "31c5550dd9b29c47",
}


def _card(size: str, patch: int, sensor: str) -> BackboneCard:
    spec = S2_SSL4EO if sensor == "s2" else S1_SSL4EO
    name = f"B{len(spec.bands)}_{size}{patch}_mae_ep99_enc.pth"
    dim = VIT_SIZES[size][0]
    proved = ("golden", "manifest") if (size, sensor) == ("vits", "s1") else ("golden",)
    return BackboneCard(
        id=f"ssl4eo-mae-{size}{patch}-{sensor}",
        family="ssl4eo_mae",
        title=f"SSL4EO-MAE ViT-{size[-1].upper()}/{patch}",
        inputs=(spec,),
        embed_dim=dim,
        size=224,
        multiple_of=patch,
        code_licence="Apache-2.0",
        source="arXiv 2211.07044; github.com/zhu-xlab/SSL4EO-S12",
        pos_interp="bicubic to the size, not antialiased",
        pooling="class token after the final norm",
        levels=((dim, patch),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/wangyi111/SSL4EO-S12/resolve/main/{name}",),
            filename=name,
            licence="CC-BY-4.0",
            sha256=SHA256_PREFIX.get(name, ""),
        ),
        pretrained_on=("ssl4eo-s12",),
        quirks=(WRAP,) if sensor == "s2" else (),
        verified=proved,
        variant=vit_variant(size, img_size=224, patch_size=patch),
    )


FAMILY = Family(
    cards=tuple(
        _card(size, patch, sensor)
        for size, patch in (("vits", 16), ("vitb", 16), ("vitl", 16), ("vith", 14))
        for sensor in ("s2", "s1")
    ),
    build=vit("cls", "bicubic"),
    rules=KeyRules(  # full files keep the MAE under `model`, encoder-only files are bare; decoder and unused head go
        places=("model", ""), drop=("decoder_*", "mask_token", "head.*", "fc_norm.*")
    ),
    stem=VIT_STEM,
    quirks=WRAP_QUIRK,
)
