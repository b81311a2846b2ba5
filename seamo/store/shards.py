"""Shard files of both layouts: written as a stream, then read back and compared."""

import hashlib
import io
import os
import struct
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.native.checksum import read_into
from seamo.native.scratch import Scratch
from seamo.seal import SealedFile
from seamo.store.format import CRC_BYTES, CodecName, array_name, compress, crc32c, decompress, shard_file

Array = NDArray[Any]
ABSENT = 2**64 - 1  # offset and length of a chunk that a zarr shard does not hold
_BLOCK = 2**20


class Place(NamedTuple):
    """Where one layer of one sample lies in its shard's file; a length of 0 = nowhere.

    In a zarr shard the four bytes behind the range hold the checksum once more: zarr's codec `crc32c`. In a tar the
    range is the pixels without the .npy header.
    """

    offset: int
    length: int
    crc32c: int
    bucket: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPlaces:
    """Where one layer of several samples lies, (n,) int64 each.

    Args:
        shard: Number of the shard.
        offset: In its file.
        length: Bytes; 0 = nowhere.
        bucket: Size bucket, 0 for layers of one size.
    """

    shard: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    bucket: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stored:
    """One layer of one sample as it is put into a file.

    Args:
        pixels: True extent, or padded to the bucket (zarr); fill where the sample lacks the layer.
        bucket: Size bucket, 0 for layers of one size.
    """

    pixels: Array
    bucket: int = 0


class ShardFiles(Protocol):
    """What writes the files of one shard."""

    def add(self, position: int, key: str, layers: Mapping[str, Stored], facts: bytes) -> dict[str, Place]:
        """Append one sample.

        Args:
            position: Within the shard.
            key: Of the sample.
            layers: Layer id -> pixels; a layer without pixels is left out.
            facts: JSON about the sample (webdataset only).

        Returns:
            Where each layer lies.
        """

    def finish(self) -> dict[str, SealedFile]:
        """Complete, flush, read back and check the files: name -> size and sha256."""

    def __enter__(self) -> "ShardFiles": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Part:
    """One file, in a folder where nobody else writes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w+b")

    def sync(self) -> None:
        """Put the bytes onto the disk; in any thread, after `flush`."""
        os.fsync(self.file.fileno())

    def seal(self) -> SealedFile:
        """Read the bytes once for size and sha256; in any thread, after `flush`."""
        handle = self.file.fileno()
        state, size = hashlib.sha256(), os.fstat(handle).st_size
        for start in range(0, size, _BLOCK):  # by place, for the position of the file is another thread's
            state.update(os.pread(handle, min(_BLOCK, size - start), start))
        return SealedFile(size, state.hexdigest())

    def read(self, offset: int, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Fill `out` with what lies at a place: bytes that were there, and their crc32c."""
        return read_into(self.file.fileno(), offset, out)

    def close(self) -> None:
        with suppress(OSError):  # on a full disk, closing fails too; the error that counts is on its way
            self.file.close()


class _Check(NamedTuple):
    key: str
    layer: str
    place: Place
    raw_crc32c: int
    dtype: str
    shape: tuple[int, ...]


def _read_back(part: _Part, checks: list[_Check], codec: CodecName, *, has_crc: bool) -> None:
    stored, decoded, end = Scratch(), Scratch(), np.empty(CRC_BYTES if has_crc else 0, dtype=np.uint8)
    for check in checks:
        where = f"{part.name} sample {check.key} layer {check.layer}"
        data = stored.array((check.place.length,), np.uint8)
        is_there = part.read(check.place.offset, data) == (check.place.length, check.place.crc32c)
        part.read(check.place.offset + check.place.length, end)
        if not is_there or (has_crc and end.tobytes() != struct.pack("<I", check.place.crc32c)):
            raise StoreError("the disk gave back other bytes than were written", where, "Check the disk, build again.")
        pixels = decoded.array(check.shape, check.dtype)
        decompress(data, codec, pixels)
        if crc32c(pixels) != check.raw_crc32c:
            raise StoreError("decodes to other pixels than were written", where, "Check the memory, build again.")


def _settle(parts: Mapping[_Part, list[_Check]], codec: CodecName, *, has_crc: bool) -> dict[str, SealedFile]:
    """Read every complete file back, while other threads wait for the disk and hash."""
    for part in parts:
        part.file.flush()
    with ThreadPoolExecutor(max_workers=2) as beside:
        synced = [beside.submit(part.sync) for part in parts]
        sealed = {part.name: beside.submit(part.seal) for part in parts}
        for part, checks in parts.items():
            _read_back(part, checks, codec, has_crc=has_crc)
    for one in synced:
        one.result()
    return {name: one.result() for name, one in sealed.items()}


class ZarrShard:
    """One file a layer, byte for byte what zarr-python writes: chunks in order, then their index.

    Args:
        folder: Where its files are made.
        k: Number of the shard.
        rows: Chunks of a full shard.
        codec: See `seamo.store.format`.
    """

    def __init__(self, folder: Path, k: int, *, rows: int, codec: CodecName) -> None:
        self._folder, self._k = folder, k
        self._rows, self._codec = rows, codec
        self._parts: dict[str, _Part] = {}
        self._index: dict[str, NDArray[np.uint64]] = {}
        self._checks: dict[str, list[_Check]] = {}

    def add(self, position: int, key: str, layers: Mapping[str, Stored], facts: bytes) -> dict[str, Place]:
        """See `ShardFiles`."""
        del facts  # only the webdataset layout keeps them beside the pixels
        places = {}
        for layer, stored in layers.items():
            array = array_name(layer, stored.bucket)
            if array not in self._parts:
                self._parts[array] = _Part(self._folder, shard_file("zarr", self._k, array))
                self._index[array] = np.full((self._rows, 2), ABSENT, dtype="<u8")
                self._checks[array] = []
            pixels = np.ascontiguousarray(stored.pixels)
            data = compress(pixels, self._codec)
            file = self._parts[array].file
            checksum = crc32c(data)
            place = Place(file.tell(), len(data), checksum, stored.bucket)
            file.write(data)
            file.write(struct.pack("<I", checksum))
            self._index[array][position] = place.offset, place.length + CRC_BYTES
            raw = crc32c(pixels)
            self._checks[array].append(_Check(key, layer, place, raw, pixels.dtype.str, pixels.shape))
            places[layer] = place
        return places

    def finish(self) -> dict[str, SealedFile]:
        """See `ShardFiles`."""
        for array, part in self._parts.items():
            index = self._index[array].tobytes()
            part.file.write(index + struct.pack("<I", crc32c(index)))
        checks = {part: self._checks[array] for array, part in self._parts.items()}
        return _settle(checks, self._codec, has_crc=True)

    def __enter__(self) -> "ZarrShard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts.values():
            part.close()


class TarShard:
    """One tar of uncompressed `<key>.<layer>.npy` and `<key>.json` members, with fixed headers.

    Args:
        folder: Where it is made.
        k: Number of the shard.
    """

    def __init__(self, folder: Path, k: int) -> None:
        self._part = _Part(folder, shard_file("webdataset", k))
        self._checks: list[_Check] = []

    def add(self, position: int, key: str, layers: Mapping[str, Stored], facts: bytes) -> dict[str, Place]:
        """See `ShardFiles`."""
        del position
        places = {}
        for layer, stored in layers.items():
            pixels = np.ascontiguousarray(stored.pixels)
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(pixels))
            start = self._member(f"{key}.{layer}.npy", header.getvalue(), pixels.reshape(-1).view(np.uint8).data)
            place = Place(start + len(header.getvalue()), pixels.nbytes, crc32c(pixels))
            self._checks.append(_Check(key, layer, place, place.crc32c, pixels.dtype.str, pixels.shape))
            places[layer] = place
        self._member(f"{key}.json", facts)
        return places

    def _member(self, name: str, *parts: bytes | memoryview) -> int:
        """Append a member of some parts, as `tarfile` does and without its copies of them; where they begin."""
        info = tarfile.TarInfo(name)  # time 0, no owner: the same bytes whoever builds
        info.size = sum(map(len, parts))
        file = self._part.file
        # GNU: ustar cannot hold long keys, pax would write times.
        file.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        start = file.tell()
        for part in parts:
            file.write(part)
        file.write(bytes(-info.size % tarfile.BLOCKSIZE))
        return start

    def finish(self) -> dict[str, SealedFile]:
        """See `ShardFiles`."""
        self._part.file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._part.file.write(bytes(-self._part.file.tell() % tarfile.RECORDSIZE))
        return _settle({self._part: self._checks}, "none", has_crc=False)

    def __enter__(self) -> "TarShard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._part.close()
