"""`seamo-bench submit`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, say, show
from seamo_bench.cli.against import HeldAgainst, held_against
from seamo_bench.cli.arguments import ResultsArgument


def submit(
    results: ResultsArgument,
    destination: Annotated[Path, typer.Argument(help="Folder, for example in a checkout of a results repository.")],
    stores: HeldAgainst = None,
    as_json: Json = False,
) -> None:
    """Copy records with predictions to DEST: each is verified first, nothing there is replaced."""
    from seamo_bench.records.examine import NOT_HELD
    from seamo_bench.records.submit import submit as copy

    sent = copy(results, destination, held_against(stores))
    rows = [{"id": one.key, "outcome": one.outcome, "reason": one.reason} for one in sent]
    refused = [row for row in rows if row["outcome"] == "refused"]
    if as_json:
        show(rows, json=True)
    else:
        count = {kind: sum(row["outcome"] == kind for row in rows) for kind in ("copied", "there already", "refused")}
        say(", ".join(f"{number} {kind}" for kind, number in count.items()))
        for row in rows:
            if row["reason"]:
                say(f"{row['outcome']} {row['id']}: {row['reason']}")
        if stores is None:
            say(f"The records were {NOT_HELD}.")
    if refused:
        raise typer.Exit(FAILED)
