"""Paired comparisons: differences on the same test samples."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.compare import Comparison, compare
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import bar
from seamo_bench.board.tables import interval_text


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table a column: every backbone that is no floor against every floor, and the two leading ones."""
    pairs = _pairs(page)
    names = {row.id: row.title for row in page.made.rows}
    tables = []
    for head in heads:
        mine = [pair for pair in pairs if pair.column == head.column]
        if not mine:
            continue
        ends = [0.0, *(end for pair in mine for end in _ends(pair))]
        room = 0.06 * (max(ends) - min(ends)) or 0.01
        axis = min(ends) - room, max(ends) + room
        zero = 4 + 292 * -axis[0] / (axis[1] - axis[0])
        tables.append(
            {
                "head": head,
                "chips": chips(page.made, head),
                "zero": zero,
                "lines": [
                    {
                        "pair": pair,
                        "a": names.get(pair.a, pair.a),
                        "b": names.get(pair.b, pair.b),
                        "method": "; ".join(dict.fromkeys((pair.difference.test, pair.difference.interval.method))),
                        "rows": f"{page.places.row(pair.a)} {page.places.row(pair.b)}",
                        "text": interval_text(pair.metric, pair.difference.interval),
                        "bar": bar(pair.difference.interval, axis),
                        "sure": _excludes_zero(pair),
                    }
                    for pair in mine
                ],
            }
        )
    return {"tables": tables, "mixed": page.mixed}


def _ends(pair: Comparison) -> list[float]:
    one = pair.difference.interval
    return [end for end in (one.value, one.low, one.high) if end is not None and end == end]


def _excludes_zero(pair: Comparison) -> str:
    one = pair.difference.interval
    if one.low is None or one.high is None:
        return "no interval"
    return "yes" if one.low > 0 or one.high < 0 else "no"


def _pairs(page: Page) -> list[Comparison]:
    """None among mixed records, whose samples differ."""
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


TAB = Tab(id="pairs", name="Pairs", title="Paired comparisons", order=30, view=view)
