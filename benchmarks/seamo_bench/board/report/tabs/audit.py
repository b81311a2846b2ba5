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
    shown = {head.column.dataset for head in heads}
    answers = read_answers(page.results, KIND, AuditRow, version=VERSION, known=known)
    parts = [_part(page, row, one.made_by) for one in answers for row in one.rows if row.dataset in shown]
    return {"parts": sorted(parts, key=lambda part: str(part["title"])), "flatters": FLATTERS} if parts else None


def _part(page: Page, row: AuditRow, made_by: str) -> dict[str, object]:
    titles = {one.id: one for one in page.made.rows}
    return {
        "row": row,
        "title": f"{row.title} ({row.label_space})" if row.label_space else row.title,
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
