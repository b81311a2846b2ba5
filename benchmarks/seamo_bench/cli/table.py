"""`seamo-bench table`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.errors import UsageError
from seamo.options import Json
from seamo.terminal import say, show
from seamo_bench.cli.arguments import Mixed, ResultsArgument
from seamo_bench.cli.judged import records_for_tables


def table(
    results: ResultsArgument,
    *,
    md: Annotated[bool, typer.Option("--md", help="Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="LaTeX.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One line a cell.")] = False,
    metric: Annotated[str, typer.Option(help="One metric for all columns that have it.")] = "",
    mixed: Mixed = False,
    compute: Annotated[bool, typer.Option("--compute", help="Device hours (Table 15), and images a second.")] = False,
    blanks: Annotated[bool, typer.Option("--blanks", help="List every cell without a score, and why.")] = False,
    as_json: Json = False,
) -> None:
    """The leaderboard of a folder of records."""
    if md + latex + csv + as_json > 1:
        raise UsageError("choose one of --md, --latex, --csv and --json")
    if blanks and (md or latex or csv or as_json or compute):
        raise UsageError("--blanks is for the table of a terminal; the others hold every cell")
    if compute and (latex or csv):
        raise UsageError("--compute is written as Markdown or --json")
    from seamo_bench.records.fetched import results_on_disk

    with results_on_disk(results) as folder:
        if compute:
            _compute(folder, as_json=as_json)
        else:
            kind = "md" if md else "latex" if latex else "csv" if csv else "json" if as_json else "text"
            _show(folder, metric, mixed=mixed, kind=kind, blanks=blanks)


def _show(results: Path, metric: str, *, mixed: bool, kind: str, blanks: bool) -> None:
    from seamo_bench.board.leaderboard import build_table
    from seamo_bench.board.tables import to_csv, to_latex, to_markdown, to_objects, to_text

    made = build_table(records_for_tables(results), results, metric_name=metric, mixed=mixed)
    if kind == "json":
        show(to_objects(made), json=True)
    elif kind == "text":
        say(to_text(made, blanks=blanks).removesuffix("\n"))
    else:
        write = {"md": to_markdown, "latex": to_latex, "csv": to_csv}[kind]
        say(write(made).removesuffix("\n"))


def _compute(results: Path, *, as_json: bool) -> None:
    from seamo_bench.paper.compute import compute_table, network_table, to_markdown, to_objects
    from seamo_bench.records.record import read_records

    records = read_records(results).records
    rows, networks = compute_table(records, results), network_table(records)
    if as_json:
        show(to_objects(rows, networks), json=True)
    else:
        say(to_markdown(rows, networks).removesuffix("\n"))
