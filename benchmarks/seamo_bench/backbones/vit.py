"""Supervised ViTs on ImageNet-21k ("ViT-22k") and -1k (Steiner et al. 2022, arXiv 2106.10270), weights of timm."""

from seamo_bench.backbones._inputs import rgb_inputs
from seamo_bench.backbones._networks import vit
from seamo_bench.backbones._steps import TO_UNIT
from seamo_bench.backbones._variant import VIT_SIZES, vit_variant
from seamo_bench.card import BackboneCard, Step, Weights
from seamo_bench.family import Family, KeyRules

HALF = (TO_UNIT, Step("affine", (0.5,), (0.5,)))


def _card(name: str, title: str, size: str, *, hub: str, corpus: str) -> BackboneCard:
    dim = VIT_SIZES[size][0]
    return BackboneCard(
        id=name,
        family="vit",
        title=title,
        inputs=rgb_inputs(f"huggingface.co/timm/{hub} (mean = std = 0.5)", HALF),
        embed_dim=dim,
        size=224,
        multiple_of=16,
        code_licence="Apache-2.0",
        source="arXiv 2106.10270; github.com/huggingface/pytorch-image-models",
        pos_interp="bicubic to the size, not antialiased",
        pooling="class token after the final norm",
        levels=((dim, 16),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/timm/{hub}/resolve/main/model.safetensors",),
            filename=f"{hub}.safetensors",
            licence="Apache-2.0",
        ),
        pretrained_on=(corpus,),
        verified=("package",),
        variant=vit_variant(size, img_size=224, patch_size=16),
    )


CARDS = (
    _card("vit-b16-in21k", "ViT-22k ViT-B/16", "vitb", hub="vit_base_patch16_224.augreg_in21k", corpus="imagenet-21k"),
    _card("vit-s16-in21k", "ViT-22k ViT-S/16", "vits", hub="vit_small_patch16_224.augreg_in21k", corpus="imagenet-21k"),
    _card(
        "vit-b16-in1k", "ViT-B/16 (ImageNet-1k)", "vitb", hub="vit_base_patch16_224.augreg_in1k", corpus="imagenet-1k"
    ),
)


FAMILY = Family(
    cards=CARDS,
    build=vit("cls", "bicubic", shared=True),
    rules=KeyRules(drop=("head.*", "pre_logits.*")),  # names as in timm; the classifier goes
)
