"""`seamo-prep public`."""

from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import show


def public(
    root: Annotated[str, typer.Argument(help="Folder of stores, or its address.")],
    *,
    change: Annotated[bool | None, typer.Option("--yes/--no", help="Say whether it is; without it, ask.")] = None,
    json: Json = False,
) -> None:
    """Say whether everybody can read a root: then it takes only data that may be redistributed."""
    from seamo.store.roots import mark_public, read_catalogue

    if change is not None:
        mark_public(root, public=change)
    found = read_catalogue(root)
    is_public = found is not None and found.public
    show([{"id": root, "public": is_public}], json=json, text=lambda: "public" if is_public else "not public")
