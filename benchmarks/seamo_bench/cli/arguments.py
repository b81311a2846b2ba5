"""Arguments and options that several verbs of `seamo-bench` take, and what they mean."""

from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.errors import UsageError

Stores = Annotated[Path, typer.Option("--stores", help="Folder of stores, or its address; one folder a data set.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of records, or its address.")]
ResultsArgument = Annotated[Path, typer.Argument(help="Folder of records, or its address.")]
SuiteArgument = Annotated[str, typer.Argument(help="A shipped suite, or a YAML file.")]
Backbones = Annotated[str, typer.Option("--backbones", help="Comma-separated; default: the suite's.")]
Budget = Annotated[str, typer.Option("--budget", help="full | demo (2 epochs, 64 samples; part of the key).")]
Weights = Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files.")]
Mixed = Annotated[bool, typer.Option("--mixed", help="Mix records that differ in a number-changing fact.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 leaves the libraries their choice.")]
Tflops = Annotated[
    float,
    typer.Option(min=0.0, help="What the device sustains, for estimates; 0: as records here tell, else as stated."),
]
Scheduler = Annotated[str, typer.Option(help="Address or file of a dask scheduler whose workers do it.")]
Submitter = Annotated[
    str, typer.Option("--as", envvar="SEAMO_WHO", help="Who hands in, or vouches: a name that others know.")
]
WEIGHTS = Path("weights")
_LONGEST_NAME = 64


def chosen_budget(text: str) -> Any:
    """`full` or `demo`.

    Raises:
        UsageError: If it is neither.
    """
    if text not in ("full", "demo"):
        raise UsageError(f"no budget {text!r}", fix="Choose full or demo.")
    return text


def checked_submitter(name: str) -> str:
    """A name that may stand in a record; empty for none.

    Raises:
        UsageError: If it is too long, or not printable.
    """
    name = name.strip()
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"is no name of up to {_LONGEST_NAME} printable characters", "--as (or SEAMO_WHO)")
    return name


def chosen_device(text: str) -> str:
    """The device that `auto` means here."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if text == "auto" else text
