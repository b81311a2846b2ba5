"""Columns of index.parquet, each read when it is first needed.

A store of a million rows is opened for a few of them: text and sets of classes stay in Arrow's memory (one object a
value would take a hundred bytes), and become Python's where somebody asks for a row.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo.addresses import disk_path
from seamo.errors import StoreError
from seamo.files import Files
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import GeoRef
from seamo.store.format import INDEX_NAME, finest_layer, label_kind, varying_layers
from seamo.store.meta import BUILD_AGAIN, RowGroup
from seamo.store.shards import ChunkPlaces, Place

if TYPE_CHECKING:
    import pandas as pd

HEAVY = frozenset({"footprint", "bbox", "sha256"})  # columns with most of the bytes, which few ask for
_BLOCK = 2**20  # bytes that are hashed at a time, in memory that is used again
_PIECE = 65536  # rows of which few are taken at a time


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
        self._arrow: dict[str, Any] = {}  # text, sets of classes, georeferences
        self._lock = RLock()
        self._varying = varying_layers(spec)

    @cached_property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self.schema.names)

    @cached_property
    def schema(self) -> Any:
        """Names and Arrow types of all columns."""
        return self._open().schema_arrow

    @cached_property
    def rows_by_key(self) -> dict[str, int]:
        """Row of every key."""
        return {key: row for row, key in enumerate(self.texts("key"))}

    def frame(self, columns: list[str]) -> "pd.DataFrame":
        """Columns as a pandas frame."""
        frame: pd.DataFrame = self._read(columns).to_pandas()
        return frame

    def array(self, name: str) -> NDArray[Any]:
        """A column of numbers or truth values; of dates (N, T) datetime64[s]."""
        found = self._arrays.get(name)
        if found is None:
            with self._lock:
                found = self._arrays[name] = _to_numpy(self._column(name))
        return found

    def text(self, name: str, i: int) -> str:
        """One row of a column of text."""
        return str(self._kept(name)[i].as_py())

    def texts(self, name: str, rows: NDArray[np.int64] | None = None) -> list[str]:
        """Some rows of a column of text, or all."""
        column = self._kept(name)
        found: list[str] = (column if rows is None else column.take(pa.array(rows))).to_pylist()
        return found

    def is_text(self, name: str, value: str) -> NDArray[np.bool_]:
        """Where a column of text has this value."""
        found = pc.equal(self._kept(name), value)
        found = found.fill_null(False) if found.null_count else found  # which loads pandas
        return np.asarray(found.to_numpy(zero_copy_only=False))

    def place(self, i: int, layer: str) -> Place:
        """Where a layer of sample `i` lies."""
        bucket = int(self.array(f"{layer}.bucket")[i]) if layer in self._varying else 0
        return Place(
            int(self.array(f"{layer}.offset")[i]),
            int(self.array(f"{layer}.length")[i]),
            int(self.array(f"{layer}.crc32c")[i]),
            bucket,
        )

    def places(self, rows: NDArray[np.int64], layer: str) -> ChunkPlaces:
        """Where a layer of several samples lies."""
        names = ("shard", f"{layer}.offset", f"{layer}.length")
        shard, offset, length = (self.array(name)[rows].astype(np.int64) for name in names)
        if layer in self._varying:
            return ChunkPlaces(shard, offset, length, self.array(f"{layer}.bucket")[rows].astype(np.int64))
        return ChunkPlaces(shard, offset, length, np.zeros(len(rows), dtype=np.int64))

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
        if self.has_sets(name):
            ids = self._kept(name)[i].as_py()
            return None if ids is None else tuple(ids)
        value = int(self.array(name)[i])
        return None if value < 0 else value

    def dates(self, stack: str) -> NDArray[np.datetime64]:
        """(N, T) datetime64[s]."""
        return self.array(f"{stack}.time")

    def geo(self, i: int) -> GeoRef | None:
        """The georeference of sample `i`."""
        numbers = self._kept("transform")[i].as_py()
        if numbers is None:
            return None
        a, b, c, d, e, f = numbers
        return GeoRef(self.text("crs", i), (a, b, c, d, e, f))

    def has_sets(self, name: str) -> bool:
        """Whether a column has lists of class ids."""
        return bool(pa.types.is_list(self.schema.field(name).type))

    def _kept(self, name: str) -> Any:
        found = self._arrow.get(name)
        if found is None:
            with self._lock:
                found = self._arrow[name] = self._column(name)
        return found

    def _column(self, name: str) -> Any:
        column = self._read([name]).column(0).combine_chunks()
        return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column

    def table(self, columns: list[str] | None, rows: NDArray[np.int64] | None = None) -> Any:
        """Columns of the index as an Arrow table; the whole of it with its metadata.

        Args:
            columns: Names; None for all.
            rows: Ascending, for these only: the others are read, a piece at a time, and not kept.
        """
        if rows is None or not len(rows):
            found = self._read(columns)
            return found if rows is None else found.slice(0, 0)
        fields = [self.schema.field(name) for name in columns or () if name in self.names]
        # Few values in many rows are stored as numbers: only those that are taken become text again.
        coded = [one.name for one in fields if pa.types.is_string(one.type) and one.name != "key"]
        taken: list[Any] = []
        start = 0
        for piece in self._pieces(columns, _PIECE, coded):
            first, last = np.searchsorted(rows, (start, start + len(piece)))
            taken.append(piece.take(pa.array(rows[first:last] - start)))
            start += len(piece)
        found = pa.Table.from_batches(taken)
        return found.cast(pa.schema(fields)) if coded else found

    def few(self, rows: NDArray[np.int64]) -> "IndexColumns":
        """The same index with some of its rows only, ascending and numbered anew."""
        return _FewColumns(self, rows)

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """A column of text as (N,) positions in the list of its values, -1 where there is none.

        Where few values stand in many rows, this is how they are stored, and a quarter of the time of their text.
        """
        column = self._read([name], coded=(name,)).column(0).unify_dictionaries().combine_chunks()
        column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        found = column.indices.fill_null(-1) if column.null_count else column.indices
        return np.asarray(found.to_numpy(), dtype=np.int64), column.dictionary.to_pylist()

    def batches(self, columns: list[str], rows: int) -> Iterator[Any]:
        """Columns as Arrow record batches of at most so many rows, in order: memory for one batch at a time."""
        yield from self._pieces(columns, rows)

    def _pieces(self, columns: list[str] | None, rows: int, coded: Sequence[str] = ()) -> Iterator[Any]:
        file = self._checked(columns, coded)
        try:
            yield from file.iter_batches(batch_size=rows, columns=columns)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise StoreError(f"cannot be read ({error})", self._where, BUILD_AGAIN) from error

    def _read(self, columns: list[str] | None, coded: Sequence[str] = ()) -> Any:
        with self._lock:
            file = self._checked(columns, coded)
            try:
                return file.read(columns=columns)
            except (OSError, pa.ArrowException, ValueError) as error:
                raise StoreError(f"cannot be read ({error})", self._where, BUILD_AGAIN) from error

    def _checked(self, columns: list[str] | None, coded: Sequence[str] = ()) -> Any:
        """The file, after it was held against the hashes and found to have these columns."""
        with self._lock:
            file = self._open(coded)
            missing = [name for name in columns or () if name not in file.schema_arrow.names]
            if missing:
                raise StoreError(f"has no column {missing[0]!r}", where=self._where)
            if not self._is_checked:
                self._check_groups()
                self._is_checked = True
            return file

    @property
    def _where(self) -> str:
        return self._files.where(INDEX_NAME)

    def _check_groups(self) -> None:
        """Every row group must have the bytes that were sealed: one pass, at the rate of sha256."""
        start = first = 0
        for group in self._groups[:-1]:
            state, end = hashlib.sha256(), start + group.bytes
            for at in range(start, end, _BLOCK):
                state.update(self._bytes(at, min(_BLOCK, end - at)))
            if state.hexdigest() != group.sha256:
                what = f"rows {first} to {first + group.rows - 1} are damaged: another sha256 than store.json says"
                raise StoreError(what, self._where, BUILD_AGAIN)
            start, first = end, first + group.rows

    def _open(self, coded: Sequence[str] = ()) -> Any:
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
                return pq.ParquetFile(self._path, memory_map=True, read_dictionary=list(coded))
            return pq.ParquetFile(pa.BufferReader(self._fetched()), read_dictionary=list(coded))
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


class _FewColumns(IndexColumns):
    """Some rows of an index, see `IndexColumns.few`: all that is read is the whole's, which checks it."""

    def __init__(self, whole: IndexColumns, rows: NDArray[np.int64]) -> None:
        super().__init__(whole._files, whole._spec, whole._groups)
        self._whole, self._rows = whole, rows

    @cached_property
    def schema(self) -> Any:
        return self._whole.schema

    @cached_property
    def _light(self) -> Any:
        """All columns but the heavy ones, which takes less time than one after the other."""
        return self._whole.table([name for name in self.names if name not in HEAVY], self._rows)

    def table(self, columns: list[str] | None, rows: NDArray[np.int64] | None = None) -> Any:
        found = self._read(columns)
        return found if rows is None else found.take(pa.array(rows))

    def batches(self, columns: list[str], rows: int) -> Iterator[Any]:
        yield from self._read(columns).to_batches(rows)

    def _read(self, columns: list[str] | None, coded: Sequence[str] = ()) -> Any:
        del coded  # of few rows the text is as fast
        with self._lock:
            if columns is not None and set(columns) <= set(self.names) - HEAVY:
                return self._light.select(columns)
        return self._whole.table(columns, self._rows)


def _to_numpy(column: Any) -> NDArray[Any]:
    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        width = len(column[0]) if len(column) else 0
        flat = column.flatten().cast(pa.int64())
        seconds = np.where(flat.is_null().to_numpy(False), np.iinfo(np.int64).min, _zeroed(flat) // 1000)
        return seconds.reshape(-1, width).astype("datetime64[s]")
    if pa.types.is_integer(kind) and column.null_count:
        return np.asarray(column.fill_null(-1).to_numpy(False))
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _zeroed(flat: Any) -> NDArray[np.int64]:
    return np.asarray(flat.fill_null(0).to_numpy(False))
