"""What a kill or a power cut must not undo: bytes on the disk in the right order, one writer a place, no litter.

Whatever is kept appears by a rename: its files are synced, then their folder, then it is renamed, then the folder that
it was renamed in is synced. Work in progress stands under a hidden name beside it that does not change from try to
try, so the next try finds what a killed one left, and takes it over.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.errors import SeamoError

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

_scratch: list["TemporaryDirectory[str]"] = []
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # file systems that lock no folder, or nothing

_PRIVATE = "seamo-build-"  # what the names of private folders begin with


def sync(path: Path) -> None:
    """Put a file's bytes, or a folder's names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """`sync` everything below a folder, the deepest first, and itself; or one file."""
    if path.is_dir():
        for item in sorted(path.iterdir()):
            if not item.is_symlink():
                sync_tree(item)
    sync(path)


def publish(part: Path, out: Path) -> None:
    """Give a finished file or folder its name: synced before and after."""
    sync_tree(part)
    part.rename(out)
    sync(out.parent)


def part_of(out: Path) -> Path:
    """Where an output stands while it is made: hidden, beside it."""
    return out.with_name(f".{out.name}.part")


def sweep(folder: Path, pattern: str = ".*.part") -> list[Path]:
    """Remove what killed runs left in a folder; the caller holds the folder's lock.

    Args:
        folder: Not looked into: only its own items are.
        pattern: Of their names.

    Returns:
        What was removed.
    """
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    for path in found:
        remove(path)
    return found


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def scratch_folder() -> Path:
    """A new folder for files of others that this process works on: gone at `drop_scratch`, or when the process ends."""
    from tempfile import TemporaryDirectory  # not for commands that need none

    if not _scratch:
        from multiprocessing.util import Finalize

        Finalize(None, drop_scratch, exitpriority=0)  # workers, too, which end without `atexit`
    made = TemporaryDirectory(prefix="seamo-scratch-")
    _scratch.append(made)
    return Path(made.name)


def drop_scratch() -> None:
    """Remove all folders of `scratch_folder`: a command has ended."""
    while _scratch:
        _scratch.pop().cleanup()


@contextmanager
def held(path: Path, *, folder: bool, error: type[SeamoError]) -> Iterator[None]:
    """Make a work file or work folder, or take over that of a killed process, and keep others out of it.

    Args:
        path: Made if it is not there. It may be renamed or removed while it is held.
        folder: Whether it is one.
        error: What is raised.

    Raises:
        SeamoError: Of the class `error`: if another process is at work there.
    """
    handle = hold(path, folder=folder)
    if handle is None:
        raise error("another process is writing it", str(path), "Wait for it, or choose another name.")
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def locked(file: Path, *, error: type[SeamoError], what: str) -> Iterator[None]:
    """Hold a lock file, which is gone afterwards; a killed process leaves it, and the next one takes it over.

    It is empty: the lock is the system's (flock), so nothing tells whose it is.

    Args:
        file: The lock; its folder is there.
        error: What is raised.
        what: Is wrong if it is held, as a sentence without a full stop.

    Raises:
        SeamoError: Of the class `error`: if another process holds it.
    """
    handle = hold(file, folder=False)
    if handle is None:
        raise error(what, str(file.parent), "Wait for it, or stop it.")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def is_own_folder(path: Path) -> bool:
    """Make a folder that nobody else may look into, if it is not there; whether it is this user's, and no link."""
    path.mkdir(mode=0o700, exist_ok=True)
    return not path.is_symlink() and path.stat().st_uid == os.getuid()


@contextmanager
def private_folder(below: Path, *, mode: int = 0o700) -> Iterator[Path]:
    """A folder of the caller alone, which is gone afterwards; those that killed processes left there are swept.

    Args:
        below: Where; made if it is not there.
        mode: What others may do in it.
    """
    below.mkdir(parents=True, exist_ok=True)
    for lock in below.glob(f"{_PRIVATE}*.lock"):
        _sweep_private(lock)
    handle = None
    while handle is None:  # whoever sweeps may look at a lock in the moment that it is made
        lock = below / f"{_PRIVATE}{secrets.token_hex(8)}.lock"
        handle = hold(lock, folder=False)
    folder = lock.with_suffix("")
    try:
        folder.mkdir(mode)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(handle)


def _sweep_private(lock: Path) -> None:
    with suppress(OSError):  # another user's, or held; where nothing can be locked, nobody tells, and it stays
        handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        finally:
            os.close(handle)


def write_output(out: Path, data: bytes, *, error: type[SeamoError]) -> None:
    """Write a file that a person asked for, whole or not at all; the next try sweeps what a killed one left.

    Raises:
        SeamoError: Of the class `error`: if it cannot be written, or another process is writing it.
    """
    part = part_of(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with held(part, folder=False, error=error):
            try:
                part.write_bytes(data)
                publish(part, out)
            finally:
                part.unlink(missing_ok=True)
    except OSError as cause:
        raise error(f"cannot be written ({cause.strerror})", str(out), "Make room, or choose another.") from cause


def hold(path: Path, *, folder: bool, shared: bool = False) -> int | None:
    """An open handle that holds the lock until it is closed; None if another process has it.

    Args:
        path: The lock's file, or folder; made if it is not there.
        folder: Whether it is one.
        shared: Others who say so may hold it at the same time.
    """
    while True:
        if folder:
            path.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR | os.O_CREAT
        try:
            handle = os.open(path, flags, 0o666)
        except FileNotFoundError:
            continue  # its holder has just renamed it
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as cause:
            if cause.errno not in _NO_LOCKS:
                os.close(handle)
                raise
        with suppress(FileNotFoundError):
            there, ours = path.stat(), os.fstat(handle)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return handle
        os.close(handle)  # renamed or removed by its holder between the opening and the lock


def share(handle: int) -> None:
    """Let others who share a lock (`hold`) have it, too."""
    _flock(handle, fcntl.LOCK_SH)


def take_alone(handle: int) -> bool:
    """Have a shared lock alone, if nobody else has it; else nobody's is it: try again."""
    _flock(handle, fcntl.LOCK_UN)  # else two who try would wait for each other
    try:
        _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flock(handle: int, how: int) -> None:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        raise
    except OSError as cause:
        if cause.errno not in _NO_LOCKS:
            raise
