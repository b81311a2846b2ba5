"""The headline: what a reader must know first, in plain sentences made from the leaderboard alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head, Table
from seamo_bench.board.report.columns import TASKS, best_first, has_score, is_leader, is_scored, kinds, natively_fed
from seamo_bench.board.report.words import plural
from seamo_bench.board.tables import interval_text
from seamo_bench.records.layout import record_paths
from seamo_bench.records.record import ONE_CLASS, Record
from seamo_bench.scores.metrics import metric

FEW_COLUMNS = 4  # up to which the headline has a sentence a column; beyond, one a task
_NAMES = 4  # of rows that are named; the rest is counted


def opening(made: Table, records: Sequence[Record]) -> str:
    """How much there is."""
    if not records:
        return "There is no record here yet."
    rows = [row for row in made.rows if has_score(made, row)]
    floors = sum(bool(row.floor) for row in rows)
    heads = [head for head in made.heads if is_scored(made, head)]
    sets = len({head.column.dataset for head in heads})
    runs = sum(record.status == "ok" for record in records)
    if not runs:
        return f"No run has a score: {plural(len(records), 'cell')} could not be run, each with its reason."
    blanks = sum(cell.interval is None for cell in made.cells.values())
    floor = plural(floors, "floor") if floors else "no floor"
    models = plural(len(rows) - floors, "model") if floors < len(rows) else "No model"
    said = f"{models} and {floor} on {plural(sets, 'data set')} in "
    said += f"{plural(len(heads), 'column')} (data set, protocol, share of labels); {plural(runs, 'run')} scored"
    return said + (f", {plural(blanks, 'cell')} without a score." if blanks else ".")


def newest(results: Path) -> str:
    """The day (UTC) of the newest record's file; empty without one."""
    times = [path.stat().st_mtime for path in record_paths(results)]
    if not times:
        return ""
    day = datetime.fromtimestamp(max(times), UTC)
    return f"{day.day} {day:%B %Y}"


def findings(made: Table) -> list[str]:
    """What leads where, what is not told apart from it, and where floors stand."""
    heads = [head for head in made.heads if is_scored(made, head)]
    if len(heads) <= FEW_COLUMNS:
        return [_of_column(made, head) for head in heads]
    task_of = kinds(made)
    by_task: dict[str, list[Head]] = {}
    for head in heads:
        by_task.setdefault(task_of[head.column], []).append(head)
    said = [_of_task(made, TASKS.get(kind, kind), mine) for kind, mine in by_task.items()]
    return [*said, *_of_floors(made, heads)]


def _of_column(made: Table, head: Head) -> str:
    scored = best_first(made, head)
    title = f"{head.dataset}, {head.column.protocol}"
    if head.column.fraction != 1:
        title += f", {100 * head.column.fraction:g} % of labels"
    limits = ((head.synthetic, "synthetic"), (head.column.budget == "demo", "demo budget"))
    said_already = head.dataset.lower()
    words = [word for holds, word in limits if holds and word not in said_already]
    title += f" ({', '.join(words)})" if words else ""
    if any(ONE_CLASS in cell.flags for cell in scored.values()):
        return f"{title}: the test split holds one class, so no row is better than another."
    otherwise = _fed_otherwise(scored)
    apart = f"; ranked apart: {otherwise}" if otherwise else ""
    scored = natively_fed(scored)
    found = _leader(scored)
    if found is None:
        return f"{title}: no score is defined{apart}."
    leader, cell = found
    others = [row for row, one in scored.items() if one.best and row != leader]
    value = interval_text(head.metric, cell.interval) if cell.interval else ""
    said = f"{title}: {_name(leader)} leads with {value} ({metric(head.metric).title})"
    if len(scored) == 1:
        return f"{said}; nothing else{' that is fed natively' if apart else ''} has a score{apart}."
    if head.notes:
        return f"{said}; its records are mixed, so that nothing is compared."
    if others:
        return f"{said}; not told apart from it: {_listed(others)}{apart}."
    return f"{said}; all others are worse beyond chance{apart}."


def _fed_otherwise(rows: Iterable[BoardRow]) -> str:
    """How many rows were not fed natively, by way; empty if all were."""
    ways = Counter(row.way for row in rows if row.way != "native")
    return ", ".join(f"{count} by {way}" for way, count in sorted(ways.items()))


def _of_task(made: Table, task: str, heads: Sequence[Head]) -> str:
    leads: Counter[BoardRow] = Counter()
    contested = alone = 0
    for head in heads:
        scored = natively_fed(best_first(made, head))
        found = _leader(scored)
        if found is not None:
            leads[found[0]] += 1
            contested += len(scored) > 1
            alone += len(scored) > 1 and sum(cell.best for cell in scored.values()) == 1
    otherwise = _fed_otherwise(row for head in heads for row in best_first(made, head))
    told_apart = f" Fed otherwise and ranked apart, scores: {otherwise}." if otherwise else ""
    row_word = "natively fed row" if otherwise else "row"
    title = f"{task}, {plural(len(heads), 'column')}"
    if all(head.synthetic for head in heads):
        title += " (synthetic)"
    if not leads:
        return f"{title}: no column has a leader{' that was fed natively' if otherwise else ''}.{told_apart}"
    ranked = sorted(leads.items(), key=lambda item: (-item[1], item[0].title))
    said = ", ".join(f"{_name(row)} in {count}" for row, count in ranked[:_NAMES])
    more = f", {len(ranked) - _NAMES} more rows in {sum(n for _, n in ranked[_NAMES:])}" if len(ranked) > _NAMES else ""
    single = leads.total() - contested
    if not contested:
        where = "each" if single == len(heads) else str(single)
        return f"{title}: a single {row_word} has a score in {where}, {said}{more}; nothing is compared.{told_apart}"
    columns = plural(contested, "column")
    apart = f"In {alone} of {columns} with several {row_word}s the leader is told apart from all others."
    lone = f" In {single} a single {row_word} has a score." if single else ""
    return f"{title}: led by {said}{more}. {apart}{lone}{told_apart}"


def _of_floors(made: Table, heads: Sequence[Head]) -> list[str]:
    rows = [row for row in made.rows if has_score(made, row)]
    if all(row.floor for row in rows) or not any(row.floor for row in rows):
        return []
    natively = [natively_fed(best_first(made, head)) for head in heads]
    near = sum(any(cell.best and row.floor for row, cell in scored.items()) for scored in natively)
    if not near:
        return [f"No floor is best, or not told apart from the best, in any of {len(heads)} columns."]
    return [f"In {near} of {len(heads)} columns a floor is best, or not told apart from the best."]


def _leader(scored: dict[BoardRow, BoardCell]) -> tuple[BoardRow, BoardCell] | None:
    return next(((row, cell) for row, cell in scored.items() if is_leader(cell)), None)


def _name(row: BoardRow) -> str:
    return f"{row.title} (a floor: {row.floor})" if row.floor else row.title


def _listed(rows: Iterable[BoardRow]) -> str:
    names = [_name(row) for row in rows]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
