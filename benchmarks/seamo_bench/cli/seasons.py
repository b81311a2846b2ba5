"""`seamo-bench seasons`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.errors import UsageError
from seamo.escapes import printable
from seamo.options import Json
from seamo.terminal import names, remark, show
from seamo_bench.cli.arguments import WEIGHTS, Device, Stores, Threads, Weights, chosen_device

if TYPE_CHECKING:
    from seamo_bench.board.seasons import SeasonRow


def seasons(
    results: Annotated[Path, typer.Argument(help="Folder of records, on this disk.")],
    *,
    stores: Stores = Path("stores"),
    column: Annotated[str, typer.Option("--column", help="Only columns whose id begins so; default: all.")] = "",
    backbones: Annotated[str, typer.Option("--backbones", help="Where the records' own runs are: RUN,...")] = "",
    weights: Weights = WEIGHTS,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")] = 64,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """What the season does to each score: by season, classes that flip between dates of a place, and features.

    Each row of RESULTS gets its score by season, the share of a prediction that differs between two days of one place,
    and how well the season is read off its frozen features and a place is found again by them, all with 95 %
    intervals. Trained heads are applied to dates that the run did not look at. The answer is kept in RESULTS, and
    `seamo-bench report` shows it.
    """
    from seamo_bench.records.answers import answering_folder, write_answer
    from seamo_bench.records.reasons import Because, grouped
    from seamo_bench.records.record import read_records
    from seamo_bench.runs.threads import limit_threads
    from seamo_bench.tasks.stores import check_root

    folder = answering_folder(results)
    found = read_records(folder)
    check_root(stores)
    limit_threads(threads)
    from seamo_bench.board.compare import column_of
    from seamo_bench.cli.cells import Cells
    from seamo_bench.questions.seasons import SeasonSources, seasons_of
    from seamo_bench.why.sides import names_by_id

    wanted = [one for one in found.records if column_of(one).id.startswith(column)]
    if not any(one.status == "ok" for one in wanted):
        raise UsageError("no record with a score", column or str(results), "Run a suite first.")
    progress = Cells()
    runs = dict(names_by_id(names(backbones)))
    sources = SeasonSources(stores, weights, runs, chosen_device(device), batch_size, progress.inner)
    rows: list[SeasonRow] = []
    not_asked: list[Because] = []
    for answer, left in seasons_of(wanted, folder, sources):
        not_asked += [Because(one.why, one.row, one.column) for one in left]
        if answer is not None:
            write_answer(folder, answer)
            rows += answer.rows
    progress.end()
    for line in ["not asked:", *grouped(not_asked, most=20)] if not_asked else []:
        remark(line)
    show([_object(row) for row in rows], json=as_json, text=lambda: _text(rows))


def _object(row: "SeasonRow") -> dict[str, Any]:
    return {"id": f"{row.row} | {row.column}", **row.model_dump(mode="json")}


def _text(rows: "list[SeasonRow]") -> str:
    from seamo_bench.board.seasons import asked_lines

    blocks = []
    for row in rows:
        lines = asked_lines(row)
        width = max(len(title) for title, _ in lines)
        told = "\n".join(f"  {title.ljust(width)}  {text}" for title, text in lines)
        dates = "one date" if row.dates < 2 else f"up to {row.dates} dates"
        blocks.append(f"{row.row} | {row.column}\n  {row.places:,} places, {dates} a place ({row.form})\n{told}")
    return printable("\n\n".join(blocks), lines=True) or "no row has dates"
