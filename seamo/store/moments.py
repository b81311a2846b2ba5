"""moments.parquet: count, mean, spread and range of every sample's bands, and the class counts of its mask.

From it a view's statistics follow without a pixel: it has a few hundred bytes a sample.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo import stats
from seamo.errors import StoreError
from seamo.manifest import DatasetSpec

_PARTS = {"count": pa.int64(), "mean": pa.float64(), "m2": pa.float64(), "low": pa.float64(), "high": pa.float64()}
_CLASSES = pa.list_(pa.struct([("id", pa.uint8()), ("pixels", pa.int64())]))
_ROWS_PER_GROUP = 65536


def moments_bytes(moments: Mapping[str, stats.Moments], masks: Sequence[Mapping[int, int] | None] | None) -> bytes:
    """The bytes of moments.parquet; equal input gives equal bytes.

    Args:
        moments: Layer -> (N, C).
        masks: Class id -> pixels of every row, None where a row has no mask; None altogether where there are no masks.
    """
    columns: dict[str, Any] = {}
    for layer, one in moments.items():
        for part, kind in _PARTS.items():
            values = getattr(one, part)
            columns[f"{layer}.{part}"] = pa.FixedSizeListArray.from_arrays(
                pa.array(values.reshape(-1), kind), values.shape[1]
            )
    if masks is not None:
        rows = [None if one is None else [{"id": i, "pixels": one[i]} for i in sorted(one)] for one in masks]
        columns["label.classes"] = pa.array(rows, _CLASSES)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    return sink.getvalue()


class SampleMoments:
    """What moments.parquet says.

    Args:
        data: Its bytes, checked.
        where: The file, for messages.

    Raises:
        StoreError: If it is no such table.
    """

    def __init__(self, data: bytes, where: str) -> None:
        try:
            self._table: Any = pq.read_table(pa.BufferReader(data))
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"cannot be read ({error})", where, "Copy or build the store again.") from error

    def layer(self, spec: DatasetSpec, layer: str) -> stats.Moments:
        """Moments of one layer, (N, C)."""
        num_bands = len(spec.layer(layer).bands)
        parts = (self._numbers(f"{layer}.{part}", num_bands) for part in _PARTS)
        count, mean, m2, low, high = parts
        return stats.Moments(count.astype(np.int64), mean, m2, low, high)

    def masks(self) -> list[dict[int, int] | None]:
        """Class id -> pixels of every row's mask."""
        rows = self._table.column("label.classes").to_pylist()
        return [None if row is None else {int(one["id"]): int(one["pixels"]) for one in row} for row in rows]

    def _numbers(self, name: str, width: int) -> NDArray[Any]:
        flat = self._table.column(name).combine_chunks()
        if isinstance(flat, pa.ChunkedArray):
            flat = pa.concat_arrays(flat.chunks)
        return np.asarray(flat.flatten().to_numpy(False)).reshape(-1, width)


def all_statistics(
    spec: DatasetSpec, moments: Mapping[str, stats.Moments], histograms: Mapping[str, NDArray[np.int64]]
) -> dict[str, dict[str, Any]]:
    """Statistics over all samples, with percentiles: layer -> band -> numbers."""
    return {
        layer.id: dict(stats.describe(layer.bands, stats.merge(moments[layer.id]), histograms[layer.id], layer.dtype))
        for layer in spec.layers
    }


def part_statistics(
    spec: DatasetSpec, moments: Mapping[str, stats.Moments], chosen: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Statistics over some samples, without percentiles: layer -> band -> numbers."""
    return {
        layer.id: dict(stats.describe(layer.bands, stats.merge(stats.select(moments[layer.id], chosen))))
        for layer in spec.layers
    }
