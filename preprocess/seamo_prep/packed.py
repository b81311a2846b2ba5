"""Compressed tars, read by a cursor that goes forward; and the container for an archive's name."""

import gzip
import io
import logging
import os
import threading
from abc import abstractmethod
from collections import OrderedDict
from typing import IO, BinaryIO, cast

from seamo.errors import ArchiveError
from seamo_prep.containers import Joined, OpenArchive
from seamo_prep.tars import Tar, tar_members
from seamo_prep.zips import Zip

_LOG = logging.getLogger(__name__)
_KEEP_BYTES = 48 << 20  # of what a forward cursor passed


class _PackedTar(OpenArchive):
    """A compressed tar, read by a cursor a thread, which goes forward and keeps what it passed last."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._cursors = threading.local()
        self._places: list[tuple[int, int]] = []  # (offset, bytes) of all members, in the archive's order

    @abstractmethod
    def _open(self) -> IO[bytes]: ...

    def _list(self) -> dict[str, tuple[int, int]]:
        with self._open() as stream:
            return tar_members(stream, self, total=None)

    def _read(self, name: str) -> bytes:
        place = self.members[name]
        with self.lock:
            self._places = self._places or sorted(set(self.members.values()))
        cursor: _Cursor | None = getattr(self._cursors, "cursor", None)
        if cursor is None or cursor.is_behind(place):
            if cursor is not None:
                _LOG.warning("reading=%s from its start again; decompress it for random access", self.source)
                cursor.stream.close()
            self._cursors.cursor = cursor = _Cursor(self._open())
        return cursor.read(place, self._places)


class _Cursor:
    """Where one thread stands in a compressed tar."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self._passed: OrderedDict[int, bytes] = OrderedDict()  # offset -> data
        self._kept_bytes = 0
        self._next = 0  # position in `places`
        self._last = -1  # offset that was passed last

    def is_behind(self, place: tuple[int, int]) -> bool:
        """Whether the place was passed and is not kept."""
        return place[0] <= self._last and place[0] not in self._passed

    def read(self, place: tuple[int, int], places: list[tuple[int, int]]) -> bytes:
        """The data there, which is not behind."""
        if place[0] in self._passed:
            return self._passed[place[0]]
        while True:
            passing = places[self._next]
            self._next, self._last = self._next + 1, passing[0]
            if passing != place and passing[1] > _KEEP_BYTES:
                continue  # too large to keep
            self.stream.seek(passing[0])  # reads and drops what lies between
            data = self.stream.read(passing[1])
            self._keep(passing[0], data)
            if passing == place:
                return data

    def _keep(self, offset: int, data: bytes) -> None:
        self._passed[offset] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > _KEEP_BYTES and self._passed:
            self._kept_bytes -= len(self._passed.popitem(last=False)[1])


class TarGz(_PackedTar):
    """A gzipped tar."""

    def _open(self) -> IO[bytes]:
        return cast(IO[bytes], gzip.GzipFile(fileobj=self.source.open(), mode="rb"))


class TarZst(_PackedTar):
    """A tar compressed with Zstandard (RFC 8878), of one frame or several."""

    def _open(self) -> IO[bytes]:
        return cast(IO[bytes], io.BufferedReader(_ZstdIO(self.source.open()), buffer_size=1 << 20))


class _ZstdIO(io.RawIOBase):
    """Decompressed bytes; seeking goes forward only, by reading."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow  # a third of a second, and only for this form

        self._file = file
        self._stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or offset < self._at:
            raise io.UnsupportedOperation("a compressed stream only goes forward")
        while self._at < offset and (passed := len(self._stream.read(min(offset - self._at, 1 << 20)))):
            self._at += passed
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_container(source: Joined, name: str) -> OpenArchive:
    """The container for an archive file's name (without `.partXX`).

    Raises:
        ArchiveError: For a form that is not supported.
    """
    kinds: dict[str, type[OpenArchive]] = {
        ".zip": Zip,
        ".tar": Tar,
        ".tar.gz": TarGz,
        ".tgz": TarGz,
        ".tar.zst": TarZst,
    }
    for suffix, kind in kinds.items():
        if name.endswith(suffix):
            return kind(source)
    raise ArchiveError("this kind of archive cannot be read in place yet", str(source), "Unpack it beside the file.")
