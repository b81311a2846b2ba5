"""The format's facts in one place: names of files, shard sizes, size buckets and codecs."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.native.blosc import unpack_part
from seamo.native.checksum import crc32c as crc32c  # the checksum that zarr's shards use too
from seamo.native.scratch import Scratch
from seamo.seal import MANIFEST

Layout = Literal["zarr", "webdataset"]
CodecName = Literal["lz4", "compact", "none"]
Shuffle = Literal["byte", "bit"]
LabelKind = Literal["id", "set", "mask", "none"]

FORMAT = "seamo-store/2"
META_NAME = "store.json"
INDEX_NAME = "index.parquet"
MOMENTS_NAME = "moments.parquet"  # statistics of every sample: what a view's statistics are made from
CHECKSUMS_NAME = MANIFEST  # size and sha256 of every other file but store.json and the views
LEDGER_NAME = "ledger.json"
ZARR_NAME = "data.zarr"
TAR_FOLDER = "shards"
VIEWS_NAME = "views"  # other splits, label spaces and labels of the same pixels, a folder each
WORK_NAME = ".work"  # sidecars and partial files of a store that is being built
LABEL = "label"  # the mask's name among layers
IGNORE_FILL = 255
NO_DATE = int(np.iinfo(np.int64).min)  # xarray decodes it as NaT

BUCKETS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
_TYPICAL_SIZE = 128  # assumed where sizes vary, to choose the rows of a shard
_SHARD_BYTES = 256 * 2**20  # of the biggest layer, before compression
_MAX_ROWS = 512
_MIN_ROWS = 16
_WISHED_SHARDS = 16  # a small store still gives every core something to do

# blosc: name of the compressor, level. Automatic block size.
_BLOSC: dict[str, tuple[Literal["lz4", "zstd"], int]] = {"lz4": ("lz4", 5), "compact": ("zstd", 5)}
_SHUFFLES: dict["Shuffle", int] = {"byte": 1, "bit": 2}
_BLOCKS = Scratch()  # of a thread that decodes
CRC_BYTES = 4  # zarr's codec `crc32c` ends every chunk of the zarr layout with one of its bytes


def title_of(spec: DatasetSpec, *, readable: int, synthetic: bool, subset: bool) -> str:
    """Name of a store as every table shows it.

    Example: `EuroSAT subset (202 of 27,000)`, `EuroSAT synthetic (600 samples)`.
    """
    if synthetic:
        return f"{spec.title} synthetic ({readable:,} samples)"
    if not subset:
        return spec.title
    published = f"{spec.expected.samples:,}" if spec.expected.samples else "unknown"
    return f"{spec.title} subset ({readable:,} of {published})"


def label_kind(spec: DatasetSpec) -> LabelKind:
    """What `Sample.label` is for a data set's task."""
    kinds: Mapping[str, LabelKind] = {
        "single-label": "id",
        "multi-label": "set",
        "segmentation": "mask",
        "change": "mask",
    }
    return kinds.get(spec.task.kind, "none")


def finest_layer(spec: DatasetSpec) -> LayerSpec:
    """The layer whose grid is the sample's: smallest ground sampling distance, first of equals."""
    return min(spec.layers, key=lambda layer: layer.gsd_m)


def stored_ids(spec: DatasetSpec) -> tuple[str, ...]:
    """Layer ids in order, with `label` at the end where labels are masks."""
    ids = tuple(layer.id for layer in spec.layers)
    return (*ids, LABEL) if label_kind(spec) == "mask" else ids


def time_dims(spec: DatasetSpec) -> dict[str, str]:
    """Stack -> name of its dimension of dates, in a dataset of all layers: `time`, or `time_<stack>` each.

    Stacks with different numbers of dates cannot share a dimension.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> time_dims(tiny_store().spec)
        {'s2': 'time', 's1': 'time'}
    """
    alike = len({spec.num_times(stack) for stack in spec.stacks}) == 1
    return {stack: "time" if alike else f"time_{stack}" for stack in spec.stacks}


def varying_layers(spec: DatasetSpec) -> frozenset[str]:
    """Layers (and `label`) whose images differ in size."""
    varying = {layer.id for layer in spec.layers if layer.size is None}
    if label_kind(spec) == "mask" and finest_layer(spec).size is None:
        varying.add(LABEL)
    return frozenset(varying)


def bucket_of(height: int, width: int) -> int:
    """The square size to which an image of varying size is padded, at the bottom and right.

    Raises:
        StoreError: If the image is larger than the largest bucket.

    Example:
        >>> bucket_of(65, 10)
        96
    """
    for bucket in BUCKETS:
        if max(height, width) <= bucket:
            return bucket
    raise StoreError(f"image of {height} x {width} pixels is larger than {BUCKETS[-1]}", fix="Cut it into tiles.")


def array_name(layer: str, bucket: int) -> str:
    """Name of a layer's zarr array: `s2`, or `s2_96` for images of varying size padded to 96.

    Example:
        >>> array_name("s2", 0), array_name("s2", 96)
        ('s2', 's2_96')
    """
    return f"{layer}_{bucket}" if bucket else layer


def is_label_array(array: str) -> bool:
    """Whether a zarr array holds masks (`label`, `label_96`)."""
    name, _, bucket = array.partition("_")
    return name == LABEL and (bucket == "" or bucket.isdigit())


def shard_file(layout: Layout, k: int, array: str = "") -> str:
    """Name, within the store, of one shard's file; `array` for the zarr layout only.

    Example:
        >>> shard_file("webdataset", 3), shard_file("zarr", 3, "s2"), shard_file("zarr", 3, "label")
        ('shards/000003.tar', 'data.zarr/s2/c/3/0/0/0/0', 'data.zarr/label/c/3/0/0')
    """
    if layout == "webdataset":
        return f"{TAR_FOLDER}/{k:06d}.tar"
    dims = "0/0" if is_label_array(array) else "0/0/0/0"
    return f"{ZARR_NAME}/{array}/c/{k}/{dims}"


def rows_per_shard(spec: DatasetSpec, layout: Layout, num_rows: int) -> int:
    """Samples in one shard: a power of two from 16 (or 1 for huge samples) to 512.

    The biggest layer of a shard (all layers, in the webdataset layout) has at most 256 MiB before
    compression; a store of a few thousand samples or more has at least 16 shards.
    """
    sizes = [_layer_bytes(layer) for layer in spec.layers]
    largest = max(sizes) if layout == "zarr" else sum(sizes)
    fit = _power_of_two(min(_MAX_ROWS, max(1, _SHARD_BYTES // largest)))
    spread = max(_MIN_ROWS, _power_of_two(max(1, num_rows // _WISHED_SHARDS)))
    return min(fit, spread)


def _layer_bytes(layer: LayerSpec) -> int:
    height, width = layer.size or (_TYPICAL_SIZE, _TYPICAL_SIZE)
    return layer.times * len(layer.bands) * height * width * np.dtype(layer.dtype).itemsize


def _power_of_two(value: int) -> int:
    return 1 << (value.bit_length() - 1)


def padding_value(layer: LayerSpec | None) -> int | float:
    """What fills a pixel that is not there: the layer's fill, 0 without one, 255 in masks (None)."""
    if layer is None:
        return IGNORE_FILL
    return 0 if layer.fill_value is None else layer.fill_value


def compress(pixels: NDArray[Any], codec: CodecName) -> bytes:
    """Bytes of one chunk, as zarr's codecs `bytes` (little endian) and `blosc` write it."""
    if codec == "none":
        return pixels.tobytes()
    name, level = _BLOSC[codec]
    size = pixels.dtype.itemsize
    packed: bytes = blosc.compress(pixels, name.encode(), level, _SHUFFLES[shuffle_of(pixels.dtype)], 0, size)
    return packed


def shuffle_of(dtype: np.dtype[Any]) -> Shuffle:
    """How the bytes of pixels are put in order before they are compressed.

    Of real scenes (`perf/codecs.py`), integers become 6 to 15 % smaller with their bits in order and are decoded no
    slower; floats become 2 % smaller and take twice the time.
    """
    return "byte" if dtype.kind == "f" else "bit"


def decompress(data: bytes | NDArray[np.uint8], codec: CodecName, out: NDArray[Any]) -> None:
    """Decode one chunk into `out` (C-contiguous).

    Raises:
        RuntimeError, ValueError: If the bytes are not such a chunk.
    """
    if codec == "none":
        out.reshape(-1)[:] = np.frombuffer(data, dtype=out.dtype)
        return
    blosc.decompress(data, out)


def unpack(data: bytes | NDArray[np.uint8], codec: CodecName, out: NDArray[Any], *, start: int, total: int) -> None:
    """Decode a part of one chunk into `out` (C-contiguous), without what comes before and after it where that can be.

    Args:
        data: The whole chunk.
        codec: Of the store.
        out: As many bytes as it has are decoded.
        start: From this byte of the chunk's pixels on.
        total: Bytes that the chunk's pixels must have.

    Raises:
        RuntimeError, ValueError: If the bytes are not such a chunk.
    """
    chunk = np.frombuffer(data, dtype=np.uint8)
    told = len(chunk) if codec == "none" else int.from_bytes(chunk[4:8].tobytes(), "little")  # blosc: header's nbytes
    if told != total or start + out.nbytes > total:
        raise ValueError(f"{told} bytes of pixels instead of {total}")
    if codec == "none":
        out.reshape(-1).view(np.uint8)[:] = chunk[start : start + out.nbytes]
    elif not unpack_part(chunk, start, out, _BLOCKS):
        whole = np.empty(total, dtype=np.uint8)
        blosc.decompress(chunk, whole)
        out.reshape(-1).view(np.uint8)[:] = whole[start : start + out.nbytes]


def blosc_settings(codec: CodecName) -> tuple[Literal["lz4", "zstd"], int] | None:
    """Compressor and level for the array's metadata; None for uncompressed."""
    return _BLOSC.get(codec)
