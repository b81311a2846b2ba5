"""RAW at an address: what one listing found there, what was read last, and files that GDAL needs as files.

Archives are read by ranges, and all threads of a process share what was fetched. What a decoder can only read from a
disk is brought into files without a name, of which there are no more than `SCRATCH`: they are gone when the process is,
however it ends.
"""

import errno
import hashlib
import io
import logging
import os
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import BoundedSemaphore, Lock
from typing import BinaryIO, NamedTuple, cast

from seamo.addresses import is_web, join
from seamo.errors import ArchiveError, StoreError
from seamo.files import Files, ListedFile, open_files

BLOCK = 4 * 2**20
"""Bytes that are fetched at once where one piece follows another."""
KEPT = 24 * BLOCK
"""Bytes of what was fetched last that a process keeps."""
SCRATCH = 16
"""Files that a process brings to its own disk at most."""

_LOG = logging.getLogger(__name__)
_LEAST = 2**15  # bytes of a request, and of the buffer of an open file
_NEAR = 2**20  # bytes that may lie between two pieces of which one follows the other
_SPANS = 64  # that are kept at most
_LOCKS = 64  # no two threads fetch one piece, or bring one file
_OFTEN = 8  # times that an archive is fetched until a line says so
_STEP = 8 * BLOCK  # bytes of a large file that are fetched at once
_AT_REST = "Give the same command again when what lies there is at rest."


class _Span(NamedTuple):
    name: str
    start: int
    data: bytes

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


class Shelf:
    """What lies at an address. Several threads may read it.

    Hidden files (a name that starts with a dot, anywhere in the path) are none of it, as on a disk. It pickles as its
    address: listed again once a process, and refused if something else lies there by then.

    Args:
        url: Its address.
        tried: On a web server, which lists nothing: the names that are asked for.
        found: What a listing of another place has found here; None: it is listed.

    Raises:
        StoreError: If nothing answers, or it may not be read.
    """

    def __init__(self, url: str, tried: Iterable[str] = (), *, found: Iterable[ListedFile] | None = None) -> None:
        self.files: Files = open_files(url)
        self.url = self.files.url
        self._tried = tuple(sorted(tried))
        if found is None:
            found = _asked(self.files, self._tried) if is_web(url) else self.files.listing()
        listed = {one.name: one for one in found if not one.name.startswith(".") and "/." not in one.name}
        self.folders = folders_of(listed)
        # Some tools put an empty file by the name of each folder.
        self.found: dict[str, ListedFile] = {name: one for name, one in listed.items() if name not in self.folders}
        self._spans: list[_Span] = []
        self._fetched: defaultdict[str, int] = defaultdict(int)
        self._lock, self._locks = Lock(), [Lock() for _ in range(_LOCKS)]

    def __reduce__(self) -> tuple[Callable[..., "Shelf"], tuple[str, tuple[str, ...], str]]:
        return _listed_again, (self.url, self._tried, self.digest())

    def below(self, folder: str) -> "Shelf":
        """The same from one of its folders on."""
        lead = f"{folder}/"
        tried = [name.removeprefix(lead) for name in self._tried if name.startswith(lead)]
        inside = (one for name, one in self.found.items() if name.startswith(lead))
        return Shelf(join(self.url, folder), tried, found=[one._replace(name=one.name[len(lead) :]) for one in inside])

    def digest(self) -> str:
        """Sha256 of what lies here: names, sizes and the server's own marks."""
        state = hashlib.sha256()
        for name in sorted(self.found):
            state.update(repr(tuple(self.found[name])).encode())
        return state.hexdigest()

    def where(self, name: str) -> str:
        """The address of a name, for messages."""
        return self.files.where(name)

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """Bytes of a file, fewer only at its end. Of small pieces that follow one another many are one request.

        Raises:
            StoreError: If the server does not give them.
        """
        stop = min(offset + length, self.found[name].bytes)
        if stop <= offset:
            return b""
        if stop - offset > 2 * BLOCK:
            return self._range(name, offset, stop)
        data = self._find(name, offset, stop)
        if data is None:
            with self._locks[hash((name, offset // BLOCK)) % _LOCKS]:
                data = self._find(name, offset, stop)
                if data is None:
                    data = self._fetch(name, offset, stop)
        return data

    def read_whole(self, name: str) -> bytes:
        """A file as it is, in one request unless it is large; nothing of it is kept."""
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, piece by piece."""
        size = self.found[name].bytes
        for start in range(0, size, _STEP):
            yield self._range(name, start, min(start + _STEP, size))

    def touch(self, name: str, offset: int, length: int) -> None:
        """Have a small piece in memory before whoever reads it takes a lock of his own."""
        if length <= BLOCK:
            self.read_at(name, offset, length + 2 * _LEAST)

    def forget(self, name: str) -> None:
        """Fetch anew what is read of a file from here on: a byte may have turned on its way."""
        with self._lock:
            self._spans = [one for one in self._spans if one.name != name]

    def _find(self, name: str, start: int, stop: int) -> bytes | None:
        with self._lock:
            for number in range(len(self._spans) - 1, -1, -1):
                span = self._spans[number]
                if span.name == name and span.start <= start and stop <= span.stop:
                    self._spans.append(self._spans.pop(number))
                    return span.data[start - span.start : stop - span.start]
        return None

    def _fetch(self, name: str, start: int, stop: int) -> bytes:
        with self._lock:
            follows = any(one.name == name and one.start <= start <= one.stop + _NEAR for one in self._spans)
        end = max(stop, start + (BLOCK if follows else _LEAST))
        data = self._range(name, start, min(end, self.found[name].bytes))
        with self._lock:
            self._spans.append(_Span(name, start, data))
            while len(self._spans) > _SPANS or sum(len(one.data) for one in self._spans) > KEPT:
                del self._spans[0]
        return data[: stop - start]

    def _range(self, name: str, start: int, stop: int) -> bytes:
        data = self.files.read_range(name, start, stop - start)
        if len(data) != stop - start:
            raise StoreError("became shorter while it was read", self.where(name), _AT_REST)
        size = self.found[name].bytes
        if size > KEPT:
            with self._lock:
                before = self._fetched[name]
                self._fetched[name] = after = before + len(data)
            if before <= _OFTEN * size < after:
                _LOG.warning("reading=%s over and over, as its members are not in the order of the samples; "
                             "fetch it to a disk", self.where(name))  # fmt: skip
        return data


@dataclass(frozen=True, slots=True)
class FarFile:
    """A file at an address, with as much of a `Path` as readers of archives use.

    Args:
        shelf: Where it lies.
        at: Its name there.
    """

    shelf: Shelf
    at: str

    @property
    def name(self) -> str:
        """Its last name."""
        return self.at.rpartition("/")[2]

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.shelf.found[self.at].bytes

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Open it to be read at any place."""
        del mode  # there is no other
        return io.BufferedReader(_FarIO(self), buffer_size=_LEAST)

    def __str__(self) -> str:
        return self.shelf.where(self.at)


class _FarIO(io.RawIOBase):
    def __init__(self, file: FarFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.bytes}[whence]
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._file.shelf.read_at(self._file.at, self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class ScratchFolder:
    """Files without a name on this disk, of which the oldest make room. Several threads may use it."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, BinaryIO] = OrderedDict()
        self._lock, self._locks = Lock(), [Lock() for _ in range(_LOCKS)]
        self._room, self._making = BoundedSemaphore(SCRATCH), 0

    def __reduce__(self) -> tuple[type["ScratchFolder"], tuple[()]]:
        return ScratchFolder, ()

    def __len__(self) -> int:
        return len(self._files)

    def bring(self, name: str, pieces: Callable[[], Iterator[bytes]]) -> BinaryIO:
        """The file of that name, made if it is not there; it stays as long as somebody holds it.

        Raises:
            ArchiveError: If there is no room.
        """
        with self._locks[hash(name) % _LOCKS], self._room:
            with self._lock:
                if name in self._files:
                    return self._files[name]
                self._making += 1
                while self._files and len(self._files) + self._making > SCRATCH:
                    self._files.popitem(last=False)
            try:
                file = _written(name, pieces())
            finally:
                with self._lock:
                    self._making -= 1
            with self._lock:
                self._files[name] = file
            return file


def path_of(file: BinaryIO) -> str:
    """A path by which another library opens a file without a name."""
    return f"/proc/self/fd/{file.fileno()}"


def folders_of(names: Iterable[str]) -> Mapping[str, tuple[set[str], set[str]]]:
    """Folder -> names of the folders, and of the files, that lie directly in it; the one around all is ''.

    Example:
        >>> folders_of(["a/b", "a/c/d"])["a"]
        ({'c'}, {'b'})
    """
    found: dict[str, tuple[set[str], set[str]]] = {"": (set(), set())}
    for name in names:
        folder, _, leaf = name.rpartition("/")
        is_new = folder not in found
        found.setdefault(folder, (set(), set()))[1].add(leaf)
        while is_new:
            folder, _, last = folder.rpartition("/")
            is_new = folder not in found
            found.setdefault(folder, (set(), set()))[0].add(last)
    return found


def _written(name: str, pieces: Iterator[bytes]) -> BinaryIO:
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - whoever reads it outlives this
    try:
        for piece in pieces:
            file.write(piece)
        file.flush()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        what = f"has no room for {name}"
        raise ArchiveError(what, tempfile.gettempdir(), "Set TMPDIR to a folder with more.") from error
    return file


def _asked(files: Files, names: Iterable[str]) -> Iterator[ListedFile]:
    for name in names:
        size = files.size(name)
        if size is not None:
            yield ListedFile(name, size, "")


@lru_cache(maxsize=4)
def _listed_again(url: str, tried: tuple[str, ...], digest: str) -> Shelf:
    shelf = Shelf(url, tried)
    if shelf.digest() != digest:
        raise ArchiveError("is not what lay there when the work began", url, _AT_REST)
    return shelf
