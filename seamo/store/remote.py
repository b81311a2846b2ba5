"""File access, in one place. Local files now; a bucket would be a second class with the same two methods."""

import os
import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

from seamo.errors import StoreError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/")
_MAX_OPEN = 256  # files a store keeps open; a default Linux process may have 1,024


def local_path(url: str | Path) -> Path:
    """The local path that a url names (`file://` or a plain path).

    Raises:
        StoreError: For any other scheme, which seamo cannot read yet.
    """
    # A Path has swallowed one slash of `s3://bucket`; it must not become a local folder named `s3:`.
    found = _ADDRESS.match(str(url))
    if found is None:
        return Path(url)
    if found[1] != "file":
        raise _not_local(found[1], str(url))
    return Path(unquote(urlsplit(str(url)).path))


def _not_local(scheme: str, url: str) -> StoreError:
    from obstore import parse_scheme  # not for local paths: it takes a twentieth of a second
    from obstore.exceptions import BaseError

    try:
        parse_scheme(f"{scheme}://bucket/prefix")
    except BaseError:
        fix = "Name a local path."
        return StoreError(f"{scheme}:// is no kind of address that holds stores", where=url, fix=fix)
    fix = "Work on a local disk and copy the store."
    return StoreError(f"{scheme}:// addresses are not supported yet", where=url, fix=fix)


class LocalFiles:
    """Byte ranges of files below one folder. Thread-safe, and safe after a fork (reads carry their offset).

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = Lock()
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[type["LocalFiles"], tuple[Path]]:
        return LocalFiles, (self.root,)

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            StoreError: If it cannot be read.
        """
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; fewer than asked for where the file ends early.

        Raises:
            StoreError: If it cannot be read.
        """
        try:
            return os.pread(self._file(name).fd, length, offset)
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def _file(self, name: str) -> "_OpenFile":
        if self._pid != os.getpid():
            # A fork copies the lock as another thread of the parent may have held it: nobody here would open it.
            self._lock, self._pid = Lock(), os.getpid()
        with self._lock:
            file = self._open.get(name)
            if file is None:
                file = self._open[name] = _OpenFile(self.root / name)
                if len(self._open) > _MAX_OPEN:
                    # Only forgotten here: it closes when the last thread that reads from it lets go.
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(name)
            return file


class _OpenFile:
    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):  # not if opening failed
            os.close(self.fd)


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot be read ({error.strerror})", where=str(path), fix="Build or copy the store again.")
