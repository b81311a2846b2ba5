"""Arguments and options that several verbs of `seamo-bench` take, and what they mean."""

from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.errors import UsageError

Stores = Annotated[Path, typer.Option("--stores", help="Folder of stores, one folder a data set.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of records.")]
ResultsArgument = Annotated[Path, typer.Argument(help="Folder of records.")]
SuiteArgument = Annotated[str, typer.Argument(help="A shipped suite, or a YAML file.")]
Backbones = Annotated[str, typer.Option("--backbones", help="Comma-separated; default: the suite's.")]
Budget = Annotated[str, typer.Option("--budget", help="full | demo (2 epochs, 64 samples; part of the key).")]
Weights = Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files.")]
Mixed = Annotated[bool, typer.Option("--mixed", help="Mix records that differ in a number-changing fact.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 leaves the libraries their choice.")]
Scheduler = Annotated[str, typer.Option(help="Address or file of a dask scheduler whose workers do it.")]
WEIGHTS = Path("weights")


def chosen_budget(text: str) -> Any:
    """`full` or `demo`.

    Raises:
        UsageError: If it is neither.
    """
    if text not in ("full", "demo"):
        raise UsageError(f"no budget {text!r}", fix="Choose full or demo.")
    return text


def chosen_device(text: str) -> str:
    """The device that `auto` means here."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if text == "auto" else text
