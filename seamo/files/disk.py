"""Files of a folder of a local disk: links of whole files, and locks of the kernel."""

import errno
import os
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from seamo.addresses import checked_name
from seamo.disk import hold, sync
from seamo.errors import StoreError
from seamo.files.protocol import Change, ListedFile
from seamo.identity import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_OPEN = 256  # files a folder keeps open; a default Linux process may have 1,024
_PIECE = 2**20  # bytes of a piece of a stream: larger ones take new memory each time
_LONGEST_WAIT_S = 60.0  # for others who change the same object
_PART = ".part"  # the end of the hidden name of a file that is being written


class DiskFiles:
    """`Files` of a folder of a local disk; safe after a fork, too (reads carry their offset).

    Args:
        root: The folder; made when the first file is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = Lock()
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[type["DiskFiles"], tuple[Path]]:
        return DiskFiles, (self.root,)

    def __repr__(self) -> str:
        return f"DiskFiles({self.url!r})"

    @property
    def url(self) -> str:
        """The folder."""
        return str(self.root)

    def where(self, name: str) -> str:
        """The path of a name, for messages."""
        return str(self.root / name)

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def find(self, name: str) -> bytes | None:
        """All bytes of a file; None if it is not there."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; fewer than asked for where the file ends early."""
        try:
            return os.pread(self._file(name).fd, length, offset)
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def read_into(self, name: str, offset: int, out: "NDArray[Any]") -> tuple[int, int]:
        """Fill a contiguous array with the bytes at an offset: how many there were, and their CRC-32C."""
        from seamo.native.checksum import read_into  # numpy, without which addresses are read, too

        try:
            return read_into(self._file(name).fd, offset, out)
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def read_ranges(self, name: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Several ranges of one file."""
        return [self.read_range(name, start, length) for start, length in zip(starts, lengths, strict=True)]

    def stream(self, name: str) -> Iterator[bytes]:
        """All bytes of a file, piece by piece."""
        try:
            with open(f"{self.root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - as above
                while block := file.read(_PIECE):
                    yield block
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        try:
            found = os.stat(f"{self.root}/{name}")  # noqa: PTH116 - a Path costs as much as the call
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name of a file
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link to itself is no file
                return None
            raise _unreadable(self.root / name, error) from error
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.root / name).is_file()

    def names(self, below: str = "") -> Iterator[str]:
        """Every file below a name, but those that are being written."""
        # Strings, and no look at what the listing tells already: there may be a million folders.
        root, homes = os.path.join(self.root, ""), [below.strip("/")]  # noqa: PTH118
        while homes:
            home, entries, folders = homes.pop(), list[os.DirEntry[str]](), []
            with suppress(OSError), os.scandir(root + home) as found:
                entries = list(found)
            lead = f"{home}/" if home else ""
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(lead + entry.name)
                elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112
                    continue  # it may lead back to here
                elif not (entry.name.startswith(".") and entry.name.endswith(_PART)):
                    yield lead + entry.name
            homes += reversed(folders)

    def listing(self, below: str = "") -> Iterator[ListedFile]:
        """Every file below a name, with its size and time of change."""
        for name in self.names(below):
            try:
                found = (self.root / name).stat()
            except OSError as error:
                raise _unreadable(self.root / name, error) from error
            yield ListedFile(name, found.st_size, str(found.st_mtime_ns))

    def folders(self, below: str = "") -> list[str]:
        """Names of the folders that lie directly in a folder, sorted."""
        folder = self.root / below
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def put_once(self, name: str, data: bytes) -> bytes | None:
        """Write a file that is not there yet: whole, synced, and linked to its name, which fails if it is taken."""
        path = self.root / checked_name(name)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while (handle := hold(part, folder=False)) is None:
                continue  # whoever sweeps looked at it in this moment
            try:
                with os.fdopen(handle, "wb") as file:  # held until it has its name: whoever sweeps leaves it
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    os.link(part, path)
                sync(path.parent)
            finally:
                part.unlink(missing_ok=True)
        except FileExistsError:
            there = self.read(name)
            return None if there == data else there
        except OSError as error:
            raise _unwritable(path, error) from error
        return None

    def swap(self, name: str, change: Change) -> bytes:
        """Change one small file under a lock of the kernel; other machines see it where the file system has locks."""
        path = self.root / checked_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f".{path.name}.lock")
            handle = _held(lock)
            try:
                old = self.find(name)
                new = change(old)
                if new != old:
                    write_atomically(path, new)
                return new
            finally:
                lock.unlink(missing_ok=True)
                os.close(handle)
        except OSError as error:
            raise _unwritable(path, error) from error

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, and the folders that are empty then."""
        for name in names:
            path = self.root / checked_name(name)
            try:
                path.unlink(missing_ok=True)
                for folder in path.relative_to(self.root).parents:
                    if folder != Path() and not any((self.root / folder).iterdir()):
                        (self.root / folder).rmdir()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unwritable(path, error) from error

    def probe(self) -> None:
        """Try whether this file system links files, which `put_once` needs."""
        name = f".probe-{secrets.token_hex(8)}"
        try:
            if self.put_once(name, b"1") is not None or self.put_once(name, b"2") != b"1":
                raise StoreError("this disk does not refuse a name that is taken", self.url, "Use another disk.")
        finally:
            self.delete([name])

    def _file(self, name: str) -> "_OpenFile":
        if self._pid != os.getpid():
            # A fork copies the lock as another thread of the parent may have held it: nobody here would open it.
            self._lock, self._pid = Lock(), os.getpid()
        with self._lock:
            file = self._open.get(name)
            if file is None:
                file = self._open[name] = _OpenFile(f"{self.root}/{name}")  # a Path costs as much as opening it
                if len(self._open) > _MAX_OPEN:
                    # Only forgotten here: it closes when the last thread that reads from it lets go.
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(name)
            return file


class _OpenFile:
    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):  # not if opening failed
            os.close(self.fd)


def _held(lock: Path) -> int:
    give_up = time.monotonic() + _LONGEST_WAIT_S
    while (handle := hold(lock, folder=False)) is None:
        if time.monotonic() > give_up:
            raise StoreError("another process is changing it", str(lock.parent), "Wait for it, or stop it.")
        time.sleep(0.002 + secrets.randbelow(20) / 1000)
    return handle


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot be read ({error.strerror})", where=str(path), fix="Build or copy the store again.")


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot be written ({error.strerror})", str(path), "Make room, or choose another folder.")
