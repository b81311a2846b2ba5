"""Flags with their marks, and files that could not be used."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import footnotes


def view(page: Page, _heads: Sequence[Head]) -> Mapping[str, object] | None:
    """Each flag once, with the rows that carry it."""
    made = page.made
    listed = []
    for flag, mark in footnotes(made).items():
        rows = [row.title for row in made.rows if _carries(page, row.id, flag)]
        listed.append((mark, flag, rows))
    return {"flags": listed, "damaged": [(one.path.name, one.reason) for one in made.damaged]}


def _carries(page: Page, row: str, flag: object) -> bool:
    cells = (page.made.cells.get((row, head.column)) for head in page.made.heads)
    return any(cell is not None and flag in cell.flags for cell in cells)


TAB = Tab(id="flags", name="Flags", title="Checks and flags", order=100, view=view)
