"""Columns of index.parquet as arrays, each read when it is first needed."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo.addresses import disk_path
from seamo.errors import StoreError
from seamo.files import Files
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import GeoRef
from seamo.store.format import INDEX_NAME, finest_layer, label_kind, varying_layers
from seamo.store.meta import BUILD_AGAIN, RowGroup
from seamo.store.shards import Place

if TYPE_CHECKING:
    import pandas as pd


class IndexColumns:
    """The index of one store. Thread-safe.

    What is read is checked first, a row group at a time, against the hashes in store.json.

    Args:
        files: Of the store.
        spec: Of the store.
        groups: Row groups that the index must have, and what follows them.
    """

    def __init__(self, files: Files, spec: DatasetSpec, groups: Sequence[RowGroup]) -> None:
        self._files, self._spec, self._groups = files, spec, tuple(groups)
        self._is_checked = False
        self._path = disk_path(files.where(INDEX_NAME))
        self._data: bytes | None = None  # the whole file, of a store that is not on this disk
        self._arrays: dict[str, NDArray[Any]] = {}
        self._lock = RLock()
        self._varying = varying_layers(spec)

    @cached_property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self._open().schema_arrow.names)

    @cached_property
    def rows_by_key(self) -> dict[str, int]:
        """Row of every key."""
        return {str(key): row for row, key in enumerate(self.text("key"))}

    def frame(self, columns: list[str]) -> "pd.DataFrame":
        """Columns as a pandas frame."""
        frame: pd.DataFrame = self._read(columns).to_pandas()
        return frame

    def array(self, name: str) -> NDArray[Any]:
        """A column of numbers or truth values without nulls."""
        found = self._arrays.get(name)
        return self._load(name) if found is None else found

    def text(self, name: str) -> NDArray[Any]:
        """A column of text, as an array of objects."""
        return self.array(name)

    def place(self, i: int, layer: str) -> Place:
        """Where a layer of sample `i` lies."""
        bucket = int(self.array(f"{layer}.bucket")[i]) if layer in self._varying else 0
        return Place(
            int(self.array(f"{layer}.offset")[i]),
            int(self.array(f"{layer}.length")[i]),
            int(self.array(f"{layer}.crc32c")[i]),
            bucket,
        )

    def size(self, i: int, spec: LayerSpec, layer: str) -> tuple[int, int]:
        """True height and width of a layer of varying size; of the sample, scaled, if it lacks the layer."""
        height, width = int(self.array(f"{layer}.height")[i]), int(self.array(f"{layer}.width")[i])
        if height and width:
            return height, width
        scale = finest_layer(self._spec).gsd_m / spec.gsd_m
        return round(int(self.array("height")[i]) * scale), round(int(self.array("width")[i]) * scale)

    def label(self, i: int) -> int | tuple[int, ...] | None:
        """Class id or set of ids; None without a label."""
        return self._class("label", i)

    def class_of(self, i: int) -> int | tuple[int, ...] | None:
        """Class id, set of ids, or the dominant class of a mask: what subsets are stratified by."""
        return self._class("dominant" if label_kind(self._spec) == "mask" else "label", i)

    def _class(self, name: str, i: int) -> int | tuple[int, ...] | None:
        value = self._classes(name)[i]
        if value is None or isinstance(value, tuple):
            return value
        return None if value < 0 else int(value)

    def dates(self, stack: str) -> NDArray[np.datetime64]:
        """(N, T) datetime64[s]."""
        return self.array(f"{stack}.time")

    def geo(self, i: int) -> GeoRef | None:
        """The georeference of sample `i`."""
        numbers = self.array("transform")[i]
        if np.isnan(numbers[0]):
            return None
        a, b, c, d, e, f = (float(one) for one in numbers)
        return GeoRef(str(self.text("crs")[i]), (a, b, c, d, e, f))

    def _classes(self, name: str) -> NDArray[Any]:
        return self.array(name)

    def _load(self, name: str) -> NDArray[Any]:
        with self._lock:
            if name not in self._arrays:
                column = self._read([name]).column(0).combine_chunks()
                if isinstance(column, pa.ChunkedArray):
                    column = pa.concat_arrays(column.chunks)
                self._arrays[name] = _to_numpy(name, column)
            return self._arrays[name]

    def table(self) -> Any:
        """The whole index as an Arrow table, with its metadata."""
        return self._read(None)

    def _read(self, columns: list[str] | None) -> Any:
        with self._lock:
            file = self._open()
            missing = [name for name in columns or () if name not in file.schema_arrow.names]
            if missing:
                raise StoreError(f"has no column {missing[0]!r}", where=self._where)
            if not self._is_checked:
                self._check_groups()
                self._is_checked = True
            try:
                return file.read(columns=columns)
            except (OSError, pa.ArrowException, ValueError) as error:
                raise StoreError(f"cannot be read ({error})", self._where, BUILD_AGAIN) from error

    @property
    def _where(self) -> str:
        return self._files.where(INDEX_NAME)

    def _check_groups(self) -> None:
        """Every row group must have the bytes that were sealed: one pass, at the rate of sha256."""
        start = first = 0
        for group in self._groups[:-1]:
            data = self._bytes(start, group.bytes)
            if hashlib.sha256(data).hexdigest() != group.sha256:
                what = f"rows {first} to {first + group.rows - 1} are damaged: another sha256 than store.json says"
                raise StoreError(what, self._where, BUILD_AGAIN)
            start, first = start + group.bytes, first + group.rows

    def _open(self) -> Any:
        """The file, after its size and its footer were checked."""
        if not self._groups:
            raise StoreError("has no row groups in store.json", self._where, BUILD_AGAIN)
        start = sum(group.bytes for group in self._groups[:-1])
        if not self._is_checked:
            footer = self._bytes(start, self._groups[-1].bytes + 1)
            if hashlib.sha256(footer).hexdigest() != self._groups[-1].sha256:
                raise StoreError("is damaged: another sha256 than store.json says", self._where, BUILD_AGAIN)
        try:
            if self._path is not None:
                return pq.ParquetFile(self._path, memory_map=True)
            return pq.ParquetFile(pa.BufferReader(self._fetched()))
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"cannot be read ({error})", self._where, BUILD_AGAIN) from error

    def _bytes(self, start: int, length: int) -> bytes:
        if self._path is not None:
            return self._files.read_range(INDEX_NAME, start, length)
        return self._fetched()[start : start + length]

    def _fetched(self) -> bytes:
        """All bytes of the file, asked for once; a second time if they came wrong, which is then for the checks."""
        if self._data is None:
            data = self._files.read(INDEX_NAME)
            self._data = data if self._is_sealed(data) else self._files.read(INDEX_NAME)
        return self._data

    def _is_sealed(self, data: bytes) -> bool:
        start = 0
        for group in self._groups:
            if hashlib.sha256(data[start : start + group.bytes]).hexdigest() != group.sha256:
                return False
            start += group.bytes
        return True


def _to_numpy(name: str, column: Any) -> NDArray[Any]:
    kind = column.type
    if name == "transform":
        return _transforms(column)
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        width = len(column[0]) if len(column) else 0
        flat = column.flatten().cast(pa.int64())
        seconds = np.where(flat.is_null().to_numpy(False), np.iinfo(np.int64).min, _zeroed(flat) // 1000)
        return seconds.reshape(-1, width).astype("datetime64[s]")
    if pa.types.is_list(kind):
        sets = np.empty(len(column), dtype=object)
        sets[:] = [None if one is None else tuple(one) for one in column.to_pylist()]
        return sets
    if pa.types.is_integer(kind) and column.null_count:
        return np.asarray(column.fill_null(-1).to_numpy(False))
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _zeroed(flat: Any) -> NDArray[np.int64]:
    return np.asarray(flat.fill_null(0).to_numpy(False))


def _transforms(column: Any) -> NDArray[np.float64]:
    result = np.full((len(column), 6), np.nan)
    there = column.is_valid().to_numpy(False)
    result[there] = column.flatten().to_numpy(False).reshape(-1, 6)
    return result
