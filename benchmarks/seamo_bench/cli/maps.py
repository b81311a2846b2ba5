"""The verbs of `seamo-bench` that make maps and pictures: predict, figures."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo_bench.cli.output import limit_threads, say, show

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def predict(
    record: Annotated[Path, typer.Argument(help="A record's JSON file, its head beside it.")],
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
    weights: Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files.")] = Path("weights"),
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Windows at a time.")] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the libraries their choice.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Apply a record to an image: its own backbone, normalisation and trained head, refused where one differs.

    Windows have the size of the record's tiles. Segmentation and change: a class a pixel on the image's grid, windows
    blended. Single-label: a class a cell of --stride pixels, that of the window around it. Both are uint8 class ids
    with a colour table, 255 where nothing is known. Multi-label: probabilities, a band a class. A record needs a kept
    head: what has at most 4 MiB is always kept, networks with `run --keep-models`.
    """
    from seamo_bench.predict import predict as predicting
    from seamo_bench.predict.images import images_of

    if threads:
        limit_threads(threads)
    setting = predicting.Setting(
        backbone, weights, window, "" if device == "auto" else device, overlap, stride, probabilities, batch_size
    )
    dates = images_of(images, others or [], bands=bands or [], units=unit, nodata=nodata or [])
    facts = predicting.predict(record, dates, out, setting=setting, progress=sys.stderr)
    if as_json:
        show([{"id": facts["out"], **facts}], as_json=True)
        return
    units = facts["units"]
    read = "; ".join(f"{sensor} {' '.join(names)} ({units[sensor]})" for sensor, names in facts["bands"].items())
    sys.stderr.write(f"{facts['backbone']}, {facts['protocol']} on {' + '.join(facts['trained_on'])}: {read}\n")
    say(facts["out"])


def figures(
    results: Annotated[Path, typer.Argument(help="Folder of records.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the pictures.")],
    stores: Annotated[Path, typer.Option("--stores", help="Folder of stores, for pixels and truth.")],
    as_json: JsonOption = False,
) -> None:
    """The paper's Figures 5-13 from our stores and records, and the same of every other data set, as PNG files.

    What cannot be drawn is listed with its reason. Where records of one data set answer several questions, the one
    with the most models is shown; of a model its first seed.
    """
    from seamo_bench.cli.output import Progress
    from seamo_bench.paper.figures import draw_figures

    progress = Progress()
    found = list(draw_figures(results, stores, out, progress=progress.cell))
    progress.end()
    rows = [
        {"id": one.id, "status": "drawn" if one.file else "not drawn", "file": one.file, "reason": one.reason}
        for one in found
    ]
    if as_json:
        show([{**row, "records": list(one.records)} for row, one in zip(rows, found, strict=True)], as_json=True)
    else:
        show(rows, as_json=False)


VERBS = (predict, figures)
