"""`seamo-prep build`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from seamo.addresses import join
from seamo.errors import UsageError
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import names, remark, show


def build(
    dataset: Annotated[str, typer.Argument(metavar="ID", help="A data set of `list`, or `folder`.")],
    *,
    raw: Annotated[str, typer.Option(help="Folder that holds the published files, or its address.")],
    store: Annotated[str, typer.Option(help="Folder of stores, or its address.")],
    layout: Annotated[Literal["zarr", "webdataset"], typer.Option(help="Layout of the store.")] = "zarr",
    layers: Annotated[str, typer.Option(help="Layers, separated by commas; all without it.")] = "",
    splits: Annotated[str, typer.Option(help="Split scheme; the published one where its lists are in RAW.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Build only the first samples.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads, beyond 4 processes, up to the cores; up to 4 without it.")
    ] = None,
    scheduler: Annotated[str, typer.Option(help="Address or file of a dask scheduler whose workers do it.")] = "",
    on_bad: Annotated[Literal["raise", "skip"], typer.Option(help="What to do with unreadable samples.")] = "raise",
    relax: Annotated[str, typer.Option(help="Accept other shape, dtype, seasons, names, grid; by commas.")] = "",
    pack: Annotated[
        str, typer.Option(help="Layers of decibels to store in 16 bits, in steps of 0.01 dB; by commas.")
    ] = "",
    scratch: Annotated[Path | None, typer.Option(help="For a bucket: folder with room for a shard a worker.")] = None,
    json: Json = False,
) -> None:
    """Build a store from the published archive; goes on where a build was interrupted."""
    if scheduler and workers is not None:
        raise UsageError("--workers and --scheduler exclude each other")
    from seamo_prep.archives import check_id

    check_id(dataset)  # before arrays, tables and rasters are imported

    from seamo_prep.build import Options
    from seamo_prep.build import build as make
    from seamo_prep.engines import Engine

    options = Options(layout, names(layers), splits, limit, names(relax), on_bad, names(pack))
    engine = Engine(workers or 0, scheduler)
    progress = Progress(sys.stderr, "samples", title=dataset)

    def tell(done: int, total: int) -> None:
        progress.report(done, total, "samples")

    built = make(
        dataset, raw=raw, root=store, options=options, engine=engine, say=remark, progress=tell, scratch=scratch
    )
    progress.close()
    if built.was_there:
        remark("published before; nothing to do")
    if built.ledger:
        remark(f"left out: {built.ledger} (see {join(built.url, 'ledger.json')})")
    row = {"id": dataset, "path": built.url, "was_there": built.was_there, "left_out": built.ledger}
    show([row], json=json, text=lambda: built.url)
