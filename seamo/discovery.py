"""What can be added is found: modules of a folder of ours, and those that outside packages name as entry points."""

import pkgutil
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from types import ModuleType

from seamo.errors import UsageError


def own_modules(package: ModuleType) -> Iterator[str]:
    """Full names of a package's public modules, sorted; nothing is imported."""
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.name.startswith("_"):
            yield f"{package.__name__}.{info.name}"


def outside_modules(group: str) -> list[str]:
    """Modules that installed packages name under an entry point group, sorted; nothing is imported."""
    return sorted({point.module for point in entry_points(group=group)})


def unknown(kind: str, name: str, known: Sequence[str], more: str = "") -> UsageError:
    """The error for a name that nobody knows, with the nearest ones.

    Args:
        kind: What it is, in the singular: `seamo-bench list <kind>s` shows all.
        name: As asked for.
        known: What there is.
        more: A sentence of its own about what it is not either.
    """
    return UsageError(
        f"no {kind} {name!r}", fix=f"{did_you_mean(name, known)}{more}`seamo-bench list {kind}s` shows all."
    )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A question that names the nearest ids, with a space behind it; empty if none is near.

    Example:
        >>> did_you_mean("eurosta", ["eurosat", "oscd"])
        'Did you mean eurosat? '
    """
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}? " if near else ""
