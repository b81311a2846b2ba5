"""`seamo-prep verify`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import FAILED, remark, show
from seamo_prep.cli.arguments import StorePath

if TYPE_CHECKING:
    from seamo.store.check import Spread


def verify(
    store: StorePath,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every sample; recompute content and statistics.")
    ] = False,
    leaks: Annotated[bool, typer.Option("--leaks", help="Look for places and images shared by splits.")] = False,
    scheduler: Annotated[str, typer.Option(help="Address or file of a dask scheduler whose workers do it.")] = "",
    json: Json = False,
) -> None:
    """Check a store: files, counts, band physics, classes, splits. Fails on any error found."""
    from seamo.store.reader import open_store
    from seamo_prep.verify import verify as check

    opened = open_store(store)
    remark(f"{opened.title}, split scheme {opened.meta.split_scheme}")
    with _spread(scheduler) as spread:
        rows = [
            {"id": finding.check, "severity": finding.severity, "where": finding.where, "what": finding.what}
            for finding in check(opened, deep=deep, leaks=leaks, say=remark, spread=spread)
        ]
    show(rows, json=json, title=opened.title)
    errors = sum(row["severity"] == "error" for row in rows)
    if errors:
        remark(f"{errors} error{'s' if errors > 1 else ''}")
        raise typer.Exit(FAILED)
    remark("no errors")


@contextmanager
def _spread(scheduler: str) -> "Iterator[Spread]":
    from seamo.store.check import here

    if not scheduler:
        yield here
        return
    from seamo.cluster import connected
    from seamo.store.workers import KEPT, checking

    progress = Progress(sys.stderr)
    with connected(scheduler, kept=KEPT, say=remark) as client:
        yield checking(client, scheduler, progress.report)
    progress.close()
