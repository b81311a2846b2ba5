"""The last steps of a store or a view: sealed, synced to the disk in the right order, put in place by one rename."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from seamo.disk import hold, sync
from seamo.errors import StoreError
from seamo.identity import write_atomically
from seamo.seal import SealedFile, document_digest, file_names, manifest_bytes, seal_files
from seamo.store import format as fmt
from seamo.store.meta import StoreMeta, meta_bytes

_LITTER = (".*.part", "zarr.*.partial")  # what a kill leaves of write_atomically, and of zarr's own writes


def seal(folder: Path, meta: StoreMeta, *, known: Mapping[str, SealedFile]) -> StoreMeta:
    """Write checksums.json over every file that is there, then store.json, which names it.

    Args:
        folder: Complete but for these two.
        meta: Everything but `seal`.
        known: Files that were read back and hashed when they were written.

    Raises:
        StoreError: If one of the known files is not there any more.
    """
    sweep(folder)
    names = [name for name in file_names(folder) if not is_apart(name)]
    lost = sorted(set(known) - set(names))
    if lost:
        raise StoreError(f"{lost[0]} is not there any more", str(folder), "Build again.")
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
    # The kernel lets go of the lock when its holder dies, however that happens: no lock is ever stale.
    path = final.parent / f".{final.name}.lock"
    lock = hold(path, folder=False)
    if lock is None:
        holder = ""
        with suppress(OSError):
            holder = path.read_bytes()[:200].decode(errors="replace").strip()
        what = f"is being built by another process ({holder or 'unknown'})"
        raise StoreError(what, str(final), "Wait for it, or end it.")
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()}\n".encode(), 0)
    return lock


def is_apart(name: str) -> bool:
    """Whether a file of a store's folder is outside its manifest: the manifest, store.json, views, work files."""
    return name in (fmt.META_NAME, fmt.CHECKSUMS_NAME) or name.partition("/")[0] in (fmt.VIEWS_NAME, fmt.WORK_NAME)


def put_in_place(folder: Path, final: Path) -> None:
    """Rename a complete folder to its name; both parents are synced."""
    sync(folder)
    folder.rename(final)
    sync(final.parent)


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
