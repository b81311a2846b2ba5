"""Scores: the leaderboard column by column, the map of models and data sets, paired comparisons, classes."""

import math
from collections.abc import Sequence
from html import escape

from seamo_bench.board.compare import Comparison
from seamo_bench.board.leaderboard import Cell, Head, Row, Table
from seamo_bench.board.report.markup import Places, amount, blank_text, row_head, row_kind, short_heads, table
from seamo_bench.board.report.plots import bar, score_axis
from seamo_bench.board.tables import LEGEND, footnotes, head_title, interval_text, number, rank_text
from seamo_bench.scores.metrics import METRICS, metric


def leaderboard(made: Table, places: Places) -> str:
    """One table a column, then the aggregates; what has no number stands below its table with the reason."""
    parts = [f'<p class="note">{escape(LEGEND)} Floors are what any model must beat. A score opens its origin.</p>']
    for head in made.heads:
        cells = {row: made.cells.get((row.id, head.column)) for row in made.rows}
        scored = _best_first(head, {row: cell for row, cell in cells.items() if cell and cell.interval})
        blanks = {row: cell for row, cell in cells.items() if row not in scored}
        inner = _scores(made, head, scored, places) if scored else '<p class="note">No backbone has a score here.</p>'
        parts.append(places.block(head, inner + _blanks(head, blanks, places)))
    return "".join(parts) + _aggregates(made)


def _best_first(head: Head, cells: dict[Row, Cell]) -> dict[Row, Cell]:
    """Rows by their score in this column; undefined ones last."""
    sign = -1 if metric(head.metric).higher_is_better else 1

    def order(item: tuple[Row, Cell]) -> float:
        one = item[1].interval
        return math.inf if one is None or math.isnan(one.value) else sign * one.value

    return dict(sorted(cells.items(), key=order))


def _scores(made: Table, head: Head, scored: dict[Row, Cell], places: Places) -> str:
    axis = score_axis(list(scored.values()))
    name = METRICS[head.metric]
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
    names = ("Backbone", score, f"95 % interval (axis {ends})", p_head, amount("Runs"), amount("Test"))
    marks = footnotes(made)
    lines = []
    for row, cell in scored.items():
        one = cell.interval
        if one is None:
            continue
        flags = "".join(f'<sup><a href="#flag-{marks[flag]}">{marks[flag]}</a></sup>' for flag in cell.flags)
        best = ' <abbr title="best, or not worse beyond chance">*</abbr>' if cell.best else ""
        p = "" if cell.p_worse is None else f"{cell.p_worse:.3f}"
        runs = f"{one.num_units} folds" if one.unit == "folds" else f"{one.num_seeds}"
        lines.append(
            f'<tr{row_kind(row)}>{row_head(row)}<td class="num{" best" if cell.best else ""}" '
            f'data-value="{one.value}"><a class="why" href="#{places.cell(row, head)}">'
            f"{number(head.metric, one.value)}</a>{flags}{best}</td>"
            f'<td data-value="{one.value}">{bar(head.metric, cell, axis)}'
            f'<span class="ends">{escape(_ends(head.metric, cell))}</span></td><td class="num">{p}</td>'
            f'<td class="num">{runs}</td><td class="num" data-value="{cell.num_test}">{cell.num_test:,}</td></tr>'
        )
    return table(names, lines, caption=caption)


def _blanks(head: Head, blanks: dict[Row, Cell | None], places: Places) -> str:
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


def _ends(name: str, cell: Cell) -> str:
    one = cell.interval
    if one is None or one.low is None or one.high is None:
        return "no interval"
    return f"{number(name, one.low)} to {number(name, one.high)}"


def _aggregates(made: Table) -> str:
    if not made.aggregates:
        return ""
    some = next(iter(made.aggregates.values()))
    lines = []
    for row in made.rows:
        one = made.aggregates.get(row.id)
        if one:
            lines.append(
                f'<tr{row_kind(row)}>{row_head(row)}<td class="num" data-value="{one.iqm.value}">'
                f"{interval_text('iqm', one.iqm)}</td>"
                f'<td class="num" data-value="{-one.mean_rank.value}">{rank_text(one.mean_rank)}</td></tr>'
            )
    caption = f"Interquartile mean of normalised scores and mean rank, {escape(some.iqm.method)}."
    return "<h3>Over all tasks</h3>" + table(("Backbone", amount("IQM"), amount("Mean rank")), lines, caption=caption)


def heat(made: Table, places: Places) -> str:
    """Backbones x columns, shaded within each column; a blank says in a word why, and all of it where it leads."""
    heads = short_heads(made)
    axes = {
        head.column: score_axis([cell for (_, column), cell in made.cells.items() if column == head.column])
        for head in made.heads
    }
    lines = []
    for row in made.rows:
        cells = []
        for head in made.heads:
            cell = made.cells.get((row.id, head.column))
            facets = places.facets(head)
            if cell is None or cell.interval is None:
                why = blank_text(cell)
                word = "not run" if cell is None else cell.status
                said = f'<a class="why" href="#{places.cell(row, head)}">{word}</a>' if cell else word
                cells.append(f'<td class="heat none" {facets} data-value="" title="{escape(why)}">{said}</td>')
                continue
            low, high = axes[head.column]
            share = (cell.interval.value - low) / (high - low)
            share = share if metric(head.metric).higher_is_better else 1 - share
            depth = round(8 + 37 * min(1.0, max(0.0, share)))  # never so deep that the text loses its contrast
            text = number(head.metric, cell.interval.value)
            best = ' class="best"' if cell.best else ""
            cells.append(
                f'<td class="heat" {facets} data-value="{cell.interval.value}" style="--depth:{depth}%" '
                f'title="{escape(interval_text(head.metric, cell.interval))}">'
                f'<a class="why" href="#{places.cell(row, head)}"><span{best}>{text}</span></a></td>'
            )
        lines.append(f"<tr{row_kind(row)}>{row_head(row)}{''.join(cells)}</tr>")
    names = ["Backbone"]
    names += [f'<th scope="col" {places.facets(one)}><span>{heads[one.column]}</span></th>' for one in made.heads]
    caption = (
        "Shade: from the lowest to the best score of each column; bold: best or not worse. A score or a blank leads to "
        "its origin or reason."
    )
    return table(names, lines, caption=caption)


def paired(pairs: Sequence[Comparison], made: Table, places: Places) -> str:
    """Differences on the same test samples."""
    if not pairs:
        return '<p class="note">No two models, or model and floor, have a score in one column.</p>'
    heads = {head.column: head for head in made.heads}
    names = {row.id: row.title for row in made.rows}
    lines = []
    for pair in pairs:
        one, head = pair.difference.interval, heads[pair.column]
        both = f"{names.get(pair.a, pair.a)} - {names.get(pair.b, pair.b)}"
        p = "" if pair.difference.p is None else f"{pair.difference.p:.3f}"
        method = "; ".join(dict.fromkeys((pair.difference.test, one.method)))
        sure = "" if one.low is None or one.high is None else ("yes" if one.low > 0 or one.high < 0 else "no")
        lines.append(
            f'<tr {places.facets(head)}><th scope="row">{escape(both)}</th><td>{escape(head_title(head))}</td>'
            f'<td class="num" data-value="{one.value}">{interval_text(pair.metric, one)}</td><td class="num">{p}</td>'
            f'<td>{sure}</td><td class="note">{escape(method)}</td></tr>'
        )
    caption = "Difference on the same test samples, in points of the metric; p before correction for many comparisons."
    return table(
        ("Pair", "Column", amount("Difference"), amount("p"), "Interval excludes 0", "Method"), lines, caption=caption
    )


def classes(made: Table, places: Places) -> str:
    """Score of each class, a row a class, a column a backbone."""
    parts: list[str] = []
    for head in made.heads:
        done = {
            row: [one for one in cell.records if one.per_class]
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
            values = [_mean([one.per_class[measure][k] for one in records]) for records in done.values()]
            cells = "".join(
                f'<td class="num{" few" if value is None else ""}" data-value="{"" if value is None else value}">'
                f"{number('share', value)}</td>"
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
