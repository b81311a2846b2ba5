"""Ids of columns, rows and cells inside the page: numbers, so that no name of a record is one."""

from seamo_bench.board.leaderboard import BoardRow, Head, Table


class PageNumbers:
    """By these the script finds what a filter hides, and links find the origin of a number.

    Args:
        made: The leaderboard.
    """

    def __init__(self, made: Table) -> None:
        self._columns = {head.column: number for number, head in enumerate(made.heads)}
        self._rows = {row.id: number for number, row in enumerate(made.rows)}

    def col(self, head: Head) -> int:
        """Number of a column."""
        return self._columns[head.column]

    def row(self, row_id: str) -> int:
        """Number of a row."""
        return self._rows[row_id]

    def cell(self, row: BoardRow, head: Head) -> str:
        """Anchor of a cell's origin."""
        return f"cell-{self._rows[row.id]}-{self._columns[head.column]}"
