"""`seamo-bench referee`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.addresses import address_of
from seamo.errors import UsageError
from seamo.escapes import printable
from seamo.options import Json
from seamo.terminal import FAILED, show
from seamo_bench.cli.against import HeldAgainst, held_against
from seamo_bench.cli.arguments import Submitter, checked_submitter


def referee(
    destination: Annotated[Path, typer.Argument(help="A results repository: a checkout, a folder, an address.")],
    *,
    base: Annotated[Path | None, typer.Option("--base", help="Checkout of the branch that a change goes to.")] = None,
    stores: HeldAgainst = None,
    submitter: Submitter = "",
    maintainer: Annotated[
        bool, typer.Option("--maintainer/--contributor", help="Whose change it is: the register may change, too.")
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Write an empty results repository there.")] = False,
    register: Annotated[
        list[Path] | None,
        typer.Option("--register", help="Put a store into its register; several: they are joined by key."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a results repository by its own register, without stores: what its CI runs."""
    who = checked_submitter(submitter)
    if init:
        from seamo_bench.runs.sharing import init_repository

        names = init_repository(destination)
        show(
            [{"id": name} for name in names],
            json=as_json,
            text=lambda: f"{address_of(destination)}: {', '.join(names) or 'nothing to add'}",
        )
        return
    if register:
        _register(destination, register, who, as_json=as_json)
        return
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.runs.repository import judge
    from seamo_bench.runs.verdict import Verdict

    with results_on_disk(destination) as folder:
        verdicts = judge(folder, base=base, held=held_against(stores), maintainer=maintainer, submitter=who)

    def line(one: Verdict) -> str:
        told = "; ".join((*one.problems, *one.remarks))
        return printable(f"{one.state}: {one.name}{f': {told}' if told else ''}")

    rows: list[dict[str, Any]] = [
        {
            "id": one.name,
            "state": one.state,
            "key": one.record.key if one.record else None,
            "problems": list(one.problems),
            "remarks": list(one.remarks),
        }
        for one in verdicts
    ]
    show(rows, json=as_json, text=lambda: "\n".join(map(line, verdicts)) or "no record, and nothing that is wrong")
    if any(one.problems for one in verdicts):
        raise typer.Exit(FAILED)


def _register(destination: Path, stores: list[Path], who: str, *, as_json: bool) -> None:
    if not who:
        raise UsageError("says nobody who vouches for the store", "--register", "Give --as NAME, or set SEAMO_WHO.")
    from seamo_bench.runs.register import entry_name
    from seamo_bench.runs.sharing import register_store

    entry = register_store(destination, stores, who=who)
    name, people = entry_name(entry.content), [one.who for one in entry.rebuilt]
    row = {
        "id": name,
        "stores": [one.id for one in entry.stores],
        "content": entry.content,
        "tests": len(entry.tests),
        "rebuilt": people,
    }
    text = f"{name}: {' + '.join(entry.titles)}, {len(entry.tests)} test lists, by {', '.join(people)}"
    show([row], json=as_json, text=lambda: text)
