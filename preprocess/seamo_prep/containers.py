"""What can hold published files: a folder, a tar, a zip; whole or in parts; several as one."""

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO

from seamo.errors import ArchiveError
from seamo_prep.far import FarFile, folders_of
from seamo_prep.outside import DAMAGE, FREE_BYTES, reading

FETCH_AGAIN = "Fetch the archive again."
UNPACK = "Unpack the archive beside the file."
_MOST_PACKED = 100  # beyond FREE_BYTES: bytes that one byte of an archive may become; imagery reaches some 20


class Container(ABC):
    """Files by their published name, whatever holds them."""

    @abstractmethod
    def list_dir(self, name: str) -> tuple[list[str], list[str]]:
        """Sub-folders and files of one folder, sorted; empty if there is no such folder."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """True for a file."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Bytes of a file; `ArchiveError` if it is not there."""

    @abstractmethod
    def sizes(self) -> Iterator[tuple[str, int]]:
        """(name, bytes) of the files on disk, in a fixed order."""

    @abstractmethod
    def where(self, name: str) -> str:
        """A name for messages."""

    def path(self, name: str) -> Path | None:  # noqa: ARG002 - only a folder has one
        """The file on disk, if it is one by itself."""
        return None

    def file(self, name: str) -> Path | FarFile | None:
        """The same, wherever it lies by itself."""
        return self.path(name)

    def gdal_path(self, name: str) -> str | None:
        """A path under which GDAL reads parts of the file where it lies; None if it can only be read whole."""
        found = self.path(name)
        return None if found is None else str(found)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Bytes of a file, piece by piece where it may be large."""
        yield self.read(name)

    def position(self, name: str) -> int:  # noqa: ARG002 - only an archive has one
        """Where the file stands in reading order."""
        return 0

    def left_out(self) -> Iterator[tuple[str, str]]:
        """(member, reason) of everything that is there and not read."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Joined:
    """One archive as its file, or its parts in order."""

    files: tuple[Path | FarFile, ...]

    @property
    def path(self) -> Path | None:
        """Where it lies on this disk as one file; None if it does not."""
        only = self.files[0] if len(self.files) == 1 else None
        return only.absolute() if isinstance(only, Path) else None

    def open(self) -> BinaryIO:
        """The joined bytes, seekable."""
        return self.files[0].open("rb") if len(self.files) == 1 else io.BufferedReader(_JoinedIO(self.files))

    def size(self) -> int:
        """Bytes of all files."""
        return sum(bytes_of(one) for one in self.files)

    def stamp(self) -> tuple[tuple[object, ...], ...]:
        """What tells one state of each file from another: of one on a disk, size and time of change."""
        return tuple(
            tuple(one.shelf.found[one.at]) if isinstance(one, FarFile) else (one.stat().st_size, one.stat().st_mtime_ns)
            for one in self.files
        )

    def touch(self, offset: int, length: int) -> None:
        """Fetch, at an address, what is about to be read, before whoever reads it takes a lock."""
        start = 0
        for one in self.files:
            if isinstance(one, FarFile):
                low, high = max(offset, start), min(offset + length, start + one.bytes)
                if low < high:
                    one.shelf.touch(one.at, low - start, high - low)
                start += one.bytes

    def forget(self) -> bool:
        """Whether it lies at an address; then it is fetched anew from here on."""
        far = [one for one in self.files if isinstance(one, FarFile)]
        for one in far:
            one.shelf.forget(one.at)
        return bool(far)

    def __str__(self) -> str:
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0]} .. {self.files[-1].name}"


def bytes_of(file: Path | FarFile) -> int:
    """The size of a file, wherever it lies."""
    return file.bytes if isinstance(file, FarFile) else file.stat().st_size


class _JoinedIO(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, files: tuple[Path | FarFile, ...]) -> None:
        self._files = [one.open("rb") for one in files]
        sizes = [bytes_of(one) for one in files]
        self._starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self._size = sum(sizes)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        number = max(i for i, start in enumerate(self._starts) if start <= self._at)
        self._files[number].seek(self._at - self._starts[number])
        done = self._files[number].readinto(buffer)
        self._at += done
        return done

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Several(Container):
    """Several containers as one: a file is taken from the first that has it.

    Args:
        parts: The better ones first.
    """

    parts: tuple[Container, ...]

    def list_dir(self, name: str) -> tuple[list[str], list[str]]:
        """See `Container`."""
        found = [one.list_dir(name) for one in self.parts]
        return sorted({name for one in found for name in one[0]}), sorted({name for one in found for name in one[1]})

    def exists(self, name: str) -> bool:
        """See `Container`."""
        return any(one.exists(name) for one in self.parts)

    def read(self, name: str) -> bytes:
        """See `Container`."""
        return self._holder(name).read(name)

    def path(self, name: str) -> Path | None:
        """See `Container`."""
        return self._holder(name).path(name)

    def file(self, name: str) -> Path | FarFile | None:
        """See `Container`."""
        return self._holder(name).file(name)

    def gdal_path(self, name: str) -> str | None:
        """See `Container`."""
        return self._holder(name).gdal_path(name)

    def pieces(self, name: str) -> Iterator[bytes]:
        """See `Container`."""
        return self._holder(name).pieces(name)

    def position(self, name: str) -> int:
        """See `Container`."""
        return self._holder(name).position(name)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """See `Container`."""
        return (entry for one in self.parts for entry in one.sizes())

    def left_out(self) -> Iterator[tuple[str, str]]:
        """See `Container`."""
        return (entry for one in self.parts for entry in one.left_out())

    def where(self, name: str) -> str:
        """See `Container`."""
        return self._holder(name).where(name)

    def _holder(self, name: str) -> Container:
        return next((one for one in self.parts if one.exists(name)), self.parts[0])


class OpenArchive(Container):
    """An archive file: its members are listed once, when first asked for. Several threads may read it."""

    def __init__(self, source: Joined) -> None:
        self.source = source
        self.lock = RLock()
        self._left_out: dict[str, str] = {}
        self._members: dict[str, tuple[int, int]] | None = None  # name -> (position, bytes)
        self._folders: Mapping[str, tuple[set[str], set[str]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.source, self.source.stamp())

    @property
    def members(self) -> dict[str, tuple[int, int]]:
        """Member -> (position, bytes); safe names only."""
        with self.lock:
            if self._members is None:
                with reading(str(self.source), "cannot be listed", FETCH_AGAIN):
                    try:
                        listed = self._list()
                    except (*DAMAGE, ArchiveError):
                        if not self.source.forget():
                            raise
                        listed = self._list()
                listed = {name: at for name, at in listed.items() if not _is_hidden(name)}
                self._folders, self._members = folders_of(listed), listed
            return self._members

    def leave_out(self, name: str, reason: str) -> None:
        """Note what is not read; without a name it is about the archive."""
        if not _is_hidden(name):
            self._left_out[name.encode("utf-8", "backslashreplace").decode("utf-8")] = reason

    def left_out(self) -> Iterator[tuple[str, str]]:
        """See `Container`; lists the archive."""
        archive = self.source.files[0].name  # kept with the store, so without folders of this machine
        return ((f"{archive}!{name}" if name else archive, why) for name, why in self._left_out.items()
                if self.members is not None)  # fmt: skip

    def names(self) -> Iterator[str]:
        """Every file, in the archive's order."""
        return iter(self.members)

    @abstractmethod
    def _list(self) -> dict[str, tuple[int, int]]: ...

    def list_dir(self, name: str) -> tuple[list[str], list[str]]:
        """See `Container`."""
        if not self.members or name not in self._folders:
            return [], []
        folders, files = self._folders[name]
        return sorted(folders), sorted(files)

    def exists(self, name: str) -> bool:
        """See `Container`."""
        return name in self.members

    def read(self, name: str) -> bytes:
        """See `Container`."""
        if name not in self.members:
            what = self._left_out.get(name, "the file is not there")
            raise ArchiveError(what, self.where(name), UNPACK if name in self._left_out else FETCH_AGAIN)
        size = self.members[name][1]
        if size > max(FREE_BYTES, _MOST_PACKED * self._packed(name)):
            what = f"promises {size:,} bytes, more than {_MOST_PACKED} for each that is stored"
            raise ArchiveError(what, self.where(name), f"If it is no bomb: {UNPACK[0].lower()}{UNPACK[1:]}")
        with reading(self.where(name), "cannot be read", FETCH_AGAIN):
            data = self._read(name)
        if len(data) != size:
            raise ArchiveError("ends too early", self.where(name), FETCH_AGAIN)
        return data

    def _packed(self, name: str) -> int:  # noqa: ARG002 - a zip knows it by member
        """Bytes on disk that hold the member."""
        return self.source.size()

    @abstractmethod
    def _read(self, name: str) -> bytes: ...

    def sizes(self) -> Iterator[tuple[str, int]]:
        """See `Container`."""
        return ((one.name, bytes_of(one)) for one in self.source.files)

    def position(self, name: str) -> int:
        """See `Container`."""
        return self.members[name][0] if name in self.members else 0

    def where(self, name: str) -> str:
        """See `Container`."""
        return f"{self.source}!{name}"

    def safe(self, name: str) -> str:
        """A member's name without a leading `./`; refuses what would lead out of the archive, and what is no text."""
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name or ":" in name:
            raise ArchiveError(f"holds the name {name!r}, which leads out of the archive", str(self.source),
                               "This is not the published file; fetch it again.")  # fmt: skip
        if not name.isascii() and any("\ud800" <= one <= "\udfff" for one in name):
            raise ArchiveError(f"holds the name {name!r}, which is not UTF-8", str(self.source), UNPACK)
        return "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_hidden(name: str) -> bool:
    """Hidden files are no part of any archive (`__MACOSX/._x.tif` looks like a TIFF and is none)."""
    return name.startswith("__MACOSX/") or "/." in name


@lru_cache(maxsize=16)
def _reopen(kind: type[OpenArchive], source: "Joined", stamp: tuple[tuple[object, ...], ...]) -> OpenArchive:  # noqa: ARG001
    """An unpickled archive: one a process and state of its files, so that it is listed once for all tasks."""
    return kind(source)
