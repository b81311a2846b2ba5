"""The numbers of normalisation steps: a store's statistics put into them, bands left out. No torch here."""

from collections.abc import Mapping, Sequence

from seamo.errors import ProtocolError
from seamo.inputs.spec import InputSpec, Step
from seamo.inputs.units import conversion
from seamo.manifest import LayerSpec, Statistics

STORE_OPS = ("store-zscore", "store-2std")
FROM_STORE = "train split of the store"  # how a record says that numbers are those of STORE_OPS


def two_sigma(mean: Sequence[float], std: Sequence[float]) -> tuple[Step, Step]:
    """From mean - 2 std .. mean + 2 std to 0..1, clipped, as SSL4EO-S12 scales its bands."""
    low = tuple(m - 2 * s for m, s in zip(mean, std, strict=True))
    return Step("affine", low, tuple(4 * s for s in std)), Step("clip", (0.0,), (1.0,))


def resolve(
    network: str,
    want: InputSpec,
    sources: Sequence[str],
    have: Mapping[str, tuple[LayerSpec, int]],
    statistics: Statistics | None,
) -> tuple[tuple[Step, ...], str]:
    """Put the store's numbers into steps that ask for them.

    Args:
        network: For messages.
        want: The input with the network's steps.
        sources: The band that is read for each channel; empty where none is.
        have: Band -> its layer of the store and position in it.
        statistics: Of the stack, in the layers' unit; None where the store has none.

    Returns:
        The steps with their numbers, and where these come from.

    Raises:
        ProtocolError: If numbers are asked for and missing.
    """
    if not any(step.op in STORE_OPS for step in want.steps):
        return want.steps, want.source
    if statistics is None:
        raise ProtocolError(
            f"normalises {want.sensor} with the store's own statistics and there are none",
            where=network,
            fix="Load it for a store: load_backbone(..., store=store).",
        )
    mean, std = [], []
    for source in sources:
        if not source:  # no measurement, so nothing to centre: the filled channel is zero after the step
            mean.append(0.0)
            std.append(1.0)
            continue
        scale, offset = conversion(have[source][0].unit, want.unit, where=network)
        if source not in statistics.mean or not statistics.std.get(source, 0.0) > 0:
            raise ProtocolError(
                f"the store's statistics of {want.sensor}:{source} are missing or constant", where=network
            )
        mean.append(statistics.mean[source] * scale + offset)
        std.append(statistics.std[source] * scale)
    steps: list[Step] = []
    for step in want.steps:
        if step.op == "store-zscore":
            steps.append(Step("affine", tuple(mean), tuple(std)))
        elif step.op == "store-2std":
            steps += two_sigma(mean, std)
        else:
            steps.append(step)
    return tuple(steps), f"{FROM_STORE} ({statistics.source})"


def restrict(steps: Sequence[Step], kept: Sequence[int], count: int) -> tuple[Step, ...]:
    """Steps for the bands that are kept; numbers that hold for all bands stay as they are."""

    def pick(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(numbers[position] for position in kept) if len(numbers) == count and count > 1 else numbers

    return tuple(Step(step.op, pick(step.a), pick(step.b)) for step in steps)
