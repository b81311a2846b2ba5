"""Presto (Tseng et al. 2023, arXiv 2304.14065): a small transformer over pixel time series."""

from typing import TYPE_CHECKING

from seamo.bands import S1, Unit
from seamo_bench.card import BackboneCard, InputSpec, Step, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.presto import Presto

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SOURCE = "github.com/nasaharvest/presto: (x + add) / divide, NDVI from the normalised bands"
S1_STEPS = (Step("affine", (-25.0,), (25.0,)),)
S2_STEPS = (Step("affine", (0.0,), (10000.0,)),)

CARDS = (
    BackboneCard(
        id="presto",
        family="presto",
        title="Presto",
        inputs=(
            InputSpec(sensor="s2", bands=S2_BANDS, unit=Unit.DN, steps=S2_STEPS, source=SOURCE, product="L1C"),
            InputSpec(sensor="s1", bands=S1, unit=Unit.DB, steps=S1_STEPS, source=SOURCE, product="GRD"),
        ),
        embed_dim=128,
        size=0,
        multiple_of=1,
        code_licence="MIT",
        source="arXiv 2304.14065; github.com/nasaharvest/presto",
        pos_interp="none: every pixel is a series of its own",
        pooling="norm of the mean token of every pixel, then the mean over pixels; without a place 0, 0 and June",
        levels=((128, 1),),
        weights=Weights(
            urls=("https://github.com/nasaharvest/presto/raw/main/data/default_model.pt",),
            filename="default_model.pt",
            licence="MIT",
            sha256="559c9d76f525bdf2dd3774da8b1e7f1510769b73baacac12e9e4d8d5c67fbe65",
        ),
        pretrained_on=("presto-lem",),
        verified=("golden", "manifest"),
        variant=(
            ("embed_dim", 128),
            ("depth", 2),
            ("num_heads", 8),
            ("mlp_ratio", 4),
            ("max_sequence_length", 24),
        ),
    ),
)


def _build(card: BackboneCard) -> "Presto":
    from seamo_bench.networks.presto import Presto

    return Presto(card)


FAMILY = Family(
    cards=CARDS,
    build=_build,
    selects_columns=True,  # a band group that is not whole is masked, as in its pretraining
    rules=KeyRules(strip=("encoder.",), drop=("decoder.*",)),
)
