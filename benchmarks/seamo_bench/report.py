"""The report: one self-contained HTML page made from a results folder, readable without network or script."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from seamo.identity import write_atomically
from seamo_bench.compare import Comparison, compare
from seamo_bench.leaderboard import Cell, Head, Row, Table, build_table
from seamo_bench.metrics import METRICS, metric
from seamo_bench.records import Record, RecordSet, read_records
from seamo_bench.report_style import CSS, JS
from seamo_bench.tables import LEGEND, footnotes, head_title, interval_text, number, rank_text


def write_report(
    results: Path, output: Path, *, title: str = "seamo benchmark", mixed: bool = False, resamples: int = 2000
) -> None:
    """Read a results folder and write the page.

    Args:
        results: Folder of records.
        output: The .html file.
        title: Heading of the page.
        mixed: As in `build_table`.
        resamples: Draws per interval.
    """
    found = read_records(results)
    table = build_table(found, results, mixed=mixed, resamples=resamples)
    pairs = () if mixed else _pairs(table, found, results, resamples)
    write_atomically(output, render(table, found, title=title, pairs=pairs).encode("utf-8"))


def render(table: Table, found: RecordSet, *, title: str, pairs: Sequence[Comparison] = ()) -> str:
    """The page as text; everything that comes from records is escaped."""
    parts = [
        ("leaderboard", "Leaderboard", _leaderboard(table)),
        ("heat", "Models and data sets", _heat(table)),
        ("paired", "Paired comparisons", _paired(pairs, table)),
        ("cost", "Score and cost", _costs(table)),
        ("classes", "Per class", _classes(table)),
        ("inputs", "What each model was fed", _inputs(found)),
        ("checks", "Checks and flags", _checks(table)),
        ("records", "Records", _records(found)),
        ("again", "How to get these numbers again", _again(found)),
    ]
    nav = " ".join(f'<a href="#{place}">{escape(name)}</a>' for place, name, _ in parts)
    body = "".join(f'<section id="{place}"><h2>{escape(name)}</h2>{inner}</section>' for place, name, inner in parts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    ok = sum(record.status == "ok" for record in found.records)
    lead = f"{ok} runs scored, {len(found.records) - ok} blanks with reasons, {len(table.rows)} backbones."
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="lead">{lead}</p>'
        f'<ul class="warnings">{notes}</ul><nav aria-label="Sections">{nav}</nav></header>'
        f"<main>{body}</main><footer>Every number is computed from stored predictions; its record is named by the "
        f"hash of what can change it.</footer><script>{JS}</script></body></html>\n"
    )


def _table(head: Iterable[str], rows: Iterable[str], *, caption: str = "", sortable: bool = True) -> str:
    columns = "".join(f'<th scope="col">{one}</th>' for one in head)
    sort = " data-sort" if sortable else ""
    said = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table{sort}>{said}<thead><tr>{columns}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row_head(row: Row) -> str:
    tag = f'<span class="tag">floor: {escape(row.floor)}</span>' if row.floor else ""
    return f'<th scope="row">{escape(row.title)}{tag}</th>'


def _leaderboard(table: Table) -> str:
    parts = [f'<p class="note">{escape(LEGEND)} Floors are what any model must beat.</p>']
    for head in table.heads:
        cells = [(row, table.cells.get((row.id, head.column))) for row in table.rows]
        low, high = _axis([cell for _, cell in cells if cell])
        lines = [_board_row(row, head, cell, (low, high), table) for row, cell in cells]
        name = METRICS[head.metric]
        arrow = "higher is better" if name.higher_is_better else "lower is better"
        shown = f"{number(head.metric, low)} to {number(head.metric, high)}"
        caption = f"{escape(name.title)}: {escape(name.definition)} {arrow.capitalize()}."
        parts.append(f'<h3 id="c-{escape(head.column.id)}">{escape(head_title(head))}</h3>')
        names = ("Backbone", escape(name.title), f"95 % interval (axis {shown})", "Behind best, p", "Runs", "Test")
        parts.append(_table(names, lines, caption=caption))
    return "".join(parts) + _aggregates(table)


def _board_row(row: Row, head: Head, cell: Cell | None, axis: tuple[float, float], table: Table) -> str:
    kind = ' class="floor"' if row.floor else ""
    if cell is None or cell.interval is None:
        why = "not run" if cell is None else f"{cell.status}: {cell.reason}"
        return f'<tr{kind}>{_row_head(row)}<td class="blank" colspan="5">{escape(why)}</td></tr>'
    one = cell.interval
    marks = footnotes(table)
    flags = "".join(f'<sup><a href="#flag-{marks[flag]}">{marks[flag]}</a></sup>' for flag in cell.flags)
    best = ' <span class="tag">best or not worse</span>' if cell.best else ""
    strong = " best" if cell.best else ""
    detail = "; ".join(part for part in (one.method, one.note) if part)
    p = "" if cell.p_worse is None else f"{cell.p_worse:.3f}"
    runs = f"{one.num_units} folds" if one.unit == "folds" else f"{one.num_seeds}"
    return (
        f'<tr{kind}>{_row_head(row)}<td class="num{strong}" data-value="{one.value}">{number(head.metric, one.value)}'
        f"{flags}{best}</td><td>{_bar(head.metric, cell, axis)}"
        f"<span>{escape(_ends(head.metric, cell))}</span> "
        f'<span class="note">{escape(detail)}</span></td><td class="num">{p}</td>'
        f'<td class="num">{runs}</td><td class="num" data-value="{cell.num_test}">{cell.num_test:,}</td></tr>'
    )


def _ends(name: str, cell: Cell) -> str:
    one = cell.interval
    if one is None or one.low is None or one.high is None:
        return "no interval"
    return f"{number(name, one.low)} to {number(name, one.high)}"


def _axis(cells: Sequence[Cell]) -> tuple[float, float]:
    ends = [
        value
        for cell in cells
        if cell.interval
        for value in (cell.interval.value, cell.interval.low, cell.interval.high)
        if value is not None and math.isfinite(value)
    ]
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.01
    low = max(0.0, low - pad) if low >= 0 else low - pad
    return low, high + pad if high > 1 else min(1.0, high + pad)


def _bar(name: str, cell: Cell, axis: tuple[float, float], width: int = 300) -> str:
    one = cell.interval
    if one is None or not math.isfinite(one.value):
        return ""
    low, high = axis

    def x(value: float) -> float:
        return 4 + (width - 8) * (value - low) / (high - low)

    line = ""
    if one.low is not None and one.high is not None:
        a, b = x(one.low), x(one.high)
        line = "".join(
            f'<line class="bar" x1="{p:.1f}" x2="{q:.1f}" y1="{r}" y2="{s}"/>'
            for p, q, r, s in ((a, b, 9, 9), (a, a, 5, 13), (b, b, 5, 13))
        )
    return (
        f'<svg role="img" width="{width}" height="18" viewBox="0 0 {width} 18" '
        f'aria-label="{escape(interval_text(name, one))}"><title>{escape(interval_text(name, one))}</title>'
        f'<rect class="track" x="0" y="7" width="{width}" height="4" rx="2"/>{line}'
        f'<circle class="dot" cx="{x(one.value):.1f}" cy="9" r="4"/></svg>'
    )


def _aggregates(table: Table) -> str:
    if not table.aggregates:
        return ""
    some = next(iter(table.aggregates.values()))
    lines = []
    for row in table.rows:
        one = table.aggregates.get(row.id)
        if one:
            rank, kind = one.mean_rank, ' class="floor"' if row.floor else ""
            lines.append(
                f'<tr{kind}>{_row_head(row)}<td class="num" data-value="{one.iqm.value}">'
                f"{interval_text('iqm', one.iqm)}</td>"
                f'<td class="num" data-value="{rank.value}">{rank_text(rank)}</td></tr>'
            )
    caption = f"Interquartile mean of normalised scores and mean rank, {escape(some.iqm.method)}."
    return "<h3>Over all tasks</h3>" + _table(("Backbone", "IQM", "Mean rank"), lines, caption=caption)


def _heat(table: Table) -> str:
    lines = []
    axes = {
        head.column: _axis([c for (_, col), c in table.cells.items() if col == head.column]) for head in table.heads
    }
    for row in table.rows:
        cells = []
        for head in table.heads:
            cell = table.cells.get((row.id, head.column))
            if cell is None or cell.interval is None:
                why = "not run" if cell is None else f"{cell.status}: {cell.reason}"
                cells.append(f'<td class="heat none blank">{escape(why)}</td>')
                continue
            low, high = axes[head.column]
            share = (cell.interval.value - low) / (high - low)
            share = share if metric(head.metric).higher_is_better else 1 - share
            depth = round(8 + 37 * min(1.0, max(0.0, share)))  # never so deep that the text loses its contrast
            shade = f"background:color-mix(in srgb,var(--bar) {depth}%,var(--card))"
            cells.append(f'<td class="heat" style="{shade}">{number(head.metric, cell.interval.value)}</td>')
        lines.append(f"<tr>{_row_head(row)}{''.join(cells)}</tr>")
    names = ["Backbone", *(escape(head_title(one)) for one in table.heads)]
    caption = "Shade: from the lowest to the best score of each column. A blank says why there is no number."
    return _table(names, lines, caption=caption, sortable=False)


def _pairs(table: Table, found: RecordSet, results: Path, resamples: int) -> tuple[Comparison, ...]:
    """Every backbone that is no floor against every floor, and the two leading ones."""
    scored = [row for row in table.rows if any(c.interval for (r, _), c in table.cells.items() if r == row.id)]
    models = [row.id for row in scored if not row.floor]
    wanted = [(model, row.id) for model in models for row in scored if row.floor]
    if len(models) > 1:
        wanted.insert(0, (models[0], models[1]))
    return tuple(one for a, b in wanted for one in compare(found.records, results, a, b, resamples=resamples))


def _paired(pairs: Sequence[Comparison], table: Table) -> str:
    if not pairs:
        return '<p class="note">There are no two backbones with scores in one column.</p>'
    titles = {head.column: head_title(head) for head in table.heads}
    lines = []
    for pair in pairs:
        one = pair.difference.interval
        p = "" if pair.difference.p is None else f"{pair.difference.p:.3f}"
        method = "; ".join(dict.fromkeys((pair.difference.test, one.method)))
        sure = "" if one.low is None or one.high is None else ("yes" if one.low > 0 or one.high < 0 else "no")
        lines.append(
            "<tr>"
            f'<th scope="row">{escape(pair.a)} - {escape(pair.b)}</th>'
            f"<td>{escape(titles.get(pair.column, pair.column.id))}</td>"
            f'<td class="num" data-value="{one.value}">{interval_text(pair.metric, one)}</td><td class="num">{p}</td>'
            f'<td>{sure}</td><td class="note">{escape(method)}</td></tr>'
        )
    caption = "Difference on the same test samples, in points of the metric; p before correction for many comparisons."
    return _table(("Pair", "Column", "Difference", "p", "Interval excludes 0", "Method"), lines, caption=caption)


def _costs(table: Table) -> str:
    parts = []
    for head in table.heads:
        points = []
        for row in table.rows:
            cell = table.cells.get((row.id, head.column))
            seconds = [one.cost.seconds for one in cell.records if one.cost.seconds] if cell else []
            if cell and cell.interval and seconds and math.isfinite(cell.interval.value):
                points.append((sum(seconds) / len(seconds), cell.interval.value, row))
        if points:
            parts.append(f"<h3>{escape(head_title(head))}</h3>{_scatter(points, head)}")
    return "".join(parts) or '<p class="note">No record says what it cost.</p>'


def _scatter(points: Sequence[tuple[float, float, Row]], head: Head) -> str:
    width, height, left, bottom = 720, 260, 60, 34
    logs = [math.log10(max(point[0], 1e-3)) for point in points]
    low_x, high_x = math.floor(min(logs)), math.ceil(max(logs) + 1e-9)
    high_x += low_x == high_x
    values = [point[1] for point in points]
    pad = 0.1 * (max(values) - min(values)) or 0.01
    low_y, high_y = min(values) - pad, max(values) + pad

    def x(log: float) -> float:
        return left + (width - left - 150) * (log - low_x) / (high_x - low_x)

    def y(value: float) -> float:
        return 10 + (height - bottom - 10) * (high_y - value) / (high_y - low_y)

    marks = [f'<line class="axis" x1="{left}" x2="{width}" y1="{height - bottom}" y2="{height - bottom}"/>']
    marks += [
        f'<text x="{x(power):.0f}" y="{height - 14}" text-anchor="middle">{10.0**power:g} s</text>'
        for power in range(low_x, high_x + 1)
    ]
    marks += [
        f'<text x="{left - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{number(head.metric, value)}</text>'
        for value in sorted({min(values), max(values)})
    ]
    taken: list[float] = []
    for (seconds, value, row), log in sorted(zip(points, logs, strict=True), key=lambda one: -one[0][1]):
        at = y(value)
        place = max([at, *(other + 13 for other in taken if other + 13 > at)])  # labels do not lie on one another
        taken.append(place)
        kind = "floor" if row.floor else ""
        marks.append(
            f'<g class="{kind}"><circle class="dot" cx="{x(log):.1f}" cy="{at:.1f}" r="4"/>'
            f'<text x="{x(log) + 9:.1f}" y="{place + 4:.1f}">{escape(row.title)}</text></g>'
        )
        marks.append(f"<desc>{escape(row.title)}: {number(head.metric, value)} in {seconds:.1f} s</desc>")
    said = f"{metric(head.metric).title} against seconds a run"
    return (
        f'<div class="scroll" tabindex="0"><svg role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" aria-label="{escape(said)}">{"".join(marks)}</svg></div>'
        f'<p class="note">{escape(said)} (mean over its runs, logarithmic); orange: floors.</p>'
    )


def _classes(table: Table) -> str:
    parts = []
    for head in table.heads:
        rows = []
        classes: tuple[str, ...] = ()
        measure = ""
        for row in table.rows:
            cell = table.cells.get((row.id, head.column))
            done = [one for one in cell.records if one.per_class] if cell else []
            if done:
                classes = done[0].facts.task.classes
                measure = next(iter(done[0].per_class))
                values = [_mean([one.per_class[measure][k] for one in done]) for k in range(len(classes))]
                cells = "".join(f'<td class="num">{number("share", value)}</td>' for value in values)
                rows.append(f"<tr>{_row_head(row)}{cells}</tr>")
        if rows:
            names = ("Backbone", *(escape(name) for name in classes))
            inner = _table(
                names, rows, caption=f"{measure} of each class in percent, mean over runs, without intervals"
            )
            parts.append(f"<details><summary>{escape(head_title(head))}</summary>{inner}</details>")
    return "".join(parts) or '<p class="note">No record has per-class values.</p>'


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _inputs(found: RecordSet) -> str:
    seen: dict[tuple[str, str, str], Record] = {}
    for record in found.records:
        adapter = record.facts.adapter
        if adapter:
            text = adapter.model_dump_json()
            seen.setdefault((record.facts.backbone.id, "+".join(s.id for s in record.facts.stores), text), record)
    parts = []
    for (backbone, dataset, _), record in sorted(seen.items()):
        adapter = record.facts.adapter
        if adapter is None:
            continue
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
        listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
        parts.append(f"<details><summary>{escape(backbone)} on {escape(dataset)}</summary><dl>{listed}</dl></details>")
    return "".join(parts) or '<p class="note">No record has an input contract.</p>'


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"


def _checks(table: Table) -> str:
    marks = footnotes(table)
    lines = [
        f'<li id="flag-{mark}"><strong>{mark}</strong> {escape(flag.kind)}: {escape(flag.text)}</li>'
        for flag, mark in marks.items()
    ]
    broken = [f"<li>{escape(one.path.name)}: {escape(one.reason)}</li>" for one in table.damaged]
    listed = f"<ul>{''.join(lines)}</ul>" if lines else '<p class="note">No record carries a flag.</p>'
    return listed + (f"<h3>Damaged files</h3><ul>{''.join(broken)}</ul>" if broken else "")


def _records(found: RecordSet) -> str:
    lines = []
    for record in found.records:
        facts = record.facts
        cost = f"{record.cost.seconds:.1f}" if record.cost.seconds is not None else ""
        lines.append(
            f'<tr><th scope="row" class="key">{record.key[:12]}</th><td>{escape(facts.backbone.id)}</td>'
            f"<td>{escape(' + '.join(record.about.stores))}</td>"
            f"<td>{escape(facts.protocol.id)} v{facts.protocol.version}</td>"
            f'<td class="num">{100 * facts.split.fraction:g}</td><td class="num">{facts.seed}</td>'
            f"<td>{escape(record.status)}</td><td>{escape(facts.precision)}</td><td>{escape(facts.budget)}</td>"
            f'<td class="num">{cost}</td></tr>'
        )
    names = ("Key", "Backbone", "Data", "Protocol", "Labels %", "Seed", "Status", "Precision", "Budget", "Seconds")
    return _table(names, lines)


def _again(found: RecordSet) -> str:
    revisions = sorted({one.environment["revision"] for one in found.records if "revision" in one.environment})
    said = f"<p>Code: {escape(', '.join(revisions))}.</p>" if revisions else ""
    commands = (
        "seamo-bench verify results/KEY.json      # key, hash of the predictions, scores recomputed\n"
        "seamo-bench table  results --md          # this leaderboard from the stored predictions, no GPU\n"
        "seamo-bench report results -o report.html\n"
        "seamo-bench run    SUITE --stores ROOT --results results   # runs what is not there yet\n"
    )
    return f"{said}<pre><code>{escape(commands)}</code></pre>"
