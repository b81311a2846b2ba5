"""`seamo-prep stats`."""

from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import remark, show
from seamo_prep.cli.arguments import StorePath


def stats(
    store: StorePath,
    *,
    compare: Annotated[str, typer.Option(metavar="PUBLISHED", help="Published statistics of the manifest.")] = "",
    json: Json = False,
) -> None:
    """Show per-band mean, standard deviation and percentiles of the valid pixels."""
    from seamo.store.reader import open_store
    from seamo_prep.verify import statistics_rows

    opened = open_store(store)
    rows = statistics_rows(opened, compare)
    if compare:
        remark(f"compared with {opened.spec.statistics[compare].source}")
    show(rows, json=json, title=opened.title)
