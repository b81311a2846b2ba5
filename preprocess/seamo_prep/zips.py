"""Zips: read member by member in place, no further than their headers promise."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise

from seamo.errors import ArchiveError
from seamo_prep.containers import FETCH_AGAIN, UNPACK, Joined, OpenArchive
from seamo_prep.outside import reading

_ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of the others zipfile inflates without a bound
_HEADER = 4096  # bytes of a member before its data, as a rule
_STEP = 8 << 20
_OTHER_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 99: "(encryption)"}


class Zip(OpenArchive):
    """A zip file, read member by member in place."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._zip: zipfile.ZipFile | None = None
        self._original: dict[str, zipfile.ZipInfo] = {}

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            opened = zipfile.ZipFile(self.source.open())
            # The directory of a zip carries no checksum: a byte that turned on its way would rename a member.
            if self.source.forget() and _said(zipfile.ZipFile(self.source.open())) != _said(opened):
                raise zipfile.BadZipFile("its directory reads otherwise a second time")
            self._zip = opened
        return self._zip

    def _list(self) -> dict[str, tuple[int, int]]:
        members = {}
        infos = self._open().infolist()
        _check_apart(infos, str(self.source))
        for info in infos:
            name = self.safe(info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.orig_filename.endswith("/") or kind == stat.S_IFDIR:
                continue
            if not name:
                raise ArchiveError("holds a file without a name", str(self.source), FETCH_AGAIN)
            if kind not in (0, stat.S_IFREG):
                self.leave_out(name, f"is {'a symbolic link' if kind == stat.S_IFLNK else 'a device'} in the zip")
                continue
            if name in members:
                self.leave_out(name, "stands twice; the last one is read")
            members[name] = (info.header_offset, info.file_size)
            self._original[name] = info
        return members

    def _read(self, name: str) -> bytes:
        info = self._original[name]
        self.source.touch(info.header_offset, info.compress_size + _HEADER)
        try:
            return read_member(self._open(), info, self.where(name))
        except (zipfile.BadZipFile, zlib.error):
            if not self.source.forget():
                raise
            return read_member(self._open(), info, self.where(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """See `Container`."""
        if name not in self.members:
            yield self.read(name)  # which says what is wrong
        info = self._original[name]
        check_member(info, self.where(name))
        left = info.file_size
        with reading(self.where(name), "cannot be read", FETCH_AGAIN), self._open().open(info) as file:
            while piece := file.read(min(_STEP, left + 1)):
                left -= len(piece)
                yield piece
        if left:
            raise ArchiveError("is not of the size that it promises", self.where(name), FETCH_AGAIN)

    def _packed(self, name: str) -> int:
        return self._original[name].compress_size

    def gdal_path(self, name: str) -> str | None:
        """See `Container`."""
        path = self.source.path
        is_plain = name in self.members and self._original[name].filename == name and path is not None
        is_plain = is_plain and name not in self._left_out  # of two, GDAL may take the other
        return f"/vsizip/{{{path}}}/{name}" if is_plain else None


def _said(archive: zipfile.ZipFile) -> list[tuple[object, ...]]:
    return [
        (one.orig_filename, one.header_offset, one.file_size, one.compress_size, one.CRC, one.external_attr)
        for one in archive.infolist()
    ]


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    """A member's bytes, of which no more are inflated than its header promises.

    Raises:
        ArchiveError: See `check_member`.
    """
    check_member(info, where)
    with archive.open(info) as file:
        return file.read(info.file_size + 1)


def check_member(info: zipfile.ZipInfo, where: str) -> None:
    """Refuse a member that is encrypted, a patch, or packed by a method that is not on the list.

    Raises:
        ArchiveError: If so.
    """
    if info.flag_bits & 0x1:
        raise ArchiveError("is encrypted", where, UNPACK)
    if info.compress_type not in _ZIP_METHODS:
        method = _OTHER_METHODS.get(info.compress_type, "")
        raise ArchiveError(f"is packed by method {info.compress_type} {method}".rstrip(), where, UNPACK)


def _check_apart(infos: list[zipfile.ZipInfo], where: str) -> None:
    """Refuse members that share bytes: one deflated block behind many names fills any memory."""
    placed = sorted(infos, key=lambda one: one.header_offset)
    for one, after in pairwise(placed):
        if one.header_offset + 30 + one.compress_size > after.header_offset:  # 30: the shortest header of a member
            raise ArchiveError(f"its members {one.filename!r} and {after.filename!r} overlap", where, FETCH_AGAIN)
