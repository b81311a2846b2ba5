"""`seamo-prep copy`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import show


def copy(
    source: Annotated[Path, typer.Argument(metavar="STORE", help="The store, of this format or the one before.")],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder of stores; id and build are kept.")],
    *,
    layout: Annotated[Literal["zarr", "webdataset"] | None, typer.Option(help="Layout of the copy.")] = None,
    json: Json = False,
) -> None:
    """Copy a store with its views, every byte checked; goes on where it was interrupted."""
    from seamo.store.copy import copy_store

    progress = Progress(sys.stderr, "bytes", title="copy")
    path = copy_store(source, root, layout=layout, progress=lambda done, total: progress.report(done, total, "copied"))
    progress.close()
    show([{"id": path.name, "path": str(path)}], json=json, text=lambda: str(path))
