"""The stores that records are held against: an option of the verbs that judge them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.addresses import disk_path
from seamo.errors import UsageError

HeldAgainst = Annotated[
    Path | None, typer.Option("--stores", help="Stores (folder, address) to hold the records against.")
]


def held_against(stores: Path | None) -> Any:
    """What holds a record against the stores of a folder; None without one.

    Raises:
        UsageError: If there is no such folder.
    """
    if stores is None:
        return None
    folder = disk_path(stores)
    if folder is not None and not folder.is_dir():
        raise UsageError("is no folder of stores", str(stores))
    from seamo_bench.runs.referee import Referee

    return Referee(stores).problems
