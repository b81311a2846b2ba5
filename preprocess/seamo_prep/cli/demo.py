"""`seamo-prep demo`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from seamo.options import Json
from seamo.terminal import names, remark, show


def demo(
    raw: Annotated[Path, typer.Argument(help="RAW: a folder a data set goes here.")],
    *,
    only: Annotated[str, typer.Option(help="Ids, separated by commas.")] = "",
    size: Annotated[Literal["tiny", "small"], typer.Option(help="`tiny` for tests, `small` for the demo.")] = "tiny",
    seasons: Annotated[bool, typer.Option(help="Let plants grow with the seasons.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the synthetic world.")] = 7,
    form: Annotated[
        Literal["plain", "land", "arranged"],
        typer.Option(
            help="`land` is drawn: parcels, streets, shores; in `arranged` four classes differ in layout alone."
        ),
    ] = "plain",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    json: Json = False,
) -> None:
    """Write synthetic archives in the published layouts."""
    from seamo_prep.archives import check_id

    for dataset in names(only):
        check_id(dataset)  # before arrays are imported

    from seamo_prep.demo import write_demos

    def tell(dataset: str, what: str) -> None:
        remark(f"{dataset}: {what}")

    paths = write_demos(
        raw, only=names(only), size=size, seasons=seasons, seed=seed, form=form, workers=workers, tell=tell
    )
    rows = [{"id": path.name, "path": str(path)} for path in paths]
    show(rows, json=json, text=lambda: "\n".join(str(path) for path in paths))
