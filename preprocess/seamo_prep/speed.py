"""What limits reading a store on this machine: every step alone in one thread, the whole Loader, memcpy beside them.

A thread of the Loader reads the bytes of a chunk, computes their checksum and decodes them; then pixels are cropped and
resized. The steps here call what the reader calls, on the same samples. All is measured in turn, in rounds, and the
median is told. What the Loader takes beyond these steps is labels, dates and handing over.
"""

import errno
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seamo.addresses import disk_path
from seamo.errors import MissingLibraryError, StoreError
from seamo.extras import needing
from seamo.native.scratch import Scratch
from seamo.store import format as fmt
from seamo.store.packing import stored_dtype
from seamo.store.reader import Store

DISK, CACHE, CHECKSUM, MEMCPY = "disk, cold", "page cache", "checksum", "memcpy of the pixels"
NETWORK = "from the address"  # in place of the page cache, where the store is not on a disk
CROP, LOADER, FULL, REST = "crop", "Loader", "Loader and crop", "labels, dates, handing over"

_ROUNDS = 3
_DECODED = 256_000_000  # bytes of decoded pixels that a round goes through, at most
_FEW = 32_000_000  # so little shows how long a start takes, not how fast the machine is
_MAX_ROWS = 4096
_MAX_OPEN = 64  # files
_LOOK = 2**20  # bytes between two pages that are asked whether they are in the page cache
_STILL_CACHED = 0.05  # share of pages; where more stay in memory, no read is cold

Way = tuple[str, int]  # a step and its number of threads


@dataclass(frozen=True, slots=True)
class StepSpeed:
    """One step, or one way through all of them.

    Args:
        step: What is done.
        threads: How many do it at once.
        rate: Samples a second.
        bytes_s: Bytes a second: those in the files for reading and checksums, else those of the pixels.
    """

    step: str
    threads: int
    rate: float
    bytes_s: float


@dataclass(frozen=True, slots=True)
class StoreSpeeds:
    """What was measured.

    Args:
        rows: In the order of the way that pixels take.
        samples: How many samples a round went through.
        limit: What limits reading, as a sentence.
        remarks: What could not be measured and why, a sentence each.
    """

    rows: tuple[StepSpeed, ...]
    samples: int
    limit: str
    remarks: tuple[str, ...]


class _Chunk(NamedTuple):
    file: str
    offset: int
    length: int
    crc32c: int
    shape: tuple[int, ...]
    dtype: str


def measure(store: Store) -> StoreSpeeds:
    """Measure how fast a store is read; takes seconds, of a large one up to a minute.

    Raises:
        StoreError: If a sample that is read is damaged (names it), or no sample can be read.
    """
    rows = _some_rows(store)
    samples = _chunks(store, rows)  # as the index says; the pass that follows holds the bytes against it
    for row in rows.tolist():
        for layer in fmt.stored_ids(store.spec):
            store.read_layer(row, layer)
    stored = sum(chunk.length for sample in samples for chunk in sample)
    decoded = sum(_bytes(chunk) for sample in samples for chunk in sample)
    remarks = []
    if decoded < _FEW:
        remarks.append(f"Only {decoded / 1e6:.1f} MB of pixels: too few to go by.")
    cores, load = _cores(), os.getloadavg()[0]
    if load > cores / 2:
        remarks.append(f"Load {load:.1f} on {cores} cores: this is the speed of what others leave.")
    paths = sorted({path for sample in samples for chunk in sample if (path := _path(store, chunk.file))})
    if paths and not _drop(paths):
        remarks.append("The page cache cannot be dropped for these files, so the disk was not measured.")
        paths = []
    loads: Mapping[Way, Callable[[], float]] = {}
    try:
        with needing("Loader and crop"):
            loads = _loads(store, rows)
    except MissingLibraryError as error:
        remarks.append(str(error))
    found: dict[Way, list[float]] = {}
    for _ in range(_ROUNDS):
        if paths and _drop(paths):
            found.setdefault((DISK, 1), []).append(_steps(store, samples)[CACHE])
        for step, seconds in _steps(store, samples).items():
            found.setdefault((step, 1), []).append(seconds)
        for way, seconds_of in loads.items():
            found.setdefault(way, []).append(seconds_of())
    if not store.is_on_disk:
        found = {(NETWORK if step == CACHE else step, threads): took for (step, threads), took in found.items()}
    median = {way: statistics.median(took) for way, took in found.items()}
    speeds = tuple(
        StepSpeed(
            step, threads, len(rows) / took, (stored if step in (DISK, CACHE, NETWORK, CHECKSUM) else decoded) / took
        )
        for (step, threads), took in median.items()
    )
    return StoreSpeeds(speeds, len(rows), _limit(store, {way: took / len(rows) for way, took in median.items()}),
                  tuple(remarks))  # fmt: skip


def _some_rows(store: Store) -> NDArray[np.int64]:
    """Readable rows that lie evenly over the store."""
    every = store.rows("all")
    if not len(every):
        raise StoreError("has no sample that can be read", where=store.title)
    one = sum(_bytes(chunk) for chunk in _chunks(store, every[:1])[0])
    count = min(len(every), _MAX_ROWS, max(1, _DECODED // max(1, one)))
    return every[np.linspace(0, len(every) - 1, count).astype(np.int64)]


def _bytes(chunk: _Chunk) -> int:
    return int(np.prod(chunk.shape)) * np.dtype(chunk.dtype).itemsize


def _chunks(store: Store, rows: NDArray[np.int64]) -> list[list[_Chunk]]:
    """The chunks of every row, in the order in which they are read."""
    varying = fmt.varying_layers(store.spec)
    ids = fmt.stored_ids(store.spec)
    fields = {layer: ("offset", "length", "crc32c", *(("bucket",) if layer in varying else ())) for layer in ids}
    names = ["shard", *(f"{layer}.{field}" for layer in ids for field in fields[layer])]
    table = {name: column.to_numpy()[rows] for name, column in store.read_index(names).items()}
    samples = []
    for at, row in enumerate(rows.tolist()):
        chunks = []
        for layer in ids:
            bucket = int(table[f"{layer}.bucket"][at]) if layer in varying else 0
            offset, length, crc32c = (int(table[f"{layer}.{field}"][at]) for field in fields[layer][:3])
            shape = store.shape(row, layer)
            shape = (*shape[:-2], bucket, bucket) if bucket else shape
            file = fmt.shard_file(store.meta.layout, int(table["shard"][at]), fmt.array_name(layer, bucket))
            about = None if layer == fmt.LABEL else store.spec.layer(layer)
            dtype = stored_dtype(about, store.meta.arrays[layer].scale).str
            if length:
                chunks.append(_Chunk(file, offset, length, crc32c, shape, dtype))
        samples.append(chunks)
    return samples


def _path(store: Store, file: str) -> Path | None:
    folder = disk_path(store.pixels_url) if store.is_on_disk else None
    return None if folder is None else folder / file


def _steps(store: Store, samples: Sequence[Sequence[_Chunk]]) -> dict[str, float]:
    """Seconds of each step for all samples, in this thread."""
    codec, clock = store.meta.codec, time.perf_counter
    kept, target, copied = Scratch(), Scratch(), Scratch()
    took = {CACHE: 0.0, CHECKSUM: 0.0, decode_step(store): 0.0, MEMCPY: 0.0}
    with _Opened(store) as opened:
        for chunk in (chunk for sample in samples for chunk in sample):
            pixels, other = (one.array(chunk.shape, chunk.dtype) for one in (target, copied))
            room = kept.array((chunk.length,), np.uint8)
            began = clock()
            data = opened.read(chunk, room)
            read = clock()
            is_right = fmt.crc32c(data) == chunk.crc32c
            checked = clock()
            if not is_right:
                raise StoreError("the bytes are damaged (crc32c differs)", where=f"{store.pixels_url}/{chunk.file}")
            fmt.unpack(data, codec, pixels, start=0, total=pixels.nbytes)
            decoded = clock()
            np.copyto(other, pixels)
            ends = (began, read, checked, decoded, clock())
            for step, start, end in zip(took, ends, ends[1:], strict=False):
                took[step] += end - start
    return took


class _Opened:
    """The files of a store, read into memory that is there: without what the reader adds, so that each part shows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handles: dict[str, int] = {}

    def read(self, chunk: _Chunk, out: NDArray[np.uint8]) -> Any:
        if not self._store.is_on_disk:
            return self._store.pixel_files.read_range(chunk.file, chunk.offset, chunk.length)
        if chunk.file not in self._handles:
            if len(self._handles) >= _MAX_OPEN:
                self.close()
            self._handles[chunk.file] = os.open(_path(self._store, chunk.file) or "", os.O_RDONLY)
        return out[: os.preadv(self._handles[chunk.file], [out.data], chunk.offset)]

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def decode_step(store: Store) -> str:
    """What decoding is called."""
    settings = fmt.blosc_settings(store.meta.codec)
    return f"{settings[0]} decode" if settings else "copy (not compressed)"


def _drop(paths: Sequence[Path]) -> bool:
    """Ask the kernel to forget files; whether it did."""
    share = drop_from_cache(paths)
    return share <= _STILL_CACHED


def drop_from_cache(paths: Sequence[Path]) -> float:
    """Ask the kernel to forget files.

    Returns:
        Share of their pages that it still has; NaN where it cannot be asked.
    """
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return float("nan")
    looks = kept = 0
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)  # what is not on the disk yet cannot be forgotten
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            for start in range(0, os.fstat(handle).st_size, _LOOK):
                looks += 1
                kept += _is_cached(handle, start)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.EROFS):
                raise
            return float("nan")
        finally:
            os.close(handle)
    return kept / looks if looks else float("nan")


def _is_cached(handle: int, start: int) -> bool:
    try:
        return bool(os.preadv(handle, [bytearray(1)], start, os.RWF_NOWAIT))
    except BlockingIOError:
        return False


def _loads(store: Store, rows: NDArray[np.int64]) -> dict[Way, Callable[[], float]]:
    """What takes torch: the crop alone, the Loader with one thread and more, and the Loader that crops."""
    from seamo.inputs import speed

    cores = _cores()
    counts = [*(2**n for n in range(cores.bit_length()) if 2**n < cores), cores]
    images = speed.CroppedStacks(store.spec)
    ways: dict[Way, Callable[[], float]] = {}
    if images.layers:
        ways[CROP, 1] = partial(speed.crop_seconds, store, rows, images)
    for threads in counts:
        ways[LOADER, threads] = partial(speed.load_seconds, store, rows, threads, None)
    if images.layers:
        ways[FULL, cores] = partial(speed.load_seconds, store, rows, cores, images)
    return ways


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limit(store: Store, cost: Mapping[Way, float]) -> str:
    """A sentence, from the seconds that a sample costs in each way."""
    parts = {step: cost[step, 1] for step in (CACHE, NETWORK, CHECKSUM, decode_step(store), CROP) if (step, 1) in cost}
    if (LOADER, 1) in cost:
        reading = sum(seconds for step, seconds in parts.items() if step != CROP)
        parts[REST] = max(0.0, cost[LOADER, 1] - reading)
    largest, total = max(parts, key=lambda step: parts[step]), sum(parts.values())
    share = f"{largest}: {parts[largest] / total:.0%} of the {total * 1e3:.2f} ms that a sample costs one thread"
    loaders = {threads: 1 / seconds for (step, threads), seconds in cost.items() if step == LOADER}
    best = max(loaders.values(), default=1 / total)
    cold = 1 / cost[DISK, 1] if (DISK, 1) in cost else float("inf")
    if cold >= best:
        return f"{share}."
    size = int(
        sum(store.read_index([f"{layer}.length"])[f"{layer}.length"].sum() for layer in fmt.stored_ids(store.spec))
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = f"the disk gives one thread {cold:,.0f} samples/s, the Loader takes {best:,.0f}"
    if size > memory:
        return f"{DISK}: {disk}, and {size / 1e9:,.0f} GB do not fit into memory."
    return f"{share}; in a first epoch {disk}."
