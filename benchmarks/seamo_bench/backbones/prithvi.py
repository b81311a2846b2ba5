"""Prithvi-EO-2.0 300M TL (Szwarcman et al. 2024, arXiv 2412.02732): 3-D masked autoencoder of HLS time series."""

from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.backbones._networks import VIT_STEM
from seamo_bench.backbones._steps import zscore
from seamo_bench.backbones._variant import vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.prithvi import Prithvi

CARDS = (
    BackboneCard(
        id="prithvi-eo-v2-300m-tl",
        family="prithvi",
        title="Prithvi-EO-2.0 300M TL",
        inputs=(
            InputSpec(
                sensor="s2",
                bands=("B02", "B03", "B04", "B8A", "B11", "B12"),
                unit=Unit.DN,
                steps=zscore((1087, 1342, 1433, 2734, 1958, 1363), (2248, 2179, 2178, 1850, 1242, 1049)),
                source="huggingface.co/ibm-nasa-geospatial/Prithvi-EO-2.0-300M-TL (HLS reflectance x 10000)",
                product="L2A",
            ),
        ),
        embed_dim=1024,
        size=224,
        multiple_of=16,
        code_licence="Apache-2.0",
        source="arXiv 2412.02732; huggingface.co/ibm-nasa-geospatial; one date, no time or place given",
        pos_interp="none needed: fixed sines and cosines of the grid",
        pooling="mean of patch tokens after the final norm",
        levels=((1024, 16),) * 4,
        weights=Weights(
            urls=(
                "https://huggingface.co/ibm-nasa-geospatial/Prithvi-EO-2.0-300M-TL/resolve/main/"
                "Prithvi_EO_V2_300M_TL.pt",
            ),
            filename="Prithvi_EO_V2_300M_TL.pt",
            licence="Apache-2.0",
        ),
        pretrained_on=("hls",),
        verified=("manifest",),
        variant=vit_variant("vitl", img_size=224, patch_size=16),
    ),
)


def _build(card: BackboneCard) -> "Prithvi":
    from seamo_bench.networks.prithvi import Prithvi

    return Prithvi(card)


FAMILY = Family(
    cards=CARDS,
    build=_build,
    stem=VIT_STEM,
    rules=KeyRules(
        # The encoder of an autoencoder. Its fixed position table (of four dates in the file) is computed instead.
        places=("model", "state_dict", ""),
        strip=("encoder.",),
        drop=("decoder.*", "pos_embed", "encoder.pos_embed", "mask_token"),
    ),
)
