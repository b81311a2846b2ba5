"""The hashes of what is inside a store, whatever its layout, codec, shards or tools.

A sample's digest is the sha256 of one line of canonical JSON (key; id, dtype and shape of every layer that it has;
dates; georeference; shape of the mask) followed by the decoded pixels of those layers, and the mask's. The hash of the
pixels is the sha256 of the band names of every layer and of one line a row: key and digest. The content hash has lines
of key, digest, label, split and folds: it moves when a label or a split does, the hash of the pixels does not.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.identity import canonical_json
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import IGNORE, Array, GeoRef, Sample, valid_pixels
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
        if layer.id in sample.layers and _is_measured(sample.layers[layer.id], layer)
    }


def _is_measured(pixels: Array, layer: LayerSpec) -> bool:
    # Nearly every layer has a valid pixel in the first row.
    return any(valid_pixels(part, layer).any() for part in (pixels[..., :1, :], pixels))


def pixel_digest(sample: Sample, spec: DatasetSpec) -> bytes:
    """The 32 bytes of one sample's digest, which no class id or set of ids moves (masks are pixels).

    Args:
        sample: With `present_layers` only: a layer that is all fill is the same as none.
        spec: As built.
    """
    layers = {layer.id: sample.layers[layer.id] for layer in spec.layers if layer.id in sample.layers}
    dates = {stack: seconds.tolist() for stack, seconds in date_seconds(sample.time, spec).items()}
    mask = sample.label if isinstance(sample.label, np.ndarray) else None
    head = {
        "key": sample.key,
        "layers": [[name, pixels.dtype.str, list(pixels.shape)] for name, pixels in layers.items()],
        "dates": {stack: [None if one == NO_DATE else one for one in values] for stack, values in dates.items()},
        "geo": _geo(sample.geo),
        "mask": None if mask is None else list(mask.shape),
    }
    state = hashlib.sha256(canonical_json(head) + b"\n")
    for pixels in layers.values():
        state.update(np.ascontiguousarray(pixels).data)
    if mask is not None:
        state.update(np.ascontiguousarray(mask).data)
    return state.digest()


def bad_digest(key: str) -> bytes:
    """The digest of a sample that could not be read."""
    return hashlib.sha256(canonical_json({"key": key, "bad": True}) + b"\n").digest()


def pixels_hash(spec: DatasetSpec, keys: Sequence[str], digests: Iterable[bytes]) -> str:
    """The hash of the pixels (64 hex digits)."""
    state = hashlib.sha256(_band_names(spec))
    for key, digest in zip(keys, digests, strict=True):
        state.update(f"{key}|{digest.hex()}\n".encode())
    return state.hexdigest()


def content_hash(
    spec: DatasetSpec,
    keys: Sequence[str],
    digests: Iterable[bytes],
    *,
    labels: Sequence[int | Sequence[int] | None],
    splits: Sequence[str],
    folds: NDArray[np.int8] | None = None,
) -> str:
    """The content hash (64 hex digits).

    Args:
        spec: Of the store.
        keys: Of every row.
        digests: Of every row, `pixel_digest`.
        labels: Class id, sorted ids, or None (masks, too: they are in the digest).
        splits: Of every row, "" for none.
        folds: (N, repeats), or None.
    """
    state = hashlib.sha256(_band_names(spec))
    for i, (key, digest, label, split) in enumerate(zip(keys, digests, labels, splits, strict=True)):
        numbers = "" if folds is None else " ".join(str(fold) for fold in folds[i])
        state.update(f"{key}|{digest.hex()}|{label_text(label)}|{split}|{numbers}\n".encode())
    return state.hexdigest()


def class_counts(mask: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """(class id, pixels) of every class that occurs in a mask (H, W), without ignored pixels, ascending."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)[:IGNORE]
    return [(int(i), int(counts[i])) for i in np.flatnonzero(counts)]


def label_text(label: int | Sequence[int] | None) -> str:
    """A label as lines of hashes have it: `3`, `0,2`, `-` without one; an empty set is an empty text.

    Example:
        >>> [label_text(one) for one in (3, (0, 2), None, ())]
        ['3', '0,2', '-', '']
    """
    if label is None:
        return "-"
    return str(int(label)) if isinstance(label, int | np.integer) else ",".join(str(int(i)) for i in label)


def _band_names(spec: DatasetSpec) -> bytes:
    return canonical_json({layer.id: layer.bands for layer in spec.layers}) + b"\n"


def _geo(geo: GeoRef | None) -> list[str | float] | None:
    return None if geo is None else [geo.crs, *(float(number) for number in geo.transform)]
