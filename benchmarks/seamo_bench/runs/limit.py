"""A run of so many hours: cheap cells first, and none is begun that would end later, as far as estimates know."""

import time
from collections.abc import Callable, Sequence

from seamo_bench.runs.cells import Planned
from seamo_bench.runs.estimate import shared_seconds


class TimeLimit:
    """What a run that has so many hours begins.

    A cell that has begun is not cut short: its seeds have records as they end, and a seed that would be killed is lost.
    Estimates are corrected by what the cells so far took, where that was more.

    Args:
        hours: From now on.
        clock: Seconds that go on.
    """

    def __init__(self, hours: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + 3600.0 * hours
        self._seconds: dict[str, float] = {}
        self._spent = self._foreseen = 0.0
        self.left: tuple[Planned, ...] = ()  # what was not begun

    def ordered(self, cells: Sequence[Planned]) -> list[Planned]:
        """The cells, cheap ones first, and what each will take in this order."""
        found = sorted(cells, key=lambda cell: cell.cost.seconds)
        taken = shared_seconds([(cell.group, cell.cost) for cell in found])
        self._seconds = {cell.id: one for cell, one in zip(found, taken, strict=True)}
        return found

    def allows(self, cell: Planned) -> bool:
        """Whether a cell will end in time."""
        slower = max(1.0, self._spent / self._foreseen) if self._foreseen else 1.0
        return self._clock() + slower * self._seconds[cell.id] <= self._end

    def took(self, cell: Planned, seconds: float) -> None:
        """A cell took so long."""
        self._spent += seconds
        self._foreseen += self._seconds[cell.id]
