"""A plan for people: what is done, what will run and at what cost, what cannot and why; all cells as plain rows."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from seamo.bands import SENSORS
from seamo.terminal import table
from seamo_bench.facts import run_key
from seamo_bench.runs.cells import Cell, Impossible, Planned

_NAMED = 6  # names in a list before it says how many more
_BAND = rf"\b(?:{'|'.join([*SENSORS, *(band.name for bands in SENSORS.values() for band in bands)])})\b"
_BANDS = re.compile(rf"{_BAND}(?::{_BAND})?(?:(?:, | and | or ){_BAND}(?::{_BAND})?)*")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, short."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def listing(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row a cell, each with an `id`."""
    return [
        {
            "id": cell.id,
            "backbone": cell.backbone,
            "store": " + ".join(cell.about.stores),
            "protocol": cell.row.protocol,
            "status": cell.status,
            **_state(cell),
        }
        for cell in cells
    ]


def _state(cell: Cell) -> dict[str, Any]:
    if isinstance(cell, Impossible):
        nothing = {"seeds": 0, "seeds_to_run": 0, "seconds": None}
        told = {"reason": cell.reason, "hindrance": cell.hindrance, "checks": []}
        return {**nothing, **told, "keys": [run_key(cell.facts)]}
    return {
        "seeds": len(cell.facts),
        "seeds_to_run": len(cell.todo),
        "seconds": cell.seconds,
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


def overview(cells: Sequence[Cell]) -> str:
    """Totals, data sets, the matrix of backbones and data sets, and reasons and notes, each once."""
    places = list(dict.fromkeys(cell.row.store for cell in cells))
    names = list(dict.fromkeys(cell.backbone for cell in cells))
    parts = [_totals(cells), _by_store(cells, places), _matrix(cells, names, places)]
    impossible = [cell for cell in cells if isinstance(cell, Impossible)]
    missing = [cell for cell in impossible if cell.hindrance == "missing"]
    unsuitable = [cell for cell in impossible if cell.hindrance == "unsuitable"]
    if missing:
        told = _reasons([(one.reason, one) for one in missing])
        parts.append(f"Not there yet, {_count(missing)}:\n{told}")
    if unsuitable:
        parts.append(
            f"Do not go together, {_count(unsuitable)}:\n" + _reasons([(one.reason, one) for one in unsuitable])
        )
    notes = [(note, cell) for cell in cells if isinstance(cell, Planned) for note in _notes(cell)]
    if notes:
        parts.append(f"To know before:\n{_reasons(notes)}")
    return "\n\n".join(parts)


def _count(cells: Sequence[Cell]) -> str:
    return f"{len(cells):,} cell{'s' * (len(cells) != 1)}"


def _totals(cells: Sequence[Cell]) -> str:
    groups = {state: [one for one in cells if one.status == state] for state in ("done", "will run", "impossible")}
    seeds = sum(len(cell.todo) for cell in cells if isinstance(cell, Planned))
    told = ", ".join(f"{len(group):,} {state}" for state, group in groups.items())
    lines = f"{_count(cells)}: {told}; {seeds:,} runs to do, one a seed."
    return f"{lines} {_cost([cell for cell in cells if isinstance(cell, Planned) and cell.todo])}".rstrip()


def _cost(cells: Sequence[Planned]) -> str:
    """What is to run costs, as far as something like it has run."""
    known = [one.seconds for one in cells if one.seconds is not None]
    if not cells:
        return ""
    if not known:
        return "Cost unknown: nothing like it has run here."
    rest = f", and {len(cells) - len(known):,} cells of unknown cost" if len(known) < len(cells) else ""
    return f"About {duration(sum(known))}{rest}."


def _by_store(cells: Sequence[Cell], places: Sequence[str]) -> str:
    rows = []
    for number, place in enumerate(places, 1):
        own = [one for one in cells if one.row.store == place]
        count = [sum(one.status == state for one in own) for state in ("will run", "done", "impossible")]
        planned = [cell for cell in own if isinstance(cell, Planned)]
        known = [cell.seconds for cell in planned if cell.seconds is not None]
        waiting = any(cell.todo and cell.seconds is None for cell in planned)
        cost = duration(sum(known)) + (" +" if waiting else "") if known else ""
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


def _reasons(found: Iterable[tuple[str, Cell]]) -> str:
    """Reasons that are the same but for names, once, most frequent first, with whom they concern."""
    groups: dict[str, list[Cell]] = {}
    for reason, cell in found:
        groups.setdefault(_general(reason, cell), []).append(cell)
    lines = []
    for reason, cells in sorted(groups.items(), key=lambda item: -len(item[1])):
        who = _some(list(dict.fromkeys(cell.backbone for cell in cells)))
        where = _some(list(dict.fromkeys(cell.row.store for cell in cells)))
        lines.append(f"  {len(cells):>5,}  {reason}\n         {who} | {where}")
    return "\n".join(lines)


def _general(reason: str, cell: Cell) -> str:
    """A reason without the names of its cell, for people: lists of bands and of sensors are BANDS."""
    text = reason.removeprefix(f"{cell.backbone}: ")
    for title, name in zip(cell.about.stores, cell.row.datasets, strict=False):
        text = text.replace(title, "STORE").replace(f" {name} ", " STORE ")
    text = text.replace(cell.backbone, "BACKBONE")
    if isinstance(cell, Impossible) and cell.hindrance == "missing":
        text, found = re.subn(r"^weights \S+ are not there\. ", "weights are not there. ", text)
        if found and "weights fetch" not in text:
            text = "weights are not there, and have no direct link; --cells says how to get them"
    return _BANDS.sub("BANDS", text) if isinstance(cell, Impossible) and cell.hindrance == "unsuitable" else text


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
