"""Published sizes of ViTs and ResNets, as numbers of a card's `variant`. No torch here."""

from seamo_bench.card import Option

# Published ViT sizes: embed_dim, depth, num_heads (Dosovitskiy et al. 2021, table 1; S: Touvron et al. 2021).
VIT_SIZES = {"vits": (384, 12, 6), "vitb": (768, 12, 12), "vitl": (1024, 24, 16), "vith": (1280, 32, 16)}


def vit_variant(size: str, *, img_size: int, patch_size: int) -> tuple[tuple[str, Option], ...]:
    """Constructor numbers of a ViT of a published size."""
    dim, depth, heads = VIT_SIZES[size]
    return (
        ("img_size", img_size),
        ("patch_size", patch_size),
        ("embed_dim", dim),
        ("depth", depth),
        ("num_heads", heads),
        ("mlp_ratio", 4),
    )


# Blocks per stage and kind of block (He et al. 2016, table 1; Zagoruyko and Komodakis 2016 for the wide one).
RESNETS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "r18": ((2, 2, 2, 2), "basic", 1),
    "r50": ((3, 4, 6, 3), "bottleneck", 1),
    "wrn50": ((3, 4, 6, 3), "bottleneck", 2),
}


def resnet_variant(name: str) -> tuple[tuple[str, Option], ...]:
    """Constructor numbers of a published ResNet."""
    layers, block, factor = RESNETS[name]
    return (("layers", layers), ("width", 64), ("block", block), ("bottleneck_factor", factor))


def resnet_levels(name: str) -> tuple[tuple[int, int], ...]:
    """(channels, stride) of its four stages."""
    expansion = 1 if RESNETS[name][1] == "basic" else 4
    return tuple((64 * expansion * 2**stage, 4 * 2**stage) for stage in range(4))
