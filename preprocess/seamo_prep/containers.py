"""What can hold published files: a folder, a tar, a zip; whole or in parts; several as one."""

import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO

from seamo.errors import ArchiveError
from seamo_prep.links import broken_link, leads_back, missing_target
from seamo_prep.outside import FREE_BYTES, reading

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

    def gdal_path(self, name: str) -> str | None:
        """A path under which GDAL reads parts of the file where it lies; None if it can only be read whole."""
        found = self.path(name)
        return None if found is None else str(found)

    def position(self, name: str) -> int:  # noqa: ARG002 - only an archive has one
        """Where the file stands in reading order."""
        return 0

    def left_out(self) -> Iterator[tuple[str, str]]:
        """(member, reason) of everything that is there and not read."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Tree(Container):
    """An extracted top folder.

    Args:
        root: The folder above it.
        top: Its name; empty if `root` itself is the tree.
    """

    root: Path
    top: str

    def list_dir(self, name: str) -> tuple[list[str], list[str]]:
        """See `Container`; one `os.scandir`."""
        try:
            folders, files = _scan(self._on_disk(name))
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except OSError as error:
            raise ArchiveError(f"cannot be listed ({error.strerror})", self.where(name)) from error
        return [one.name for one in folders], [one.name for one in files]

    def exists(self, name: str) -> bool:
        """See `Container`."""
        return os.path.isfile(self._on_disk(name))  # noqa: PTH113 - called millions of times, a Path costs more

    def read(self, name: str) -> bytes:
        """See `Container`."""
        try:
            with open(self._on_disk(name), "rb", buffering=0, opener=_open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ArchiveError("is a pipe or a device, no plain file", self.where(name), "Put the file there.")
                return file.readall()
        except OSError as error:
            if target := missing_target(self._on_disk(name)):
                what, fix = broken_link(target)
                raise ArchiveError(what, self.where(name), fix) from error
            if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
                raise ArchiveError("the file is not there", self.where(name), "Unpack the archive again.") from error
            raise ArchiveError(f"cannot be read ({error.strerror})", self.where(name)) from error

    def path(self, name: str) -> Path | None:
        """See `Container`."""
        return Path(self._on_disk(name)) if self.exists(name) else None

    def sizes(self) -> Iterator[tuple[str, int]]:
        """See `Container`."""
        return self._walk(str(self.root / self.top), self.top)

    def where(self, name: str) -> str:
        """See `Container`."""
        return str(self.root / name)

    def _on_disk(self, name: str) -> str:
        if name.startswith("/") or ".." in name.split("/"):
            raise ArchiveError(
                f"the name {name!r} leads out of the folder", str(self.root), "Correct the list it is in."
            )
        return f"{self.root}/{name}"

    def _walk(self, folder: str, name: str) -> Iterator[tuple[str, int]]:
        try:
            folders, files = _scan(folder)
        except OSError as error:
            raise ArchiveError(f"cannot be listed ({error.strerror})", folder) from error
        for entry in sorted((*folders, *files), key=lambda one: one.name):
            inner = f"{name}/{entry.name}" if name else entry.name
            if entry in folders:
                yield from self._walk(entry.path, inner)
            elif not missing_target(entry.path):
                yield inner, entry.stat().st_size


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would be waited for


def _scan(folder: str) -> tuple[list["os.DirEntry[str]"], list["os.DirEntry[str]"]]:
    """Sub-folders and files, both sorted by name, without hidden ones and without links that lead back."""
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                if not entry.is_symlink():
                    (folders if entry.is_dir() else files).append(entry)
                elif not os.path.isdir(entry.path):  # noqa: PTH112 - false for a link to itself, where is_dir raises
                    files.append(entry)
                elif not leads_back(entry.path):
                    folders.append(entry)
    return sorted(folders, key=lambda one: one.name), sorted(files, key=lambda one: one.name)


@dataclass(frozen=True, slots=True)
class Joined:
    """One archive as its file, or its parts in order."""

    files: tuple[Path, ...]

    def open(self) -> BinaryIO:
        """The joined bytes, seekable."""
        return self.files[0].open("rb") if len(self.files) == 1 else io.BufferedReader(_JoinedIO(self.files))

    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.stat().st_size for one in self.files)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Size and time of change of each file: what tells one state of the archive from another."""
        found = [one.stat() for one in self.files]
        return tuple((one.st_size, one.st_mtime_ns) for one in found)

    def __str__(self) -> str:
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0]} .. {self.files[-1].name}"


class _JoinedIO(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = [one.open("rb", buffering=0) for one in files]
        sizes = [one.stat().st_size for one in files]
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

    def gdal_path(self, name: str) -> str | None:
        """See `Container`."""
        return self._holder(name).gdal_path(name)

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
        self._folders: dict[str, tuple[set[str], set[str]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.source, self.source.stamp())

    @property
    def members(self) -> dict[str, tuple[int, int]]:
        """Member -> (position, bytes); safe names only."""
        with self.lock:
            if self._members is None:
                with reading(str(self.source), "cannot be listed", FETCH_AGAIN):
                    listed = self._list()
                self._folders = {"": (set(), set())}
                listed = {name: at for name, at in listed.items() if not _is_hidden(name)}
                for name in listed:
                    self._add_parents(name)
                self._members = listed
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
        return ((one.name, one.stat().st_size) for one in self.source.files)

    def position(self, name: str) -> int:
        """See `Container`."""
        return self.members[name][0] if name in self.members else 0

    def where(self, name: str) -> str:
        """See `Container`."""
        return f"{self.source}!{name}"

    def _add_parents(self, name: str) -> None:
        parent, _, leaf = name.rpartition("/")
        if parent not in self._folders:
            self._folders[parent] = (set(), set())
            folder = parent
            while folder:
                above, _, last = folder.rpartition("/")
                known = above in self._folders
                self._folders.setdefault(above, (set(), set()))[0].add(last)
                if known:
                    break
                folder = above
        self._folders[parent][1].add(leaf)

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
def _reopen(kind: type[OpenArchive], source: "Joined", stamp: tuple[tuple[int, int], ...]) -> OpenArchive:  # noqa: ARG001
    """An unpickled archive: one a process and state of its files, so that it is listed once for all tasks."""
    return kind(source)
