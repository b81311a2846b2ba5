"""The map of models and data sets."""

from html import escape

from seamo_bench.board.report.markup import blank_text, row_head, row_kind, short_heads, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import score_axis
from seamo_bench.board.tables import interval_text, number
from seamo_bench.scores.metrics import metric


def render(page: Page) -> str:
    """Backbones x columns, shaded within each column; a blank says in a word why, and all of it where it leads."""
    made, places = page.made, page.places
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
    names += [f'<th scope="col" {places.facets(head)}><span>{heads[head.column]}</span></th>' for head in made.heads]
    caption = (
        "Shade: from the lowest to the best score of each column; bold: best or not worse. A score or a blank leads to "
        "its origin or reason."
    )
    return table(names, lines, caption=caption)


TAB = Tab(id="heat", name="Overview", title="Models and data sets", order=20, render=render)
