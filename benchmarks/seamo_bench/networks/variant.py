"""Typed reading of a card's `variant`: numbers, lists, texts and switches of a network. No torch here."""

from seamo.errors import UsageError
from seamo_bench.card import BackboneCard


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
