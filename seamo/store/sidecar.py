"""Making one shard, in any process: samples to files, and a sidecar that says what is in them.

The sidecar is written last and holds everything that publishing needs: the rows of the index, the moments of every
sample and band, a histogram of the shard, and the sizes of its files.
"""

import errno
import hashlib
import io
import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo import stats
from seamo.errors import StoreError
from seamo.files import Files
from seamo.identity import canonical_json
from seamo.manifest import DatasetSpec
from seamo.sample import IGNORE, Array, Sample, check_sample, settle_missing
from seamo.seal import SealedFile
from seamo.store.buildplan import BuildPlan
from seamo.store.content import bad_digest, class_counts, date_seconds, pixel_digest, present_layers
from seamo.store.format import (
    IGNORE_FILL,
    LABEL,
    WORK_NAME,
    bucket_of,
    finest_layer,
    label_kind,
    padding_value,
    varying_layers,
)
from seamo.store.packing import MISSING, STEP, pack, stepped
from seamo.store.shards import Place, ShardFiles, Stored, TarShard, ZarrShard
from seamo.store.table import RowFacts

DONE = f"{WORK_NAME}/done"  # where sidecars are
PARSING = Lock()
"""Held while numpy reads headers, which threads may do at once here: Python's parser of literals is no good for that.

Python 3.11 raises "SystemError: AST constructor recursion depth mismatch" where a collection of garbage changes the
thread in the middle of it.
"""


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that could not be read: it keeps its row, at fill, and stands in the ledger."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Everything a worker process needs to write one shard; pickles small.

    Args:
        place: Address of the half-built store.
        scratch: Folder on the disk of whoever makes it; None: where temporary files are.
        plan: What is being built.
        index: Number of the shard.
        rows_per_shard: Of a full shard.
        keys: Of this shard's rows.
    """

    place: str
    scratch: Path | None
    plan: BuildPlan
    index: int
    rows_per_shard: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sidecar:
    """What is known about a finished shard.

    Args:
        rows: One entry a sample.
        files: Name within the store -> size and sha256.
        moments: Layer -> (N, C).
        histograms: Layer -> (C, 65536).
    """

    rows: list[RowFacts]
    files: dict[str, SealedFile]
    moments: dict[str, stats.Moments]
    histograms: dict[str, NDArray[np.int64]]


def make_shard(job: ShardJob, folder: Path, samples: Iterable[Sample | BadSample]) -> Sidecar:
    """Write, read back and check the files of one shard.

    Samples are consumed as a stream: one of them is in memory at a time.

    Args:
        job: From `StoreWriter.job`.
        folder: Where the files are made, by their names within the store.
        samples: One item for each of `job.keys`, in that order.

    Raises:
        SampleError: If a sample breaks the spec.
        StoreError: If keys do not match, or what was read back differs.
        OSError: If the disk is full.
    """
    spec = job.plan.spec
    rows: list[RowFacts] = []
    moments: dict[str, list[stats.Moments]] = {layer.id: [] for layer in spec.layers}
    histograms = {layer.id: stats.new_histogram(len(layer.bands)) for layer in spec.layers}
    with _shard_files(job, folder) as files:
        for item in samples:
            _check_key(job, len(rows), item.key)
            sample, infinite = _settled(item, job.plan)
            layers = _packed(_stored(sample, spec, padded=job.plan.layout == "zarr"), job.plan, item.key)
            facts = replace(_row_facts(item, sample, job), infinite=infinite)
            told = _member_facts(facts, job.plan) if job.plan.layout == "webdataset" else b""
            places = files.add(len(rows), item.key, layers, told)
            rows.append(replace(facts, places=places))
            for layer in spec.layers:
                pixels = sample.layers.get(layer.id, np.empty((1, len(layer.bands), 0, 0), dtype=layer.dtype))
                moments[layer.id].append(stats.observe_layer(pixels, layer, histograms[layer.id]))
        if len(rows) != len(job.keys):
            raise StoreError(f"{len(rows)} samples instead of {len(job.keys)}", f"{spec.id} shard {job.index}")
        written = files.finish()
    return Sidecar(rows, written, {name: stats.stack(pieces) for name, pieces in moments.items()}, histograms)


def sidecar_name(k: int) -> str:
    """Name of the sidecar of shard `k` while a store is being built."""
    return f"{DONE}/{k:06d}.npz"


def recorded_files(files: Files, k: int) -> dict[str, SealedFile] | None:
    """The files of a finished shard; None if there is no sidecar, or a damaged one: the shard is written again."""
    data = _sealed_bytes(files, k)
    if data is None:
        return None
    with PARSING, np.load(io.BytesIO(data)) as arrays:
        return _files(arrays["files"])


def read_sidecar(files: Files, k: int) -> Sidecar:
    """The sidecar of a finished shard.

    Raises:
        StoreError: If it is not there, or damaged.
    """
    data = _sealed_bytes(files, k)
    where, fix = files.where(sidecar_name(k)), "Build again; if it stays so: `seamo-prep clean ROOT --unfinished`."
    if data is None:
        raise StoreError("is missing or damaged", where, fix)
    try:
        return _opened(data)
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(f"was written by another release ({error})", where, fix) from error


def sidecar_bytes(sidecar: Sidecar) -> bytes:
    """The bytes of a sidecar behind their sha256; equal shards give equal bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    arrays["rows"] = _text(json.dumps([_row_to_json(row) for row in sidecar.rows]).encode())
    arrays["files"] = _text(json.dumps(sidecar.files).encode())
    for layer, one in sidecar.moments.items():
        counts = sidecar.histograms[layer].reshape(-1)
        arrays[f"{layer}|bins"] = np.flatnonzero(counts)  # a few thousand of 65,536 a band
        arrays[f"{layer}|counts"] = counts[counts != 0]
        arrays |= {f"{layer}|{part}": getattr(one, part) for part in ("count", "mean", "m2", "low", "high")}
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return hashlib.sha256(sink.getvalue()).digest() + sink.getvalue()


def _opened(data: bytes) -> Sidecar:
    with PARSING, np.load(io.BytesIO(data)) as arrays:
        rows = [_row_from_json(entry) for entry in json.loads(arrays["rows"].tobytes())]
        layers = [name.removesuffix("|bins") for name in arrays.files if name.endswith("|bins")]
        moments = {
            layer: stats.Moments(*(arrays[f"{layer}|{part}"] for part in ("count", "mean", "m2", "low", "high")))
            for layer in layers
        }
        histograms = {layer: stats.new_histogram(one.count.shape[1]) for layer, one in moments.items()}
        for layer, counts in histograms.items():
            counts.reshape(-1)[arrays[f"{layer}|bins"]] = arrays[f"{layer}|counts"]
        return Sidecar(rows, _files(arrays["files"]), moments, histograms)


def _sealed_bytes(files: Files, k: int) -> bytes | None:
    """What stands in a sidecar behind its sha256; None if it is not there or not what was written."""
    for _ in range(2):  # over a network, a byte that came wrong once comes right the second time
        data = files.find(sidecar_name(k))
        if data is None or hashlib.sha256(data[32:]).digest() == data[:32]:
            return None if data is None else data[32:]
    return None


@contextmanager
def disk_errors(folder: Path) -> Generator[None]:
    """Turn errors of the operating system into one StoreError with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            what, fix = "the disk is full", "Make room and build again: finished shards are kept."
        else:
            what, fix = f"cannot be written ({error.strerror or error})", "Build again: finished shards are kept."
        raise StoreError(what, where=str(error.filename or folder), fix=fix) from error


def _shard_files(job: ShardJob, folder: Path) -> ShardFiles:
    if job.plan.layout == "webdataset":
        return TarShard(folder, job.index)
    return ZarrShard(folder, job.index, rows=job.rows_per_shard, codec=job.plan.codec)


def _check_key(job: ShardJob, position: int, key: str) -> None:
    where = f"{job.plan.spec.id} shard {job.index}"
    if position >= len(job.keys):
        raise StoreError(f"sample {key} is one too many", where)
    if key != job.keys[position]:
        raise StoreError(f"sample {key} came where {job.keys[position]} belongs", where)


def _settled(item: Sample | BadSample, plan: BuildPlan) -> tuple[Sample, dict[str, list[int]]]:
    """The sample as it is read; and layer -> pixels of each band that are infinite, which are stored as missing."""
    spec = plan.spec
    if isinstance(item, BadSample):
        return Sample(item.key, {}), {}
    check_sample(item, spec)
    found_at = {name: settle_missing(pixels, spec.layer(name)) for name, pixels in item.layers.items()}
    settled = {name: pixels for name, (pixels, _) in found_at.items()}
    settled |= {name: stepped(settled[name], _where(plan, item.key, name)) for name in plan.pack if name in settled}
    item = replace(item, layers=settled)
    infinite = {name: counts.tolist() for name, (_, counts) in found_at.items() if counts.any()}
    kind = label_kind(spec)
    found = (
        "none"
        if item.label is None
        else "mask"
        if isinstance(item.label, np.ndarray)
        else "set"
        if isinstance(item.label, tuple)
        else "id"
    )
    if found not in (kind, "none"):
        raise StoreError(f"label is {found!r} instead of {kind!r}", where=f"{spec.id} {item.key}")
    size = finest_layer(spec).size
    if isinstance(item.label, np.ndarray) and size is not None and item.label.shape != size:
        raise StoreError(f"mask is {item.label.shape} instead of {size}", where=f"{spec.id} {item.key}")
    label = item.label
    if found == "set":
        label = tuple(sorted({int(i) for i in label}))  # type: ignore[union-attr]
    elif found == "id":
        label = int(label)  # type: ignore[arg-type]
    return replace(item, layers=present_layers(item, spec), label=label), infinite


def _stored(sample: Sample, spec: DatasetSpec, *, padded: bool) -> dict[str, Stored]:
    result = {}
    for layer in spec.layers:
        pixels = sample.layers.get(layer.id)
        fill = padding_value(layer)
        if layer.size is not None:
            if pixels is None:
                pixels = np.full((layer.times, len(layer.bands), *layer.size), fill, dtype=layer.dtype)
            result[layer.id] = Stored(pixels)
        elif pixels is not None:
            result[layer.id] = _in_bucket(pixels, fill) if padded else Stored(pixels)
    if label_kind(spec) == "mask":
        size = finest_layer(spec).size
        if isinstance(sample.label, np.ndarray):
            bucketed = padded and size is None
            result[LABEL] = _in_bucket(sample.label, IGNORE_FILL) if bucketed else Stored(sample.label)
        elif size is not None:
            result[LABEL] = Stored(np.full(size, IGNORE_FILL, dtype=np.uint8))
    return result


def _packed(layers: dict[str, Stored], plan: BuildPlan, key: str) -> dict[str, Stored]:
    return layers | {
        name: replace(layers[name], pixels=pack(layers[name].pixels, _where(plan, key, name)))
        for name in plan.pack
        if name in layers
    }


def _where(plan: BuildPlan, key: str, layer: str) -> str:
    return f"{plan.spec.id} {key} layer {layer}"


def _in_bucket(pixels: Array, fill: float) -> Stored:
    height, width = pixels.shape[-2:]
    bucket = bucket_of(height, width)
    padded = np.full((*pixels.shape[:-2], bucket, bucket), fill, dtype=pixels.dtype)
    padded[..., :height, :width] = pixels
    return Stored(padded, bucket)


def _row_facts(item: Sample | BadSample, sample: Sample, job: ShardJob) -> RowFacts:
    spec = job.plan.spec
    finest = finest_layer(spec)
    label = sample.label
    sizes = {name: pixels.shape[-2:] for name, pixels in sample.layers.items()}
    if isinstance(label, np.ndarray):
        sizes[LABEL] = label.shape
    # Without the finest layer, the sample's size is what another image of that grid says.
    height, width = finest.size or sizes.get(finest.id) or sizes.get(LABEL) or max(sizes.values(), default=(0, 0))
    varying = varying_layers(spec)
    return RowFacts(
        key=item.key,
        digest=bad_digest(item.key) if isinstance(item, BadSample) else pixel_digest(sample, spec),
        shard=job.index,
        label=list(label) if isinstance(label, tuple) else label if isinstance(label, int) else None,
        dominant=_dominant(label) if isinstance(label, np.ndarray) else None,
        dates={stack: seconds.tolist() for stack, seconds in date_seconds(sample.time, spec).items()},
        scene=sample.scene,
        y0=int(sample.offset[0]),
        x0=int(sample.offset[1]),
        height=int(height),
        width=int(width),
        crs=sample.geo.crs if sample.geo else "",
        transform=tuple(float(one) for one in sample.geo.transform) if sample.geo else None,
        valid=frozenset((*sample.layers, *([LABEL] if isinstance(label, np.ndarray) else []))),
        sizes={name: (int(size[0]), int(size[1])) for name, size in sizes.items() if name in varying},
        classes=class_counts(label) if isinstance(label, np.ndarray) else None,
        reason=item.reason if isinstance(item, BadSample) else "",
    )


def _dominant(mask: NDArray[np.uint8]) -> int | None:
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)[:IGNORE]
    return int(counts.argmax()) if counts.any() else None  # of equals, the smallest id


def _member_facts(row: RowFacts, plan: BuildPlan) -> bytes:
    # What a plain webdataset reader gets beside the pixels.
    facts = _row_to_json(row)
    del facts["places"], facts["digest"], facts["shard"], facts["classes"], facts["infinite"]
    if plan.pack:  # as xarray and netCDF name it
        about = {"scale_factor": STEP, "add_offset": 0.0, "_FillValue": MISSING}
        facts["packed"] = dict.fromkeys(plan.pack, about)
    return canonical_json({"dataset": plan.spec.id, **facts})


def _text(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)


def _files(array: NDArray[np.uint8]) -> dict[str, SealedFile]:
    return {name: SealedFile(*facts) for name, facts in json.loads(array.tobytes()).items()}


def _row_to_json(row: RowFacts) -> dict[str, Any]:
    facts = {one.name: getattr(row, one.name) for one in fields(row)}
    return {**facts, "digest": row.digest.hex(), "valid": sorted(row.valid)}


def _row_from_json(entry: Mapping[str, Any]) -> RowFacts:
    transform = entry["transform"]
    return RowFacts(
        **{
            **entry,
            "digest": bytes.fromhex(entry["digest"]),
            "valid": frozenset(entry["valid"]),
            "transform": None if transform is None else tuple(transform),
            "places": {name: Place(*place) for name, place in entry["places"].items()},
            "sizes": {name: (size[0], size[1]) for name, size in entry["sizes"].items()},
            "classes": None if entry["classes"] is None else [(one[0], one[1]) for one in entry["classes"]],
        }
    )
