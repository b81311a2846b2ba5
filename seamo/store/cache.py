"""A cache of what was fetched from far, on a disk, with a limit; off unless `SEAMO_CACHE` names a folder.

An entry is a range of a file of pixels that never change, so it is right for ever; a damaged one is fetched again. Any
number of processes share the folder, and any of them may be killed: an entry appears by a rename.
"""

import fcntl
import hashlib
import os
import re
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError, UsageError
from seamo.files.disk import DiskFiles
from seamo.store.format import crc32c
from seamo.store.reader import PixelFiles

FOLDER, LIMIT = "SEAMO_CACHE", "SEAMO_CACHE_LIMIT"
_LEFT = 0.9  # of the limit, when entries must go
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_CRC = struct.Struct("<I")


class CachedFiles:
    """Files of which every range that was read is kept. Thread-safe.

    Args:
        files: What is read where the cache has nothing.
        folder: Of the cache.
        limit: Bytes that it may take.
        pixels: Content hash of what the files hold.
    """

    def __init__(self, files: PixelFiles, folder: Path, limit: int, pixels: str) -> None:
        self.behind = files
        """The same files without the cache."""
        self._folder, self._limit, self._pixels = folder, limit, pixels
        self._root = str(folder)
        self._entries = DiskFiles(folder)  # keeps those open that were read last

    def where(self, name: str) -> str:
        """The address of a name, for messages."""
        return self.behind.where(name)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file, from the cache if they are there and sound.

        Raises:
            StoreError: If they cannot be read. A cache that cannot be written to, or is full, is no error.
        """
        found = _read(self._path(name, offset, length), length)
        if found is not None:
            return found
        data = self.behind.read_range(name, offset, length)
        if len(data) == length:
            self.keep(name, offset, data)
        return data

    def keep(self, name: str, offset: int, data: bytes) -> None:
        """Enter a range that was read, if the cache can be written to and has room."""
        with suppress(OSError):
            self._write(self._path(name, offset, len(data)), data)

    def has(self, name: str, offset: int, length: int) -> bool:
        """Whether the cache has such an entry, which counts as used then; its bytes are not looked at."""
        path = f"{self._root}/{_name(self._pixels, name, offset, length)}"  # no Path: thousands are asked for at once
        try:
            is_whole = os.stat(path).st_size == length + _CRC.size  # noqa: PTH116
            os.utime(path)
        except OSError:
            return False
        return is_whole

    def fill_part(self, name: str, offset: int, length: int, at: int, out: NDArray[np.uint8]) -> int | None:
        """Fill memory from an entry, not held to its checksum: for chunks, which carry their own.

        Args:
            name: Of the file.
            offset: Where the entry begins in it.
            length: Of the entry.
            at: Where the part begins in the entry.
            out: Contiguous; all of it is filled.

        Returns:
            The CRC-32C of what was read; None if there is no such entry.
        """
        try:
            count, checksum = self._entries.read_into(_name(self._pixels, name, offset, length), _CRC.size + at, out)
        except StoreError:
            return None
        return checksum if count == out.nbytes else None

    def drop(self, name: str, offset: int, length: int) -> None:
        """Remove an entry, a chunk of which was wrong."""
        with suppress(OSError):
            self._path(name, offset, length).unlink()

    def _path(self, name: str, offset: int, length: int) -> Path:
        return self._folder / _name(self._pixels, name, offset, length)

    def _write(self, path: Path, data: bytes) -> None:
        size = len(data) + _CRC.size
        if size > self._limit:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _counted(self._folder) as count:
            if count.bytes + size > self._limit:
                count.bytes = _make_room(self._folder, int(self._limit * _LEFT) - size)
            if count.bytes + size > self._limit:
                return
            count.bytes += size  # before it is there: a kill leaves room unused, never too much used
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("wb") as file:
                file.write(_CRC.pack(crc32c(data)))
                file.write(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def cached(files: PixelFiles, pixels: str) -> PixelFiles:
    """The files, behind the cache that the environment asks for, if it does.

    Args:
        files: Of a store that lies behind a network.
        pixels: Its content hash.

    Raises:
        UsageError: If the limit is missing, or no number of bytes.
    """
    folder = os.environ.get(FOLDER, "")
    if not folder:
        return files
    said = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", os.environ.get(LIMIT, ""))
    if said is None:
        raise UsageError(f"{os.environ.get(LIMIT, '')!r} is no size", LIMIT, "For example 200GB.")
    return CachedFiles(files, Path(folder), int(float(said[1]) * _UNITS[said[2]]), pixels)


@lru_cache(maxsize=4096)
def _name(pixels: str, name: str, offset: int, length: int) -> str:
    key = hashlib.sha256(f"{pixels}\n{name}\n{offset}\n{length}".encode()).hexdigest()
    return f"{key[:2]}/{key[2:]}"


def _read(path: Path, length: int) -> bytes | None:
    try:
        with path.open("rb", buffering=0) as file:
            is_whole = os.fstat(file.fileno()).st_size == length + _CRC.size
            said, data = file.read(_CRC.size), file.read(length)
        os.utime(path)  # when it was used last
    except OSError:
        return None
    if not is_whole or len(data) != length or said != _CRC.pack(crc32c(data)):
        with suppress(OSError):
            path.unlink()
        return None
    return data


class _Count:
    """Bytes that entries take, as far as is known."""

    def __init__(self, said: bytes) -> None:
        self.bytes = int(said) if said.isdigit() else -1


@contextmanager
def _counted(folder: Path) -> Iterator[_Count]:
    """The folder's count, which one process at a time may change; the kernel forgets the lock of one that dies."""
    handle = os.open(folder / ".bytes", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        count = _Count(os.pread(handle, 32, 0))
        if count.bytes < 0:
            count.bytes = _make_room(folder, None)
        yield count
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(count.bytes).encode(), 0)
    finally:
        os.close(handle)


def _make_room(folder: Path, most: int | None) -> int:
    """Remove what was unused for longest until no more than so many bytes are left; how many are."""
    entries = []
    for path in folder.glob("*/*"):
        with suppress(OSError):
            facts = path.stat()
            entries.append((facts.st_mtime, facts.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if most is None or total <= most:
            break
        with suppress(OSError):
            path.unlink()
        total -= size
    return total
