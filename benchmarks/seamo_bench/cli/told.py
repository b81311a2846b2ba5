"""One line for each cell of a run that has ended: what it scored and what it took."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from seamo.terminal import remark

if TYPE_CHECKING:
    from seamo_bench.records.record import Record
    from seamo_bench.runs.cells import Cell, Planned


def told(records: "Iterable[Record]", cells: "Sequence[Cell]") -> "Iterator[Record]":
    """The same records; each cell is told when all its seeds have one.

    Args:
        records: As they are written.
        cells: Of the plan.
    """
    from seamo_bench.facts import run_key
    from seamo_bench.runs.cells import Planned

    todo = [cell for cell in cells if isinstance(cell, Planned) and cell.todo]
    # By number: two heads on one store are two cells of one name.
    waiting = [{run_key(cell.facts[seed]) for seed in cell.todo} for cell in todo]
    of_key = {key: number for number, keys in enumerate(waiting) for key in keys}
    found: list[list[Record]] = [[] for _ in todo]
    ended = 0
    for record in records:
        number = of_key.get(record.key)
        if number is not None:
            found[number].append(record)
            waiting[number].discard(record.key)
            if not waiting[number]:
                ended += 1
                remark(f"[{ended}/{len(todo)}] {_line(todo[number], found[number])}")
        yield record


def _line(cell: "Planned", records: "Sequence[Record]") -> str:
    from seamo_bench.board.tables import number
    from seamo_bench.cli.plan_view import duration
    from seamo_bench.scores.metrics import PRIMARY

    seconds = sum(record.cost.seconds or 0.0 for record in records)
    took = f", {seconds:.1f} s" if 0 < seconds < 10 else f", {duration(seconds)}" if seconds else ""
    if failed := [record for record in records if record.status != "ok"]:
        return f"{cell.id}: {len(failed)} of {len(records)} failed{took}"
    name = PRIMARY[records[0].facts.task.kind]
    scores = [value for record in records if (value := record.scores.get(name)) is not None]
    mean = sum(scores) / len(scores) if scores else None
    many = f" (mean of {len(scores)} seeds)" if len(scores) > 1 else ""
    return f"{cell.id}: {name} {number(name, mean)}{many}{took}"
