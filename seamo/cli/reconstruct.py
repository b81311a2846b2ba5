"""`seamo reconstruct`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.cli.arguments import Store
from seamo.options import Json
from seamo.terminal import show


def reconstruct(
    run: Annotated[str, typer.Argument(help="A run, or a folder with a model; or its address.")],
    store: Store,
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture to write.", metavar="FILE.png")],
    key: Annotated[str, typer.Option("--key", help="Sample; the first of val without it.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of crop and mask.")] = 0,
    crops: Annotated[bool, typer.Option("--crops", help="Draw the crop modes instead.")] = False,
    as_json: Json = False,
) -> None:
    """Draw input, masked input, reconstruction and target of one sample, per season and sensor."""
    from seamo.pretrain.places import check_model

    check_model(run)

    from seamo.pretrain.figures import draw_crops, draw_reconstruction
    from seamo.store.reader import open_store

    draw = draw_crops if crops else draw_reconstruction
    draw(run, open_store(store), out, key=key, seed=seed)
    show([{"id": out.name, "file": str(out)}], json=as_json, text=lambda: str(out))
