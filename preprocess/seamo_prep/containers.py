"""What can hold published files: a folder, a tar, a zip, a compressed tar; whole or in parts."""

import gzip
import io
import logging
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from seamo.errors import ArchiveError

_LOG = logging.getLogger(__name__)
_KEEP_BYTES = 256 << 20  # of what a forward cursor passed


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

    def position(self, name: str) -> int:  # noqa: ARG002 - only an archive has one
        """Where the file stands in reading order."""
        return 0


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
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(self._on_disk(name)) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if entry.is_dir() else files).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        return sorted(folders), sorted(files)

    def exists(self, name: str) -> bool:
        """See `Container`."""
        return os.path.isfile(self._on_disk(name))  # noqa: PTH113 - called millions of times, a Path costs more

    def read(self, name: str) -> bytes:
        """See `Container`."""
        try:
            with open(self._on_disk(name), "rb", buffering=0) as file:  # noqa: PTH123 - as above
                return file.readall()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ArchiveError("the file is not there", self.where(name), "Unpack the archive again.") from error
        except OSError as error:
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
        with os.scandir(folder) as entries:
            listed = sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
        for entry in listed:
            inner = f"{name}/{entry.name}" if name else entry.name
            if entry.is_dir():
                yield from self._walk(entry.path, inner)
            else:
                yield inner, entry.stat().st_size


@dataclass(frozen=True, slots=True)
class Joined:
    """One archive as its file, or its parts in order."""

    files: tuple[Path, ...]

    def open(self) -> BinaryIO:
        """The joined bytes, seekable."""
        return self.files[0].open("rb") if len(self.files) == 1 else io.BufferedReader(_JoinedIO(self.files))

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


class Archive(Container):
    """An archive file: its members are listed once, when first asked for."""

    def __init__(self, source: Joined) -> None:
        self.source = source
        self._members: dict[str, tuple[int, int]] | None = None  # name -> (position, bytes)
        self._folders: dict[str, tuple[set[str], set[str]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.source, self.source.stamp())

    @property
    def members(self) -> dict[str, tuple[int, int]]:
        """Member -> (position, bytes); safe names only."""
        if self._members is None:
            try:
                listed = self._list()
            except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
                raise ArchiveError(f"cannot be listed ({error})", str(self.source), "Fetch it again.") from error
            self._folders = {"": (set(), set())}
            # Hidden files are no part of any archive (`__MACOSX/._x.tif` looks like a TIFF and is none).
            listed = {name: at for name, at in listed.items() if not name.startswith("__MACOSX/") and "/." not in name}
            for name in listed:
                self._add_parents(name)
            self._members = listed
        return self._members

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
            raise ArchiveError("the file is not there", self.where(name), "Fetch the archive again.")
        try:
            data = self._read(name)
        except (zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
            raise ArchiveError(f"cannot be read ({error})", self.where(name), "Fetch the archive again.") from error
        if len(data) != self.members[name][1]:
            raise ArchiveError("ends too early", self.where(name), "Fetch the archive again.")
        return data

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

    def _safe(self, name: str) -> str:
        """A member's name without a leading `./`; refuses what would lead out of the archive."""
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name or ":" in name:
            raise ArchiveError(f"holds the name {name!r}, which leads out of the archive", str(self.source),
                               "This is not the published file; fetch it again.")  # fmt: skip
        return "/".join(part for part in name.split("/") if part not in ("", "."))


@lru_cache(maxsize=16)
def _reopen(kind: type[Archive], source: "Joined", stamp: tuple[tuple[int, int], ...]) -> Archive:  # noqa: ARG001
    """An unpickled archive: one a process and state of its files, so that it is listed once for all tasks."""
    return kind(source)


class Zip(Archive):
    """A zip file, read member by member in place."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._zip: zipfile.ZipFile | None = None

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = zipfile.ZipFile(self.source.open())
        return self._zip

    def _list(self) -> dict[str, tuple[int, int]]:
        members = {}
        self._original: dict[str, zipfile.ZipInfo] = {}
        for info in self._open().infolist():
            name = self._safe(info.filename)
            is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
            if info.is_dir() or is_link:
                continue
            members[name] = (info.header_offset, info.file_size)
            self._original[name] = info
        return members

    def _read(self, name: str) -> bytes:
        return self._open().read(self._original[name])


class Tar(Archive):
    """An uncompressed tar, read by offset."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._file: BinaryIO | None = None

    def _list(self) -> dict[str, tuple[int, int]]:
        with self.source.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            return _tar_members(tar, self)

    def _read(self, name: str) -> bytes:
        if self._file is None:
            self._file = self.source.open()
        offset, size = self.members[name]
        self._file.seek(offset)
        return self._file.read(size)


class TarGz(Archive):
    """A gzipped tar, read by a cursor that goes forward and keeps what it passed last."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._stream: IO[bytes] | None = None
        self._passed: OrderedDict[str, bytes] = OrderedDict()
        self._order: list[str] = []
        self._next = 0
        self._kept_bytes = 0

    def _open(self) -> IO[bytes]:
        return cast(IO[bytes], gzip.GzipFile(fileobj=self.source.open(), mode="rb"))

    def _list(self) -> dict[str, tuple[int, int]]:
        with self._open() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            return _tar_members(tar, self)

    def _read(self, name: str) -> bytes:
        if name in self._passed:
            return self._passed[name]
        offset = self.members[name][0]
        if not self._order:
            self._order = sorted(self.members, key=self.position)
        if self._stream is None or self._next >= len(self._order) or offset < self.members[self._order[self._next]][0]:
            if self._stream is not None:
                _LOG.warning("reading=%s from its start again; gunzip it for random access", self.source)
                self._stream.close()
            self._stream, self._next, self._kept_bytes = self._open(), 0, 0
            self._passed.clear()
        while True:
            passing = self._order[self._next]
            start, size = self.members[passing]
            self._stream.seek(start)  # GzipFile reads and drops what lies between
            data = self._stream.read(size)
            self._next += 1
            self._keep(passing, data)
            if passing == name:
                return data

    def _keep(self, name: str, data: bytes) -> None:
        self._passed[name] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > _KEEP_BYTES and len(self._passed) > 1:
            self._kept_bytes -= len(self._passed.popitem(last=False)[1])


def _tar_members(tar: tarfile.TarFile, archive: Archive) -> dict[str, tuple[int, int]]:
    members = {}
    for info in tar:
        name = archive._safe(info.name)
        if info.isreg() and not info.issparse():
            members[name] = (info.offset_data, info.size)
        tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has seen
    return members


def open_container(source: Joined, name: str) -> Container:
    """The container for an archive file's name (without `.partXX`).

    Raises:
        ArchiveError: For a form that is not supported.
    """
    kinds: dict[str, type[Archive]] = {".zip": Zip, ".tar": Tar, ".tar.gz": TarGz, ".tgz": TarGz}
    for suffix, kind in kinds.items():
        if name.endswith(suffix):
            return kind(source)
    raise ArchiveError("this kind of archive cannot be read in place yet", str(source), "Unpack it beside the file.")
