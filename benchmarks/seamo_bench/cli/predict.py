"""`seamo-bench predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import remark, show
from seamo_bench.cli.arguments import WEIGHTS, Device, Threads, Weights


def predict(
    record: Annotated[Path, typer.Argument(help="A record's JSON file, its head beside it; or its address.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="A GeoTIFF; of a record of change two: BEFORE AFTER.")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="The map, .tif.")],
    *,
    unit: Annotated[
        list[str],
        typer.Option("--unit", help="What its numbers are: dn, dn+1000, db, db*100, uint8; s1=..."),
    ],
    bands: Annotated[
        list[str] | None, typer.Option("--bands", help="Its bands in order, B02,B03,-,...; default: as it names them.")
    ] = None,
    others: Annotated[
        list[str] | None, typer.Option("--with", help="Another sensor's image on the same grid, s1=IMAGE.")
    ] = None,
    nodata: Annotated[list[str] | None, typer.Option("--nodata", help="Also this value is no measurement.")] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Probabilities instead of classes: float32, a band a class.")
    ] = False,
    stride: Annotated[
        int, typer.Option("--stride", min=0, help="Classification: side of the map's pixel; 0 = the window's.")
    ] = 0,
    overlap: Annotated[float, typer.Option("--overlap", help="Segmentation, change: how far windows overlap.")] = 0.5,
    window: Annotated[
        int, typer.Option("--window", min=0, help="Side of a window, where the data set's images vary in size.")
    ] = 0,
    backbone: Annotated[str, typer.Option("--backbone", help="A SeaMo run, as `run` was given it: RUN@pretrain.")] = "",
    weights: Weights = WEIGHTS,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Windows at a time.")] = 16,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Apply a record to an image: its own backbone, normalisation and trained head, refused where one differs.

    Windows have the size of the record's tiles. Segmentation and change: a class a pixel on the image's grid, windows
    blended. Single-label: a class a cell of --stride pixels, that of the window around it. Both are uint8 class ids
    with a colour table, 255 where nothing is known. Multi-label: probabilities, a band a class. A record needs a kept
    head: what has at most 4 MiB is always kept, networks with `run --keep-models`.
    """
    from seamo_bench.predict.images import images_of

    # Before torch is imported.
    dates = images_of(images, others or [], bands=bands or [], units=unit, nodata=nodata or [])

    from seamo_bench.predict import predict as predicting
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.runs.threads import limit_threads

    limit_threads(threads)
    setting = predicting.Setting(
        backbone, weights, window, "" if device == "auto" else device, overlap, stride, probabilities, batch_size
    )
    with results_on_disk(record, head=True) as path:
        facts = predicting.predict(path, dates, out, setting=setting, progress=sys.stderr)
    if not as_json:
        units = facts["units"]
        read = "; ".join(f"{sensor} {' '.join(names)} ({units[sensor]})" for sensor, names in facts["bands"].items())
        remark(f"{facts['backbone']}, {facts['protocol']} on {' + '.join(facts['trained_on'])}: {read}")
    show([{"id": facts["out"], **facts}], json=as_json, text=lambda: str(facts["out"]))
