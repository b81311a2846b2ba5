"""A backbone family as one value: its cards, how a network is made and filled, its switches. No torch here.

A module of `seamo_bench.backbones` declares `FAMILY = Family(...)`. Finding cards by name, switching quirks on, making
narrow what the demo budget trains, seeding, loading weights and cutting input columns are the harness's work
(`seamo_bench.zoo`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.inputs.ways import takes_rgb
from seamo_bench.card import BackboneCard, MissingPolicy

if TYPE_CHECKING:  # families are listed without torch
    from seamo_bench.network import Network

Change = Callable[[BackboneCard], BackboneCard]


@dataclass(frozen=True, slots=True)
class KeyRules:
    """How the keys of one family's published files become the parameters of a network.

    Args:
        places: Top-level entries that may hold the state dict, tried in order; "" is the file itself.
        strip: Prefixes taken off the front of a key, in order, where they stand.
        rename: (regular expression, replacement) applied in order to what is left.
        drop: Patterns (`fnmatch`) of keys that are no part of the trunk, on the keys as they stand in the file.
        init: Patterns of parameters that the file lacks and that keep their initial value.
    """

    places: tuple[str, ...] = ("",)
    strip: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    init: tuple[str, ...] = ()


def renamed(key: str, rules: KeyRules) -> str:
    """The parameter that a key of the file is meant for.

    Example:
        >>> renamed("module.backbone.norm.bias", KeyRules(strip=("module.", "backbone.")))
        'norm.bias'
    """
    for prefix in rules.strip:
        key = key.removeprefix(prefix)
    for pattern, replacement in rules.rename:
        key = re.sub(pattern, replacement, key)
    return key


def _no_card(_name: str) -> None:
    return None


def _as_it_is(card: BackboneCard) -> BackboneCard:
    return card


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Backbones that share a network, a way of loading it and a set of switches.

    A family has `build`, or `load`, or neither where its models are listed and cannot be run.

    Args:
        cards: The listed backbones.
        build: Makes the network of a card, with initial values; the card's `inputs` hold the bands that will be fed.
            Randomness is torch's own, which the harness has seeded.
        rules: How the keys of a published file become parameters; a function of the card where cards differ in it.
        load: Makes and fills the network of a card, from a weights file (None = random) and a seed, where `build`
            and one file of named tensors are not enough.
        stem: Name of the first convolution of a network of one sensor. The harness loads the whole network and cuts
            the columns of the bands that are not fed, or leaves it new and loads the rest (`new-tokenizer`).
        tokenizers: Sensor -> name of the layer that reads it, where there is no `stem` and `build` makes that layer
            for whatever bands the card has; the harness leaves it new and loads the rest. A sensor that is not
            listed is read by the first one.
        selects_columns: Whether the network takes any selection of the card's bands by itself.
        wavelengths: Whether the input layer is made from wavelengths, so that it takes any band whose centre and width
            are known (`wavelength`).
        new_tokenizer: Whether `load` makes new, untrained tokenizers where the card's `missing` is `new-tokenizer`.
        card_of: The card of a name that no list can hold (`timm:<id>`, a run's folder); None for any other name.
        quirks: Name -> the card with that deviation of the official code switched on. A card's `quirks` say, in
            words, which of them it has; `<id>+<name>` is then a backbone.
        narrow: The card that the demo budget trains in place of one without weights.
    """

    cards: tuple[BackboneCard, ...]
    build: Callable[[BackboneCard], "Network"] | None = None
    rules: KeyRules | Callable[[BackboneCard], KeyRules] = KeyRules()
    load: Callable[[BackboneCard, Path | None, int], "Network"] | None = None
    stem: str = ""
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    selects_columns: bool = False
    wavelengths: bool = False
    new_tokenizer: bool = False
    card_of: Callable[[str], BackboneCard | None] = _no_card
    quirks: Mapping[str, Change] = field(default_factory=dict)
    narrow: Change = _as_it_is

    @property
    def can_select(self) -> bool:
        """Whether policy `select-columns` is possible."""
        return self.selects_columns or bool(self.stem)

    def ways_of(self, card: BackboneCard) -> tuple[MissingPolicy, ...]:
        """How a card may meet bands that it was not made for, those that change least first.

        What a store has decides which of them is possible there: `seamo_bench.zoo.meeting`.
        """
        pictures = any(takes_rgb(one) for one in card.inputs)
        able: tuple[tuple[MissingPolicy, bool], ...] = (
            ("8-bit", True),
            ("rgb", pictures),
            ("wavelength", self.wavelengths),
            ("select", True),
            ("select-columns", self.can_select),
            ("new-tokenizer", self.can_begin_anew),
        )
        return tuple(way for way, can in able if can)

    @property
    def can_begin_anew(self) -> bool:
        """Whether policy `new-tokenizer` is possible."""
        return self.new_tokenizer or bool(self.stem or self.tokenizers)

    def new_layers(self, card: BackboneCard, fed: BackboneCard) -> tuple[str, ...]:
        """Names of the input layers that begin anew where `fed` is what a card is really fed, by `new-tokenizer`."""
        own = {one.sensor: one.bands for one in card.inputs}
        new = [one.sensor for one in fed.inputs if own.get(one.sensor) != one.bands]
        first = self.stem or next(iter(self.tokenizers.values()), "")
        return tuple(dict.fromkeys(self.tokenizers.get(sensor, first) for sensor in new))

    def rules_of(self, card: BackboneCard) -> KeyRules:
        """The key rules of a card."""
        return self.rules if isinstance(self.rules, KeyRules) else self.rules(card)
