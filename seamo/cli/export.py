"""`seamo export`."""

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
    as_json: Json = False,
) -> None:
    """Write tokenizers and encoder, for timm, torchgeo users and the benchmark."""
    from seamo.pretrain.places import check_model

    check_model(path)

    from seamo.model.card import read_card
    from seamo.use.export import export as write

    folder = str(write(path, out, licence=licence))
    for dataset, terms in read_card(out)["provenance"].get("data", {}).items():
        credit = terms["attribution"] or "not stated"
        remark(f"trained on {dataset}, licence: {terms['licence']}; attribution: {credit}")
    show([{"id": out.name, "folder": folder}], json=as_json, text=lambda: folder)
