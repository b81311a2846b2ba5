"""The content hash: what is inside a store, whatever its layout, codec, shards or tools.

A sample's digest is the sha256 of one line of canonical JSON (key; id, dtype and shape of every layer that it has;
dates; georeference; label) followed by the decoded pixels of those layers, and the mask's. The content hash is the
sha256 of the band names of every layer and of one line a row: key, digest, split and folds.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.identity import canonical_json
from seamo.manifest import DatasetSpec
from seamo.sample import Array, GeoRef, Label, Sample, valid_pixels
from seamo.store.format import NO_DATE


def date_seconds(sample_time: Mapping[str, NDArray[np.datetime64]], spec: DatasetSpec) -> dict[str, NDArray[np.int64]]:
    """Dates of every stack as seconds since 1970, `NO_DATE` where absent."""
    result = {}
    for stack in spec.stacks:
        seconds = np.full(spec.num_times(stack), NO_DATE, dtype=np.int64)
        if stack in sample_time:
            seconds[:] = sample_time[stack].astype("datetime64[s]").astype(np.int64)  # NaT is int64's smallest
        result[stack] = seconds
    return result


def present_layers(sample: Sample, spec: DatasetSpec) -> dict[str, Array]:
    """The layers of a sample that hold at least one valid pixel, in the spec's order."""
    return {
        layer.id: sample.layers[layer.id]
        for layer in spec.layers
        if layer.id in sample.layers and valid_pixels(sample.layers[layer.id], layer).any()
    }


def sample_digest(sample: Sample, spec: DatasetSpec) -> bytes:
    """The 32 bytes of one sample's digest.

    Args:
        sample: With `present_layers` only: a layer that is all fill is the same as none.
        spec: As built.
    """
    layers = {layer.id: sample.layers[layer.id] for layer in spec.layers if layer.id in sample.layers}
    dates = {stack: seconds.tolist() for stack, seconds in date_seconds(sample.time, spec).items()}
    head = {
        "key": sample.key,
        "layers": [[name, pixels.dtype.str, list(pixels.shape)] for name, pixels in layers.items()],
        "dates": {stack: [None if one == NO_DATE else one for one in values] for stack, values in dates.items()},
        "geo": _geo(sample.geo),
        "label": _label(sample.label),
    }
    state = hashlib.sha256(canonical_json(head) + b"\n")
    for pixels in layers.values():
        state.update(np.ascontiguousarray(pixels).data)
    if isinstance(sample.label, np.ndarray):
        state.update(np.ascontiguousarray(sample.label).data)
    return state.digest()


def bad_digest(key: str) -> bytes:
    """The digest of a sample that could not be read."""
    return hashlib.sha256(canonical_json({"key": key, "bad": True}) + b"\n").digest()


def content_hash(
    spec: DatasetSpec,
    keys: Sequence[str],
    digests: Iterable[bytes],
    splits: Sequence[str],
    folds: NDArray[np.int8] | None = None,
) -> str:
    """The content hash (64 hex digits)."""
    state = hashlib.sha256(canonical_json({layer.id: layer.bands for layer in spec.layers}) + b"\n")
    for i, (key, digest, split) in enumerate(zip(keys, digests, splits, strict=True)):
        numbers = "" if folds is None else " ".join(str(fold) for fold in folds[i])
        state.update(f"{key}|{digest.hex()}|{split}|{numbers}\n".encode())
    return state.hexdigest()


def _geo(geo: GeoRef | None) -> list[str | float] | None:
    return None if geo is None else [geo.crs, *(float(number) for number in geo.transform)]


def _label(label: Label) -> int | list[int] | list[str] | None:
    if isinstance(label, np.ndarray):
        return ["mask", *(str(size) for size in label.shape)]
    return [int(i) for i in label] if isinstance(label, tuple) else None if label is None else int(label)
