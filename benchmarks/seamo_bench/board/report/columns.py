"""What the tabs say of one column: its rows by score, its task, the words that tell it from others, its blanks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seamo_bench.board.compare import Column
from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head, Table
from seamo_bench.records.record import ONE_CLASS
from seamo_bench.scores.metrics import metric

TASKS = {
    "single-label": "Single-label classification",
    "multi-label": "Multi-label classification",
    "segmentation": "Segmentation",
    "change": "Change detection",
}


def kinds(made: Table) -> dict[Column, str]:
    """Column -> kind of its task."""
    found: dict[Column, str] = {}
    for (_, column), cell in made.cells.items():
        found.setdefault(column, cell.records[0].facts.task.kind)
    return found


def best_first(made: Table, head: Head) -> dict[BoardRow, BoardCell]:
    """Rows that have a score in a column, by their score; undefined ones last."""
    sign = -1 if metric(head.metric).higher_is_better else 1
    scored = {row: cell for row in made.rows if (cell := made.cells.get((row.id, head.column))) and cell.interval}

    def order(item: tuple[BoardRow, BoardCell]) -> float:
        interval = item[1].interval
        return math.inf if interval is None or math.isnan(interval.value) else sign * interval.value

    return dict(sorted(scored.items(), key=order))


def natively_fed(scored: Mapping[BoardRow, BoardCell]) -> dict[BoardRow, BoardCell]:
    """Those of a column that were fed as they were made to be: the ones that are ranked side by side."""
    return {row: cell for row, cell in scored.items() if row.way == "native"}


def is_scored(made: Table, head: Head) -> bool:
    """Whether any row has a score in a column."""
    return any((cell := made.cells.get((row.id, head.column))) and cell.interval for row in made.rows)


def has_score(made: Table, row: BoardRow) -> bool:
    """Whether a row has a score in any column."""
    return any((cell := made.cells.get((row.id, head.column))) and cell.interval for head in made.heads)


def undefined_reason(cell: BoardCell) -> str:
    """Why a score that was computed is no number; empty where it is one."""
    if cell.interval is None or math.isfinite(cell.interval.value):
        return ""
    if ONE_CLASS in cell.flags:
        return "the test split holds one class"
    return cell.interval.note or "the metric is not defined for these predictions"


def is_leader(cell: BoardCell) -> bool:
    """Whether a cell is the best of its column, not one that is only not told apart from it."""
    return cell.best and cell.p_worse is None and cell.interval is not None and math.isfinite(cell.interval.value)


def chips(made: Table, head: Head) -> tuple[str, ...]:
    """What limits a column, in a word each, to stand beside its title."""
    some = next(cell.records[0] for (_, column), cell in made.cells.items() if column == head.column)
    said = {
        "synthetic": head.synthetic,
        "subset": any(store.subset for store in some.facts.stores),
        "demo budget": head.column.budget == "demo",
        "mixed": bool(head.notes),
    }
    return tuple(word for word, holds in said.items() if holds)


def short_heads(heads: Sequence[Head]) -> Mapping[Column, tuple[str, str]]:
    """The data set's id, and what tells the column from its others of that data set."""
    words = {head.column: head.protocol.replace(" of labels", "").split(", ") for head in heads}
    found = {}
    for column, own in words.items():
        others = [set(words[other]) for other in words if other.dataset == column.dataset]
        shared = set.intersection(*others) - {column.protocol}
        found[column] = column.dataset, ", ".join(word for word in own if word not in shared)
    return found


def is_of_aggregates(note: str) -> bool:
    """Whether a note of the leaderboard is about means over all tasks, beside which it stands."""
    return note.startswith(("IQM and mean rank", "No IQM or mean rank"))


@dataclass(frozen=True, slots=True)
class BlankGroup:
    """Cells without a score that share a reason: each row with its columns."""

    reason: str
    cells: Sequence[tuple[BoardRow, Sequence[tuple[Head, BoardCell]]]]

    @property
    def count(self) -> int:
        """Number of cells."""
        return sum(len(columns) for _, columns in self.cells)


def blank_groups(made: Table, heads: Iterable[Head]) -> list[BlankGroup]:
    """All cells of these columns that were tried and have no score, by reason, most first."""
    groups: dict[str, dict[BoardRow, list[tuple[Head, BoardCell]]]] = {}
    for head in heads:
        for row in made.rows:
            cell = made.cells.get((row.id, head.column))
            if cell is not None and cell.interval is None:
                own = cell.records[0].facts.backbone.id
                reason = f"{cell.status}: {cell.reason.replace(f'{own}: ', '')}"
                groups.setdefault(reason, {}).setdefault(row, []).append((head, cell))
    made_groups = [BlankGroup(reason, list(rows.items())) for reason, rows in groups.items()]
    return sorted(made_groups, key=lambda group: (-group.count, group.reason))
