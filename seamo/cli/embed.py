"""`seamo embed`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo.cli.arguments import Device, Model
from seamo.options import Json
from seamo.terminal import remark, show


def embed(
    path: Model,
    what: Annotated[str, typer.Argument(help="A GeoTIFF of any size, or a store.", metavar="IMAGE|STORE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Image: .tif or .zarr; store: .parquet or .npz.")],
    sensor: Annotated[str, typer.Option("--sensor", help="s2, s1, ...; of a store all that it has.")] = "",
    others: Annotated[
        list[str] | None, typer.Option("--with", help="Image: another sensor's on the same grid, s1=IMAGE.")
    ] = None,
    bands: Annotated[
        list[str] | None, typer.Option("--bands", help="Image: its bands in order, B02,B03,-,...; s1=... of --with.")
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", help="Image: what its numbers are: dn, dn+1000, db, db*100; s1=... of --with."),
    ] = None,
    nodata: Annotated[
        list[str] | None, typer.Option("--nodata", help="Image: also this value is none; s1=... of --with.")
    ] = None,
    missing: Annotated[
        str,
        typer.Option(
            "--missing", help="Bands not there: fail, zero, mean, nearest-wavelength, select, select-columns."
        ),
    ] = "fail",
    statistics: Annotated[
        str, typer.Option("--statistics", help="To normalise: card, store, or (image) a YAML file.")
    ] = "card",
    size: Annotated[int, typer.Option("--size", help="Pixels of a window or image; as pretrained without it.")] = 0,
    overlap: Annotated[float, typer.Option("--overlap", help="Image: share that windows overlap.")] = 0.5,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="Store: sensor=stack.")] = None,
    split: Annotated[str, typer.Option("--split", help="Store: train, val, test or all.")] = "all",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Windows or samples at once.")] = 16,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Write features: a georeferenced map of an image, or a vector a sample and date of a store."""
    from seamo.pretrain.places import check_model
    from seamo.use.command import Asked, check_asked, embed_anything, in_words

    asked = Asked(
        sensor, tuple(others or ()), tuple(bands or ()), tuple(unit or ()), tuple(nodata or ()), missing, statistics,
        size, overlap, tuple(stack or ()), split, batch, device,
    )  # fmt: skip
    check_model(path)
    check_asked(what, out, asked)  # before torch is imported
    facts = embed_anything(path, what, out, asked=asked, progress=sys.stderr)
    for line in in_words(facts):
        remark(line)
    show([{"id": facts["out"], **facts}], json=as_json, text=lambda: str(facts["out"]))
