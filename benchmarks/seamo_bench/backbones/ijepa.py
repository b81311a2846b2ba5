"""I-JEPA (Assran et al. 2023, arXiv 2301.08243): ViTs pretrained on ImageNet. No ViT-B was ever published."""

from seamo_bench.backbones._inputs import rgb_inputs
from seamo_bench.backbones._networks import vit
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.family import Family, KeyRules

HUGE = (1280, 32, 16, 4.0)
GIANT = (1408, 40, 16, 48 / 11)


def _card(name: str, file: str, *, size: int, patch: int, shape: tuple[int, int, int, float]) -> BackboneCard:
    dim, depth, heads, mlp_ratio = shape
    corpus = file.split("-")[0]
    return BackboneCard(
        id=f"ijepa-{name}",
        family="ijepa",
        title=f"I-JEPA ViT-{'H' if shape == HUGE else 'g'}/{patch} ({size} px, {corpus})",
        inputs=rgb_inputs("github.com/facebookresearch/ijepa (ImageNet mean and standard deviation)"),
        embed_dim=dim,
        size=size,
        multiple_of=patch,
        any_size=False,
        code_licence="CC-BY-NC-4.0",
        source="arXiv 2301.08243; github.com/facebookresearch/ijepa",
        pos_interp="none: the official code raises for any other grid",
        pooling="mean of all tokens after the final norm",
        levels=((dim, patch),) * 4,
        weights=Weights(
            urls=(f"https://dl.fbaipublicfiles.com/ijepa/{file}",),
            filename=file,
            licence="CC-BY-NC-4.0",
            noncommercial=True,
        ),
        pretrained_on=("imagenet-22k" if corpus == "IN22K" else "imagenet-1k",),
        verified=("golden",),
        variant=(
            ("img_size", size),
            ("patch_size", patch),
            ("embed_dim", dim),
            ("depth", depth),
            ("num_heads", heads),
            ("mlp_ratio", mlp_ratio),
        ),
    )


CARDS = (
    _card("vith14-in1k", "IN1K-vit.h.14-300e.pth.tar", size=224, patch=14, shape=HUGE),
    _card("vith16-448-in1k", "IN1K-vit.h.16-448px-300e.pth.tar", size=448, patch=16, shape=HUGE),
    _card("vith14-in22k", "IN22K-vit.h.14-900e.pth.tar", size=224, patch=14, shape=HUGE),
    _card("vitg16-in22k", "IN22K-vit.g.16-600e.pth.tar", size=224, patch=16, shape=GIANT),
    BackboneCard(
        id="ijepa-vitb",
        family="ijepa",
        title="I-JEPA ViT-B",
        inputs=(),
        embed_dim=768,
        size=224,
        multiple_of=16,
        code_licence="CC-BY-NC-4.0",
        source="SeaMo paper, tables 1 and 2; no such checkpoint is public",
        availability="quoted only",
    ),
)


FAMILY = Family(
    cards=CARDS,
    build=vit("mean", "none", cls=False, shared=True),
    rules=KeyRules(places=("target_encoder",), strip=("module.",)),  # it is what is evaluated
)
