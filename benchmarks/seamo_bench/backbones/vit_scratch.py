"""ViT-S/16 from scratch with as many input channels as the store has bands: a supervised floor beside ResNet-18."""

from dataclasses import replace

from seamo_bench.backbones._inputs import any_bands
from seamo_bench.backbones._networks import vit
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family, KeyRules

CARDS = (
    BackboneCard(
        id="vit-s16",
        family="vit_scratch",
        title="ViT-S/16 (supervised, from scratch)",
        inputs=any_bands(),
        embed_dim=384,
        size=128,
        multiple_of=16,
        pos_interp="bicubic to the size, not antialiased",
        pooling="class token after the final norm",
        levels=((384, 16),) * 4,
        code_licence="Apache-2.0",
        availability="none needed",
        source="arXiv 2010.11929; size S of arXiv 2012.12877",
        verified=("package",),
        variant=(("floor", "supervised"), *vit_variant("vits", img_size=128, patch_size=16)),
    ),
)


def _narrow(card: BackboneCard) -> BackboneCard:
    small = {"embed_dim": 64, "depth": 4, "num_heads": 4}
    variant = tuple((name, small.get(name, value)) for name, value in card.variant)
    return replace(card, embed_dim=64, levels=((64, 16),) * 4, variant=variant)


FAMILY = Family(
    cards=CARDS,
    build=vit("cls", "bicubic"),
    rules=KeyRules(drop=("head.*",)),
    narrow=_narrow,
)
