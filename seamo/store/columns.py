"""Columns of index.parquet as arrays, each read when it is first needed."""

from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import GeoRef
from seamo.store.format import INDEX_NAME, finest_layer, label_kind, varying_layers
from seamo.store.remote import LocalFiles
from seamo.store.shards import Place

if TYPE_CHECKING:
    import pandas as pd


class IndexColumns:
    """The index of one store. Thread-safe.

    Args:
        files: Of the store.
        spec: Of the store.
        num_rows: That the index must have.
    """

    def __init__(self, files: LocalFiles, spec: DatasetSpec, num_rows: int) -> None:
        self._files, self._spec, self._num_rows = files, spec, num_rows
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

    def _read(self, columns: list[str]) -> Any:
        with self._lock:
            file = self._open()
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise StoreError(f"has no column {missing[0]!r}", where=str(self._files.root / INDEX_NAME))
            return file.read(columns=columns)

    def _open(self) -> Any:
        where = str(self._files.root / INDEX_NAME)
        path = self._files.root / INDEX_NAME
        try:
            file = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"cannot be read ({error})", where, "Copy or build the store again.") from error
        if file.metadata.num_rows != self._num_rows:
            raise StoreError(f"has {file.metadata.num_rows} rows instead of {self._num_rows}", where)
        return file


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
