"""Scores of countries."""

import math
from html import escape

from seamo_bench.board.geography import COUNTRY_RESAMPLES, FEW_SAMPLES
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.markup import amount, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import number
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric


def render(page: Page) -> str:
    """A row a country, a column a backbone."""
    atlases, places = page.atlases, page.places
    parts: list[str] = []
    for atlas in atlases:
        if not atlas.countries:
            continue
        lines = []
        for position, (country, count) in enumerate(atlas.countries.items()):
            cells = "".join(_country(atlas.head, scores[position]) for scores in atlas.by_country.values())
            count_cell = f'<td class="num" data-value="{count}">{count:,}</td>'
            lines.append(f'<tr><th scope="row">{escape(country)}</th>{count_cell}{cells}</tr>')
        names = ("Country", amount("n"), *(amount(f"<span>{escape(row.title)}</span>") for row in atlas.by_country))
        caption = (
            f"{escape(metric(atlas.head.metric).title)} of each country's test samples with 95 % intervals "
            f"({COUNTRY_RESAMPLES} draws); under {FEW_SAMPLES} samples there is none."
        )
        parts.append(places.fold(atlas.head, table(names, lines, caption=caption), is_open=not parts))
    return "".join(parts) or '<p class="note">No data set here names countries.</p>'


def _country(head: Head, interval: Interval) -> str:
    ends = interval.note
    if interval.low is not None and interval.high is not None:
        ends = f"{number(head.metric, interval.low)} to {number(head.metric, interval.high)}"
    value = "" if math.isnan(interval.value) else interval.value
    kind = "num" if interval.low is not None else "num few"
    return (
        f'<td class="{kind}" data-value="{value}">{number(head.metric, interval.value)}'
        f'<span class="ends">{escape(ends)}</span></td>'
    )


TAB = Tab(id="countries", name="Countries", title="Per country", order=70, render=render)
