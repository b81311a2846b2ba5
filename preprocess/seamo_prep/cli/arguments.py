"""Arguments that several verbs of `seamo-prep` take."""

from pathlib import Path
from typing import Annotated

import typer

StorePath = Annotated[Path, typer.Argument(help="A store's folder or address, or ROOT/ID when it holds one store.")]
