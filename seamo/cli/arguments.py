"""Arguments and options that several verbs of `seamo` take."""

from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="A run, a checkpoint or a folder with a model; or its address.")]
Store = Annotated[str, typer.Option("--store", help="A store: its folder or address.", metavar="STORE")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda; cuda where there is one.")]
