"""Scores of single classes."""

from collections.abc import Sequence
from html import escape

from seamo_bench.board.report.markup import amount, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import number
from seamo_bench.scores.metric import SHARE


def render(page: Page) -> str:
    """Score of each class, a row a class, a column a backbone."""
    made, places = page.made, page.places
    parts: list[str] = []
    for head in made.heads:
        done = {
            row: [record for record in cell.records if record.per_class]
            for row in made.rows
            if (cell := made.cells.get((row.id, head.column)))
        }
        done = {row: records for row, records in done.items() if records}
        if not done:
            continue
        some = next(iter(done.values()))[0]
        measure = next(iter(some.per_class))
        lines = []
        for k, name in enumerate(some.facts.task.classes):
            values = [_mean([record.per_class[measure][k] for record in records]) for records in done.values()]
            cells = "".join(
                f'<td class="num{" few" if value is None else ""}" data-value="{"" if value is None else value}">'
                f"{number(SHARE, value)}</td>"
                for value in values
            )
            lines.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
        caption = f"{escape(measure)} of each class in percent, mean over runs, without intervals."
        names = ("Class", *(amount(f"<span>{escape(row.title)}</span>") for row in done))
        parts.append(places.fold(head, table(names, lines, caption=caption), is_open=not parts))
    return "".join(parts) or '<p class="note">No record has per-class values.</p>'


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


TAB = Tab(id="classes", name="Classes", title="Per class", order=50, render=render)
