"""What each of several changes moves, on paths from one number to another that change one thing at a time.

Up to three changes: the mean over all orders in which the numbers on the way are known, which with all of them is the
Shapley value (Shapley 1953, "A value for n-person games"): it does not depend on an order. More of them: the mean of
the stated order and its reverse. Either way the effects add up to the difference of the ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

Value = Callable[[frozenset[str]], float | None]
ALL_ORDERS = 3  # changes up to which every order is walked: 2^3 numbers


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the changes move.

    Args:
        effects: Changes -> what they move. One change; or several, where no number between them is known.
        how: Over which orders, in words.
    """

    effects: dict[tuple[str, ...], float]
    how: str


def attribute(names: Sequence[str], value: Value) -> Attribution:
    """Divide the difference of two ends among the changes between them.

    Args:
        names: Of the changes, in the order in which a path makes them; at least one.
        value: The changes that are made -> the number then; None where it is not known. Both ends are.

    Example:
        >>> table = {"": 0.5, "x": 0.75, "y": 0.5, "xy": 1.0}
        >>> attribute(["x", "y"], lambda made: table["".join(sorted(made))]).effects
        {('x',): 0.375, ('y',): 0.125}
    """
    if len(names) == 1:
        return Attribution({(names[0],): _jump(value, frozenset(), frozenset(names))}, "nothing else differs")
    orders = list(permutations(names)) if len(names) <= ALL_ORDERS else [tuple(names), tuple(reversed(names))]
    paths = list(dict.fromkeys(_known(order, value) for order in orders))
    longest = max(map(len, paths))
    first = next(path for path in paths if len(path) == longest)
    walked = [path for path in paths if set(_changes(path, names)) == set(_changes(first, names))]
    effects: dict[tuple[str, ...], float] = {}
    for path in walked:
        for (before, after), change in zip(pairwise(path), _changes(path, names), strict=True):
            effects[change] = effects.get(change, 0.0) + _jump(value, before, after) / len(walked)
    return Attribution(effects, _how(len(names), len(walked), len(orders), known=longest - 2))


def _how(count: int, walked: int, orders: int, *, known: int) -> str:
    if not known:
        return "no number between them is known"
    if known < count - 1:
        return "on the way on which most numbers are known"
    if count > ALL_ORDERS:
        return "mean of the stated order and its reverse" if walked == 2 else "in one order, the other cannot be walked"
    return f"mean over {walked} of {orders} orders"


def _changes(path: Sequence[frozenset[str]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """What each step of a path changes."""
    return [tuple(name for name in names if name in after - before) for before, after in pairwise(path)]


def _known(order: Sequence[str], value: Value) -> tuple[frozenset[str], ...]:
    """The sets of changes on one order whose numbers are known, both ends among them."""
    steps = [frozenset(order[:count]) for count in range(len(order) + 1)]
    return tuple(made for made in steps if len(made) in (0, len(order)) or value(made) is not None)


def _jump(value: Value, before: frozenset[str], after: frozenset[str]) -> float:
    start, end = value(before), value(after)
    if start is None or end is None:
        raise AssertionError("the ends of a path are known")
    return end - start
