"""`seamo-bench submit`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, names, say, show
from seamo_bench.cli.against import HeldAgainst, held_against
from seamo_bench.cli.arguments import ResultsArgument, Submitter, checked_submitter


def submit(
    results: ResultsArgument,
    destination: Annotated[Path, typer.Argument(help="A results repository: a checkout, a folder, an address.")],
    *,
    stores: HeldAgainst = None,
    submitter: Submitter = "",
    backbones: Annotated[
        str, typer.Option("--backbones", help="Runs of your own, comma-separated: cards go along.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Hand records in, with predictions, cards and protocols: each is verified first, nothing there is replaced."""
    from seamo_bench.records.examine import NOT_HELD
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.records.submit import submit as copy
    from seamo_bench.runs.papers import own_cards, papers_of

    own = own_cards(names(backbones))
    with results_on_disk(results) as folder:
        sent = copy(
            folder,
            destination,
            held_against(stores),
            papers=lambda record: papers_of(record, own),
            submitter=checked_submitter(submitter),
        )
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
