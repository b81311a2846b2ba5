"""Typed reading of a card's `variant`, and what every family says about plain ViTs. No torch here."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from seamo.errors import UsageError
from seamo_bench.card import BackboneCard, Option

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
# nn.Sequential(conv1, bn1, relu, maxpool, layer1..layer4), as SeCo and CaCo save it.
SEQUENTIAL_RESNET = (
    (r"^0\.", "conv1."),
    (r"^1\.", "bn1."),
    (r"^4\.", "layer1."),
    (r"^5\.", "layer2."),
    (r"^6\.", "layer3."),
    (r"^7\.", "layer4."),
)


def resnet_variant(name: str) -> tuple[tuple[str, Option], ...]:
    """Constructor numbers of a published ResNet."""
    layers, block, factor = RESNETS[name]
    return (("layers", layers), ("width", 64), ("block", block), ("bottleneck_factor", factor))


def resnet_levels(name: str) -> tuple[tuple[int, int], ...]:
    """(channels, stride) of its four stages."""
    expansion = 1 if RESNETS[name][1] == "basic" else 4
    return tuple((64 * expansion * 2**stage, 4 * 2**stage) for stage in range(4))


def whole(card: BackboneCard, name: str) -> int:
    """A whole number of the card's variant.

    Raises:
        UsageError: If it is not there or not a whole number.
    """
    value = dict(card.variant).get(name)
    if not isinstance(value, int):
        raise UsageError(f"variant {name} is {value!r}, not a whole number", card.id)
    return value


def wholes(card: BackboneCard, name: str) -> tuple[int, ...]:
    """A list of whole numbers of the card's variant.

    Raises:
        UsageError: If it is not there or not such a list.
    """
    value = dict(card.variant).get(name)
    numbers = tuple(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else ()
    if not isinstance(value, tuple) or len(numbers) != len(value):
        raise UsageError(f"variant {name} is {value!r}, not a list of whole numbers", card.id)
    return numbers


def number(card: BackboneCard, name: str) -> float:
    """A number of the card's variant.

    Raises:
        UsageError: If it is not there or not a number.
    """
    value = dict(card.variant).get(name)
    if not isinstance(value, int | float):
        raise UsageError(f"variant {name} is {value!r}, not a number", card.id)
    return value


def word(card: BackboneCard, name: str) -> str:
    """A text of the card's variant.

    Raises:
        UsageError: If it is not there or not a text.
    """
    value = dict(card.variant).get(name)
    if not isinstance(value, str):
        raise UsageError(f"variant {name} is {value!r}, not a text", card.id)
    return value


def flag(card: BackboneCard, name: str) -> bool:
    """A switch of the card's variant; a switch that does not stand there is off."""
    return dict(card.variant).get(name) is True


def check_quirk(card: BackboneCard, quirk: str) -> None:
    """Refuse a quirk that the card does not list (quirks read `name: what it does`).

    Raises:
        UsageError: Names the quirks that the card has.
    """
    names = [text.split(":")[0] for text in card.quirks]
    if quirk not in names:
        raise UsageError(f"has no quirk {quirk!r}", card.id, f"Its quirks: {', '.join(names) or 'none'}.")


def groups(card: BackboneCard, name: str) -> tuple[tuple[int, ...], ...]:
    """A list of lists of whole numbers of the card's variant.

    Raises:
        UsageError: If it is not there or not such a list.
    """
    value = dict(card.variant).get(name)
    found = tuple(item for item in value if isinstance(item, tuple)) if isinstance(value, tuple) else ()
    if not isinstance(value, tuple) or len(found) != len(value):
        raise UsageError(f"variant {name} is {value!r}, not a list of lists", card.id)
    return found


def base_id(card_id: str) -> str:
    """Id of the listed card behind one with quirks: `spectralgpt+no-positions` -> `spectralgpt`."""
    return card_id.partition("+")[0]


def quirky_card(
    name: str, cards: Sequence[BackboneCard], with_quirk: Callable[[BackboneCard, str], BackboneCard]
) -> BackboneCard | None:
    """The card of `<id>+<quirk>[+<quirk>...]`; None if the id is not of this family.

    Raises:
        UsageError: If the card has no such quirk.
    """
    base, *quirks = name.split("+")
    card = next((one for one in cards if one.id == base), None)
    if card is None or not quirks:
        return None
    for quirk in quirks:
        card = with_quirk(card, quirk)
    return replace(card, id=name, title=f"{card.title} (official: {', '.join(quirks)})")
