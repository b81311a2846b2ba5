"""What can hold published files: a folder, a tar, a zip; whole or in parts; several as one."""

import io
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from seamo.errors import ArchiveError


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

    def where(self, name: str) -> str:
        """See `Container`."""
        return self._holder(name).where(name)

    def _holder(self, name: str) -> Container:
        return next((one for one in self.parts if one.exists(name)), self.parts[0])


class OpenArchive(Container):
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

    def safe(self, name: str) -> str:
        """A member's name without a leading `./`; refuses what would lead out of the archive."""
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name or ":" in name:
            raise ArchiveError(f"holds the name {name!r}, which leads out of the archive", str(self.source),
                               "This is not the published file; fetch it again.")  # fmt: skip
        return "/".join(part for part in name.split("/") if part not in ("", "."))


@lru_cache(maxsize=16)
def _reopen(kind: type[OpenArchive], source: "Joined", stamp: tuple[tuple[int, int], ...]) -> OpenArchive:  # noqa: ARG001
    """An unpickled archive: one a process and state of its files, so that it is listed once for all tasks."""
    return kind(source)


class Zip(OpenArchive):
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
            name = self.safe(info.filename)
            is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
            if info.is_dir() or is_link:
                continue
            members[name] = (info.header_offset, info.file_size)
            self._original[name] = info
        return members

    def _read(self, name: str) -> bytes:
        return self._open().read(self._original[name])

    def gdal_path(self, name: str) -> str | None:
        """See `Container`."""
        is_plain = name in self.members and self._original[name].filename == name and len(self.source.files) == 1
        return f"/vsizip/{{{self.source.files[0].absolute()}}}/{name}" if is_plain else None


class Tar(OpenArchive):
    """An uncompressed tar, read by offset."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._file: BinaryIO | None = None

    def _list(self) -> dict[str, tuple[int, int]]:
        with self.source.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            return tar_members(tar, self)

    def _read(self, name: str) -> bytes:
        if self._file is None:
            self._file = self.source.open()
        offset, size = self.members[name]
        self._file.seek(offset)
        return self._file.read(size)

    def gdal_path(self, name: str) -> str | None:
        """See `Container`."""
        if name not in self.members or len(self.source.files) != 1:
            return None
        offset, size = self.members[name]
        return f"/vsisubfile/{offset}_{size},{self.source.files[0].absolute()}"


def tar_members(tar: tarfile.TarFile, archive: OpenArchive) -> dict[str, tuple[int, int]]:
    """Regular files of an open tar: safe name -> (offset of the data, bytes)."""
    members = {}
    for info in tar:
        name = archive.safe(info.name)
        if info.isreg() and not info.issparse():
            members[name] = (info.offset_data, info.size)
        tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has seen
    return members
