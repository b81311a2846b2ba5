"""`seamo-prep latest`."""

from typing import Annotated

import typer

from seamo.errors import StoreError, UsageError
from seamo.options import Json
from seamo.terminal import show


def latest(
    root: Annotated[str, typer.Argument(help="Folder of stores, or its address.")],
    name: Annotated[str, typer.Argument(metavar="ID[/BUILD]", help="A store's whole name; ID alone: say which it is.")],
    *,
    unset: Annotated[bool, typer.Option("--unset", help="With ID: none is meant any more.")] = False,
    json: Json = False,
) -> None:
    """Say which of several stores is meant where a data set's folder alone is named (ROOT/ID)."""
    from seamo.store.roots import latest_of, name_latest

    dataset, _, build = name.partition("/")
    if build and unset:
        raise UsageError("--unset is of a data set, not of one of its stores", name, f"Name {dataset}.")
    if build or unset:
        name_latest(root, name)
    else:
        build = latest_of(f"{root}/{dataset}")
        if not build:
            raise StoreError("names no latest store of it", name, f"Name one: seamo-prep latest {root} {name}/BUILD.")
    show([{"id": dataset, "build": build}], json=json, text=lambda: f"{dataset}/{build}" if build else dataset)
