"""Where each number comes from: the cells' records."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.compare import by_seed
from seamo_bench.board.leaderboard import BoardCell, BoardRow, Head
from seamo_bench.board.report.columns import chips, undefined_reason
from seamo_bench.board.report.contracts import contract_numbers
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import head_title, interval_text, number
from seamo_bench.records.record import Record


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """For each column what its records share, and for each cell its own: what the drawer shows."""
    made, fed = page.made, contract_numbers(page.found.records)
    parts = []
    for head in heads:
        cells = [(row, made.cells[row.id, head.column]) for row in made.rows if (row.id, head.column) in made.cells]
        done = (record for _, cell in cells for record in cell.records if record.status == "ok")
        some = next(done, cells[0][1].records[0])
        parts.append(
            {
                "head": head,
                "chips": chips(made, head),
                "shared": _shared(some),
                "links": page.links.of_stores(store.id for store in some.facts.stores),
                "cells": [_origin(page, row, head, cell, fed) for row, cell in cells],
            }
        )
    return {"parts": parts}


def _shared(record: Record) -> list[tuple[str, str]]:
    facts = record.facts
    lists = ", ".join(f"{name} {value[:12]}" for name, value in facts.split.lists.items())
    params = ", ".join(f"{name}={value}" for name, value in facts.protocol.params.items())
    return [
        ("Stores", "; ".join(f"{store.id} {store.content[:12] or 'not there'}" for store in facts.stores)),
        ("Split", f"{facts.split.scheme}, {100 * facts.split.fraction:g} % of labels; lists {lists or 'none'}"),
        ("Protocol", f"{facts.protocol.id} version {facts.protocol.version}" + (f": {params}" if params else "")),
        ("Precision, budget", f"{facts.precision}, {facts.budget}"),
    ]


def _origin(page: Page, row: BoardRow, head: Head, cell: BoardCell, fed: Mapping[str, int]) -> dict[str, object]:
    records = by_seed(cell.records)
    first = next((record for record in records if record.status == "ok"), records[0])
    rows = [("Column", head_title(head))]
    if cell.interval is None:
        rows.append(("No score", f"{cell.status}: {cell.reason}"))
    else:
        interval = cell.interval
        why = undefined_reason(cell)
        rows.append(("Score", f"undefined: {why}" if why else interval_text(head.metric, interval)))
        rows.append(("Interval", "; ".join(part for part in (interval.method, interval.note) if part)))
    rows.append(("Weights", first.facts.backbone.weights or "none"))
    rows.append(("Card", first.facts.backbone.card))
    rows += [(f"Flag: {flag.kind}", flag.text) for flag in cell.flags]
    return {
        "row": row,
        "facts": rows,
        "links": page.links.of_backbone(first.facts.backbone.id),
        "contract": fed.get(first.key),
        "runs": [_run(record, head) for record in records],
        "commands": page.commands.verify(records),
    }


def _run(record: Record, head: Head) -> dict[str, str]:
    chosen = [(name, _chosen(head, name, value)) for name, value in record.about.chosen.items()]
    cost = record.cost
    return {
        "key": record.key,
        "seed": str(record.facts.seed),
        "score": number(head.metric, record.scores.get(head.metric)) if record.status == "ok" else record.status,
        "chosen": ", ".join(f"{name} {value}" for name, value in chosen),
        "seconds": "" if cost.seconds is None else f"{cost.seconds:.1f}",
        "speed": "" if cost.samples_per_second is None else f"{cost.samples_per_second:,.1f}",
        "predictions": record.predictions.sha256[:12] if record.predictions else "",
    }


def _chosen(head: Head, name: str, value: object) -> str:
    """The score on validation in the unit of the score beside it; settings as they are."""
    return number(head.metric, value) if name == "validation" and isinstance(value, float) else str(value)


TAB = Tab(id="origins", name="Origins", title="Where each number comes from", order=110, view=view)
