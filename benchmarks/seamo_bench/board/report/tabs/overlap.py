"""Test samples on places of the pretraining, and the score without them: from an answer that needed the stores."""

from collections.abc import Mapping, Sequence

import numpy as np

from seamo_bench.board.geography import Grid
from seamo_bench.board.leaderboard import BoardRow, Head
from seamo_bench.board.overlap import KIND, VERSION, OverlapCell, OverlapRow, PartScore, ScoreGap
from seamo_bench.board.report.coast import SOURCE, Coast, coast
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.tabs.map import SHADES, boxes_of, ground_of
from seamo_bench.board.report.words import plural
from seamo_bench.board.tables import number
from seamo_bench.records.answers import read_answers

DRAWERS = 12  # backbones of a column with a map; the others stand in the table alone
EXAMPLES = 10


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table a column, and a drawer with a map for every backbone that has seen places of the test."""
    asked = _by_question(page)
    order = {row.id: at for at, row in enumerate(page.made.rows)}
    shown = {row.id: row for row in page.made.rows}
    outline = coast()
    parts: list[dict[str, object]] = []
    for head in heads:
        for question, rows in asked.items():
            mine = [row for row in rows if row.column == head.column.id and row.row in order]
            if not mine:
                continue
            mine.sort(key=lambda row: order[row.row])
            drawn = [row for row in mine if row.touched]
            parts.append(
                {
                    "head": head,
                    "chips": chips(page.made, head),
                    "when": _when(question, several=len(asked) > 1),
                    "lines": [_line(row, shown[row.row], _outdated(page, head, row)) for row in mine],
                    "drawers": [
                        _drawer(row, shown[row.row].title, outline, f"{len(parts)}-{at}")
                        for at, row in enumerate(drawn[:DRAWERS])
                    ],
                    "more": len(drawn[DRAWERS:]),
                    "floors": sorted({floor for row in mine for floor in row.floors}),
                }
            )
    return {"parts": parts, "source": SOURCE if outline else ""} if parts else None


def _by_question(page: Page) -> dict[tuple[object, str, str], list[OverlapRow]]:
    """Days, lists and runs that were asked with -> rows; of two about one backbone and column that of more records.

    What was asked with other lists stands apart: which of them is right, nobody can say here.
    """
    known = [record.key for record in page.found.records]
    answers = read_answers(page.results, KIND, OverlapRow, version=VERSION, known=known)
    found: dict[tuple[object, str, str], dict[tuple[str, str], OverlapRow]] = {}
    for answer in sorted(answers, key=lambda one: len(one.records)):  # of a row's own records alone, the most floors
        days, lists, runs = (answer.asked.get(name) for name in ("days", "lists", "backbones"))
        rows = found.setdefault((days, str(lists or ""), str(runs or "")), {})
        for row in answer.rows:
            before = rows.get((row.column, row.row))
            if before is None or len(row.records) >= len(before.records):
                rows[row.column, row.row] = row
    return {question: list(rows.values()) for question, rows in found.items()}


def _when(question: tuple[object, str, str], *, several: bool) -> str:
    days, lists, runs = question
    said = [] if days is None else [f"Only images at most {days} days apart count; without a day the place decides."]
    if lists or several:
        said.append(f"Lists of footprints: {lists or 'none'}.")
    if runs:
        said.append(f"Runs that were named: {runs}.")
    return " ".join(said)


def _outdated(page: Page, head: Head, row: OverlapRow) -> str:
    """What the leaderboard's cell has that the row has not, or the other way, as a sentence; empty if they agree."""
    cell = page.made.cells.get((row.row, head.column))
    now = {record.key for record in cell.records} if cell is not None else set[str]()
    newer, gone = len(now - set(row.records)), len(set(row.records) - now)
    if newer:
        return f"{plural(newer, 'newer record')} of the leaderboard not in it: make it again"
    return f"{plural(gone, 'record')} in it that the leaderboard leaves out: make it again" if gone else ""


def _line(row: OverlapRow, shown: BoardRow, outdated: str) -> dict[str, object]:
    return {
        "row": row,
        "shown": shown,
        "know": "; ".join(one for one in (outdated, row.flag, row.note) if one),
        "corpora": ", ".join(one.id for one in row.corpora) or "nothing",
        "scores": [_score(row, one) for one in (row.whole, row.rest, row.part, row.gap, row.beyond)],
    }


def _score(row: OverlapRow, one: PartScore | ScoreGap | None) -> tuple[float | str, str, str]:
    """What the column is sorted by, the number and the ends of its interval."""
    if one is None:
        return "", "", ""
    return "" if one.value is None else one.value, number(row.metric, one.value), _ends(row, one.low, one.high)


def _ends(row: OverlapRow, low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{number(row.metric, low)} to {number(row.metric, high)}"


def _drawer(row: OverlapRow, title: str, outline: Coast | None, place: str) -> dict[str, object]:
    cells = [cell for cell in row.cells if cell.samples]
    corners = np.array([(cell.west, cell.south) for cell in cells], dtype=np.float64).reshape(-1, 2)
    grid = Grid(row.step, corners, np.empty(0, dtype=np.int64))
    under = ground_of(grid, outline) if cells else None
    marks = boxes_of(grid, under, [cell.samples for cell in cells]) if under else []
    return {
        "row": row,
        "title": title,
        "place": place,
        "ground": under,
        "cells": [
            {"box": box, "shade": _shade(cell), "hint": _hint(cell)} for box, cell in zip(marks, cells, strict=True)
        ],
        "examples": row.examples[:EXAMPLES],
        "rest": row.touched - len(row.examples[:EXAMPLES]),
    }


def _shade(cell: OverlapCell) -> str:
    """The more of a cell's samples are touched, the stronger; without a known one there is no colour."""
    known = cell.touched + cell.clean
    if not known:
        return "x"
    return str(SHADES - 1 - min(SHADES - 1, -(-(SHADES - 1) * cell.touched // known)))


def _hint(cell: OverlapCell) -> str:
    said = f"from {cell.west:g}, {cell.south:g} degrees: {cell.touched:,} touched, {cell.clean:,} not"
    return said + (f", {cell.unknown:,} not known" if cell.unknown else "")


TAB = Tab(id="overlap", name="Overlap", title="Test samples on places of the pretraining", order=95, view=view)
