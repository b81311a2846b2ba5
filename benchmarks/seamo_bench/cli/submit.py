"""`seamo-bench submit`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, say, show
from seamo_bench.cli.arguments import ResultsArgument


def submit(
    results: ResultsArgument,
    destination: Annotated[Path, typer.Argument(help="Folder, for example in a checkout of a results repository.")],
    as_json: Json = False,
) -> None:
    """Copy records with predictions to DEST: key, hash and scores are checked first, nothing there is replaced."""
    from seamo_bench.records.submit import submit as copy

    rows = [{"id": sent.key, "outcome": sent.outcome, "reason": sent.reason} for sent in copy(results, destination)]
    refused = [row for row in rows if row["outcome"] == "refused"]
    if as_json:
        show(rows, json=True)
    else:
        count = {kind: sum(row["outcome"] == kind for row in rows) for kind in ("copied", "there already", "refused")}
        say(", ".join(f"{number} {kind}" for kind, number in count.items()))
        for row in refused:
            say(f"refused {row['id']}: {row['reason']}")
    if refused:
        raise typer.Exit(FAILED)
