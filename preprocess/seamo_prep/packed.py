"""Compressed tars, read by a cursor that goes forward; and the container for an archive's name."""

import gzip
import io
import logging
import os
import tarfile
from abc import abstractmethod
from collections import OrderedDict
from typing import IO, BinaryIO, cast

from seamo.errors import ArchiveError
from seamo_prep.containers import Joined, OpenArchive, Tar, Zip, tar_members

_LOG = logging.getLogger(__name__)
_KEEP_BYTES = 256 << 20  # of what a forward cursor passed


class _PackedTar(OpenArchive):
    """A compressed tar, read by a cursor that goes forward and keeps what it passed last."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._stream: IO[bytes] | None = None
        self._passed: OrderedDict[str, bytes] = OrderedDict()
        self._order: list[str] = []
        self._next = 0
        self._kept_bytes = 0

    @abstractmethod
    def _open(self) -> IO[bytes]: ...

    def _list(self) -> dict[str, tuple[int, int]]:
        with self._open() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            return tar_members(tar, self)

    def _read(self, name: str) -> bytes:
        if name in self._passed:
            return self._passed[name]
        offset = self.members[name][0]
        if not self._order:
            self._order = sorted(self.members, key=self.position)
        if self._stream is None or self._next >= len(self._order) or offset < self.members[self._order[self._next]][0]:
            if self._stream is not None:
                _LOG.warning("reading=%s from its start again; decompress it for random access", self.source)
                self._stream.close()
            self._stream, self._next, self._kept_bytes = self._open(), 0, 0
            self._passed.clear()
        while True:
            passing = self._order[self._next]
            start, size = self.members[passing]
            self._stream.seek(start)  # reads and drops what lies between
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
