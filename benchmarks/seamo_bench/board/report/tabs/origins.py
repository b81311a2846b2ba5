"""Where each number comes from: the cells' records."""

from html import escape

from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head
from seamo_bench.board.report.contracts import ReportInputs
from seamo_bench.board.report.markup import PageNumbers, blank_text, facts_list, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import head_title, interval_text, number
from seamo_bench.records.record import Record


def render(page: Page) -> str:
    """For each column what its records share, and for each cell its own: what the drawer shows."""
    made, places, inputs = page.made, page.places, page.inputs
    parts = []
    for head in made.heads:
        cells = [(row, made.cells[row.id, head.column]) for row in made.rows if (row.id, head.column) in made.cells]
        some = next(
            (record for _, cell in cells for record in cell.records if record.status == "ok"), cells[0][1].records[0]
        )
        articles = "".join(_origin(row, head, cell, places, inputs) for row, cell in cells)
        parts.append(places.fold(head, _shared(some) + articles))
    return "".join(parts)


def _shared(record: Record) -> str:
    facts = record.facts
    lists = ", ".join(f"{name} {value[:12]}" for name, value in facts.split.lists.items())
    params = ", ".join(f"{name}={value}" for name, value in facts.protocol.params.items())
    return facts_list(
        [
            ("Stores", "; ".join(f"{store.id} {store.content[:12] or 'not there'}" for store in facts.stores)),
            ("Split", f"{facts.split.scheme}, {100 * facts.split.fraction:g} % of labels; lists {lists or 'none'}"),
            ("Protocol", f"{facts.protocol.id} version {facts.protocol.version}" + (f": {params}" if params else "")),
            ("Precision, budget", f"{facts.precision}, {facts.budget}"),
        ]
    )


def _origin(row: BoardRow, head: Head, cell: BoardCell, places: PageNumbers, inputs: ReportInputs) -> str:
    first = cell.records[0]
    facts = first.facts
    rows = [("Column", head_title(head))]
    if cell.interval is None:
        rows.append(("No score", blank_text(cell)))
    else:
        interval = cell.interval
        rows.append(("Score", interval_text(head.metric, interval)))
        rows.append(("Interval", "; ".join(part for part in (interval.method, interval.note) if part)))
    rows.append(("Protocol", f"{facts.protocol.id} version {facts.protocol.version}"))
    rows.append(("Weights", facts.backbone.weights or "none"))
    rows.append(("Card", facts.backbone.card))
    rows += [(f"Flag: {flag.kind}", flag.text) for flag in cell.flags]
    fed = inputs.link(next((record for record in cell.records if record.status == "ok"), first))
    lines = [_run(record, head) for record in cell.records]
    names = ("Record", "Seed", "Score", "Chosen on validation", "Seconds", "Samples a second", "Predictions")
    return (
        f'<article id="{places.cell(row, head)}" tabindex="-1"><h4>{escape(row.title)}</h4>{facts_list(rows)}'
        f'<p class="fed">{fed}</p>{table(names, lines, sortable=False)}'
        f'<p class="note">Check it: <code>seamo-bench verify results/{first.key}.json</code></p></article>'
    )


def _run(record: Record, head: Head) -> str:
    score = record.scores.get(head.metric)
    value = number(head.metric, score) if record.status == "ok" else record.status
    chosen = ", ".join(f"{name} {value}" for name, value in record.about.chosen.items())
    seconds = "" if record.cost.seconds is None else f"{record.cost.seconds:.1f}"
    speed = "" if record.cost.samples_per_second is None else f"{record.cost.samples_per_second:,.1f}"
    file = record.predictions.sha256[:12] if record.predictions else ""
    return (
        f'<tr><th scope="row" class="key">{record.key}</th><td class="num">{record.facts.seed}</td>'
        f'<td class="num">{escape(value)}</td><td>{escape(chosen)}</td><td class="num">{seconds}</td>'
        f'<td class="num">{speed}</td><td class="key">{file}</td></tr>'
    )


TAB = Tab(id="origins", name="Origins", title="Where each number comes from", order=110, render=render)
