"""Scores of single classes."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import BoardRow, Head
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import number
from seamo_bench.records.record import Record
from seamo_bench.scores.metric import SHARE


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """Score of each class, a row a class, a column a backbone."""
    parts = []
    for head in heads:
        done: dict[BoardRow, list[Record]] = {}
        for row in page.made.rows:
            cell = page.made.cells.get((row.id, head.column))
            if cell and (told := [record for record in cell.records if record.per_class]):
                done[row] = told
        if not done:
            continue
        some = next(iter(done.values()))[0]
        measure = next(iter(some.per_class))
        lines = []
        for k, name in enumerate(some.facts.task.classes):
            values = {row: _mean([record.per_class[measure][k] for record in mine]) for row, mine in done.items()}
            texts = [(row, one, "not tested" if one is None else number(SHARE, one)) for row, one in values.items()]
            lines.append((name, texts))
        parts.append(
            {"head": head, "chips": chips(page.made, head), "rows": list(done), "measure": measure, "lines": lines}
        )
    return {"parts": parts}


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


TAB = Tab(id="classes", name="Classes", title="Per class", order=50, view=view)
