"""Test samples on places of the pretraining, and the score without them: from an answer that needed the stores."""

from collections.abc import Mapping, Sequence

import numpy as np

from seamo_bench.board.geography import Grid
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.overlap import KIND, VERSION, OverlapCell, OverlapRow, PartScore, ScoreGap
from seamo_bench.board.report.coast import SOURCE, Coast, coast
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.tabs.map import SHADES, boxes_of, ground_of
from seamo_bench.board.tables import number
from seamo_bench.records.answers import read_answers

DRAWERS = 12  # backbones of a column with a map; the others stand in the table alone
EXAMPLES = 10


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table a column, and a drawer with a map for every backbone that has seen places of the test."""
    asked = _by_days(page)
    order = {row.id: at for at, row in enumerate(page.made.rows)}
    outline = coast()
    parts: list[dict[str, object]] = []
    for head in heads:
        for days, rows in asked.items():
            mine = [row for row in rows if row.column == head.column.id and row.row in order]
            if not mine:
                continue
            mine.sort(key=lambda row: order[row.row])
            drawn = [row for row in mine if row.touched]
            parts.append(
                {
                    "head": head,
                    "chips": chips(page.made, head),
                    "when": _when(days),
                    "lines": [_line(row) for row in mine],
                    "drawers": [_drawer(row, outline, f"{len(parts)}-{at}") for at, row in enumerate(drawn[:DRAWERS])],
                    "more": len(drawn[DRAWERS:]),
                    "floors": sorted({floor for row in mine for floor in row.floors}),
                }
            )
    return {"parts": parts, "source": SOURCE if outline else ""} if parts else None


def _by_days(page: Page) -> dict[object, list[OverlapRow]]:
    """Days that were asked for -> rows; of two answers about one backbone and column the one of more records."""
    known = [record.key for record in page.found.records]
    answers = read_answers(page.results, KIND, OverlapRow, version=VERSION, known=known)
    found: dict[object, dict[tuple[str, str], OverlapRow]] = {}
    for answer in sorted(answers, key=lambda one: len(one.records)):
        found.setdefault(answer.asked.get("days"), {}).update({(row.column, row.row): row for row in answer.rows})
    return {days: list(rows.values()) for days, rows in found.items()}


def _when(days: object) -> str:
    return "" if days is None else f"Only images at most {days} days apart count; without a day the place decides."


def _line(row: OverlapRow) -> dict[str, object]:
    return {
        "row": row,
        "corpora": ", ".join(one.id for one in row.corpora) or "nothing",
        "whole": _score(row, row.whole),
        "rest": _score(row, row.rest),
        "part": _score(row, row.part),
        "gap": _gap(row, row.gap),
        "beyond": _gap(row, row.beyond),
    }


def _score(row: OverlapRow, one: PartScore | None) -> tuple[str, str]:
    if one is None:
        return "", ""
    return number(row.metric, one.value), _ends(row, one.low, one.high)


def _gap(row: OverlapRow, one: ScoreGap | None) -> tuple[str, str]:
    if one is None:
        return "", ""
    return number(row.metric, one.value), _ends(row, one.low, one.high)


def _ends(row: OverlapRow, low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{number(row.metric, low)} to {number(row.metric, high)}"


def _drawer(row: OverlapRow, outline: Coast | None, place: str) -> dict[str, object]:
    cells = row.cells
    corners = np.array([(cell.west, cell.south) for cell in cells], dtype=np.float64).reshape(-1, 2)
    codes = np.repeat(np.arange(len(cells)), [cell.touched + cell.clean + cell.unknown for cell in cells])
    grid = Grid(row.step, corners, codes)
    under = ground_of(grid, outline) if cells else None
    marks = boxes_of(grid, under) if under else []
    return {
        "row": row,
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
