"""Labels that most models contradict: what `seamo-bench audit` found."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.audit_rows import (
    FLATTERS,
    KIND,
    VERSION,
    AuditRow,
    change_text,
    duplicates_text,
    estimate_text,
    headline,
    reservations,
    swaps_title,
)
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.records.answers import read_answers
from seamo_bench.scores.metrics import metric

_SWAPS, _SCORES, _LISTED = 12, 60, 25  # lines of each table


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A part a data set whose labels were audited; None where none was."""
    known = [record.key for record in page.found.records]
    found = read_answers(page.results, KIND, AuditRow, version=VERSION, known=known)
    parts = []
    for one in found:
        for row in one.rows:
            # The columns that its records are in: the filters of the page show and hide it with them.
            mine = [head for head in heads if (head.column.dataset, head.column.scheme) == (row.dataset, row.scheme)]
            if mine:
                parts.append(_part(page, row, one.made_by, mine))
    titles = [str(part["title"]) for part in parts]
    for part, title in zip(parts, titles, strict=True):
        if titles.count(title) > 1:  # audited in several label spaces
            part["title"] = f"{title}, {part['label_space']}"
    return {"parts": sorted(parts, key=lambda part: str(part["title"])), "flatters": FLATTERS} if parts else None


def _part(page: Page, row: AuditRow, made_by: str, heads: Sequence[Head]) -> dict[str, object]:
    titles = {one.id: one for one in page.made.rows}
    return {
        "row": row,
        "title": row.title,
        "label_space": row.label_space,
        "columns": " ".join(str(page.places.col(head)) for head in heads),
        "warnings": reservations(row),
        "sentences": (headline(row), estimate_text(row), duplicates_text(row)),
        "listed": row.listed[:_LISTED],
        "swaps": row.swaps[:_SWAPS],
        "swaps_title": swaps_title(row),
        "scores": [
            {"one": one, "row": titles.get(one.model), "metric": metric(one.metric).title, "change": change_text(one)}
            for one in row.without[:_SCORES]
        ],
        "made_by": made_by,
    }


TAB = Tab(id="audit", name="Label audit", title="Labels that most models contradict", order=55, view=view)
