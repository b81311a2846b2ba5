"""SatMAE (Cong et al. 2022, arXiv 2207.08051) and SatMAE++ (Noman et al. 2024, arXiv 2403.05419)."""

from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.backbones._steps import FMOW_MEAN, FMOW_STD, in_order, two_sigma_8bit
from seamo_bench.backbones._variant import VIT_SIZES, vit_variant
from seamo_bench.card import BackboneCard, InputSpec, Weights
from seamo_bench.family import Family, KeyRules

if TYPE_CHECKING:
    from seamo_bench.networks.satmae import GroupViT

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
GROUPS = ((0, 1, 2, 6), (3, 4, 5, 7), (8, 9))  # B02 B03 B04 B08, B05 B06 B07 B8A, B11 B12
INPUT = InputSpec(
    sensor="s2",
    bands=BANDS,
    unit=Unit.DN,
    steps=two_sigma_8bit(in_order(FMOW_MEAN, BANDS), in_order(FMOW_STD, BANDS)),
    source="github.com/sustainlab-group/SatMAE, SentinelNormalize (fMoW-Sentinel)",
    product="L1C",
)


def _card(name: str, title: str, size: str, *, source: str, weights: Weights) -> BackboneCard:
    dim = VIT_SIZES[size][0]
    return BackboneCard(
        id=name,
        family="satmae",
        title=title,
        inputs=(INPUT,),
        embed_dim=dim,
        size=96,
        multiple_of=8,
        code_licence="CC-BY-NC-4.0" if name.startswith("satmae-") else "Apache-2.0",
        source=source,
        pos_interp="bicubic to the size, not antialiased; spatial part only",
        pooling="mean of all tokens but the class token, then an untrained LayerNorm (not in the file)",
        levels=((dim, 8),) * 4,
        weights=weights,
        pretrained_on=("fmow-sentinel",),
        verified=("golden",) if name.startswith("satmaepp") else ("golden", "manifest"),
        variant=(*vit_variant(size, img_size=96, patch_size=8), ("channel_groups", GROUPS), ("channel_embed", 256)),
    )


def _zenodo(name: str, md5: str) -> Weights:
    return Weights(
        urls=(f"https://zenodo.org/record/7338613/files/{name}",),
        filename=name,
        licence="CC-BY-NC-4.0",
        noncommercial=True,
        md5=md5,
    )


SATMAE = "arXiv 2207.08051; github.com/sustainlab-group/SatMAE"
# The MD5 sums are those of the record's files of 1.3 and 3.9 GB; that these two files are they follows from the sizes.
CARDS = (
    _card(
        "satmae-vitb",
        "SatMAE ViT-B",
        "vitb",
        source=SATMAE,
        weights=_zenodo("pretrain-vit-base-e199.pth", "1269e6a8255cee0affdeb6bb75776c86"),
    ),
    _card(
        "satmae-vitl",
        "SatMAE ViT-L",
        "vitl",
        source=SATMAE,
        weights=_zenodo("pretrain-vit-large-e199.pth", "436bcd815194afdae38f3e023c74e9cd"),
    ),
    _card(
        "satmaepp-vitl",
        "SatMAE++ ViT-L",
        "vitl",
        source="arXiv 2403.05419; github.com/techmn/satmae_pp",
        weights=Weights(
            urls=(),
            filename="checkpoint_ViT-L_pretrain_fmow_sentinel.pth",
            licence="Apache-2.0",
            how="Hugging Face, mubashir04/checkpoint_ViT-L_pretrain_fmow_sentinel.",
        ),
    ),
)


def _build(card: BackboneCard) -> "GroupViT":
    from seamo_bench.networks.satmae import group_vit

    return group_vit(card)


FAMILY = Family(
    cards=CARDS,
    build=_build,
    selects_columns=True,  # a band group that has none of its bands gives no tokens, as where pretraining masks it
    rules=KeyRules(
        # The encoder of an MAE file; the class token's group part (zero) and `fc_norm` are in no published file.
        places=("model",),
        drop=("decoder_*", "mask_token", "proj_up_*", "up_block*"),
        init=("channel_cls_embed", "fc_norm.*"),
    ),
)
