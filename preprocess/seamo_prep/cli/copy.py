"""`seamo-prep copy`."""

import sys
from typing import Annotated, Literal

import typer

from seamo.addresses import last_name
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import show


def copy(
    source: Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder or an address.")],
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Folder of stores, or address; id and build are kept.")],
    *,
    layout: Annotated[Literal["zarr", "webdataset"] | None, typer.Option(help="Layout of the copy.")] = None,
    split: Annotated[str, typer.Option(help="Copy only the samples of this split.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Copy only the first samples.")] = None,
    json: Json = False,
) -> None:
    """Copy a store with its views between disks and buckets, every byte checked; goes on where it was interrupted."""
    from seamo.store.copy import copy_store

    progress = Progress(sys.stderr, title="copy")
    place = copy_store(source, root, layout=layout, progress=progress.report, split=split, limit=limit)
    progress.close()
    show([{"id": last_name(place), "path": place}], json=json, text=lambda: place)
