"""`seamo-prep verify`."""

from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, remark, show
from seamo_prep.cli.arguments import StorePath


def verify(
    store: StorePath,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every sample; recompute content and statistics.")
    ] = False,
    leaks: Annotated[bool, typer.Option("--leaks", help="Look for places and images shared by splits.")] = False,
    json: Json = False,
) -> None:
    """Check a store: files, counts, band physics, classes, splits. Fails on any error found."""
    from seamo.store.reader import open_store
    from seamo_prep.verify import verify as check

    opened = open_store(store)
    remark(f"{opened.title}, split scheme {opened.meta.split_scheme}")
    rows = [
        {"id": finding.check, "severity": finding.severity, "where": finding.where, "what": finding.what}
        for finding in check(opened, deep=deep, leaks=leaks, say=remark)
    ]
    show(rows, json=json, title=opened.title)
    errors = sum(row["severity"] == "error" for row in rows)
    if errors:
        remark(f"{errors} error{'s' if errors > 1 else ''}")
        raise typer.Exit(FAILED)
    remark("no errors")
