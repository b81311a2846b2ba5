"""`seamo-bench verify`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.errors import ProtocolError
from seamo.options import Json
from seamo.terminal import show


def verify(
    record: Annotated[Path, typer.Argument(help="A record's JSON file.")],
    as_json: Json = False,
) -> None:
    """Check a record as a referee would: key, hash of the predictions, scores recomputed."""
    from seamo_bench.records.record import read_records
    from seamo_bench.records.record import verify as check

    found = read_records(record.parent)
    own = [kept for kept in found.records if f"{kept.key}.json" == record.name]
    damage = [damaged.reason for damaged in found.damaged if damaged.path.name == record.name]
    if not own:
        raise ProtocolError(damage[0] if damage else "there is no such record", where=str(record))
    wrong = check(own[0], record.parent)
    if wrong:
        raise ProtocolError("; ".join(wrong), where=str(record))
    good = "key, predictions and scores agree"
    show([{"id": own[0].key, "verdict": good}], json=as_json, text=lambda: f"{record.name}: {good}")
