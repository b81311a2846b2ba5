"""Copying records with their predictions to a folder that others read, each checked as a referee would first."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seamo.errors import ProtocolError
from seamo.identity import write_atomically
from seamo_bench.records.record import Record, read_records, verify

Outcome = Literal["copied", "there already", "refused"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What happened to one record.

    Args:
        key: Of the record.
        outcome: `there already`: the same key with the same predictions.
        reason: Why it was refused.
    """

    key: str
    outcome: Outcome
    reason: str = ""


def submit(results: Path, destination: Path) -> Iterator[Submitted]:
    """Copy every record that passes the checks; nothing that is there is ever replaced.

    Predictions go first, so that a record that can be seen is whole, also after a kill.

    Args:
        results: Folder of records.
        destination: Folder, for example in a checkout of a results repository; made if it is not there.

    Raises:
        ProtocolError: If the two are one folder, or `results` is none.
    """
    if results.resolve() == destination.resolve():
        raise ProtocolError("results cannot be submitted to their own folder", str(destination))
    found = read_records(results)
    destination.mkdir(parents=True, exist_ok=True)
    for damage in found.damaged:
        yield Submitted(damage.path.stem, "refused", damage.reason)
    there = {record.key: record for record in read_records(destination).records}
    for record in found.records:
        yield _submit(record, there.get(record.key), results, destination)


def _submit(record: Record, theirs: Record | None, results: Path, destination: Path) -> Submitted:
    if record.status == "failed":
        return Submitted(record.key, "refused", f"the run failed: {record.reason}")
    wrong = verify(record, results)
    if wrong:
        return Submitted(record.key, "refused", "; ".join(wrong))
    name = f"{record.key}.json"
    target = destination / name
    if target.exists():
        return _compare(record, theirs)
    if record.predictions is not None:
        _copy(results / record.predictions.name, destination / record.predictions.name)
    write_atomically(target, (results / name).read_bytes())
    return Submitted(record.key, "copied")


def _compare(record: Record, theirs: Record | None) -> Submitted:
    if theirs is None:
        return Submitted(record.key, "refused", "another file of its name is there and is no whole record")
    if theirs.predictions == record.predictions and theirs.status == record.status:
        return Submitted(record.key, "there already")
    return Submitted(record.key, "refused", "a record with this key and other predictions is there: compare the two")


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, beside)
    beside.replace(target)
