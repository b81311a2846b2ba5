"""Handing records in: each is checked as a referee would first, then put into a results repository or a folder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from seamo.addresses import disk_path
from seamo.errors import ProtocolError
from seamo.files import Files, open_files
from seamo_bench.records.examine import MACHINE_CHANGED, Held, problems_of
from seamo_bench.records.fetched import check_place
from seamo_bench.records.layout import (
    PROTOCOLS,
    is_shared,
    predictions_name,
    record_name,
    record_paths,
    sweep,
)
from seamo_bench.records.record import Record, predictions_file, read_records
from seamo_bench.records.seals import SUBMITTER, handed_in

Outcome = Literal["copied", "there already", "refused"]
Papers = Callable[[Record], Mapping[str, bytes]]
"""What must lie beside a record, by its name in the repository: its backbone's card, its protocol."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What happened to one record.

    Args:
        key: Of the record.
        outcome: `there already`: the same record of the same submitter.
        reason: Why it was refused, or what must be said of what was copied.
    """

    key: str
    outcome: Outcome
    reason: str = ""


def submit(
    results: Path,
    destination: Path,
    held: Held | None = None,
    *,
    papers: Papers | None = None,
    submitter: str = "",
) -> Iterator[Submitted]:
    """Put every record that passes the checks into a results repository; nothing that is there is ever replaced.

    A folder that is no results repository (`seamo-bench referee --init` makes one) is a folder of records as runs
    leave them, for example of another machine: records are copied beside those that are there, without papers.
    Predictions and papers go first, so that a record that can be seen is whole, also after a kill.

    Args:
        results: Folder of records.
        destination: The repository, for example a checkout, or an address in a bucket; or another folder. Made if it is
            not there.
        held: Holds records against the data (`seamo_bench.runs.referee`); None: there are no data.
        papers: Cards and protocols of the records; None: they go alone.
        submitter: Name under which they are handed in.

    Raises:
        ProtocolError: If the two are one folder, `results` is none, or the bucket holds something else.
        StoreError: If `destination` cannot be written, or its server ignores conditions.
    """
    found = read_records(results)
    files, is_repository = _opened(destination, results)
    for damage in found.damaged:
        yield Submitted(damage.path.stem, "refused", damage.reason)
    paths = {path.stem: path for path in record_paths(results)}
    for record in found.records:
        wrong, told = _judged(record, results, held)
        if wrong:
            yield Submitted(record.key, "refused", "; ".join(wrong))
            continue
        beside: dict[str, bytes] = {}
        predictions = None if record.predictions is None else predictions_file(record, results).read_bytes()
        if not is_repository:
            yield _merge(files, record, paths[record.key].read_bytes(), predictions, told)
            continue
        if record.predictions is not None and predictions is not None:
            beside[predictions_name(record.predictions.sha256)] = predictions
        if papers is not None:
            try:
                beside |= papers(record)
            except ProtocolError as error:
                told = (*told, str(error))
        yield _put(files, handed_in(paths[record.key].read_bytes(), submitter), beside, told)


def _opened(destination: str | Path, results: Path) -> tuple[Files, bool]:
    """The files of what may be written to, and whether it is a results repository; in a bucket nothing else is."""
    folder, files = disk_path(destination), open_files(destination)
    if folder is None:
        check_place(files)
        return files, True
    if results.resolve() == folder.resolve():
        raise ProtocolError("results cannot be submitted to their own folder", str(folder))
    is_repository = is_shared(folder)
    if is_repository:  # elsewhere a run may be at work, whose unfinished files nobody holds
        sweep(folder)
    return files, is_repository


def _judged(record: Record, results: Path, held: Held | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why a record is refused, and what must be said of it all the same."""
    if record.status == "failed":
        return (f"the run failed: {record.reason}",), ()
    found = problems_of(record, results, held)
    # What a machine says of itself decides no score, and the same run of two machines is one record.
    wrong = tuple(one for one in found if one != MACHINE_CHANGED)
    return wrong, () if wrong else found


def _merge(files: Files, record: Record, data: bytes, predictions: bytes | None, told: tuple[str, ...]) -> Submitted:
    """Copy one record into a folder as runs leave it, unless one of its key is there."""
    there = files.find(f"{record.key}.json")
    if there is None:
        clash = predictions is not None and files.put_once(f"{record.key}.npz", predictions) is not None
        there = None if clash else files.put_once(f"{record.key}.json", data)
        if clash:
            return Submitted(record.key, "refused", "other predictions of its name are there, without a record")
        if there is None:
            return Submitted(record.key, "copied", "; ".join(told))
    try:
        theirs = Record.model_validate_json(there)
    except ValueError:
        return Submitted(record.key, "refused", "another file of its name is there and is no whole record")
    if theirs.predictions == record.predictions and theirs.status == record.status:
        return Submitted(record.key, "there already")
    return Submitted(record.key, "refused", "a record with this key and other predictions is there: compare the two")


def _put(files: Files, data: bytes, beside: Mapping[str, bytes], told: tuple[str, ...]) -> Submitted:
    """Put one record beside those of its key, unless it is there."""
    record = Record.model_validate_json(data)
    for number in count():
        name = record_name(record.key, number)
        there = files.find(name)
        if there is None:
            if clash := _put_beside(files, beside):
                return Submitted(record.key, "refused", f"other bytes are there as {clash}")
            there = files.put_once(name, data)  # whoever came first in the meantime is looked at, too
            if there is None:
                also = (f"beside the record of its key that was there, as reproduction {number}",) if number else ()
                return Submitted(record.key, "copied", "; ".join((*told, *also)))
        try:
            theirs = Record.model_validate_json(there)
        except ValueError:
            return Submitted(record.key, "refused", f"what is there as {name} is no record")
        if same_record(record, theirs):
            clash = _put_beside(files, beside)  # a paper may have been missing
            told = (*told, f"other bytes are there as {clash}") if clash else told
            return Submitted(record.key, "there already", "; ".join(told))
        if "ok" not in (record.status, theirs.status) or record.status != theirs.status:
            return Submitted(record.key, "refused", f"a record of this key that is {theirs.status} is there")
    raise AssertionError  # count() has no end


def _put_beside(files: Files, beside: Mapping[str, bytes]) -> str:
    """Put what lies beside a record; the name under which other bytes are, or nothing.

    A protocol that is there stays as it is: its tolerance may be the community's own.
    """
    for name, data in beside.items():
        kept = name.startswith(f"{PROTOCOLS}/") and files.find(name) is not None
        if not kept and files.put_once(name, data) is not None:
            return name
    return ""


def same_record(one: Record, other: Record) -> bool:
    """Whether two records of one key say the same of the run, handed in by the same person."""
    apart = {"cost", "environment"}
    return submitter_of(one) == submitter_of(other) and (
        one.model_dump(exclude=apart) == other.model_dump(exclude=apart)
    )


def submitter_of(record: Record) -> str:
    """Who handed a record in, as names are compared; empty where nobody says."""
    return record.environment.get(SUBMITTER, "").strip().casefold()
