"""Scores of countries."""

import math
from collections.abc import Mapping, Sequence

from seamo_bench.board.geography import COUNTRY_RESAMPLES, FEW_SAMPLES
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import number
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A row a country, a column a backbone."""
    parts = []
    for atlas in page.atlases:
        if not atlas.countries or atlas.head not in heads:
            continue
        lines = [
            (country, count, [(row, _score(atlas.head, scores[at])) for row, scores in atlas.by_country.items()])
            for at, (country, count) in enumerate(atlas.countries.items())
        ]
        parts.append(
            {
                "head": atlas.head,
                "chips": chips(page.made, atlas.head),
                "rows": list(atlas.by_country),
                "metric": metric(atlas.head.metric).title,
                "lines": lines,
            }
        )
    return {"parts": parts, "draws": COUNTRY_RESAMPLES, "few": FEW_SAMPLES}


def _score(head: Head, interval: Interval) -> dict[str, object]:
    ends = interval.note
    if interval.low is not None and interval.high is not None:
        ends = f"{number(head.metric, interval.low)} to {number(head.metric, interval.high)}"
    return {
        "value": "" if math.isnan(interval.value) else interval.value,
        "text": number(head.metric, interval.value),
        "ends": ends,
        "few": interval.low is None,
    }


TAB = Tab(id="countries", name="Countries", title="Per country", order=70, view=view)
