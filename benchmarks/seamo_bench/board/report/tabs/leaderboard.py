"""Scores, column by column, and over all tasks."""

import math
from html import escape

from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head, Table
from seamo_bench.board.report.markup import PageNumbers, amount, blank_text, row_head, row_kind, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import bar, score_axis
from seamo_bench.board.tables import LEGEND, footnotes, interval_text, number, rank_text
from seamo_bench.scores.metric import SHARE
from seamo_bench.scores.metrics import metric


def render(page: Page) -> str:
    """One table a column, then the aggregates; what has no number stands below its table with the reason."""
    made, places = page.made, page.places
    parts = [f'<p class="note">{escape(LEGEND)} Floors are what any model must beat. A score opens its origin.</p>']
    for head in made.heads:
        cells = {row: made.cells.get((row.id, head.column)) for row in made.rows}
        scored = _best_first(head, {row: cell for row, cell in cells.items() if cell and cell.interval})
        blanks = {row: cell for row, cell in cells.items() if row not in scored}
        inner = _scores(made, head, scored, places) if scored else '<p class="note">No backbone has a score here.</p>'
        parts.append(places.block(head, inner + _blanks(head, blanks, places)))
    return "".join(parts) + _aggregates(made)


def _best_first(head: Head, cells: dict[BoardRow, BoardCell]) -> dict[BoardRow, BoardCell]:
    """Rows by their score in this column; undefined ones last."""
    sign = -1 if metric(head.metric).higher_is_better else 1

    def order(item: tuple[BoardRow, BoardCell]) -> float:
        interval = item[1].interval
        return math.inf if interval is None or math.isnan(interval.value) else sign * interval.value

    return dict(sorted(cells.items(), key=order))


def _scores(made: Table, head: Head, scored: dict[BoardRow, BoardCell], places: PageNumbers) -> str:
    axis = score_axis(list(scored.values()))
    name = metric(head.metric)
    arrow = "Higher is better." if name.higher_is_better else "Lower is better."
    said = [
        "; ".join(part for part in (cell.interval.method, cell.interval.note) if part)
        for cell in scored.values()
        if cell.interval
    ]
    methods = list(dict.fromkeys(said))
    how = methods[0] if len(methods) == 1 else f"{len(methods)} kinds, each with its score's origin"
    caption = f"{escape(name.title)}: {escape(name.definition)} {arrow} Intervals: {escape(how)}."
    ends = f"{number(head.metric, axis[0])} to {number(head.metric, axis[1])}"
    score, p_head = amount(escape(name.title)), amount("Behind best, p")
    names: tuple[str, ...] = ("Backbone", score, f"95 % interval (axis {ends})", p_head, amount("Runs"), amount("Test"))
    judged = any(cell.state for cell in scored.values())
    names = (*names, "Referee") if judged else names
    marks = footnotes(made)
    lines = []
    for row, cell in scored.items():
        interval = cell.interval
        if interval is None:
            continue
        flags = "".join(f'<sup><a href="#flag-{marks[flag]}">{marks[flag]}</a></sup>' for flag in cell.flags)
        best = ' <abbr title="best, or not worse beyond chance">*</abbr>' if cell.best else ""
        p = "" if cell.p_worse is None else f"{cell.p_worse:.3f}"
        runs = f"{interval.num_units} folds" if interval.unit == "folds" else f"{interval.num_seeds}"
        lines.append(
            f'<tr{row_kind(row)}>{row_head(row)}<td class="num{" best" if cell.best else ""}" '
            f'data-value="{interval.value}"><a class="why" href="#{places.cell(row, head)}">'
            f"{number(head.metric, interval.value)}</a>{flags}{best}</td>"
            f'<td data-value="{interval.value}">{bar(head.metric, cell, axis)}'
            f'<span class="ends">{escape(_ends(head.metric, cell))}</span></td><td class="num">{p}</td>'
            f'<td class="num">{runs}</td><td class="num" data-value="{cell.num_test}">{cell.num_test:,}</td>'
            f"{f'<td>{escape(cell.state)}</td>' if judged else ''}</tr>"
        )
    return table(names, lines, caption=caption)


def _blanks(head: Head, blanks: dict[BoardRow, BoardCell | None], places: PageNumbers) -> str:
    """Backbones without a number, those of one reason together."""
    if not blanks:
        return ""
    reasons: dict[str, list[str]] = {}
    for row, cell in blanks.items():
        own = next(iter(cell.records)).facts.backbone.id if cell else ""
        why = blank_text(cell).replace(f"{own}: ", "", 1) if own else blank_text(cell)
        name = escape(row.title)
        link = f'<a class="why" href="#{places.cell(row, head)}">{name}</a>' if cell else name
        reasons.setdefault(why, []).append(link)
    lines = "".join(f"<li>{escape(why)}: {', '.join(names)}</li>" for why, names in reasons.items())
    return f'<details class="blanks"><summary>{len(blanks)} without a score</summary><ul>{lines}</ul></details>'


def _ends(name: str, cell: BoardCell) -> str:
    interval = cell.interval
    if interval is None or interval.low is None or interval.high is None:
        return "no interval"
    return f"{number(name, interval.low)} to {number(name, interval.high)}"


def _aggregates(made: Table) -> str:
    if not made.aggregates:
        return ""
    some = next(iter(made.aggregates.values()))
    lines = []
    for row in made.rows:
        overall = made.aggregates.get(row.id)
        if overall:
            lines.append(
                f'<tr{row_kind(row)}>{row_head(row)}<td class="num" data-value="{overall.iqm.value}">'
                f"{interval_text(SHARE, overall.iqm)}</td>"
                f'<td class="num" data-value="{-overall.mean_rank.value}">{rank_text(overall.mean_rank)}</td></tr>'
            )
    caption = f"Interquartile mean of normalised scores and mean rank, {escape(some.iqm.method)}."
    return "<h3>Over all tasks</h3>" + table(("Backbone", amount("IQM"), amount("Mean rank")), lines, caption=caption)


TAB = Tab(id="leaderboard", name="Scores", title="Leaderboard", order=10, render=render)
