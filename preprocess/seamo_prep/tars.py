"""Tars: what a walk over their headers finds, and an uncompressed one read by offset.

`tarfile` stops at the first end mark, reads headers of any length into memory and says nothing of what it leaves out.
Here archives that were joined one after the other are read to the last, and whatever is not read has a reason. Format:
POSIX.1-2017 pax, and GNU tar's manual, "Basic Tar Format".
"""

import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, NamedTuple

from seamo.errors import ArchiveError
from seamo_prep.containers import FETCH_AGAIN, Joined, OpenArchive

_BLOCK = 512
_LONGEST = 1 << 20  # bytes of a header in front of a header; a path takes some hundred
_WITHOUT_DATA = {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE}
_KINDS = {  # what is left out, and why
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file, whose holes are not in the archive; unpack it to have it read",
    b"M": "the rest of a file that begins in another volume",
}
_PAX_SPARSE = "GNU.sparse."


class _Entry(NamedTuple):
    """One member.

    Args:
        name: As the archive has it.
        kind: Its type flag.
        offset: Of its data.
        size: Of its data, bytes.
        target: What a link points to.
    """

    name: str
    kind: bytes
    offset: int
    size: int
    target: str


class Tar(OpenArchive):
    """An uncompressed tar, read by offset."""

    def __init__(self, source: Joined) -> None:
        super().__init__(source)
        self._file: BinaryIO | None = None

    def _list(self) -> dict[str, tuple[int, int]]:
        with self.source.open() as file:
            return tar_members(file, self, total=self.source.size())

    def _read(self, name: str) -> bytes:
        offset, size = self.members[name]
        self.source.touch(offset, size)
        with self.lock:
            if self._file is None:
                self._file = self.source.open()
            self._file.seek(offset)
            return self._file.read(size)

    def gdal_path(self, name: str) -> str | None:
        """See `Container`."""
        path = self.source.path
        if name not in self.members or path is None:
            return None
        offset, size = self.members[name]
        return f"/vsisubfile/{offset}_{size},{path}"


def tar_members(stream: IO[bytes], archive: OpenArchive, *, total: int | None) -> dict[str, tuple[int, int]]:
    """Regular files of a tar: safe name -> (offset of the data, bytes). What is left out is told to the archive.

    Args:
        stream: From its start; `seek` goes forward only.
        archive: Says which names are safe, and keeps what is left out.
        total: Bytes of the stream, None if nobody knows.

    Raises:
        ArchiveError: If a header is damaged, or the archive ends inside a member.
    """
    members: dict[str, tuple[int, int]] = {}
    for entry in _walk(stream, archive, total):
        name = archive.safe(entry.name)
        if entry.kind == tarfile.DIRTYPE:
            continue
        place = (entry.offset, entry.size)
        if entry.kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            known = members.get(_plain(entry.target)) if entry.kind == tarfile.LNKTYPE else None
            if known is None:
                kind = "a symbolic link" if entry.kind == tarfile.SYMTYPE else "a link"
                archive.leave_out(name, f"{kind} to {entry.target!r}; unpack the archive to have it followed")
                continue
            place = known
        elif entry.kind in _KINDS:
            archive.leave_out(name, f"is {_KINDS[entry.kind]}")
            continue
        if not name:
            raise ArchiveError("holds a file without a name", str(archive.source), FETCH_AGAIN)
        if members.get(name, place) != place:
            archive.leave_out(name, "stands twice; the last one is read")
        members[name] = place
    return members


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _walk(stream: IO[bytes], archive: OpenArchive, total: int | None) -> Iterator[_Entry]:
    where = str(archive.source)
    at, blank = 0, 0
    everywhere: dict[str, str] = {}  # pax records for all members, and for the next one
    here: dict[str, str] = {}
    while block := _read_block(stream, at, where):
        at += _BLOCK
        if not block.strip(b"\0"):
            blank += 1  # two are an end mark, behind which another archive may follow
            continue
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            if blank >= 2:
                archive.leave_out("", f"what follows the end mark at byte {at - _BLOCK:,} is no tar")
                return
            raise ArchiveError(f"has no header at byte {at - _BLOCK:,} ({error})", where, FETCH_AGAIN) from error
        blank = 0
        records = everywhere | here
        size = _size(records.get("size"), info.size, where)
        if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE, b"L", b"K"):
            data = _read_header(stream, at, info.size, where)
            if info.type in (b"L", b"K"):
                said = data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
                here = here | {"path" if info.type == b"L" else "linkpath": said}
            elif info.type == tarfile.XGLTYPE:
                everywhere = everywhere | _records(data, where)
            else:
                here = here | _records(data, where)
            at += _whole(info.size)
            continue
        kind, name = info.type, records.get("GNU.sparse.name") or records.get("path") or info.name
        if kind == tarfile.GNUTYPE_SPARSE:
            at = _skip_sparse_map(stream, at, block[482], where)
        if any(key.startswith(_PAX_SPARSE) for key in records):
            kind = tarfile.GNUTYPE_SPARSE
        offset = at
        if info.type not in _WITHOUT_DATA:
            at += _whole(size)
            _check_end(stream, offset + size, total, archive.where(name))
        yield _Entry(name.rstrip("/") if kind == tarfile.DIRTYPE else name, kind, offset, size,
                     records.get("linkpath") or info.linkname)  # fmt: skip
        here = {}
    if not at:
        raise ArchiveError("is empty", where, FETCH_AGAIN)
    if blank < 2:
        archive.leave_out("", "the archive has no end mark: what follows may be missing")


def _whole(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _size(said: str | None, in_header: int, where: str) -> int:
    size = in_header if said is None else int(said) if said.isascii() and said.isdigit() and len(said) < 20 else -1
    if size < 0:
        raise ArchiveError(f"holds a member of size {said or in_header}", where, FETCH_AGAIN)
    return size


def _read_block(stream: IO[bytes], at: int, where: str) -> bytes:
    stream.seek(at)
    block = stream.read(_BLOCK)
    if block.strip(b"\0") and len(block) < _BLOCK:
        raise ArchiveError(f"is cut short: it ends inside the header at byte {at:,}", where, FETCH_AGAIN)
    return block if len(block) == _BLOCK else b""


def _check_end(stream: IO[bytes], end: int, total: int | None, where: str) -> None:
    if total is None and end:
        stream.seek(max(end - 1, stream.tell()))
        if len(stream.read(1)) == 1 or stream.tell() >= end:
            return
    elif total is None or end <= total:
        return
    raise ArchiveError("is cut short: the archive ends inside this member", where, FETCH_AGAIN)


def _read_header(stream: IO[bytes], at: int, size: int, where: str) -> bytes:
    if not 0 <= size <= _LONGEST:
        raise ArchiveError(f"has a header of {size:,} bytes at byte {at:,}", where, FETCH_AGAIN)
    data = stream.read(size)
    if len(data) != size:
        raise ArchiveError(f"is cut short: it ends inside the header at byte {at:,}", where, FETCH_AGAIN)
    return data


def _records(data: bytes, where: str) -> dict[str, str]:
    """Keys and values of a pax header: `<length> <key>=<value>`, a line each."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at]:
        digits, space, _ = data[at : at + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = data[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not space or not equals or record[-1:] != b"\n" or at + length > len(data):
            raise ArchiveError("has a damaged pax header", where, FETCH_AGAIN)
        found[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        at += length
    return found


def _skip_sparse_map(stream: IO[bytes], at: int, goes_on: int, where: str) -> int:
    while goes_on:
        block = _read_block(stream, at, where)
        if not block:
            raise ArchiveError("is cut short inside the map of a sparse file", where, FETCH_AGAIN)
        at, goes_on = at + _BLOCK, block[504]
    return at
