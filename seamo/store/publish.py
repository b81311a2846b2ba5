"""The last steps of a store or a view: sealed, synced to the disk in the right order, put in place by one rename."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from seamo.disk import hold, sync
from seamo.errors import StoreError
from seamo.identity import write_atomically
from seamo.seal import SealedFile, document_digest, file_names, manifest_bytes, seal_files
from seamo.store import format as fmt
from seamo.store.meta import StoreMeta, meta_bytes

_PATIENCE_S = 5.0  # with who has a store's lock alone: a builder who begins or ends has it for a moment
_TICK_S = 0.05
_LITTER = (".*.part", "zarr.*.partial")  # what a kill leaves of write_atomically, and of zarr's own writes


def seal(folder: Path, meta: StoreMeta, *, known: Mapping[str, SealedFile]) -> StoreMeta:
    """Write checksums.json over every file that is there or known, then store.json, which names it.

    Args:
        folder: Complete but for these two, and for known files that lie elsewhere.
        meta: Everything but `seal`.
        known: Files that were read back and hashed when they were written.
    """
    sweep(folder)
    names = [name for name in file_names(folder) if not is_apart(name)]
    for name in names:
        if name not in known:
            sync(folder / name)
    files = {**seal_files(folder, [name for name in names if name not in known]), **known}
    data = manifest_bytes(files)
    write_atomically(folder / fmt.CHECKSUMS_NAME, data)
    for path in sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True):
        sync(path)
    sync(folder)
    sealed = meta.model_copy(update={"seal": document_digest(data)})
    write_atomically(folder / fmt.META_NAME, meta_bytes(sealed))
    return sealed


def build_lock(final: Path) -> int:
    """Take the lock of one store's name; the file descriptor holds it until it is closed.

    Raises:
        StoreError: If another process has it.
    """
    lock = _held(final, shared=False)
    if lock is None:
        raise _is_held(final)
    return lock


def builders_lock(final: Path) -> tuple[int, bool]:
    """Take the lock of one store's name as one of its builders; and whether nobody else has it.

    The first one has it alone, until he shares it (`share`): so that he can make ready.

    Raises:
        StoreError: If another process has it alone, and keeps it.
    """
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        lock = _held(final, shared=False)
        if lock is not None:
            return lock, True
        lock = _held(final, shared=True)
        if lock is not None:
            return lock, False
        if time.monotonic() > give_up:
            raise _is_held(final)
        time.sleep(_TICK_S)


def _held(final: Path, *, shared: bool) -> int | None:
    # The kernel lets go of the lock when its holder dies, however that happens: no lock is ever stale.
    lock = hold(_lock_file(final), folder=False, shared=shared)
    if lock is not None:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}\n".encode(), 0)
    return lock


def _lock_file(final: Path) -> Path:
    return final.parent / f".{final.name}.lock"


def _is_held(final: Path) -> StoreError:
    holder = ""
    with suppress(OSError):
        holder = _lock_file(final).read_bytes()[:200].decode(errors="replace").strip()
    what = f"another process is at work on it ({holder or 'unknown'})"
    return StoreError(what, str(final), "Wait for it, or end it.")


def is_apart(name: str) -> bool:
    """Whether a file of a store's folder is outside its manifest: the manifest, store.json, views, work files."""
    return name in (fmt.META_NAME, fmt.CHECKSUMS_NAME) or name.partition("/")[0] in (fmt.VIEWS_NAME, fmt.WORK_NAME)


def put_in_place(folder: Path, final: Path) -> None:
    """Rename a complete folder to its name; both parents are synced."""
    sync(folder)
    folder.rename(final)
    sync(final.parent)


def put_made(final: Path, make: Callable[[Path], None]) -> None:
    """Have a folder made under a hidden name, and give it its name; what a killed process left there goes first."""
    folder = final.with_name(f".{final.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    put_in_place(folder, final)


def sweep(folder: Path, *, work: bool = False) -> None:
    """Take away what killed builders left in a store's folder; nothing that a store holds has such a name.

    Args:
        folder: Of a store, published or not.
        work: Also the folder of work files, which a published store does not need.
    """
    for pattern in _LITTER:
        for path in folder.rglob(pattern):
            path.unlink(missing_ok=True)
    for path in (folder / fmt.VIEWS_NAME).glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)
    if work:
        shutil.rmtree(folder / fmt.WORK_NAME, ignore_errors=True)
