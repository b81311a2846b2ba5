"""Contested numbers: what the leading row of each column may be printed as."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.contested import QUESTIONS, RESAMPLES, Contest, between_records, from_answers, of_record
from seamo_bench.board.contested_text import legend, reading_text, spread_text
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import best_first
from seamo_bench.board.report.links import is_safe
from seamo_bench.board.report.page import Page, Tab

MOST = 12  # contests; `seamo-bench contested` has all


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """The widest contests: of the best row of every column, and between records."""
    if page.mixed:
        return None
    resamples = min(page.resamples, RESAMPLES)
    found: list[Contest] = []
    for number, head in enumerate(heads):
        page.progress(number, len(heads), "reading contested numbers")
        for cell in list(best_first(page.made, head).values())[:1]:
            done = sorted((one for one in cell.records if one.status == "ok"), key=lambda one: one.key)
            found += of_record(done[0], page.results, seeds=len(done), resamples=resamples)
    records = page.found.records
    found += [*between_records(records, page.results, resamples=resamples), *from_answers(records, page.results)]
    apart = sorted((one for one in found if one.spread > 0), key=lambda one: -one.spread)
    if not apart:
        return None
    shown = apart[:MOST]
    return {"contests": [_shown(one) for one in shown], "more": len(apart) - len(shown), "legend": legend(shown)}


def _shown(one: Contest) -> dict[str, object]:
    return {
        "contest": one,
        "asked": QUESTIONS[one.question],
        "apart": spread_text(one),
        "chips": ["synthetic"] * one.synthetic + ["subset"] * one.subset,
        "lines": [
            {
                "reading": reading,
                "text": reading_text(reading),
                "link": reading.source if is_safe(reading.source) else "",
            }
            for reading in one.readings
        ],
    }


TAB = Tab(id="contested", name="Contested", title="What the same predictions may be printed as", order=96, view=view)
