"""`seamo-prep ls`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import show


def list_stores(root: Annotated[Path, typer.Argument(help="Folder of stores.")], *, json: Json = False) -> None:
    """Show the stores under a root."""
    from seamo.store.catalog import list_stores as entries

    rows = [
        {
            "id": entry.id,
            "build": entry.build,
            "state": entry.state,
            "title": entry.title or entry.problem,
            "samples": entry.meta.counts.samples if entry.meta else None,
            "layout": entry.meta.layout if entry.meta else "",
            "splits": entry.meta.split_scheme if entry.meta else "",
            "content": entry.meta.content[:12] if entry.meta else "",
            "licence": entry.meta.spec.licence if entry.meta else "",
            "redistribution": entry.meta.spec.redistribution if entry.meta else "",
            "created": entry.created,
            "path": str(entry.path),
        }
        for entry in entries(root)
    ]
    show(rows, json=json)
