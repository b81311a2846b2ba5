"""Records that several runs may write at once: put once by key, and what differs kept beside the first.

Of two runs of one key the first that ends well stays. Equal predictions of a second one say the same, and nothing is
written. Others, as another CPU may give them, are a reproduction: record and predictions lie under
`<results>/reproductions/<predictions>/`, a folder of results like any other, named by the hash of the predictions.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seamo.errors import ProtocolError
from seamo_bench.predictions import Predictions, predictions_bytes
from seamo_bench.records.layout import is_shared, record_name
from seamo_bench.records.record import Record, predictions_file, read_record

_log = logging.getLogger(__name__)
REPRODUCTIONS = "reproductions"  # folder in a folder of results


def whole_record(results: Path, key: str) -> Record | None:
    """The record of a run that ended well, if it is there whole with its predictions; None else."""
    path = results / (record_name(key) if is_shared(results) else f"{key}.json")
    if not path.is_file():
        return None
    try:
        record = read_record(path)
        predictions_file(record, results)  # refuses one that did not end well, too
    except ProtocolError:
        return None
    return record


def put_once(results: Path, key: str, predictions: Predictions | None, write: Callable[[Path], Record]) -> Record:
    """Have a record written, unless a run with this key has ended well; the record that is there then.

    Args:
        results: Folder of the results; made if it is not there.
        key: Of the record.
        predictions: Of the run; None for one that failed or is impossible, which replaces none that ended well.
        write: Writes record, predictions and head into the folder that it is given.
    """
    results.mkdir(parents=True, exist_ok=True)
    with _alone(results):
        first = whole_record(results, key)
        if first is None:  # nothing, a blank, or something damaged: all of them are replaced
            return write(results)
        if predictions is None or first.predictions is None:
            return first
        own = hashlib.sha256(predictions_bytes(predictions)).hexdigest()
        if own == first.predictions.sha256:
            return first
        beside = results / REPRODUCTIONS / own[:16]
        beside.mkdir(parents=True, exist_ok=True)
        if whole_record(beside, key) is None:
            write(beside)
    _log.warning(
        "%s has a record with other predictions, of another machine or another run: the first stays, this one is kept "
        "beside it as a reproduction, %s", key, beside.relative_to(results),
    )  # fmt: skip
    return first


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other writers out of a folder for a moment, by a lock on itself that leaves no file behind.

    Where the file system has no locks nobody is kept out: two writers of one key then leave the later record, or a
    pair that does not fit, which is damage that is seen and run again.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
