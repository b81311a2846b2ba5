"""Galileo (Tseng et al. 2025, arXiv 2502.09356): multimodal encoders of Sentinel-1, Sentinel-2 and context."""

from dataclasses import replace
from typing import TYPE_CHECKING

from seamo.bands import S1, Unit
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.galileo import Galileo

HELPER = "helper-normalisation: the fixed shifts of the single-file helper (S1 (x - 25) / 25, S2 x / 10000)"
S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
# config/normalization.json of the repository, 13 space-time bands: VV, VH, then S2_BANDS (NDVI is not fed).
# fmt: off
MEAN = (-11.728724389184965, -18.85558188024017, 1395.3408730676722, 1338.4026921784578, 1343.09883810357,
        1543.8607982512297, 2186.2022069512263, 2525.0932853316694, 2410.3377187373408, 2750.2854646886753,
        2234.911100061487, 1474.5311266077113)
STD = (4.887145774840316, 5.730270320384293, 917.7041440370853, 913.2988423581528, 1092.678723527555,
       1047.2206083460424, 1048.0101611156767, 1143.6903026819996, 1098.979177731649, 1204.472755085893,
       1145.9774063078878, 980.2429840007796)
# fmt: on
HELPER_S1 = (Step("affine", (25.0,), (25.0,)),)
HELPER_S2 = (Step("affine", (0.0,), (10000.0,)),)
SOURCE = "github.com/nasaharvest/galileo, config/normalization.json: mean - 2 sd .. mean + 2 sd to 0 .. 1, not clipped"


def _two_sigma(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Step, ...]:
    low = tuple(m - 2 * s for m, s in zip(mean, std, strict=True))
    return (Step("affine", low, tuple(4 * s for s in std)),)


def _card(size: str, dim: int, depth: int, heads: int) -> BackboneCard:
    nano = size == "nano"
    return BackboneCard(
        id=f"galileo-{size}",
        family="galileo",
        title=f"Galileo-{size}",
        inputs=(
            InputSpec(
                sensor="s2",
                bands=S2_BANDS,
                unit=Unit.DN,
                steps=_two_sigma(MEAN[2:], STD[2:]),
                source=SOURCE,
                product="L1C",
            ),
            InputSpec(
                sensor="s1",
                bands=S1,
                unit=Unit.DB,
                steps=_two_sigma(MEAN[:2], STD[:2]),
                source=SOURCE,
                product="GRD",
            ),
        ),
        embed_dim=dim,
        size=64,
        multiple_of=4,
        code_licence="MIT",
        source="arXiv 2502.09356; github.com/nasaharvest/galileo",
        pos_interp="none needed: sine-cosine positions follow the grid and the ground resolution",
        pooling="mean of all tokens after the final norm; NDVI not fed, as in the official helper; without a date June",
        levels=((dim, 4),) * 4,
        weights=Weights(
            urls=(f"https://huggingface.co/nasaharvest/galileo/resolve/main/models/{size}/encoder.pt",),
            filename=f"galileo_{size}_encoder.pt",
            licence="MIT",
            sha256="eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c" if nano else "",
        ),
        pretrained_on=("galileo",),
        quirks=(HELPER,),
        verified=("golden", "manifest") if nano else (),
        variant=(
            ("embedding_size", dim),
            ("depth", depth),
            ("num_heads", heads),
            ("mlp_ratio", 4),
            ("max_sequence_length", 24),
            ("max_patch_size", 8),
            ("patch_size", 4),
        ),
    )


def _helper(card: BackboneCard) -> BackboneCard:
    steps = {"s1": HELPER_S1, "s2": HELPER_S2}
    return replace(card, inputs=tuple(replace(spec, steps=steps[spec.sensor]) for spec in card.inputs))


def _build(card: BackboneCard) -> "Galileo":
    from seamo_bench.networks.galileo import Galileo

    return Galileo(card)


FAMILY = Family(
    cards=(_card("nano", 128, 4, 8), _card("tiny", 192, 12, 3), _card("base", 768, 12, 12)),
    build=_build,
    selects_columns=True,  # a band group that is not whole is not fed, as in its pretraining
    rules=KeyRules(rename=((r"\.backbone", ""),)),  # a bare encoder; some files carry `.backbone` inside their names
    quirks={"helper-normalisation": _helper},
)
