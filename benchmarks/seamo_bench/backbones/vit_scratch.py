"""ViT-S/16 from scratch with as many input channels as the store has bands: a supervised floor beside ResNet-18."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Step
from seamo_bench.family import KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.vit import ViT

CARDS = (
    BackboneCard(
        id="vit-s16",
        family="vit_scratch",
        title="ViT-S/16 (supervised, from scratch)",
        inputs=tuple(
            InputSpec(sensor, (), unit, (Step("store-zscore"),), "store")
            for sensor, unit in (("s2", Unit.DN), ("s1", Unit.DB), ("rgb", Unit.UINT8))
        ),
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


def demo_card(card: BackboneCard) -> BackboneCard:
    """The same, narrow and shallow."""
    small = {"embed_dim": 64, "depth": 4, "num_heads": 4}
    variant = tuple((name, small.get(name, value)) for name, value in card.variant)
    return replace(card, embed_dim=64, levels=((64, 16),) * 4, variant=variant)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "ViT":
    """The network, random from `seed`, or filled from a file of its own parameters."""
    from seamo_bench.networks.vit import plain_vit
    from seamo_bench.weights import assemble

    def build() -> "ViT":
        return plain_vit(card, pool="cls", pos_interp="bicubic")

    return assemble(build, rules=KeyRules(drop=("head.*",)), weights=weights, seed=seed, backbone=card.id)
