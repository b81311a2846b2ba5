"""Where each number comes from: the cells' records, what the models were fed, flags, and how to get it all again."""

from collections.abc import Iterable, Sequence
from html import escape

from seamo_bench.board.leaderboard import Cell, Head, Row, Table
from seamo_bench.board.report.markup import Places, blank_text, table
from seamo_bench.board.tables import footnotes, head_title, interval_text, number
from seamo_bench.facts import AdapterFacts
from seamo_bench.records.record import Record, RecordSet


class Inputs:
    """The different input contracts among records, numbered: many runs share one."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._places: dict[tuple[str, str, str], int] = {}
        self._listed: list[tuple[str, AdapterFacts]] = []
        for record in sorted(records, key=lambda one: (one.facts.backbone.id, self._stores(one))):
            adapter = record.facts.adapter
            if adapter and self._key(record) not in self._places:
                self._places[self._key(record)] = len(self._listed)
                self._listed.append((f"{record.facts.backbone.id} on {self._stores(record)}", adapter))

    @staticmethod
    def _stores(record: Record) -> str:
        return "+".join(store.id for store in record.facts.stores)

    def _key(self, record: Record) -> tuple[str, str, str]:
        adapter = record.facts.adapter
        return record.facts.backbone.id, self._stores(record), adapter.model_dump_json() if adapter else ""

    def link(self, record: Record) -> str:
        """A link to a record's contract; empty without one."""
        place = self._places.get(self._key(record))
        return "" if place is None else f'<a href="#input-{place}">what it was fed</a>'

    def section(self) -> str:
        """All of them, folded."""
        parts = [
            f'<details id="input-{number}"><summary>{escape(name)}</summary>{_contract(adapter)}</details>'
            for number, (name, adapter) in enumerate(self._listed)
        ]
        return "".join(parts) or '<p class="note">No record has an input contract.</p>'


def _contract(adapter: AdapterFacts) -> str:
    rows = [("Size", f"{adapter.size[0]} x {adapter.size[1]} {adapter.resize}"), ("Missing bands", adapter.missing)]
    for one in adapter.inputs:
        steps = "; then ".join(f"{step.op} a={_numbers(step.a)} b={_numbers(step.b)}" for step in one.steps)
        rows += [
            (f"{one.sensor} bands", " ".join(one.bands)),
            (f"{one.sensor} unit", f"{one.unit}, from {one.stack}"),
            (f"{one.sensor} steps", steps or "none"),
            (f"{one.sensor} numbers from", one.statistics or "not stated"),
        ]
        if one.filled:
            rows.append((f"{one.sensor} made up", " ".join(one.filled)))
    return _list(rows)


def _list(rows: Iterable[tuple[str, str]]) -> str:
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>{listed}</dl>"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"


def origins(made: Table, places: Places, inputs: Inputs) -> str:
    """For each column what its records share, and for each cell its own: what the drawer shows."""
    parts = []
    for head in made.heads:
        cells = [(row, made.cells[row.id, head.column]) for row in made.rows if (row.id, head.column) in made.cells]
        some = next((one for _, cell in cells for one in cell.records if one.status == "ok"), cells[0][1].records[0])
        articles = "".join(_origin(row, head, cell, places, inputs) for row, cell in cells)
        parts.append(places.fold(head, _shared(some) + articles))
    return "".join(parts)


def _shared(record: Record) -> str:
    facts = record.facts
    lists = ", ".join(f"{name} {value[:12]}" for name, value in facts.split.lists.items())
    params = ", ".join(f"{name}={value}" for name, value in facts.protocol.params.items())
    return _list(
        [
            ("Stores", "; ".join(f"{one.id} {one.content[:12] or 'not there'}" for one in facts.stores)),
            ("Split", f"{facts.split.scheme}, {100 * facts.split.fraction:g} % of labels; lists {lists or 'none'}"),
            ("Protocol", f"{facts.protocol.id} version {facts.protocol.version}" + (f": {params}" if params else "")),
            ("Precision, budget", f"{facts.precision}, {facts.budget}"),
        ]
    )


def _origin(row: Row, head: Head, cell: Cell, places: Places, inputs: Inputs) -> str:
    first = cell.records[0]
    facts = first.facts
    rows = [("Column", head_title(head))]
    if cell.interval is None:
        rows.append(("No score", blank_text(cell)))
    else:
        one = cell.interval
        rows.append(("Score", interval_text(head.metric, one)))
        rows.append(("Interval", "; ".join(part for part in (one.method, one.note) if part)))
    rows.append(("Protocol", f"{facts.protocol.id} version {facts.protocol.version}"))
    rows.append(("Weights", facts.backbone.weights or "none"))
    rows.append(("Card", facts.backbone.card))
    rows += [(f"Flag: {flag.kind}", flag.text) for flag in cell.flags]
    fed = inputs.link(next((one for one in cell.records if one.status == "ok"), first))
    lines = [_run(record, head) for record in cell.records]
    names = ("Record", "Seed", "Score", "Chosen on validation", "Seconds", "Samples a second", "Predictions")
    return (
        f'<article id="{places.cell(row, head)}" tabindex="-1"><h4>{escape(row.title)}</h4>{_list(rows)}'
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


def checks(made: Table) -> str:
    """Flags with their marks, and damaged files."""
    lines = [
        f'<li id="flag-{mark}"><strong>{mark}</strong> {escape(flag.kind)}: {escape(flag.text)}</li>'
        for flag, mark in footnotes(made).items()
    ]
    broken = [f"<li>{escape(one.path.name)}: {escape(one.reason)}</li>" for one in made.damaged]
    listed = f"<ul>{''.join(lines)}</ul>" if lines else '<p class="note">No record carries a flag.</p>'
    return listed + (f"<h3>Damaged files</h3><ul>{''.join(broken)}</ul>" if broken else "")


def again(found: RecordSet) -> str:
    """Versions and commands."""
    seen: dict[str, set[str]] = {}
    for record in found.records:
        for name, value in record.environment.items():
            seen.setdefault(name, set()).add(value)
    said = _list((name, ", ".join(sorted(values))) for name, values in sorted(seen.items()))
    commands = (
        "seamo-bench verify results/KEY.json      # key, hash of the predictions, scores recomputed\n"
        "seamo-bench table  results --md          # this leaderboard from the stored predictions, no GPU\n"
        "seamo-bench report results -o report.html\n"
        "seamo-bench run    SUITE --stores ROOT --results results   # runs what is not there yet\n"
    )
    return f'{said if seen else ""}<pre tabindex="0"><code>{escape(commands)}</code></pre>'
