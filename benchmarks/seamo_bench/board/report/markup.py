"""The report's small change: tables, row heads, links into the provenance, blocks that the filters show and hide."""

from collections.abc import Iterable
from html import escape

from seamo_bench.board.compare import Column
from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head, Table
from seamo_bench.board.tables import head_title

MANY = 8  # columns from which heads stand upright


def table(head: Iterable[str], rows: Iterable[str], *, caption: str = "", sortable: bool = True) -> str:
    """An HTML table that scrolls by itself; heads and rows come as markup, the caption too.

    Args:
        head: One entry a column, a name or a whole `<th>` (`amount`).
        rows: Whole `<tr>`.
        caption: Above it.
        sortable: Whether a click on a head sorts by it (the script does it).
    """
    names = list(head)
    columns = "".join(name if name.startswith("<th") else f'<th scope="col">{name}</th>' for name in names)
    sort = " data-sort" if sortable else ""
    tall = ' class="tall"' if len(names) > MANY else ""
    said = f'<caption><span class="said">{caption}</span></caption>' if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table{sort}{tall}>{said}'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def facts_list(rows: Iterable[tuple[str, str]]) -> str:
    """Names and their values; both are escaped."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>{listed}</dl>"


def amount(name: str) -> str:
    """The head of a column of numbers."""
    return f'<th scope="col" class="num">{name}</th>'


def row_head(row: BoardRow, mark: str = "") -> str:
    """The first cell of a row: the backbone, and what kind of floor it is."""
    tag = f' <span class="tag">floor: {escape(row.floor)}</span>' if row.floor else ""
    said = f'<span class="mark">{escape(mark)}</span> ' if mark else ""
    return f'<th scope="row">{said}{escape(row.title)}{tag}</th>'


def row_kind(row: BoardRow) -> str:
    """Attribute of a row: floors look different."""
    return ' class="floor"' if row.floor else ""


class PageNumbers:
    """Ids of columns, cells, tasks and protocols inside the page: numbers, so that no name of a record is one."""

    def __init__(self, made: Table) -> None:
        self.columns = {head.column: number for number, head in enumerate(made.heads)}
        self.rows = {row.id: number for number, row in enumerate(made.rows)}
        kinds: dict[Column, str] = {}
        for (_, column), cell in made.cells.items():
            kinds.setdefault(column, cell.records[0].facts.task.kind)
        self.tasks = list(dict.fromkeys(kinds[head.column] for head in made.heads))
        self.protocols = list(dict.fromkeys(head.column.protocol for head in made.heads))
        self._kinds = kinds

    def cell(self, row: BoardRow, head: Head) -> str:
        """Id of the provenance of a cell."""
        return f"cell-{self.rows[row.id]}-{self.columns[head.column]}"

    def facets(self, head: Head) -> str:
        """Attributes by which the filters find a column."""
        task, protocol = self._kinds[head.column], head.column.protocol
        return f'data-task="t{self.tasks.index(task)}" data-protocol="p{self.protocols.index(protocol)}"'

    def block(self, head: Head, inner: str) -> str:
        """A part of the page about one column, with its title."""
        return f'<div class="col" {self.facets(head)}><h3>{escape(head_title(head))}</h3>{inner}</div>'

    def fold(self, head: Head, inner: str, *, is_open: bool = False) -> str:
        """As `block`, folded."""
        state = " open" if is_open else ""
        title = f"<summary>{escape(head_title(head))}</summary>"
        return f'<details class="col" {self.facets(head)}{state}>{title}{inner}</details>'


def blank_text(cell: BoardCell | None) -> str:
    """Why there is no number."""
    return "not run" if cell is None else f"{cell.status}: {cell.reason}"


def short_heads(made: Table) -> dict[Column, str]:
    """Column heads as markup: the data set's id, and what tells the column from its others."""
    words = {head.column: head.protocol.replace(" of labels", "").split(", ") for head in made.heads}
    found = {}
    for column, own in words.items():
        others = [set(words[other]) for other in words if other.dataset == column.dataset]
        shared = set.intersection(*others) - {column.protocol}
        said = ", ".join(word for word in own if word not in shared)
        found[column] = f"<strong>{escape(column.dataset)}</strong><br>{escape(said)}"
    return found
