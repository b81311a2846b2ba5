"""Where records and predictions lie: flat in the folder of a run, or in a results repository that several people share.

    records/<k2>/<key>.json      one file a record, named by its key: two submissions never meet in one file
    records/<k2>/<key>.<n>.json  another record of that key: a reproduction
    predictions/<sha256>.npz     named by their bytes
    cards/<digest>.json          backbone cards: the sha256 of the file is its name
    protocols/<id>-<version>.json
    stores/<content16>.json      the register: what may be said of the stores that are known
    withdrawn/<key>.json         which records of a key are gone, and why

Where runs write to an address, records are flat as in a folder, and what lies beside them is named by its bytes, too
(`name_there`), so that two writers of one key never meet in one file.

What is written there is put once (`seamo.files`), into a folder of this disk or a bucket.
"""

import os
import re
from pathlib import Path

from seamo.disk import hold
from seamo.errors import ProtocolError

RECORDS, PREDICTIONS, CARDS = "records", "predictions", "cards"
PROTOCOLS, STORES, WITHDRAWN = "protocols", "stores", "withdrawn"
FOLDERS = (RECORDS, PREDICTIONS, CARDS, PROTOCOLS, STORES, WITHDRAWN)
KEY = r"[0-9a-f]{64}"
_RECORD = re.compile(rf"({KEY})(?:\.([1-9][0-9]{{0,3}}))?\.json")
_PREFIX = re.compile("[0-9a-f]{2}")


def is_shared(results: Path) -> bool:
    """Whether a folder is a results repository."""
    return (results / RECORDS).is_dir() and ((results / PREDICTIONS).is_dir() or (results / STORES).is_dir())


def record_name(key: str, number: int = 0) -> str:
    """Where a record lies in a results repository; reproductions are counted from 1.

    Example:
        >>> record_name("ab" + "0" * 62, 1)[:14], record_name("ab" + "0" * 62, 1)[-8:]
        ('records/ab/ab0', '0.1.json')
    """
    return f"{RECORDS}/{key[:2]}/{key}{f'.{number}' if number else ''}.json"


def predictions_name(sha256: str) -> str:
    """Where predictions lie in a results repository.

    Raises:
        ProtocolError: If that is no sha256.
    """
    if not re.fullmatch(KEY, sha256):
        raise ProtocolError("its predictions are named by no sha256", where="record")
    return f"{PREDICTIONS}/{sha256}.npz"


def predictions_path(results: Path, name: str, sha256: str) -> Path:
    """The file of a record's predictions, whichever way the folder is laid out.

    Args:
        results: Where the record is.
        name: As the record has it; one that climbs out of the folder stays inside.
        sha256: Of the file.
    """
    return results / predictions_name(sha256) if is_shared(results) else beside_path(results, name, sha256)


def name_there(name: str, sha256: str) -> str:
    """How a file beside a record is called where several runs write to one address.

    Example:
        >>> name_there("k.head.safetensors", "0123456789abcdef" * 4)
        'k.0123456789abcdef.head.safetensors'
    """
    key, _, kind = name.partition(".")
    return f"{key}.{sha256[:16]}.{kind}" if re.fullmatch(KEY, sha256) else name


def beside_path(results: Path, name: str, sha256: str) -> Path:
    """A file beside a record in the folder of a run, or in a copy of an address that keeps the names from there."""
    path = results / Path(name).name
    copied = results / name_there(path.name, sha256)
    return copied if not path.exists() and copied.exists() else path


def record_paths(results: Path) -> list[Path]:
    """The files of all records but reproductions, in the order of their names."""
    if not is_shared(results):
        return sorted(results.glob("*.json"))
    paths = (results / RECORDS).glob("??/*.json")
    return sorted((path for path in paths if path.name.count(".") == 1), key=lambda path: path.name)


def reproduction_paths(results: Path) -> list[Path]:
    """The files of the further records of each key; there are none in the folder of a run."""
    paths = (results / RECORDS).glob("??/*.json") if is_shared(results) else ()
    return sorted((path for path in paths if path.name.count(".") > 1), key=lambda path: path.name)


def named_key(path: Path) -> str:
    """The key that a record's file is named by; empty if no record has such a name."""
    if not _is_inside(path):
        return path.name.removesuffix(".json") if path.name.endswith(".json") else ""
    named = _RECORD.fullmatch(path.name)
    return named[1] if named and named[1].startswith(path.parent.name) else ""


def number_of(path: Path) -> int:
    """Which record of its key a file holds: 0, or the number of a reproduction."""
    named = _RECORD.fullmatch(path.name)
    return int(named[2]) if named and named[2] else 0


def results_of(path: Path) -> Path:
    """The folder that a record's file is of: its own, or the results repository."""
    path = path.absolute()
    return path.parents[2] if _is_inside(path) else path.parent


def _is_inside(path: Path) -> bool:
    folder = path.absolute().parent
    return folder.parent.name == RECORDS and _PREFIX.fullmatch(folder.name) is not None


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a results repository of this disk: hidden files that no process holds."""
    for name in FOLDERS:
        for path in [one for end in ("part", "lock") for one in (folder / name).rglob(f".*.{end}")]:
            handle = hold(path, folder=False)
            if handle is not None:
                path.unlink(missing_ok=True)
                os.close(handle)
