"""Paired comparisons: differences on the same test samples."""

from html import escape

from seamo_bench.board.compare import Comparison, compare
from seamo_bench.board.report.markup import amount, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import head_title, interval_text


def render(page: Page) -> str:
    """Differences on the same test samples."""
    made, places, pairs = page.made, page.places, _pairs(page)
    if not pairs:
        return '<p class="note">No two models, or model and floor, have a score in one column.</p>'
    heads = {head.column: head for head in made.heads}
    names = {row.id: row.title for row in made.rows}
    lines = []
    for pair in pairs:
        interval, head = pair.difference.interval, heads[pair.column]
        both = f"{names.get(pair.a, pair.a)} - {names.get(pair.b, pair.b)}"
        p = "" if pair.difference.p is None else f"{pair.difference.p:.3f}"
        method = "; ".join(dict.fromkeys((pair.difference.test, interval.method)))
        sure = (
            ""
            if interval.low is None or interval.high is None
            else ("yes" if interval.low > 0 or interval.high < 0 else "no")
        )
        lines.append(
            f'<tr {places.facets(head)}><th scope="row">{escape(both)}</th><td>{escape(head_title(head))}</td>'
            f'<td class="num" data-value="{interval.value}">{interval_text(pair.metric, interval)}</td>'
            f'<td class="num">{p}</td>'
            f'<td>{sure}</td><td class="note">{escape(method)}</td></tr>'
        )
    caption = "Difference on the same test samples, in points of the metric; p before correction for many comparisons."
    return table(
        ("Pair", "Column", amount("Difference"), amount("p"), "Interval excludes 0", "Method"), lines, caption=caption
    )


def _pairs(page: Page) -> list[Comparison]:
    """Every backbone that is no floor against every floor, and the two leading ones; none among mixed records."""
    if page.mixed:
        return []
    rows = {row for (row, _), cell in page.made.cells.items() if cell.interval}
    scored = [row for row in page.made.rows if row.id in rows]
    models = [row.id for row in scored if not row.floor]
    wanted = [(model, row.id) for model in models for row in scored if row.floor]
    if len(models) > 1:
        wanted.insert(0, (models[0], models[1]))
    pairs: list[Comparison] = []
    for number, (a, b) in enumerate(wanted):
        page.progress(number, len(wanted), "comparing pairs")
        pairs += compare(page.found.records, page.results, a, b, resamples=page.resamples)
    return pairs


TAB = Tab(id="paired", name="Pairs", title="Paired comparisons", order=30, render=render)
