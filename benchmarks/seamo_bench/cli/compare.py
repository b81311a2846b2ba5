"""`seamo-bench compare`."""

from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import show
from seamo_bench.cli.arguments import ResultsArgument


def compare(
    results: ResultsArgument,
    a: str,
    b: str,
    metric: Annotated[str, typer.Option(help="One metric for all columns that have it.")] = "",
    as_json: Json = False,
) -> None:
    """Backbone (or group) A minus B, paired, wherever both have a score."""
    from seamo_bench.board.compare import compare as pairs
    from seamo_bench.board.tables import p_text
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.records.record import read_records

    with results_on_disk(results) as folder:
        found = list(pairs(read_records(folder).records, folder, a, b, metric=metric))
    rows = [
        {
            "id": pair.column.id,
            "metric": pair.metric,
            "a": pair.a,
            "b": pair.b,
            "difference": pair.difference.interval.value,
            "low": pair.difference.interval.low,
            "high": pair.difference.interval.high,
            "p": pair.difference.p if as_json else p_text(pair.difference.p),
            "method": pair.difference.interval.method,
            "test": pair.difference.test,
        }
        for pair in found
    ]
    show(rows, json=as_json)
