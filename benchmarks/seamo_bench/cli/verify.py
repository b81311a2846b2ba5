"""`seamo-bench verify`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.addresses import address_of
from seamo.errors import ProtocolError
from seamo.options import Json
from seamo.terminal import FAILED, remark, show
from seamo_bench.cli.against import HeldAgainst, held_against


def verify(
    record: Annotated[Path, typer.Argument(help="A record's JSON file, or a folder of records, or its address.")],
    stores: HeldAgainst = None,
    as_json: Json = False,
) -> None:
    """Check records as a referee would: key, predictions, scores; with --stores, labels and split lists too."""
    from seamo_bench.records.examine import examine
    from seamo_bench.records.fetched import results_on_disk

    with results_on_disk(record) as path:
        checked, is_folder = examine(path, held_against(stores)), path.is_dir()
    wrong = [one for one in checked if one.problems]
    if wrong and not is_folder:
        raise ProtocolError("; ".join(wrong[0].problems), where=address_of(record))
    rows = [
        {"id": one.name, "verdict": one.verdict, "held": one.held, "problems": list(one.problems)} for one in checked
    ]
    show(rows, json=as_json, text=lambda: "\n".join(f"{one.name}: {one.verdict}" for one in checked))
    if is_folder and not as_json:
        remark(f"{len(checked):,} files checked, {len(wrong):,} wrong")
    if wrong:
        raise typer.Exit(FAILED)
