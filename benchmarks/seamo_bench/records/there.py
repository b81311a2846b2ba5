"""Records at an address that several runs write to: put by conditions that its server checks.

`<key>.json`, flat as in a folder, and beside it predictions and head under names of their bytes
(`seamo_bench.records.layout`). They are put before the record, so a record that can be seen is whole; what a killed run
leaves is bytes that no record names. A record that ended well stays as it is; a blank, or what is damaged, is replaced.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from seamo.files import Files, open_files
from seamo_bench.records.layout import name_there
from seamo_bench.records.put import REPRODUCTIONS
from seamo_bench.records.record import Damage, Record, parse_record

_AT_ONCE = 8  # records that are asked for
_log = logging.getLogger(__name__)


def records_there(files: Files) -> Iterator[Record]:
    """The records of runs that ended well and whose predictions are there. One listing; damage is logged."""
    listed = set(files.names())
    names = sorted(name for name in listed if "/" not in name and name.endswith(".json"))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, (_, found) in zip(names, pool.map(partial(_look, files), names), strict=True):
            if isinstance(found, Damage):
                _log.warning("left out: %s %s", name, found.reason)
            elif found is not None and not listed.isdisjoint(_predictions_of(found)):
                yield found


def record_there(files: Files, key: str) -> Record | None:
    """The record of this key, however it ended; None if there is none, or it is damaged."""
    _, found = _look(files, f"{key}.json")
    return found if isinstance(found, Record) else None


def whole_there(files: Files, key: str) -> Record | None:
    """The record of a run that ended well, if it is there with its predictions; None else."""
    return _ended_well(files, record_there(files, key))


def put_there(files: Files, key: str, *, is_blank: bool, write: Callable[[Path], Record], scratch: Path) -> Record:
    """Have a record put, unless a run with this key has ended well; the record that is there then.

    As `seamo_bench.records.put.put_once` does in a folder: other predictions than those of the first are kept below
    `reproductions/`.

    Args:
        files: At the address.
        key: Of the record.
        is_blank: It failed or is impossible, and replaces none that ended well.
        write: Writes record, predictions and head into the folder that it is given.
        scratch: A folder for that.
    """
    first = whole_there(files, key)
    if first is not None and is_blank:
        return first
    with TemporaryDirectory(dir=scratch) as made:
        folder = Path(made)
        ours = write(folder)
        if first is None:
            first = _put(files, folder, ours)
        if ours.predictions is None or first.predictions is None or ours.predictions.sha256 == first.predictions.sha256:
            return first
        beside = f"{REPRODUCTIONS}/{ours.predictions.sha256[:16]}"
        _put(open_files(files.where(beside)), folder, ours)
    _log.warning(
        "%s has a record with other predictions, of another machine or another run: the first stays, this one is kept "
        "beside it as a reproduction, %s", key, beside,
    )  # fmt: skip
    return first


def put_bytes(files: Files, name: str, data: bytes) -> None:
    """Put a file that is named by its bytes: others under its name are damage, and are replaced."""
    if files.put_once(name, data) is not None:
        files.swap(name, lambda _: data)


def _put(files: Files, folder: Path, ours: Record) -> Record:
    """Put a record that was written into a folder, what lies beside it first; the record that is there then."""
    name = f"{ours.key}.json"
    data = (folder / name).read_bytes()
    for file in (ours.predictions, ours.head):
        if file is not None:
            put_bytes(files, name_there(file.name, file.sha256), (folder / file.name).read_bytes())

    def unless_there(there: bytes | None) -> bytes:
        if there is None:
            return data
        there, found = _look(files, name, there)
        if there is None or not isinstance(found, Record):
            return data
        says_the_same = (found.status, found.reason) == (ours.status, ours.reason) != ("ok", "")
        return there if says_the_same or _ended_well(files, found) else data

    _, found = _look(files, name, files.swap(name, unless_there))
    return found if isinstance(found, Record) else ours


def _look(files: Files, name: str, data: bytes | None = None) -> tuple[bytes | None, Record | Damage | None]:
    """What is there as a record, read again before damage is believed.

    Args:
        files: At the address.
        name: Of the file.
        data: Its bytes, if they were read.
    """
    data = files.find(name) if data is None else data
    found = None if data is None else parse_record(data, Path(name))
    if isinstance(found, Damage):
        data = files.find(name)
        found = None if data is None else parse_record(data, Path(name))
    return data, found


def _ended_well(files: Files, record: Record | None) -> Record | None:
    return record if record is not None and any(map(files.exists, _predictions_of(record))) else None


def _predictions_of(record: Record) -> tuple[str, ...]:
    """Names under which the predictions of a record may be there: in a folder that was copied to a bucket its own."""
    file = record.predictions
    return () if record.status != "ok" or file is None else (name_there(file.name, file.sha256), file.name)
