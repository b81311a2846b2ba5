"""index.parquet: one row a sample, as GeoParquet (footprints in WGS84 with a bounding-box covering)."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo.manifest import DatasetSpec
from seamo.store.footprints import ImageGrid, footprints, geo_metadata
from seamo.store.format import NO_DATE, label_kind, stored_ids, varying_layers
from seamo.store.meta import RowGroup, folds_of
from seamo.store.shards import Place

_ROWS_PER_GROUP = 65536
_DATE = pa.timestamp("ms", tz="UTC")
_BOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])


@dataclass(frozen=True, slots=True, eq=False)
class RowFacts:
    """What the index says about one sample, except its split.

    Args:
        key: Of the sample.
        digest: See `seamo.store.content`.
        shard: Number of its shard.
        label: Class id, list of ids, or None (masks too).
        dominant: The most frequent class of a mask, or None.
        dates: Stack -> seconds, `NO_DATE` where absent.
        scene, y0, x0, height, width: See design: pixels of the finest grid, true size.
        crs: Of `transform`; empty without a georeference.
        transform: Six numbers, or None.
        places: Layer -> where it lies.
        valid: Layers that the sample has.
        sizes: Layer -> true height and width, for layers of varying size.
        classes: (class id, pixels) of a mask, without ignored pixels; None without one.
        reason: Why the sample could not be read; empty if it could.
        infinite: Layer -> pixels of each band that were infinite, and were stored as missing; without those of none.
    """

    key: str
    digest: bytes
    shard: int
    label: int | list[int] | None = None
    dominant: int | None = None
    dates: Mapping[str, Sequence[int]] = field(default_factory=dict)
    scene: str = ""
    y0: int = 0
    x0: int = 0
    height: int = 0
    width: int = 0
    crs: str = ""
    transform: tuple[float, ...] | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    valid: frozenset[str] = frozenset()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    classes: Sequence[tuple[int, int]] | None = None
    reason: str = ""
    infinite: Mapping[str, Sequence[int]] = field(default_factory=dict)


def index_bytes(
    spec: DatasetSpec,
    rows: Sequence[RowFacts],
    splits: Sequence[str],
    folds: NDArray[np.int8] | None,
    *,
    countries: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of index.parquet; equal input gives equal bytes.

    Args:
        spec: Of the store.
        rows: In order.
        splits: Of each row.
        folds: (N, repeats) of a cross-validation scheme, or None.
        countries: Key -> country, where the archive names any: the column `country`.

    Raises:
        StoreError: If a sample's coordinate system cannot be understood.
    """
    boxes, polygons = footprints([ImageGrid(row.key, row.crs, row.transform, row.height, row.width) for row in rows])
    columns: dict[str, Any] = {
        "key": pa.array([row.key for row in rows], pa.string()),
        "split": pa.array(splits, pa.string()),
        "label": label_array(spec, [row.label for row in rows]),
        "time": pa.array([_first_date(row) for row in rows], _DATE),
        "footprint": pa.array(polygons, pa.binary()),
        "bbox": pa.array(boxes, _BOX),
        "scene": pa.array([row.scene for row in rows], pa.string()),
    }
    for name in ("y0", "x0", "height", "width", "shard"):
        columns[name] = pa.array([getattr(row, name) for row in rows], pa.int32())
    columns["crs"] = pa.array([row.crs or None for row in rows], pa.string())
    columns["transform"] = pa.array([row.transform for row in rows], pa.list_(pa.float64()))
    if countries is not None:
        columns["country"] = pa.array([countries.get(row.key) or None for row in rows], pa.string())
    columns["sha256"] = pa.array([row.digest for row in rows], pa.binary(32))
    columns["readable"] = pa.array([not row.reason for row in rows], pa.bool_())
    if label_kind(spec) == "mask":
        columns["dominant"] = pa.array([row.dominant for row in rows], pa.int32())
    for stack in spec.stacks:
        values = [[None if s == NO_DATE else s * 1000 for s in row.dates[stack]] for row in rows]
        columns[f"{stack}.time"] = pa.array(values, pa.list_(_DATE))
    if folds is not None:
        columns |= {f"fold{r}": pa.array(folds[:, r], pa.int8()) for r in range(folds.shape[1])}
    varying = varying_layers(spec)
    for layer in stored_ids(spec):
        places = [row.places.get(layer, Place(0, 0, 0)) for row in rows]
        columns[f"{layer}.offset"] = pa.array([one.offset for one in places], pa.int64())
        columns[f"{layer}.length"] = pa.array([one.length for one in places], pa.int64())
        columns[f"{layer}.crc32c"] = pa.array([one.crc32c for one in places], pa.uint32())
        columns[f"{layer}.valid"] = pa.array([layer in row.valid for row in rows], pa.bool_())
        if layer in varying:
            sizes = [row.sizes.get(layer, (0, 0)) for row in rows]
            columns[f"{layer}.bucket"] = pa.array([one.bucket for one in places], pa.int32())
            columns[f"{layer}.height"] = pa.array([size[0] for size in sizes], pa.int32())
            columns[f"{layer}.width"] = pa.array([size[1] for size in sizes], pa.int32())
    return table_bytes(pa.table(columns).replace_schema_metadata({"geo": geo_metadata(boxes, polygons)}))


def table_bytes(table: Any) -> bytes:
    """The bytes of an index, as every version of this format writes them."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=3, row_group_size=_ROWS_PER_GROUP)
    return sink.getvalue()


def row_groups(data: bytes) -> tuple[RowGroup, ...]:
    """The bytes of an index by row group, each with its sha256; the last entry is what follows the groups."""
    footer = pq.ParquetFile(pa.BufferReader(data)).metadata
    ends = [
        max(_end(footer.row_group(i).column(c)) for c in range(footer.num_columns))
        for i in range(footer.num_row_groups)
    ]
    rows = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    starts = [0, *ends]
    return tuple(
        RowGroup(rows=num, bytes=end - start, sha256=hashlib.sha256(data[start:end]).hexdigest())
        for num, start, end in zip((*rows, 0), starts, (*ends, len(data)), strict=True)
    )


def with_meaning(table: Any, splits: Sequence[str], folds: NDArray[np.int8] | None, labels: Any | None) -> Any:
    """An index with other splits, folds and labels; everything else as it is.

    Args:
        table: Arrow table of an index.
        splits: Of every row.
        folds: (N, repeats), or None.
        labels: Arrow array of the column `label`; None keeps it.
    """
    names = [name for name in table.column_names if name not in folds_of(table.column_names)]
    columns = {name: table.column(name) for name in names}
    columns["split"] = pa.array(splits, pa.string())
    if labels is not None:
        columns["label"] = labels
    if folds is not None:
        columns |= {f"fold{r}": pa.array(folds[:, r], pa.int8()) for r in range(folds.shape[1])}
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def label_array(spec: DatasetSpec, labels: Sequence[int | Sequence[int] | None]) -> Any:
    """The column `label`."""
    kind = pa.list_(pa.int32()) if label_kind(spec) == "set" else pa.int32()
    return pa.array([list(one) if isinstance(one, tuple) else one for one in labels], kind)


def _end(column: Any) -> int:
    start = column.data_page_offset
    if column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    return int(start + column.total_compressed_size)


def _first_date(row: RowFacts) -> int | None:
    there = [s for seconds in row.dates.values() for s in seconds if s != NO_DATE]
    return min(there) * 1000 if there else None
