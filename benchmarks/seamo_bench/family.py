"""How the keys of a published file become the parameters of a network, as values. No torch here."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The rules of one family's published files.

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
