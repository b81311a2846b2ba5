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
    as_json: Json = False,
) -> None:
    """The leaderboard of a folder of records."""
    if md + latex + csv + as_json > 1:
        raise UsageError("choose one of --md, --latex, --csv and --json")
    if compute:
        if latex or csv:
            raise UsageError("--compute is written as Markdown or --json")
        _compute(results, as_json=as_json)
        return
    from seamo_bench.board.leaderboard import build_table
    from seamo_bench.board.tables import to_csv, to_latex, to_markdown, to_objects, to_text

    made = build_table(records_for_tables(results), results, metric_name=metric, mixed=mixed)
    if as_json:
        show(to_objects(made), json=True)
        return
    write = to_markdown if md else to_latex if latex else to_csv if csv else to_text
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
