"""The leaderboard as text: terminal, Markdown, LaTeX, CSV and JSON."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from typing import Any, Protocol

import pandas as pd

from seamo.escapes import csv_text, latex, markdown, printable
from seamo_bench.board.compare import Column
from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head, Table
from seamo_bench.records.reasons import Because, grouped
from seamo_bench.records.record import Flag
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metric import SHARE
from seamo_bench.scores.metrics import PER_BATCH, metric

_MANY = 12  # lines of reasons
LEGEND = (
    "Values with 95 % intervals. * best of the column among rows fed alike, or not worse than it beyond chance (paired "
    "test)."
)


def number(name: str, value: float | None) -> str:
    """A score as tables print it: shares in percent with two digits, others with four.

    Args:
        name: Id of the metric; `share` for what is none (an aggregate, the value of one class).
        value: The score.
    """
    if value is None or value != value:
        return "undefined"
    text = f"{100 * value:.2f}" if is_share(name) else f"{value:.4f}"
    return text if float(text) else text.removeprefix("-")  # of rounding there is no side


def signed(name: str, value: float) -> str:
    """How much something moves a score, with its sign, as `number` prints scores."""
    text = f"{100 * value:+.2f}" if is_share(name) else f"{value:+.4f}"
    return text if float(text) else text.replace("-", "+")  # of rounding there is no side


def is_share(name: str) -> bool:
    """Whether values of a metric are printed in percent."""
    return name == SHARE or name.startswith(PER_BATCH) or metric(name).unit == SHARE


class WithEnds(Protocol):
    """A number and the ends of its interval, None where there are none: an `Interval`, or a row of an answer."""

    @property
    def value(self) -> float | None:
        """The number."""

    @property
    def low(self) -> float | None:
        """The lower end."""

    @property
    def high(self) -> float | None:
        """The upper end."""


def interval_text(name: str, one: WithEnds) -> str:
    """`93.10 [92.00, 94.05]`."""
    if one.low is None or one.high is None:
        return f"{number(name, one.value)} [no interval]"
    return f"{number(name, one.value)} [{number(name, one.low)}, {number(name, one.high)}]"


def p_text(p: float | None) -> str:
    """A p value: three digits, and `< 0.001` rather than a zero that it is not.

    Example:
        >>> p_text(0.0004), p_text(0.25)
        ('< 0.001', '0.250')
    """
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def footnotes(table: Table) -> Mapping[Flag, str]:
    """Every flag of the table with its mark (a, b, ..., z, aa, ...), in order of first appearance."""
    marks: dict[Flag, str] = {}
    for row in table.rows:
        for head in table.heads:
            cell = table.cells.get((row.id, head.column))
            for flag in cell.flags if cell else ():
                marks.setdefault(flag, _letters(len(marks)))
    return marks


def _letters(index: int) -> str:
    first = "" if index < 26 else _letters(index // 26 - 1)
    return first + chr(ord("a") + index % 26)


def cell_text(head: Head, cell: BoardCell | None, marks: Mapping[Flag, str]) -> str:
    """Value, interval, seeds, test samples and marks of one cell; the reason of a blank."""
    if cell is None:
        return "not run"
    if cell.interval is None:
        return f"{cell.status}: {cell.reason}"
    one = cell.interval
    text = interval_text(head.metric, one)
    if cell.best:
        text += " *"
    count = "25 folds" if one.unit == "folds" and one.num_units == 25 else ""
    count = count or (f"{one.num_units} folds" if one.unit == "folds" else _plural(one.num_seeds, "seed"))
    text += f" ({count}, n={cell.num_test:,})"
    text += f" {{{cell.state}}}" if cell.state else ""
    own = ",".join(marks[flag] for flag in cell.flags)
    return f"{text} ({own})" if own else text


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def row_title(row: BoardRow) -> str:
    """Title of a row; floors are marked."""
    return f"{row.title} [floor: {row.floor}]" if row.floor else row.title


def head_title(head: Head) -> str:
    """What stands above a column."""
    synthetic = "SYNTHETIC " if head.synthetic and "synthetic" not in head.dataset.lower() else ""
    return f"{synthetic}{head.dataset}: {head.protocol}; {metric(head.metric).title}"


def _grid(table: Table) -> tuple[list[str], list[list[str]], Mapping[Flag, str]]:
    marks = footnotes(table)
    head = ["Backbone", *(head_title(one) for one in table.heads)]
    body = [
        [row_title(row), *(cell_text(one, table.cells.get((row.id, one.column)), marks) for one in table.heads)]
        for row in table.rows
    ]
    if table.aggregates:
        some = next(iter(table.aggregates.values()))
        head += [f"IQM ({some.iqm.method})", "Mean rank"]
        for row, line in zip(table.rows, body, strict=True):
            one = table.aggregates.get(row.id)
            line += [interval_text(SHARE, one.iqm), rank_text(one.mean_rank)] if one else ["", ""]
    return head, body, marks


def rank_text(one: Interval) -> str:
    """A mean rank with its interval."""
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" if one.low is not None else f"{one.value:.2f}"


def to_text(table: Table, *, blanks: bool = False) -> str:
    """For a terminal: scores first, one block a column (a wide table would wrap), rows aligned; then what to know.

    Args:
        table: The leaderboard.
        blanks: List every cell without a score with its reason; without it they are one note, grouped by reason.
    """
    head, body, marks = _grid(table)
    head, *body = [[printable(one) for one in line] for line in (head, *body)]
    width = max(len(line[0]) for line in body)
    scores: list[str] = []
    rest: list[str] = []
    for index, title in enumerate(head[1:], start=1):
        column = table.heads[index - 1] if index <= len(table.heads) else None
        shown: list[str] = []
        blank: list[str] = []
        for row, line in zip(table.rows, body, strict=True):
            if line[index]:
                known = column is None or _has_score(table.cells.get((row.id, column.column)))
                (shown if known else blank).append(f"  {line[0]:<{width}}  {line[index]}")
        title = f"MIXED {title}" if column is not None and column.notes else title
        scores += [title, *shown, ""] if shown else []
        rest += [title, *blank, ""] if blank else []
    lines = [*scores, *(rest if blanks else []), *map(printable, table.notes)]
    if rest and not blanks:
        lines += map(printable, _blanks(table))
    lines.append(LEGEND)
    lines += [printable(f"({mark}) {flag.kind}: {flag.text}") for flag, mark in marks.items()]
    return "\n".join(lines) + "\n"


def _has_score(cell: BoardCell | None) -> bool:
    return cell is not None and cell.interval is not None


def _blanks(table: Table) -> list[str]:
    """One note on all cells without a score, grouped by reason."""
    cells = [table.cells.get((row.id, head.column)) for row in table.rows for head in table.heads]
    told: dict[str, list[Because]] = {"impossible": [], "failed": []}
    for cell in cells:
        if cell is not None and not _has_score(cell):
            told[cell.status].append(_because(cell))
    lines = [
        f"No score in {sum(not _has_score(cell) for cell in cells):,} of {len(cells):,} cells; --blanks lists each."
    ]
    for status, found in told.items():
        if found:
            reasons = grouped(found)
            if len(reasons) > _MANY:  # bands are named where that is short
                reasons = grouped(replace(one, bands=True) for one in found)
            lines += [f"{status.capitalize()}, {len(found):,}:", *reasons]
    if others := sum(cell is None for cell in cells):
        lines.append(f"Not run, {others:,}.")
    return lines


def _because(cell: BoardCell) -> Because:
    facts, about = cell.records[0].facts, cell.records[0].about
    ids = tuple(store.id for store in facts.stores)
    return Because(cell.reason, facts.backbone.id, "+".join(ids), ids, about.stores)


def to_markdown(table: Table) -> str:
    """A Markdown table with its notes above and footnotes below; text of records is escaped."""
    head, body, marks = _grid(table)
    lines = [f"> {markdown(note)}  " for note in table.notes]
    lines += ["", *_bars([[markdown(one) for one in line] for line in (head, ["---"] * len(head), *body)], head)]
    lines += ["", markdown(LEGEND)]
    lines += [f"- ({mark}) {markdown(flag.kind)}: {markdown(flag.text)}" for flag, mark in marks.items()]
    return "\n".join(lines) + "\n"


def to_html(table: Table) -> str:
    """For a notebook: one table, what to know about it below; every word escaped."""
    head, body, marks = _grid(table)
    lines = [f"<tr>{''.join(f'<th style=text-align:left>{escape(one)}</th>' for one in head)}</tr>"]
    for line in body:
        cells = "".join(f"<td style=text-align:left>{escape(one)}</td>" for one in line)
        lines.append(f"<tr>{cells}</tr>")
    said = [*table.notes, LEGEND, *(f"({mark}) {flag.kind}: {flag.text}" for flag, mark in marks.items())]
    return f"<div><table>{''.join(lines)}</table>{''.join(f'<p>{escape(one)}</p>' for one in said)}</div>"


def _bars(lines: list[list[str]], head: list[str]) -> list[str]:
    lines[1] = ["---"] * len(head)
    return ["| " + " | ".join(line) + " |" for line in lines]


def to_latex(table: Table) -> str:
    """A LaTeX table (booktabs); the notes are its caption, the footnotes stand below."""
    head, body, marks = _grid(table)
    rows = [" & ".join(latex(one) for one in line) + r" \\" for line in (head, *body)]
    foot = [f"({mark}) {latex(flag.kind + ': ' + flag.text)}" + r"\\" for flag, mark in marks.items()]
    parts = [
        r"\begin{table}",
        r"\caption{" + latex(" ".join((*table.notes, LEGEND))) + "}",
        r"\begin{tabular}{l" + "l" * (len(head) - 1) + "}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
        *foot,
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def to_objects(table: Table) -> list[dict[str, Any]]:
    """One plain object a cell, with `id`: what `--json` prints and CSV holds."""
    return _each(table, lambda row, head, cell: _object(row, head, cell, table))


def _each(table: Table, make: Callable[[BoardRow, Head, BoardCell], dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in table.rows:
        for head in table.heads:
            cell = table.cells.get((row.id, head.column))
            if cell is not None:
                found.append(make(row, head, cell))
    return found


def _object(row: BoardRow, head: Head, cell: BoardCell, table: Table) -> dict[str, Any]:
    column: Column = head.column
    one = cell.interval
    stores = cell.records[0].facts.stores
    undefined = one is None or one.value != one.value
    return {
        "id": f"{row.id}/{column.id}",
        "backbone": row.id,
        "title": row.title,
        "floor": row.floor,
        "way": row.way,
        "dataset": column.dataset,
        "dataset_title": head.dataset,
        "protocol": column.protocol,
        "params": column.params,
        "split": column.scheme,
        "fraction": column.fraction,
        "budget": column.budget,
        "synthetic": head.synthetic,
        "subset": any(store.subset for store in stores),
        "mixed": bool(head.notes),
        "metric": head.metric,
        "status": cell.status,
        "reason": cell.reason,
        "state": cell.state,
        "value": None if one is None or undefined else one.value,
        "low": one.low if one else None,
        "high": one.high if one else None,
        "level": one.level if one else None,
        "interval_method": one.method if one else "",
        "interval_note": one.note if one else "",
        "spread": one.spread if one else None,
        "unit": one.unit if one else "",
        "num_units": one.num_units if one else 0,
        "num_seeds": one.num_seeds if one else 0,
        "num_test": cell.num_test,
        "best": cell.best,
        "p_worse": cell.p_worse,
        "flags": [f"{flag.kind}: {flag.text}" for flag in cell.flags],
        "records": [record.key for record in cell.records],
        "notes": list(table.notes),
    }


def _csv_cell(value: Any) -> Any:
    text = "; ".join(value) if isinstance(value, list) else value
    return csv_text(text) if isinstance(text, str) else text


def to_csv(table: Table) -> str:
    """One line a cell, all fields of `to_objects`; lists are joined by `; `."""
    plain = [{name: _csv_cell(value) for name, value in line.items()} for line in to_objects(table)]
    buffer = io.StringIO()
    pd.DataFrame(plain).to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()
