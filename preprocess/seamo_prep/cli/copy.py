"""`seamo-prep copy`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seamo.addresses import last_name
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import remark, show

if TYPE_CHECKING:
    from seamo.store.transfer import Movers


def copy(
    source: Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder or an address.")],
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Folder of stores, or address; id and build are kept.")],
    *,
    layout: Annotated[Literal["zarr", "webdataset"] | None, typer.Option(help="Layout of the copy.")] = None,
    codec: Annotated[
        Literal["lz4", "compact", "none"] | None,
        typer.Option(help="Codec of the copy, zarr layout: lz4 reads fastest of what is smaller, compact is zstd."),
    ] = None,
    split: Annotated[str, typer.Option(help="Copy only the samples of this split.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Copy only the first samples.")] = None,
    scheduler: Annotated[str, typer.Option(help="Address or file of a dask scheduler whose workers do it.")] = "",
    json: Json = False,
) -> None:
    """Copy a store with its views between disks and buckets, every byte checked; goes on where it was interrupted."""
    from seamo.store.copy import copy_store

    if scheduler and (layout or codec or split or limit):
        remark("what is written anew, for --layout, --codec, --split or --limit, is written here, not by workers")
    progress = Progress(sys.stderr, title="copy")
    with _movers(scheduler) as movers:
        place = copy_store(
            source, root, layout=layout, codec=codec, progress=progress.report, split=split, limit=limit, movers=movers
        )
    progress.close()
    show([{"id": last_name(place), "path": place}], json=json, text=lambda: place)


@contextmanager
def _movers(scheduler: str) -> "Iterator[Movers]":
    from seamo.store.transfer import move_here

    if not scheduler:
        yield move_here
        return
    from seamo.cluster import connected
    from seamo.store.workers import KEPT, moving

    with connected(scheduler, kept=KEPT, say=remark) as client:
        yield moving(client, scheduler)
