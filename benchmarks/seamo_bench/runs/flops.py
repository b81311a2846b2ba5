"""FLOPs of one image through a network and a dense head, counted from cards alone: for plans. No torch.

A multiply-add is 2. Transformers are counted by tokens, width and depth, residual networks and Swin by the shapes of
their stages. Patch embeddings, norms and heads of one layer are left out, which are below a twentieth of the rest.
Records hold what torch counted for the network itself; tests hold these numbers against it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from seamo.model.flops import transformer_flops
from seamo_bench.card import BackboneCard
from seamo_bench.protocol import Params

_DEPTH = 12  # of a network whose card names none: that of a ViT-B
_WIDTH = 768
_DEPTHS = {"small": 12, "base": 12, "large": 24, "huge": 32, "giant": 40}  # in names of timm's models
_POOLED = 4  # pyramid pooling (Zhao et al. 2017, arXiv 1612.01105) has as many pooled maps
_MAPS = 4  # that UperNet is fed with
_BANDS = 13  # of a sensor of which a network takes what the store has
_SIDE = 224  # of the image where a card names no size


def image_flops(card: BackboneCard, side: int = 0, *, sensors: int = 1) -> float:
    """FLOPs of one forward pass of one image.

    Args:
        card: Of the backbone.
        side: Side of the image in pixels as the network sees it; 0 = the card's size.
        sensors: How many sensors are fed at once.

    Returns:
        0 for what has no parameters. A network that is of no kind known here counts as 12 transformer blocks of its
        width on one token a stride.
    """
    options: dict[str, Any] = dict(card.variant)
    if options.get("floor") == "image statistics":
        return 0.0
    side = side or card.size or _SIDE
    if card.family == "tokenizer":  # a product of each pixel's bands with the width of a token
        return 2.0 * side**2 * sum(len(one.bands) or _BANDS for one in card.inputs) * int(options["width"])
    if "depths" in options:
        return _swin(options, side)
    if card.family == "unet":
        return _unet(int(options["width"]), side)
    if "block" in options or (card.embed_dim == 512 and card.levels and card.levels[-1][1] == 32):
        return _resnet(options, side)
    width = int(options.get("encoder_dim") or options.get("embedding_size") or _token_width(card))
    stride = int(options.get("patch_size") or 0) or (card.levels[-1][1] if card.levels else card.multiple_of)
    tokens = (side // max(1, stride)) ** 2 * _groups(card, options) * (sensors if card.joint else 1)
    return float(transformer_flops(max(1, tokens), width, _depth(card, options)))


def _token_width(card: BackboneCard) -> int:
    """Channels of its levels: the pooled feature of some is several layers beside one another."""
    return int(dict(card.variant).get("embed_dim") or (card.levels[-1][0] if card.levels else 0) or _WIDTH)  # type: ignore[arg-type]


def _depth(card: BackboneCard, options: Mapping[str, Any]) -> int:
    if options.get("branches") == "s1":  # CROMA's radar encoder has half the blocks
        return int(options["s1_depth"])
    own = options.get("depth") or options.get("encoder_depth") or dict(card.pretraining).get("model.depth")
    if own:
        return int(own)
    named = re.search("|".join(_DEPTHS), str(options.get("model", "")))
    return _DEPTHS[named[0]] if named else _DEPTH


def _groups(card: BackboneCard, options: Mapping[str, Any]) -> int:
    """How many tokens each place of the image has: networks with a token a group of bands have several."""
    if "channel_groups" in options:
        return len(options["channel_groups"])
    if "t_patch_size" in options:  # SpectralGPT: one for every three bands
        return max(1, len(card.inputs[0].bands) // int(options["t_patch_size"]))
    if "max_patch_size" in options:  # Galileo: groups of the bands of Sentinel-2
        return 5
    return 1


def _resnet(options: Mapping[str, Any], side: int) -> float:
    """He et al. 2016, arXiv 1512.03385: a stem at half, four stages at 1/4, 1/8, 1/16 and 1/32 of the side."""
    layers, width = options.get("layers", (2, 2, 2, 2)), int(options.get("width", 64))
    wide, factor = options.get("block", "basic") == "bottleneck", int(options.get("bottleneck_factor", 1))
    total = 2.0 * (side / 2) ** 2 * 49 * 3 * width
    channels = width
    for stage, count in enumerate(layers):
        planes = width * 2**stage
        inner, out = planes * factor, planes * (4 if wide else 1)
        pixels = (side / 4 / 2**stage) ** 2
        for number in range(count):
            # The first block of a stage halves the map in its 3x3 convolution: what comes before it sees four times
            # the pixels.
            before = pixels * (4 if number == 0 and stage else 1)
            if wide:
                total += 2 * (before * channels * inner + pixels * (9 * inner * inner + inner * out))
            else:
                total += 2 * pixels * 9 * (channels * out + out * out)
            if channels != out or (number == 0 and stage):
                total += 2 * pixels * channels * out
            channels = out
    return total


def _swin(options: Mapping[str, Any], side: int) -> float:
    """Liu et al. 2021, arXiv 2103.14030: windowed attention, four stages, each half as fine and twice as wide."""
    total, window = 0.0, int(options["window_size"]) ** 2
    for stage, depth in enumerate(options["depths"]):
        width = int(options["embed_dim"]) * 2**stage
        tokens = (side // int(options["patch_size"]) // 2**stage) ** 2
        total += depth * (24.0 * tokens * width**2 + 4.0 * tokens * min(window, tokens) * width)
        total += 16.0 * tokens / 4 * width**2  # merging four tokens into one twice as wide
    return total


def _unet(width: int, side: int) -> float:
    """Two 3x3 convolutions a scale on the way down and two on the way up, as wide again as a scale is coarse."""
    total = 0.0
    for scale in range(4):
        channels, pixels = width * 2**scale, (side / 2**scale) ** 2
        down = channels * channels / 2 + channels * channels
        up = 2 * channels * channels + channels * channels if scale < 3 else 0.0
        total += 2 * 9 * pixels * (down + up)
    return total


def head_flops(card: BackboneCard, params: Params, side: int = 0) -> float:
    """FLOPs of one forward pass of a dense head on the levels of one image.

    Args:
        card: Of the backbone.
        params: Of `dense` or `change`.
        side: Side of the image in pixels as the network sees it; 0 = the card's size.
    """
    side, name = side or card.size or _SIDE, params.get("head")
    if name not in ("upernet", "author") or not card.levels:
        return 0.0
    stride = card.levels[-1][1]
    grid = side / stride
    if name == "author":
        width = int(str(params.get("width") or 256))
        maps = [(width * 2**level, grid * min(8 // 2**level, stride)) for level in range(_MAPS)]
    else:
        width = int(str(params.get("width") or 512))
        levels = card.levels[-_MAPS:]
        flat = len({one[1] for one in levels}) == 1
        scales = (4.0, 2.0, 1.0, 0.5)[-len(levels) :] if len(levels) > 1 else (1.0,)
        maps = [(one[0], side / one[1] * (scale if flat else 1.0)) for one, scale in zip(levels, scales, strict=True)]
    return _pyramid(maps, width)


def _pyramid(maps: Sequence[tuple[int, float]], width: int) -> float:
    """UperNet (Xiao et al. 2018, arXiv 1807.10221) on (channels, side) of each map, largest first."""
    top, small = maps[-1]
    total = 2.0 * 9 * small**2 * (top + _POOLED * width) * width
    total += sum(2.0 * side**2 * (channels * width + 9 * width * width) for channels, side in maps[:-1])
    return total + 2.0 * 9 * maps[0][1] ** 2 * len(maps) * width * width
