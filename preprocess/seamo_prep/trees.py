"""Extracted folders of published files: on a disk, or at an address."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seamo.errors import ArchiveError
from seamo_prep.containers import Container
from seamo_prep.far import FarFile, Shelf
from seamo_prep.links import broken_link, leads_back, missing_target

_MORE = 2**24  # bytes that a further call asks for


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
            file = os.open(
                self._on_disk(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )  # a pipe would be waited for
            try:
                state = os.fstat(file)
                if stat.S_ISDIR(state.st_mode):
                    raise IsADirectoryError
                if not stat.S_ISREG(state.st_mode):
                    raise ArchiveError("is a pipe or a device, no plain file", self.where(name), "Put the file there.")
                return _whole(file, state.st_size)
            finally:
                os.close(file)
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

    def missing_target(self, name: str) -> str:
        """Where a link points that leads to nothing; empty for anything else."""
        return missing_target(self.root / name)

    def below(self, folder: str) -> "Tree":
        """One of its folders as the root of a tree."""
        return Tree(self.root / folder, "")

    def only(self, top: str) -> "Tree":
        """One of its top folders, names as here."""
        return Tree(self.root, top)

    def where(self, name: str) -> str:
        """See `Container`."""
        return f"{self.root}/{name}" if name else str(self.root)

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
        below = {one.name for one in folders}
        for entry in sorted((*folders, *files), key=lambda one: one.name):
            inner = f"{name}/{entry.name}" if name else entry.name
            if entry.name in below:
                yield from self._walk(entry.path, inner)
            elif not entry.is_symlink() or not missing_target(entry.path):
                yield inner, entry.stat().st_size


def _whole(file: int, size: int) -> bytes:
    """All that an open file holds; one call where that is its size, for archives hold millions of small ones."""
    pieces = [os.read(file, size + 1)]
    while pieces[-1] and len(pieces[0]) != size:  # longer than one call gives, or written to meanwhile
        pieces.append(os.read(file, _MORE))
    return b"".join(pieces)


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
class FarTree(Container):
    """An extracted top folder at an address.

    Args:
        shelf: What lies around it.
        top: Its name; empty if all of that is the tree.
    """

    shelf: Shelf
    top: str = ""

    def list_dir(self, name: str) -> tuple[list[str], list[str]]:
        """See `Container`."""
        folders, files = self.shelf.folders.get(name, ((), ()))
        return sorted(folders), sorted(one for one in files if one not in folders)

    def exists(self, name: str) -> bool:
        """See `Container`."""
        return name in self.shelf.found

    def read(self, name: str) -> bytes:
        """See `Container`."""
        self._check(name)
        return self.shelf.read_whole(name)

    def file(self, name: str) -> FarFile | None:
        """See `Container`."""
        return FarFile(self.shelf, name) if self.exists(name) else None

    def pieces(self, name: str) -> Iterator[bytes]:
        """See `Container`."""
        self._check(name)
        return self.shelf.pieces(name)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """See `Container`; in the order of a folder on a disk."""
        names = (one for one in self.shelf.found if not self.top or one.startswith(f"{self.top}/"))
        for name in sorted(names, key=lambda one: one.split("/")):
            yield name, self.shelf.found[name].bytes

    def where(self, name: str) -> str:
        """See `Container`."""
        return f"{self.shelf.url}/{name}" if name else self.shelf.url

    def missing_target(self, name: str) -> str:  # noqa: ARG002 - as of `Tree`
        """There are no links."""
        return ""

    def below(self, folder: str) -> "FarTree":
        """One of its folders as the root of a tree."""
        return FarTree(self.shelf.below(folder))

    def only(self, top: str) -> "FarTree":
        """One of its top folders, names as here."""
        return FarTree(self.shelf, top)

    def _check(self, name: str) -> None:
        if name not in self.shelf.found:
            raise ArchiveError("the file is not there", self.where(name), "Put it there, or unpack the archive again.")
