"""The numbers of a card's steps: unit conversions, a store's statistics, the bands that are kept. No torch here."""

from collections.abc import Mapping, Sequence

from seamo.bands import Unit
from seamo.errors import ProtocolError
from seamo.manifest import LayerSpec, Statistics
from seamo_bench.card import BackboneCard, InputSpec, Step

# (from, to) -> (scale, offset): value_to = value_from * scale + offset. Everything else is refused.
CONVERSIONS: dict[tuple[Unit, Unit], tuple[float, float]] = {
    (Unit.DN_PLUS_1000, Unit.DN): (1.0, -1000.0),
    (Unit.DN, Unit.DN_PLUS_1000): (1.0, 1000.0),
    (Unit.DB_X100, Unit.DB): (0.01, 0.0),
    (Unit.DB, Unit.DB_X100): (100.0, 0.0),
}
STORE_OPS = ("store-zscore", "store-2std")
FROM_STORE = "train split of the store"  # how a record says that numbers are those of STORE_OPS


def conversion(have: Unit, want: Unit, where: str = "") -> tuple[float, float]:
    """Scale and offset that turn values of one unit into another.

    Raises:
        ProtocolError: If the two do not say the same thing about the ground.
    """
    if not is_convertible(have, want):
        raise ProtocolError(f"unit {have.value} cannot become {want.value}", where)
    return CONVERSIONS.get((have, want), (1.0, 0.0))


def is_convertible(have: Unit, want: Unit) -> bool:
    """Whether values of one unit can be turned into another."""
    return have == want or (have, want) in CONVERSIONS


def resolve(
    card: BackboneCard,
    want: InputSpec,
    sources: Sequence[str],
    have: Mapping[str, tuple[LayerSpec, int]],
    statistics: Statistics | None,
) -> tuple[tuple[Step, ...], str]:
    """Put the store's numbers into steps that ask for them."""
    if not any(step.op in STORE_OPS for step in want.steps):
        return want.steps, want.source
    if statistics is None:
        raise ProtocolError(
            f"normalises {want.sensor} with the store's own statistics and there are none",
            where=card.id,
            fix="Load it for a store: load_backbone(..., store=store).",
        )
    mean, std = [], []
    for source in sources:
        if not source:  # no measurement, so nothing to centre: the filled channel is zero after the step
            mean.append(0.0)
            std.append(1.0)
            continue
        scale, offset = conversion(have[source][0].unit, want.unit, where=card.id)
        if source not in statistics.mean or not statistics.std[source] > 0:
            raise ProtocolError(
                f"the store's statistics of {want.sensor}:{source} are missing or constant", where=card.id
            )
        mean.append(statistics.mean[source] * scale + offset)
        std.append(statistics.std[source] * scale)
    steps: list[Step] = []
    for step in want.steps:
        if step.op == "store-zscore":
            steps.append(Step("affine", tuple(mean), tuple(std)))
        elif step.op == "store-2std":
            low = tuple(m - 2 * s for m, s in zip(mean, std, strict=True))
            steps += [Step("affine", low, tuple(4 * s for s in std)), Step("clip", (0.0,), (1.0,))]
        else:
            steps.append(step)
    return tuple(steps), f"{FROM_STORE} ({statistics.source})"


def restrict(steps: Sequence[Step], kept: Sequence[int], count: int) -> tuple[Step, ...]:
    """Steps for the bands that are kept; numbers that hold for all bands stay as they are."""

    def pick(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(numbers[position] for position in kept) if len(numbers) == count and count > 1 else numbers

    return tuple(Step(step.op, pick(step.a), pick(step.b)) for step in steps)
