"""`seamo-prep look`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import show
from seamo_prep.cli.arguments import StorePath


def look(
    store: StorePath,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Samples; some of each class without.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.png or FILE.html.")],
    num: Annotated[int, typer.Option(min=1, help="How many samples to choose.")] = 12,
    json: Json = False,
) -> None:
    """Draw samples: true and false colour, SAR, labels, dates side by side."""
    from seamo.store.reader import open_store
    from seamo_prep.look import look as draw

    draw(open_store(store), output, keys=tuple(keys or ()), num=num)
    show([{"id": output.name, "file": str(output)}], json=json, text=lambda: str(output))
