"""Zarr format 2 inside zips and tars: reading one sample's chunks where they lie, and writing small groups for demos.

zarr-python opens a zip only by its path, takes every codec that numcodecs knows (one of them runs pickles) and loads
whole arrays faster than single chunks. Here bytes come from anywhere, and codecs from a closed list. Format:
https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
"""

import bz2
import io
import itertools
import json
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
from numpy.typing import NDArray

from seamo.errors import ArchiveError
from seamo_prep.outside import reading
from seamo_prep.zips import read_member

Array = NDArray[Any]
Get = Callable[[str], bytes | None]
"""Bytes of a member by its name within the group, None if it is not there."""

_CODECS = {"blosc", "zstd", "zlib", "gzip", "bz2", "lzma", "lz4", "shuffle", "delta", "vlen-utf8", "fixedscaleoffset"}
_KINDS = "biufMUSO"  # of numbers, times and text
_MAX_CHUNK = 1 << 30  # bytes, decoded
_MAX_ARRAY = 1 << 30
_MAX_TEXT = 16 << 20  # bytes of a chunk of text, whose size is promised nowhere
_MAX_MEMORY = 80 << 20  # of an LZMA decoder: its largest preset takes 65 MiB
_FETCH_AGAIN = "Fetch the archive again."


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """One array of a group; nothing is decoded before `read`.

    Args:
        name: In the group.
        where: For messages.
        shape, chunks: Of the array.
        dtype: Of the array.
        attrs: Its `.zattrs`; `_ARRAY_DIMENSIONS` names the dimensions where xarray wrote it.
        meta: Its `.zarray`.
        get: Of the group.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    meta: Mapping[str, Any]
    get: Get

    def read(self, first: int | None = None) -> Array:
        """The whole array, or the part at one position of its first dimension (which is dropped).

        Raises:
            ArchiveError: If a chunk is damaged, or coded in a way that is not on the list.
        """
        if first is not None and not (self.shape and 0 <= first < self.shape[0]):
            raise ArchiveError(f"has no position {first} of {self.shape[:1]}", self.where, _FETCH_AGAIN)
        span = [(0, size) for size in self.shape]
        if first is not None:
            span[0] = (first, first + 1)
        if math.prod(high - low for low, high in span) * self.dtype.itemsize > _MAX_ARRAY:
            raise ArchiveError(f"shape {self.shape} is not taken at once", self.where, _FETCH_AGAIN)
        with reading(self.where, f"shape {self.shape} cannot be taken", _FETCH_AGAIN):
            result = np.empty([high - low for low, high in span], dtype=self.dtype)
        ranges = [range(low // step, -(-high // step)) for (low, high), step in zip(span, self.chunks, strict=True)]
        for number in itertools.product(*ranges):
            starts = [i * step for i, step in zip(number, self.chunks, strict=True)]
            inside, outside = [], []
            for start, step, (low, high) in zip(starts, self.chunks, span, strict=True):
                begin, end = max(start, low), min(start + step, high)
                inside.append(slice(begin - start, end - start))
                outside.append(slice(begin - low, end - low))
            result[tuple(outside)] = self._chunk(number)[tuple(inside)]
        return np.asarray(result[0] if first is not None else result)

    def _chunk(self, number: Sequence[int]) -> Array:
        separator = "/" if self.meta.get("dimension_separator") == "/" else "."
        key = separator.join(str(i) for i in number) or "0"
        data: Any = self.get(f"{self.name}/{key}")
        if data is None:
            with reading(self.where, "has a fill value that does not fit", _FETCH_AGAIN):
                fill = np.full((1,) * len(self.chunks), _fill(self.meta.get("fill_value"), self.dtype), self.dtype)
                return np.broadcast_to(fill, self.chunks)
        steps = [*(self.meta.get("filters") or []), *([self.meta["compressor"]] if self.meta.get("compressor") else [])]
        with reading(self.where, f"chunk {key} is damaged", _FETCH_AGAIN):
            for step in reversed(steps):
                data = _decoded(data, self._codec(step), step, most=self._most, numel=math.prod(self.chunks))
            if self.dtype.kind == "O":
                flat = np.asarray(data, dtype=object).reshape(-1)
            else:
                flat = np.frombuffer(np.ascontiguousarray(data), dtype=self.dtype)
            return flat.reshape(self.chunks, order=self.meta.get("order", "C"))

    @property
    def _most(self) -> int:
        """Bytes that a decoded chunk may have; what filters made of it may be of another width."""
        if self.dtype.kind == "O":
            return _MAX_TEXT
        return math.prod(self.chunks) * (
            max(self.dtype.itemsize, 8) if self.meta.get("filters") else self.dtype.itemsize
        )

    def _codec(self, config: Any) -> Any:
        if not isinstance(config, dict) or config.get("id") not in _CODECS:
            name = config.get("id") if isinstance(config, dict) else config
            raise ArchiveError(
                f"is coded with {name!r}, which is not opened", self.where, f"Known: {', '.join(sorted(_CODECS))}."
            )
        for name in ("dtype", "astype"):
            said = np.dtype(config[name]) if config.get(name) is not None else None
            if said is not None and (said.kind not in "biuf" or said.itemsize > 8):
                raise ArchiveError(f"is coded with {said} numbers", self.where, "This is another product.")
        return numcodecs.get_codec(dict(config))


class ZarrGroup:
    """The arrays of a group of format 2.

    Args:
        get: Where its members are.
        where: The file, for messages.

    Raises:
        ArchiveError: If there is no such group.
    """

    def __init__(self, get: Get, where: str) -> None:
        self._get, self.where = get, where
        consolidated = get(".zmetadata")
        self._metadata: Mapping[str, Any] = {}
        if consolidated:
            self._metadata = _json(consolidated, where).get("metadata", {})
            if not isinstance(self._metadata, dict):
                raise ArchiveError("metadata are not a JSON object", where, _FETCH_AGAIN)
        head = self._meta(".zgroup")
        if head is None or head.get("zarr_format") != 2:
            raise ArchiveError("is not a zarr group of format 2", where, "The published files are of format 2.")

    def array(self, name: str) -> ZarrArray:
        """One array.

        Raises:
            ArchiveError: If it is not there, or described in a way that is not taken.
        """
        found = self.find(name)
        if found is None:
            raise ArchiveError(f"has no variable {name!r}", self.where, "This is another product.")
        return found

    def find(self, name: str) -> ZarrArray | None:
        """One array, None if it is not there."""
        meta = self._meta(f"{name}/.zarray")
        if meta is None:
            return None
        where = f"{self.where}!{name}"
        with reading(where, "is not described as an array", _FETCH_AGAIN):
            shape, chunks = tuple(map(int, meta["shape"])), tuple(map(int, meta["chunks"]))
            dtype = np.dtype(meta["dtype"])
            filters = [one.get("id") for one in meta.get("filters") or [] if isinstance(one, dict)]
        if dtype.kind not in _KINDS or (dtype.kind == "O" and filters[:1] != ["vlen-utf8"]):
            what = "objects" if dtype.hasobject else f"numbers of type {dtype}"
            raise ArchiveError(f"holds {what}, which are not opened", where, "Only numbers and text are taken.")
        if len(shape) != len(chunks) or len(shape) > 8 or min((1, *chunks)) < 1 or min((0, *shape)) < 0:
            raise ArchiveError(f"shape {shape} in chunks of {chunks} is not taken", where, _FETCH_AGAIN)
        if math.prod(chunks) * max(dtype.itemsize, 1) > _MAX_CHUNK:
            raise ArchiveError(f"chunks of {chunks} are not taken", where, _FETCH_AGAIN)
        attrs = self._meta(f"{name}/.zattrs") or {}
        return ZarrArray(name, where, shape, chunks, dtype, attrs, meta, self._get)

    def _meta(self, name: str) -> Mapping[str, Any] | None:
        if name in self._metadata:
            if not isinstance(self._metadata[name], dict):
                raise ArchiveError(f"metadata of {name} are not a JSON object", self.where, _FETCH_AGAIN)
            return dict(self._metadata[name])
        data = self._get(name) if not self._metadata else None
        return None if data is None else _json(data, self.where)


def open_zip(file: Any, where: str) -> ZarrGroup:
    """A group in a zip, at its top or in one folder; `file` is a path or an open file.

    Raises:
        ArchiveError: If it is no zip, or holds no group.
    """
    with reading(where, "is not a zip", _FETCH_AGAIN):
        opened = zipfile.ZipFile(file)
    infos = {info.filename: info for info in opened.infolist()}
    heads = sorted((one for one in infos if one.rpartition("/")[2] == ".zgroup"), key=len)
    lead = heads[0].removesuffix(".zgroup") if heads else ""

    def get(name: str) -> bytes | None:
        info = infos.get(lead + name)
        if info is None:
            return None
        if info.file_size > _MAX_CHUNK:
            raise ArchiveError(f"{name} has {info.file_size:,} bytes", where, _FETCH_AGAIN)
        with reading(where, f"{name} cannot be read", _FETCH_AGAIN):
            return read_member(opened, info, f"{where}!{name}")

    return ZarrGroup(get, where)


def zip_group(arrays: Mapping[str, tuple[tuple[str, ...], Array, Mapping[str, Any]]], *, split_first: bool) -> bytes:
    """A group as the bytes of a zip, with consolidated metadata and blosc, as zarr-python 2 writes it.

    Args:
        arrays: Name -> (dimensions, values, attributes). Text is written with a fixed width.
        split_first: One chunk for each position of the first dimension, otherwise one chunk an array.
    """
    members: dict[str, bytes] = {}
    metadata: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": {}}
    codec = numcodecs.Blosc(cname="lz4", clevel=5, shuffle=1)
    for name, (dims, values, attrs) in arrays.items():
        chunks = (1, *values.shape[1:]) if split_first and values.ndim > 1 else values.shape
        metadata[f"{name}/.zarray"] = {
            "chunks": list(chunks), "compressor": codec.get_config(), "dtype": values.dtype.str, "fill_value": None,
            "filters": None, "order": "C", "shape": list(values.shape), "zarr_format": 2,
        }  # fmt: skip
        metadata[f"{name}/.zattrs"] = {"_ARRAY_DIMENSIONS": list(dims), **attrs}
        parts = values[:, None] if chunks != values.shape else values[None]
        rest = ".0" * (values.ndim - 1)
        for number, part in enumerate(parts):
            key = f"{number}{rest}" if values.ndim else "0"
            members[f"{name}/{key}"] = codec.encode(np.ascontiguousarray(part))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as file:
        described = {".zmetadata": {"metadata": metadata, "zarr_consolidated_format": 1}, **metadata}
        for name, data in ({key: json.dumps(one).encode() for key, one in described.items()} | members).items():
            file.writestr(zipfile.ZipInfo(name), data)
    return sink.getvalue()


def dates_of(array: ZarrArray, first: int | None = None) -> NDArray[np.datetime64]:
    """Times as datetime64[s] by the CF attributes that xarray writes; nanoseconds since 1970 without them.

    Raises:
        ArchiveError: If the units are not understood.
    """
    values = array.read(first)
    if values.dtype.kind == "M":
        return np.asarray(values.astype("datetime64[s]"))
    units = str(array.attrs.get("units", "nanoseconds since 1970-01-01"))
    unit, _, epoch = units.partition(" since ")
    seconds = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1,
               "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}.get(unit)  # fmt: skip
    try:
        start = np.datetime64(epoch.strip().replace(" ", "T").split("+")[0].removesuffix("Z").split(".")[0], "s")
    except ValueError:
        seconds = None
    if seconds is None or np.isnat(start):
        raise ArchiveError(f"times in {units!r} are not understood", array.where, _FETCH_AGAIN)
    numbers = values.astype(np.float64) * seconds
    result = np.full(values.shape, np.datetime64("NaT"), dtype="datetime64[s]")
    sane = np.isfinite(numbers) & (np.abs(numbers) < 1e11)  # the smallest int64 is xarray's NaT
    result[sane] = start + np.round(numbers[sane]).astype("timedelta64[s]")
    return result


def _decoded(data: Any, codec: Any, step: Mapping[str, Any], *, most: int, numel: int) -> Any:
    """What a codec makes of a chunk, if that is no more than the array promises.

    Args:
        data: The chunk.
        codec: Of numcodecs.
        step: Its configuration.
        most: Bytes that it may become.
        numel: Numbers or texts in a chunk.

    Raises:
        ValueError: If it is more, or damaged.
    """
    kind = step["id"]
    if kind in ("zlib", "gzip", "bz2", "lzma"):
        return _inflated(bytes(data), kind, most)
    if kind == "zstd":
        import pyarrow  # a third of a second, and only for this form

        found = pyarrow.CompressedInputStream(pyarrow.BufferReader(bytes(data)), "zstd").read(most + 1)
        if len(found) > most:
            raise ValueError("decodes to more than the array promises")
        return found
    if kind == "blosc":
        _check_blosc(data, most)
    if kind == "lz4" and (len(data) < 4 or struct.unpack_from("<I", data)[0] > most):
        raise ValueError("decodes to more than the array promises")
    if kind == "vlen-utf8" and (len(data) < 4 or struct.unpack_from("<I", data)[0] != numel):
        raise ValueError(f"does not hold {numel} texts")
    return codec.decode(data)


def _inflated(data: bytes, kind: str, most: int) -> bytes:
    opened: Any
    if kind == "lzma":  # of a format that names itself; a raw one may ask for any memory
        opened = lzma.LZMADecompressor(memlimit=_MAX_MEMORY)
    elif kind == "bz2":
        opened = bz2.BZ2Decompressor()
    else:
        opened = zlib.decompressobj(31 if kind == "gzip" else 15)
    found: bytes = opened.decompress(data, most + 1)
    if len(found) > most or not opened.eof:
        raise ValueError("is cut short, or decodes to more than the array promises")
    return found


def _check_blosc(data: bytes, most: int) -> None:
    # The library trusts these lengths and reads beyond the end of a chunk that is cut short.
    if len(data) < 16 or struct.unpack_from("<I", data, 12)[0] != len(data):
        raise ValueError("is cut short")
    if struct.unpack_from("<I", data, 4)[0] > most:
        raise ValueError("decodes to more than the array promises")


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    if value is None:
        return "" if dtype.kind == "O" else np.zeros((), dtype=dtype)
    special = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
    return special.get(value, value) if isinstance(value, str) and dtype.kind == "f" else value


def _json(data: bytes, where: str) -> dict[str, Any]:
    with reading(where, "metadata are not JSON", _FETCH_AGAIN):
        found = json.loads(data)
    if not isinstance(found, dict):
        raise ArchiveError("metadata are not a JSON object", where, _FETCH_AGAIN)
    return found
