"""What the page's script knows: the leaderboard as plain values, to filter by and to save as CSV and JSON."""

import math
from collections.abc import Mapping

from seamo_bench.board.leaderboard import Table
from seamo_bench.board.report.columns import TASKS, kinds
from seamo_bench.board.tables import to_objects

_OF_ROWS = ("backbone", "title", "floor")
_OF_COLUMNS = ("dataset", "dataset_title", "protocol", "params", "split", "fraction", "budget", "synthetic", "mixed")
_LEFT_OUT = ("notes", *_OF_ROWS, *_OF_COLUMNS)


def families(made: Table) -> dict[str, str]:
    """Row id -> family of its backbone, empty where its records do not say."""
    found: dict[str, str] = {}
    for (row, _), cell in made.cells.items():
        found[row] = found.get(row) or cell.records[0].about.family
    return found


def board_state(made: Table, title: str) -> Mapping[str, object]:
    """The leaderboard for the script: cells hold the fields of `seamo-bench table --json`, each said once.

    Args:
        made: The leaderboard.
        title: Of the page.
    """
    family, task = families(made), kinds(made)
    cells: list[list[object]] = []
    fields: list[str] = []
    places = {(row.id, head.column): (r, c) for r, row in enumerate(made.rows) for c, head in enumerate(made.heads)}
    there = [(row.id, head.column) for row in made.rows for head in made.heads if (row.id, head.column) in made.cells]
    for one, place in zip(to_objects(made), there, strict=True):
        kept = {name: _plain(value) for name, value in one.items() if name not in _LEFT_OUT}
        fields = list(kept)
        cells.append([*places[place], *kept.values()])
    rows = [{"backbone": r.id, "title": r.title, "floor": r.floor, "family": family.get(r.id, "")} for r in made.rows]
    columns = [
        {
            "id": head.column.id,
            "dataset": head.column.dataset,
            "dataset_title": head.dataset,
            "task": TASKS.get(task[head.column], task[head.column]),
            "protocol": head.column.protocol,
            "params": head.column.params,
            "split": head.column.scheme,
            "fraction": f"{head.column.fraction:g}",
            "budget": head.column.budget,
            "synthetic": head.synthetic,
            "mixed": bool(head.notes),
        }
        for head in made.heads
    ]
    return {"title": title, "rows": rows, "columns": columns, "fields": fields, "cells": cells}


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
