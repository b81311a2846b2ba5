"""Features on disk: sealed parts of a few rows each, and what the first images showed. No torch here.

A part is three files: `<name>.rows.npy` (int64), `<name>.npy` (float32, one row a sample) and their manifest
`<name>.checksums.json` (`seamo.seal`), written last. It names them with the folder they belong to, and the name is a
digest of both, so that a part which was cut off, altered, exchanged, renamed or brought from another folder does not
fit. A part counts when it fits; what does not is computed again, and swept by whoever does that.
"""

import fcntl
import hashlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.identity import write_atomically
from seamo.seal import (
    MANIFEST,
    SealedFile,
    bytes_damage,
    damage,
    manifest_bytes,
    open_document,
    open_manifest,
    seal_document,
)
from seamo_bench.features.table import Floats, Part, Rows

log = logging.getLogger(__name__)

PART_ROWS = 2048
_ROWS, _FEATURES, _SEAL = ".rows.npy", ".npy", f".{MANIFEST}"
_AGAIN = "It is computed again."


@dataclass(frozen=True, slots=True, eq=False)
class CachedParts:
    """What a cache's folder holds.

    Args:
        files: Every part that fits its seal.
        where: (rows of the store, 2): part and position in it of each, -1 where it is in none.
        width: D; 0 without any part.
    """

    files: tuple[Part, ...]
    where: NDArray[np.int64]
    width: int


def read_parts(folder: Path, num_rows: int) -> CachedParts:
    """Look which rows of a store a cache's folder has; of a row that is in two parts, the first one counts.

    Every byte is read and held against its seal. What does not fit is named in one line of the log and left out.

    Args:
        folder: Of the cache; need not be there.
        num_rows: Of the store.
    """
    parts, damages = _inspect(folder, num_rows)
    if damages:
        log.warning(
            "%d of %d parts of kept features are not what was kept and are computed again, first %s",
            len(damages), len(damages) + len(parts.files), damages[0],
        )  # fmt: skip
    return parts


def _inspect(folder: Path, num_rows: int) -> tuple[CachedParts, list[str]]:
    """What is whole, and what is wrong with each part that is not."""
    files: list[Part] = []
    where = np.full((num_rows, 2), -1, dtype=np.int64)
    width = 0
    damages: list[str] = []
    for name in _names(folder):
        try:
            rows, part, columns = _read_part(folder, name, num_rows)
            if width and columns != width:
                raise ProtocolError(f"has {columns} features a sample, others have {width}", str(part.path), _AGAIN)
        except ProtocolError as error:
            damages.append(f"{error.where}: {error.what}")
            continue
        new = where[rows, 0] < 0
        where[rows[new], 0] = len(files)
        where[rows[new], 1] = np.flatnonzero(new)
        width = columns
        files.append(part)
    return CachedParts(tuple(files), where, width), damages


def _names(folder: Path) -> list[str]:
    """Names of parts, whole or not: a file of a part that lost the others counts."""
    found = (path.name for path in folder.glob("*") if not path.name.startswith("."))
    return sorted({name.split(".")[0] for name in found if name.endswith((_FEATURES, _SEAL))})


def _read_part(folder: Path, name: str, num_rows: int) -> tuple[Rows, Part, int]:
    """Rows, features and width of one part, after both files were held against their seal."""
    seal, listed, features = (folder / f"{name}{kind}" for kind in (_SEAL, _ROWS, _FEATURES))
    files = open_manifest(_bytes(seal), str(seal), error=ProtocolError, fix=_AGAIN)
    if set(files) != {_sealed_name(folder, path) for path in (listed, features)}:
        raise ProtocolError("is the seal of other files", str(seal), _AGAIN)
    data = _bytes(listed)
    for path, found in (
        (listed, bytes_damage(data, files[_sealed_name(folder, listed)])),
        (features, damage(features, files[_sealed_name(folder, features)], deep=True)),
    ):
        if found:
            raise ProtocolError(found, str(path), _AGAIN)
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
        mapped = np.load(features, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ProtocolError(f"cannot be read ({error})", str(features), _AGAIN) from error
    fits = rows.dtype == np.int64 and rows.ndim == 1 and mapped.dtype == np.float32 and mapped.ndim == 2
    if not fits or not len(rows) or len(rows) != len(mapped) or rows.min() < 0 or rows.max() >= num_rows:
        raise ProtocolError("are no rows of the store with their features", str(listed), _AGAIN)
    return rows, Part(features, mapped.offset), mapped.shape[1]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProtocolError(f"cannot be read ({error.strerror})", str(path), _AGAIN) from error


def _sealed_name(folder: Path, path: Path) -> str:
    return f"{folder.name}/{path.name}"


def write_part(folder: Path, rows: Rows, features: Floats) -> tuple[str, ...]:
    """Keep the features (n, D) of n rows; the part counts when its seal is there. Names of its files, the seal last."""
    contents = {_ROWS: _npy(rows), _FEATURES: _npy(features)}
    hashes = {kind: hashlib.sha256(data).hexdigest() for kind, data in contents.items()}
    # Of all that the part holds: two runs that write one name write the same bytes.
    name = hashlib.sha256("".join(hashes.values()).encode()).hexdigest()[:16]
    seal = {
        _sealed_name(folder, folder / f"{name}{kind}"): SealedFile(len(data), hashes[kind])
        for kind, data in contents.items()
    }
    with _locked(folder, fcntl.LOCK_SH):
        for kind, data in contents.items():
            write_atomically(folder / f"{name}{kind}", data)
        write_atomically(folder / f"{name}{_SEAL}", manifest_bytes(seal))
    return tuple(f"{name}{kind}" for kind in (*contents, _SEAL))


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def notes_file(folder: Path, content: str) -> Path:
    """Where a cache keeps what the first images of a store showed: views share features alone."""
    return folder / f"first-batch-{content[:12]}.json"


def read_notes(folder: Path, content: str) -> tuple[str, ...] | None:
    """What the first images showed after normalisation; None where nobody looked, or the file is damaged.

    Args:
        folder: Of the cache.
        content: Of the store.
    """
    path = notes_file(folder, content)
    if not path.exists():
        return None
    try:
        facts = open_document(_bytes(path), str(path), error=ProtocolError, fix="The images are looked at again.")
    except ProtocolError as error:
        log.warning("%s", error)
        return None
    notes = facts.get("notes")
    if (facts.get("cache"), facts.get("content")) != (folder.name, content) or not isinstance(notes, list):
        log.warning("%s: is of another cache or store. The images are looked at again.", path)
        return None
    return tuple(map(str, notes))


def write_notes(folder: Path, content: str, notes: Sequence[str]) -> None:
    """Keep what the first images of a store of this content showed."""
    document = seal_document({"cache": folder.name, "content": content, "notes": list(notes)})
    with _locked(folder, fcntl.LOCK_SH):
        write_atomically(notes_file(folder, content), document)


def sweep(folder: Path, num_rows: int) -> CachedParts:
    """Remove what killed runs and damage left in a cache's folder, and read what is whole.

    While another process writes there, nothing is removed.
    """
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        parts, _ = _inspect(folder, num_rows)
        if alone:
            whole = {part.path.name.removesuffix(_FEATURES) for part in parts.files}
            for path in folder.glob("*"):
                if path.name.endswith((_FEATURES, _SEAL, ".part")) and path.name.split(".")[0] not in whole:
                    with suppress(OSError):  # then it stays, and is named again
                        path.unlink()
    return parts


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[bool]:
    """Hold a lock on a folder itself, which leaves no file behind; False where it cannot be had."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, kind)
        except OSError:  # another process has it, or the file system has no locks
            yield False
        else:
            yield True
    finally:
        os.close(handle)
