"""Labels that most models contradict: what `seamo-bench audit` found."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.audit_asked import find_asked
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
from seamo_bench.records.answers import Answer, read_answers
from seamo_bench.scores.metrics import metric

_SWAPS, _SCORES, _LISTED = 12, 60, 25  # lines of each table
OUT_OF_DATE = "Out of date: records that came later and are not in it: {:,}. Make it again."


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A part a data set whose labels were audited; None where none was."""
    parts = []
    for answer, newer in _answers(page):
        for row in answer.rows:
            # The columns that its records are in: the filters of the page show and hide it with them.
            mine = [head for head in heads if (head.column.dataset, head.column.scheme) == (row.dataset, row.scheme)]
            if mine:
                parts.append(_part(page, row, answer.made_by, newer, mine))
    titles = [str(part["title"]) for part in parts]
    for part, title in zip(parts, titles, strict=True):
        if titles.count(title) > 1:  # audited in several label spaces
            part["title"] = f"{title}, {part['label_space']}"
    return {"parts": sorted(parts, key=lambda part: str(part["title"])), "flatters": FLATTERS} if parts else None


def _answers(page: Page) -> list[tuple[Answer[AuditRow], int]]:
    """One answer a data set and label space, and how many records that would be asked today are not in it.

    Of several, made as records came, the one that lacks fewest of today's; then the one of most records.
    """
    records = page.found.records
    found = read_answers(page.results, KIND, AuditRow, version=VERSION, known=[record.key for record in records])
    if not found:
        return []
    today = {(one.dataset, one.label_space): {record.key for record in one.records} for one in find_asked(records)[0]}
    best: dict[tuple[object, object], tuple[Answer[AuditRow], int]] = {}
    for one in sorted(found, key=lambda one: -len(one.records)):
        for row in one.rows[:1]:
            key = (row.dataset, row.label_space)
            newer = len(today.get(key, set()).difference(one.records))
            if key not in best or newer < best[key][1]:
                best[key] = one, newer
    return list(best.values())


def _part(page: Page, row: AuditRow, made_by: str, newer: int, heads: Sequence[Head]) -> dict[str, object]:
    titles = {one.id: one for one in page.made.rows}
    return {
        "row": row,
        "title": row.title,
        "label_space": row.label_space,
        "columns": " ".join(str(page.places.col(head)) for head in heads),
        "warnings": (*reservations(row), *([OUT_OF_DATE.format(newer)] if newer else [])),
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
