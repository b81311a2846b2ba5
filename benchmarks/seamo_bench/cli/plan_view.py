"""A plan for people: what is done, what will run and at what cost, what cannot and why; all cells as plain rows."""

import textwrap
from collections.abc import Sequence
from typing import Any

from seamo.terminal import table
from seamo_bench.cli.coverage import coverage, coverage_text
from seamo_bench.facts import run_key
from seamo_bench.records.reasons import Because, grouped
from seamo_bench.runs.cells import Cell, Impossible, Planned
from seamo_bench.runs.estimate import GPU, Estimate, Throughput, disk_bytes, shared_seconds

_BEFORE_A_RUN = 4  # different reasons that are told there


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, short."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def listing(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row a cell, each with an `id`; `seconds` where features of its group are shared, `seconds_alone` else."""
    taken = _seconds(cells)
    return [
        {
            "id": cell.id,
            "backbone": cell.backbone,
            "store": " + ".join(cell.about.stores),
            "protocol": cell.row.protocol,
            "status": cell.status,
            "way": cell.wiring.way if isinstance(cell, Planned) else "",
            "seconds": taken.get(cell.id),
            **_state(cell),
        }
        for cell in cells
    ]


def _state(cell: Cell) -> dict[str, Any]:
    if isinstance(cell, Impossible):
        nothing = {"seeds": 0, "seeds_to_run": 0, "seconds_alone": cell.cost.seconds if cell.cost else None}
        told = {"reason": cell.reason, "hindrance": cell.hindrance, "checks": []}
        return {**nothing, **told, "keys": [run_key(cell.facts)]}
    return {
        "seeds": len(cell.facts),
        "seeds_to_run": len(cell.todo),
        "seconds_alone": cell.seconds,
        "reason": "",
        "hindrance": "",
        "checks": _notes(cell),
        "keys": [run_key(facts) for facts in cell.facts.values()],
    }


def _notes(cell: Planned) -> list[str]:
    return [*cell.checks, *(flag.text for flag in cell.flags)]


def every_cell(cells: Sequence[Cell]) -> str:
    """One line a cell."""
    rows = [
        [
            row["id"],
            row["status"],
            f"{row['seeds_to_run']}/{row['seeds']}" if row["seeds"] else "",
            duration(row["seconds"]) if row["seconds"] else "",
            row["reason"] or "; ".join(row["checks"]),
        ]
        for row in listing(cells)
    ]
    return table(["id", "status", "seeds", "cost", "notes"], rows)


def overview(cells: Sequence[Cell], speed: Throughput = GPU) -> str:
    """Totals, data sets, the matrix of backbones and data sets, and reasons and notes, each once.

    Args:
        cells: Of the plan.
        speed: That the estimates rest on, where nothing like a cell has run.
    """
    places = list(dict.fromkeys(cell.row.store for cell in cells))
    names = list(dict.fromkeys(cell.backbone for cell in cells))
    parts = [totals(cells, speed), _by_store(cells, places), _matrix(cells, names, places)]
    if any(cell.row.ways for cell in cells):
        parts.append(coverage_text(coverage(cells)))
    impossible = [cell for cell in cells if isinstance(cell, Impossible)]
    missing = [cell for cell in impossible if cell.hindrance == "missing"]
    unsuitable = [cell for cell in impossible if cell.hindrance == "unsuitable"]
    if missing:
        parts.append(f"Not there yet, {_count(missing)}{_more(missing)}:\n" + "\n".join(grouped(map(_why, missing))))
    if unsuitable:
        parts.append(f"Do not go together, {_count(unsuitable)}:\n" + "\n".join(grouped(map(_why, unsuitable))))
    notes = [_because(cell, note) for cell in cells if isinstance(cell, Planned) for note in _notes(cell)]
    if notes:
        parts.append("To know before:\n" + "\n".join(grouped(notes)))
    return "\n\n".join(parts)


def opening(cells: Sequence[Cell], speed: Throughput) -> str:
    """What is said before a run: totals, and why the rest cannot run."""
    impossible = [_why(cell) for cell in cells if isinstance(cell, Impossible)]
    lines = [totals(cells, speed)]
    if impossible:
        lines += ["Cannot run:", *grouped(impossible, most=_BEFORE_A_RUN)]
    return "\n".join(lines)


def _why(cell: Impossible) -> Because:
    reason = cell.reason.removeprefix(f"{cell.facts.backbone.id}: ")  # of a run, which is asked for by its path
    return _because(cell, reason, bands=cell.hindrance == "unsuitable")


def _because(cell: Cell, text: str, *, bands: bool = False) -> Because:
    return Because(text, cell.backbone, cell.row.store, cell.row.datasets, cell.about.stores, bands)


def _count(cells: Sequence[Cell]) -> str:
    return f"{len(cells):,} cell{'s' * (len(cells) != 1)}"


def totals(cells: Sequence[Cell], speed: Throughput = GPU) -> str:
    """How many cells are done, will run and cannot, and what is to do costs.

    Args:
        cells: Of the plan.
        speed: That the estimates rest on, where nothing like a cell has run.
    """
    groups = {state: [one for one in cells if one.status == state] for state in ("done", "will run", "impossible")}
    seeds = sum(len(cell.todo) for cell in cells if isinstance(cell, Planned))
    told = ", ".join(f"{len(group):,} {state}" for state, group in groups.items())
    lines = f"{_count(cells)}: {told}; {seeds:,} runs to do, one a seed."
    todo = [cell for cell in cells if isinstance(cell, Planned) and cell.todo]
    if not todo:
        return lines
    measured = sum(cell.cost.measured for cell in todo)
    basis = [f"{measured:,} cells as earlier records took"] if measured else []
    basis += [f"FLOPs at {speed}"] if measured < len(todo) else []
    cost = f"About {duration(sum(_seconds(cells).values()))} and {size(disk_bytes(_costs(todo)))} on disk"
    return f"{lines}\n{cost} ({'; '.join(basis)})."


def size(count: float) -> str:
    """Bytes as kB, MB or GB."""
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{max(1.0, count / 1e3):,.0f} kB"


def _costs(cells: Sequence[Cell]) -> list[tuple[str, Estimate]]:
    return [(cell.group, cell.cost) for cell in cells if cell.cost is not None]


def _seconds(cells: Sequence[Cell]) -> dict[str, float]:
    """Id of each cell that is to do -> seconds, where those of one network on one store share their features."""
    planned = [cell for cell in cells if isinstance(cell, Planned)]
    ordered = [cell for cell in planned if not cell.todo] + [cell for cell in planned if cell.todo]
    taken = shared_seconds(_costs(ordered))
    return {cell.id: one for cell, one in zip(ordered, taken, strict=True) if cell.todo}


def _more(missing: Sequence[Impossible]) -> str:
    """What they would take if they were there."""
    known = _costs(missing)
    if not known:
        return ""
    rest = len(missing) - len(known)
    unknown = f", and {rest:,} of unknown size" if rest else ""
    return f" (about {duration(sum(shared_seconds(known)))} more{unknown})"


def _by_store(cells: Sequence[Cell], places: Sequence[str]) -> str:
    rows, taken = [], _seconds(cells)
    for number, place in enumerate(places, 1):
        own = [one for one in cells if one.row.store == place]
        count = [sum(one.status == state for one in own) for state in ("will run", "done", "impossible")]
        planned = [cell for cell in own if isinstance(cell, Planned) and cell.todo]
        cost = duration(sum(taken[cell.id] for cell in planned)) if planned else ""
        titles = {" + ".join(one.about.stores): None for one in own}
        rows.append([str(number), place, *(str(one or "") for one in count), cost, next(iter(titles))])
    return table(["#", "data set", "will run", "done", "impossible", "cost", "store"], rows, right=(0, 2, 3, 4))


def _matrix(cells: Sequence[Cell], names: Sequence[str], places: Sequence[str]) -> str:
    counts: dict[tuple[str, str], list[int]] = {}
    for cell in cells:
        count = counts.setdefault((cell.backbone, cell.row.store), [0, 0])
        count[0] += cell.status == "will run"
        count[1] += cell.status == "done"
    idle = [name for name in names if not any(sum(counts.get((name, place), ())) for place in places)]
    rows = [[name, *(_square(counts.get((name, place))) for place in places)] for name in names if name not in idle]
    head = ["to run/done", *(str(number) for number in range(1, len(places) + 1))]
    lines = [table(head, rows, right=range(1, len(head)))] if rows else []
    told = textwrap.fill(f"Nothing to run: {', '.join(idle)}", 118, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([*lines, *([told] if idle else [])])


def _square(count: Sequence[int] | None) -> str:
    if count is None:
        return ""
    run, done = count
    return f"{run}/{done}" if done else str(run) if run else "-"
