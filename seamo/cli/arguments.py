"""Arguments and options that several verbs of `seamo` take."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(help="A run, a checkpoint or a folder with a model.")]
Store = Annotated[str, typer.Option("--store", help="A store: its folder or address.", metavar="STORE")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda; cuda where there is one.")]
