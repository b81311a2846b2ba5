"""The zarr v3 metadata of `data.zarr`: what lets xarray, tensorstore and GDAL open a store without us."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from seamo.manifest import DatasetSpec, LayerSpec
from seamo.store.format import (
    FORMAT,
    IGNORE_FILL,
    LABEL,
    NO_DATE,
    CodecName,
    array_name,
    blosc_settings,
    finest_layer,
    padding_value,
    shuffle_of,
    time_dims,
)
from seamo.store.packing import DTYPE, MISSING, STEP

_ROWS_PER_KEY_CHUNK = 65536
_SMALL: Any = [ZstdCodec(level=0), Crc32cCodec()]  # of coordinates: what zarr-python does by itself, and a checksum


def write_zarr_metadata(
    folder: Path,
    spec: DatasetSpec,
    *,
    codec: CodecName,
    rows_per_shard: int,
    keys: Sequence[str],
    dates: Mapping[str, NDArray[np.int64]],
    buckets: Mapping[str, Iterable[int]],
    packed: Sequence[str] = (),
) -> None:
    """Describe shards that are already there, and write the small arrays beside them.

    Every array has the sample axis first, and row i is the same sample in all of them. In a layer of varying
    size, one array a bucket, a sample has a chunk in its own bucket only.

    Args:
        folder: `data.zarr`.
        spec: Layers as built.
        codec: Of the shards.
        rows_per_shard: Chunks of one.
        keys: Of every row.
        dates: Stack -> (N, T) int64 seconds, `NO_DATE` where absent.
        buckets: Layer -> size buckets in use, for layers (and masks) of varying size.
        packed: Layers stored in 16 bits, which say so as the CF conventions do.
    """
    for old in (folder / "zarr.json", *folder.glob("*/zarr.json")):
        old.unlink(missing_ok=True)  # of a builder that was killed here
    root = zarr.open_group(folder, mode="a", zarr_format=3)
    arrays = _Arrays(root, len(keys), rows_per_shard, codec)
    times = time_dims(spec)
    root.attrs.update({"title": spec.title, "dataset": spec.id, "format": FORMAT})
    for layer in spec.layers:
        _layer_arrays(arrays, layer, times[layer.stack], buckets.get(layer.id), is_packed=layer.id in packed)
    if LABEL in buckets or spec.task.kind in ("segmentation", "change"):
        height_width = finest_layer(spec).size
        for bucket in buckets.get(LABEL, (0,)):
            size = (bucket, bucket) if bucket or height_width is None else height_width
            name = array_name(LABEL, bucket)
            dims = ("sample", f"y_{name}", f"x_{name}")
            arrays.sharded(name, size, dtype=np.dtype("uint8"), fill=IGNORE_FILL, dims=dims, attributes={})
    _coordinates(root, spec, keys, dates, times)
    with warnings.catch_warnings():
        # Consolidated metadata is not in the zarr v3 specification yet; readers that do not know it ignore it.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(root.store)


class _Arrays:
    def __init__(self, root: zarr.Group, num_rows: int, rows_per_shard: int, codec: CodecName) -> None:
        self._root, self._num_rows, self._rows = root, num_rows, rows_per_shard
        self._blosc = blosc_settings(codec)

    def sharded(
        self,
        name: str,
        inner: tuple[int, ...],
        *,
        dtype: np.dtype[Any],
        fill: float,
        dims: tuple[str, ...],
        attributes: dict[str, Any],
    ) -> None:
        compressors: list[Any] = [Crc32cCodec()]  # so that whoever reads the pixels notices damage
        if self._blosc is not None:
            cname, level = self._blosc
            shuffle: Any = {"byte": "shuffle", "bit": "bitshuffle"}[shuffle_of(dtype)]
            blosc = BloscCodec(typesize=dtype.itemsize, cname=cname, clevel=level, shuffle=shuffle, blocksize=0)
            compressors = [blosc, *compressors]
        self._root.create_array(
            name,
            shape=(self._num_rows, *inner),
            dtype=dtype,
            chunks=(1, *inner),
            shards=(self._rows, *inner),
            filters=None,
            compressors=compressors,
            fill_value=fill,
            dimension_names=dims,
            attributes=attributes,
            config={"write_empty_chunks": True},
        )


def _layer_arrays(
    arrays: _Arrays, layer: LayerSpec, time: str, buckets: Iterable[int] | None, *, is_packed: bool
) -> None:
    attributes = {
        "bands": list(layer.bands),  # tensorstore cannot read the string coordinate
        "sensor": layer.sensor,
        "stack": layer.stack,
        "product": layer.product,
        "unit": str(layer.unit),
        "gsd_m": layer.gsd_m,
        "coordinates": f"key acquired_{layer.stack}",
    }
    if layer.size is None:
        attributes["padding"] = "images are padded at the bottom and right; true sizes are in index.parquet"
    dtype, fill = np.dtype(layer.dtype), padding_value(layer)
    if is_packed:
        dtype, fill = DTYPE, MISSING
        attributes |= {"scale_factor": STEP, "add_offset": 0.0, "_FillValue": MISSING}
    for bucket in buckets if buckets is not None else (0,):
        height, width = layer.size or (bucket, bucket)
        name = array_name(layer.id, bucket)
        inner = (layer.times, len(layer.bands), height, width)
        dims = ("sample", time, f"band_{layer.id}", f"y_{name}", f"x_{name}")
        arrays.sharded(name, inner, dtype=dtype, fill=fill, dims=dims, attributes=attributes)


def _coordinates(
    root: zarr.Group,
    spec: DatasetSpec,
    keys: Sequence[str],
    dates: Mapping[str, NDArray[np.int64]],
    times: Mapping[str, str],
) -> None:
    _strings(root, "key", keys, "sample", min(len(keys), _ROWS_PER_KEY_CHUNK))
    for layer in spec.layers:
        _strings(root, f"band_{layer.id}", layer.bands, f"band_{layer.id}", len(layer.bands))
    for stack, seconds in dates.items():
        array = root.create_array(
            f"acquired_{stack}",
            shape=seconds.shape,
            chunks=(min(len(seconds), _ROWS_PER_KEY_CHUNK), seconds.shape[1]),
            dtype=np.dtype("int64"),
            fill_value=NO_DATE,
            dimension_names=("sample", times[stack]),
            attributes={"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"},
            compressors=_SMALL,
            overwrite=True,
        )
        array[:] = seconds


def _strings(root: zarr.Group, name: str, values: Sequence[str], dim: str, chunk: int) -> None:
    array: Any = root.create_array(
        name,
        shape=(len(values),),
        chunks=(chunk,),
        dtype="string",
        dimension_names=(dim,),
        compressors=_SMALL,
        overwrite=True,
    )
    array[:] = np.array(list(values), dtype=np.dtypes.StringDType())
