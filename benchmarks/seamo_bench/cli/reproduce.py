"""`seamo-bench reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, say, show
from seamo_bench.cli.arguments import WEIGHTS, ResultsArgument


def reproduce(
    results: ResultsArgument,
    *,
    table: Annotated[str, typer.Option("--table", help="1 to 9, elsewhere, or calibrate; all without.")] = "",
    backbone: Annotated[str, typer.Option("--backbone", help="Row of ours that is SeaMo; else the closest run.")] = "",
    stores: Annotated[
        Path | None, typer.Option("--stores", help="Folder of stores: what is there is not missing.")
    ] = None,
    weights: Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files, likewise.")] = WEIGHTS,
    csv: Annotated[bool, typer.Option("--csv", help="One line a published value.")] = False,
    as_json: Json = False,
) -> None:
    """Every row of the paper's Tables 1-9, and what others published, beside ours: differences, and a verdict.

    `--table calibrate` holds this installation against published cells: agrees, disagrees, or not comparable. Rows of
    the paper say what is missing to run them for real, and how many GPU hours that takes by our estimate.
    """
    from seamo_bench.paper import reproduce as reproducing
    from seamo_bench.paper.calibrate import CALIBRATE, calibrate
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.records.record import read_records

    name = f"T{table}" if table.isdecimal() else table
    with results_on_disk(results) as folder:
        records = read_records(folder).records
        rows: list[reproducing.Reproduced] = []
        if name != CALIBRATE:
            rows += reproducing.reproduce(
                records, folder, table=name, backbone=backbone, stores=stores, weights=weights
            )
        if name in ("", CALIBRATE):
            rows += [row for row in calibrate(records, folder) if name or row.ours is not None]
    if as_json:
        show(reproducing.to_objects(rows), json=True)
    else:
        say((reproducing.to_csv(rows) if csv else reproducing.to_markdown(rows)).removesuffix("\n"))
    if any(row.verdict == "disagrees" for row in rows):
        raise typer.Exit(FAILED)
