"""Copying records with their predictions to a folder that others read, each checked as a referee would first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seamo.errors import ProtocolError
from seamo.identity import write_atomically
from seamo_bench.records.examine import MACHINE_CHANGED, Held, problems_of
from seamo_bench.records.record import Record, predictions_file, read_records

Outcome = Literal["copied", "there already", "refused"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What happened to one record.

    Args:
        key: Of the record.
        outcome: `there already`: the same key with the same predictions.
        reason: Why it was refused, or what must be said of what was copied.
    """

    key: str
    outcome: Outcome
    reason: str = ""


def submit(results: Path, destination: Path, held: Held | None = None) -> Iterator[Submitted]:
    """Copy every record that passes the checks; nothing that is there is ever replaced.

    Predictions go first, so that a record that can be seen is whole, also after a kill.

    Args:
        results: Folder of records.
        destination: Folder, for example in a checkout of a results repository; made if it is not there.
        held: Holds records against the data (`seamo_bench.runs.referee`); None: there are no data.

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
        yield _submit(record, there.get(record.key), results, destination, held)


def _submit(record: Record, theirs: Record | None, results: Path, destination: Path, held: Held | None) -> Submitted:
    if record.status == "failed":
        return Submitted(record.key, "refused", f"the run failed: {record.reason}")
    found = problems_of(record, results, held)
    # What a machine says of itself decides no score, and the same run of two machines is one record.
    wrong = tuple(one for one in found if one != MACHINE_CHANGED)
    if wrong:
        return Submitted(record.key, "refused", "; ".join(wrong))
    name = f"{record.key}.json"
    target = destination / name
    if target.exists():
        return _compare(record, theirs)
    if record.predictions is not None:
        write_atomically(destination / f"{record.key}.npz", predictions_file(record, results).read_bytes())
    write_atomically(target, (results / name).read_bytes())
    return Submitted(record.key, "copied", "; ".join(found))


def _compare(record: Record, theirs: Record | None) -> Submitted:
    if theirs is None:
        return Submitted(record.key, "refused", "another file of its name is there and is no whole record")
    if theirs.predictions == record.predictions and theirs.status == record.status:
        return Submitted(record.key, "there already")
    return Submitted(record.key, "refused", "a record with this key and other predictions is there: compare the two")
