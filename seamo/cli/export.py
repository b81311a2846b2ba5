"""`seamo export`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from seamo.cli.arguments import Model
from seamo.options import Json
from seamo.terminal import remark, show


def export(
    path: Model,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.", metavar="DIR")],
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for the card.")] = "not stated",
    timm: Annotated[
        str, typer.Option("--timm", help="One sensor, as a folder that timm opens (local-dir:DIR).", metavar="SENSOR")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write tokenizers and encoder, for timm, torchgeo users and the benchmark."""
    from seamo.pretrain.places import check_model

    check_model(path)

    from seamo.model.card import read_card
    from seamo.use.export import export as write

    if timm:
        from seamo.use.timmform import export_timm

        folder = str(export_timm(path, timm, out, licence=licence))
        made = json.loads((out / "config.json").read_text("utf-8"))["seamo"]["provenance"]
    else:
        folder = str(write(path, out, licence=licence))
        made = read_card(out)["provenance"]
    for dataset, terms in made.get("data", {}).items():
        credit = terms["attribution"] or "not stated"
        remark(f"trained on {dataset}, licence: {terms['licence']}; attribution: {credit}")
    show([{"id": out.name, "folder": folder}], json=as_json, text=lambda: folder)
