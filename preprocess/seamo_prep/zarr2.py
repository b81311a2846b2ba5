"""Zarr format 2 inside zips and tars: reading one sample's chunks where they lie, and writing small groups for demos.

zarr-python opens a zip only by its path, takes every codec that numcodecs knows (one of them runs pickles) and loads
whole arrays faster than single chunks. Here bytes come from anywhere, and codecs from a closed list. Format:
https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
"""

import io
import itertools
import json
import math
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
from numpy.typing import NDArray

from seamo.errors import ArchiveError

Array = NDArray[Any]
Get = Callable[[str], bytes | None]
"""Bytes of a member by its name within the group, None if it is not there."""

_CODECS = {"blosc", "zstd", "zlib", "gzip", "bz2", "lzma", "lz4", "shuffle", "delta", "vlen-utf8", "fixedscaleoffset"}
_MAX_CHUNK = 1 << 30  # bytes, decoded
_MAX_ARRAY = 4 << 30
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
        if first is not None and not 0 <= first < self.shape[0]:
            raise ArchiveError(f"has no position {first} of {self.shape[0]}", self.where, _FETCH_AGAIN)
        span = [(0, size) for size in self.shape]
        if first is not None:
            span[0] = (first, first + 1)
        if math.prod(high - low for low, high in span) * self.dtype.itemsize > _MAX_ARRAY:
            raise ArchiveError(f"shape {self.shape} is not taken at once", self.where, _FETCH_AGAIN)
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
        separator = self.meta.get("dimension_separator", ".")
        key = separator.join(str(i) for i in number) or "0"
        data: Any = self.get(f"{self.name}/{key}")
        if data is None:
            return np.full(self.chunks, _fill(self.meta.get("fill_value"), self.dtype), dtype=self.dtype)
        steps = [*(self.meta.get("filters") or []), *([self.meta["compressor"]] if self.meta.get("compressor") else [])]
        try:
            for step in reversed(steps):
                codec = self._codec(step)
                if step["id"] == "blosc":
                    _check_blosc(data)
                data = codec.decode(data)
            if self.dtype.kind == "O":
                flat = np.asarray(data, dtype=object).reshape(-1)
            else:
                flat = np.frombuffer(np.ascontiguousarray(data), dtype=self.dtype)
            return flat.reshape(self.chunks, order=self.meta.get("order", "C"))
        except (ValueError, RuntimeError, TypeError, EOFError, OSError) as error:
            raise ArchiveError(f"chunk {key} is damaged ({error})", self.where, _FETCH_AGAIN) from error

    def _codec(self, config: Any) -> Any:
        if not isinstance(config, dict) or config.get("id") not in _CODECS:
            name = config.get("id") if isinstance(config, dict) else config
            raise ArchiveError(
                f"is coded with {name!r}, which is not opened", self.where, f"Known: {', '.join(sorted(_CODECS))}."
            )
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
        self._metadata: Mapping[str, Any] = _json(consolidated, where)["metadata"] if consolidated else {}
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
        try:
            shape, chunks = tuple(map(int, meta["shape"])), tuple(map(int, meta["chunks"]))
            dtype = np.dtype(meta["dtype"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(f"is not described as an array ({error})", where, _FETCH_AGAIN) from error
        filters = [one.get("id") for one in meta.get("filters") or [] if isinstance(one, dict)]
        if dtype.hasobject and (dtype.kind != "O" or filters[:1] != ["vlen-utf8"]):
            raise ArchiveError("holds objects, which are not opened", where, "Only text is taken.")
        if len(shape) != len(chunks) or math.prod(chunks) * dtype.itemsize > _MAX_CHUNK or min((1, *chunks)) < 1:
            raise ArchiveError(f"chunks of {chunks} are not taken", where, _FETCH_AGAIN)
        attrs = self._meta(f"{name}/.zattrs") or {}
        return ZarrArray(name, where, shape, chunks, dtype, attrs, meta, self._get)

    def _meta(self, name: str) -> Mapping[str, Any] | None:
        if name in self._metadata:
            return dict(self._metadata[name])
        data = self._get(name) if not self._metadata else None
        return None if data is None else _json(data, self.where)


def open_zip(file: Any, where: str) -> ZarrGroup:
    """A group in a zip, at its top or in one folder; `file` is a path or an open file.

    Raises:
        ArchiveError: If it is no zip, or holds no group.
    """
    try:
        opened = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError) as error:
        raise ArchiveError(f"is not a zip ({error})", where, _FETCH_AGAIN) from error
    names = {info.filename: info.file_size for info in opened.infolist()}
    heads = sorted((one for one in names if one.rpartition("/")[2] == ".zgroup"), key=len)
    lead = heads[0].removesuffix(".zgroup") if heads else ""

    def get(name: str) -> bytes | None:
        if lead + name not in names:
            return None
        if names[lead + name] > _MAX_CHUNK:
            raise ArchiveError(f"{name} has {names[lead + name]:,} bytes", where, _FETCH_AGAIN)
        try:
            return opened.read(lead + name)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise ArchiveError(f"{name} cannot be read ({error})", where, _FETCH_AGAIN) from error

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


def _check_blosc(data: bytes) -> None:
    # The library trusts these lengths and reads beyond the end of a chunk that is cut short.
    if len(data) < 16 or struct.unpack_from("<I", data, 12)[0] != len(data):
        raise ValueError("is cut short")
    if struct.unpack_from("<I", data, 4)[0] > _MAX_CHUNK:
        raise ValueError("decodes to more than a chunk may have")


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    if value is None:
        return "" if dtype.kind == "O" else np.zeros((), dtype=dtype)
    special = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
    return special.get(value, value) if isinstance(value, str) and dtype.kind == "f" else value


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ArchiveError(f"metadata are not JSON ({error})", where, _FETCH_AGAIN) from error
    if not isinstance(found, dict):
        raise ArchiveError("metadata are not a JSON object", where, _FETCH_AGAIN)
    return found
