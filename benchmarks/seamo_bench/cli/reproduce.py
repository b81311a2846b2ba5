"""`seamo-bench reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import say, show
from seamo_bench.cli.arguments import WEIGHTS, ResultsArgument


def reproduce(
    results: ResultsArgument,
    *,
    table: Annotated[str, typer.Option("--table", help="1 to 9, or elsewhere; all without.")] = "",
    backbone: Annotated[str, typer.Option("--backbone", help="Row of ours that is SeaMo; else the closest run.")] = "",
    stores: Annotated[
        Path | None, typer.Option("--stores", help="Folder of stores: what is there is not missing.")
    ] = None,
    weights: Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files, likewise.")] = WEIGHTS,
    csv: Annotated[bool, typer.Option("--csv", help="One line a published value.")] = False,
    as_json: Json = False,
) -> None:
    """Every row of the paper's Tables 1-9, and what others published, beside ours: differences, and a verdict.

    Rows of the paper say what is missing to run them for real, and how many GPU hours that takes by our estimate.
    """
    from seamo_bench.paper import reproduce as reproducing
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.records.record import read_records

    name = f"T{table}" if table.isdecimal() else table
    with results_on_disk(results) as folder:
        rows = reproducing.reproduce(
            read_records(folder).records, folder, table=name, backbone=backbone, stores=stores, weights=weights
        )
    if as_json:
        show(reproducing.to_objects(rows), json=True)
    else:
        say((reproducing.to_csv(rows) if csv else reproducing.to_markdown(rows)).removesuffix("\n"))
