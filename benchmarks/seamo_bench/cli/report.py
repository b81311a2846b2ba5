"""`seamo-bench report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo.addresses import address_of
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import remark, show
from seamo_bench.cli.arguments import Mixed, ResultsArgument
from seamo_bench.cli.judged import records_for_tables


def report(
    results: ResultsArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file.")],
    *,
    figures: Annotated[Path | None, typer.Option(help="Folder of PNG files to put into the page.")] = None,
    mixed: Mixed = False,
    as_json: Json = False,
) -> None:
    """One HTML page that needs no network."""
    progress = Progress(sys.stderr, title="report", keep=False)

    from seamo_bench.board.report import write_report
    from seamo_bench.questions.expectations import judged_board
    from seamo_bench.records.fetched import results_on_disk

    with results_on_disk(results) as folder:
        found = records_for_tables(folder)
        write_report(
            folder,
            output,
            found=found,
            given=address_of(results),
            mixed=mixed,
            figures=figures,
            progress=progress.report,
            judge=judged_board,
        )
    progress.close()
    if not found.records:
        remark(f"{address_of(results)}: there is no record, and the page says so. Run a suite first.")
    show([{"id": output.name, "file": str(output)}], json=as_json, text=lambda: str(output))
