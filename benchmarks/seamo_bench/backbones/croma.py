"""CROMA (Fuller et al. 2023, arXiv 2311.00566): contrastive radar-optical masked autoencoders."""

from typing import TYPE_CHECKING

from seamo.bands import S1, S2_L2A, Unit
from seamo_bench.backbones._steps import TO_UNIT
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules
from seamo_bench.networks.variant import word

if TYPE_CHECKING:
    from seamo_bench.networks.croma import CROMA

# README: mean +- 2 sigma of the data set at hand, then 8 bit.
STEPS = (Step("store-2std"), Step("scale", (255.0,)), Step("truncate-uint8"), TO_UNIT)
SOURCE = "github.com/antofuller/CROMA, README (normalize): statistics of the evaluated data set"
S1_INPUT = InputSpec(sensor="s1", bands=S1, unit=Unit.DB, steps=STEPS, source=SOURCE, product="GRD")
S2_INPUT = InputSpec(sensor="s2", bands=S2_L2A, unit=Unit.DN, steps=STEPS, source=SOURCE, product="L2A")
INPUTS = {"s1": (S1_INPUT,), "s2": (S2_INPUT,), "joint": (S1_INPUT, S2_INPUT)}
SIZES = {"base": (768, 12, 6, 6), "large": (1024, 24, 12, 12)}  # width; layers of the optical, radar, joint encoder


def _card(size: str, branches: str) -> BackboneCard:
    dim, s2_depth, s1_depth, joint_depth = SIZES[size]
    file = f"CROMA_{size}.pt"
    return BackboneCard(
        id=f"croma-{size}-{branches}",
        family="croma",
        title=f"CROMA ViT-{size[0].upper()}" + ("" if branches == "joint" else f" ({branches.upper()})"),
        inputs=INPUTS[branches],
        embed_dim=dim,
        size=120,
        multiple_of=8,
        joint=branches == "joint",
        code_licence="MIT",
        source="arXiv 2311.00566; github.com/antofuller/CROMA",
        pos_interp="none needed: 2-D ALiBi follows the grid",
        pooling="mean of joint tokens" if branches == "joint" else "mean of tokens, then the sensor's GAP_FFN",
        levels=((dim, 8),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/antofuller/CROMA/resolve/main/{file}",), filename=file, licence="MIT"
        ),
        pretrained_on=("ssl4eo-s12",),
        verified=("golden", "manifest") if size == "base" else ("golden",),
        variant=(
            ("branches", branches),
            ("encoder_dim", dim),
            ("encoder_depth", s2_depth),
            ("s1_depth", s1_depth),
            ("joint_depth", joint_depth),
            ("num_heads", 16),
            ("patch_size", 8),
            ("s1_channels", 2),
            ("s2_channels", 12),
            ("ff_mult", 4),
        ),
    )


def _rules(card: BackboneCard) -> KeyRules:
    """Five nested state dicts; a one-sensor card leaves the others' encoders."""
    others = {"s1": ("s2_*", "joint_*"), "s2": ("s1_*", "joint_*")}
    return KeyRules(rename=(("/", "."),), drop=others.get(word(card, "branches"), ()))


def _build(card: BackboneCard) -> "CROMA":
    from seamo_bench.networks.croma import CROMA

    return CROMA(card)


FAMILY = Family(
    cards=tuple(_card(size, branches) for size in SIZES for branches in ("joint", "s2", "s1")),
    build=_build,
    rules=_rules,
    tokenizers={"s2": "s2_encoder.linear_input", "s1": "s1_encoder.linear_input"},
)
