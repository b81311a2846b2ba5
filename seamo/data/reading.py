"""What the loader and the webdataset pipeline read of a sample beside its pixels: label, dates, what is there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError, UsageError
from seamo.manifest import DatasetSpec, LabelSpace
from seamo.sample import IGNORE, Label
from seamo.store.format import NO_DATE
from seamo.store.samples import Samples

Array = NDArray[Any]


class LabelReader:
    """Labels of one label space: `kind` is `single`, `multi`, `mask` or `none`.

    Args:
        spec: Of the store.
        label_space: Of the labels; empty = the task's default.

    Raises:
        UsageError: If the label space is not derived from the default one.
    """

    def __init__(self, spec: DatasetSpec, label_space: str) -> None:
        kinds = {"single-label": "single", "multi-label": "multi", "segmentation": "mask", "change": "mask"}
        self.kind = kinds.get(spec.task.kind, "none") if spec.task.label_space else "none"
        self._id = spec.id
        self._space: LabelSpace | None = None
        if self.kind == "none":
            return
        space = spec.label_space(label_space)
        self._num_classes = len(space.classes)
        if label_space not in ("", spec.task.label_space):
            if space.source != spec.task.label_space:
                raise UsageError(
                    f"label space {label_space!r} is not derived from {spec.task.label_space!r}", where=spec.id
                )
            self._space = space
        self._lut = np.full(256, IGNORE, dtype=np.uint8)
        if self.kind == "mask":
            for source in range(IGNORE):
                ids = self._space.map_from_source((source,)) if self._space else (source,)
                self._lut[source] = ids[0] if ids else IGNORE

    def row(self, label: Label, key: str) -> Array:
        """A class id, () int64, or the multi-hot vector of one sample, (K,) uint8.

        Raises:
            StoreError: If the sample has no label, or several classes where one is due.
        """
        if label is None or isinstance(label, np.ndarray):
            raise StoreError("has no label", where=f"{self._id} sample {key}")
        ids = label if isinstance(label, tuple) else (label,)
        if self._space is not None:
            ids = self._space.map_from_source(ids)
        if self.kind == "multi":
            hot = np.zeros(self._num_classes, dtype=np.uint8)
            hot[list(ids)] = 1
            return hot
        if len(ids) != 1:
            raise StoreError(f"has {len(ids)} classes in this label space instead of one", f"{self._id} sample {key}")
        return np.asarray(ids[0], dtype=np.int64)

    def map_mask(self, mask: Array) -> None:
        """Turn a mask's ids into this space's, in place."""
        if self._space is not None:
            mask[:] = self._lut[mask]


def read_seconds(samples: Samples, spec: DatasetSpec, rows: Array) -> dict[str, NDArray[np.int64]]:
    """Dates of samples: stack -> (B, T) int64 seconds since 1970-01-01 UTC, the smallest int64 where absent."""
    return {
        stack: samples.dates_of(rows, stack).astype("datetime64[s]").astype(np.int64)  # NaT has these bits
        for stack in spec.stacks
    }


def read_valid(
    samples: Samples, spec: DatasetSpec, rows: Array, times: dict[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.bool_]]:
    """Which images of samples are there: layer -> (B, T) bool.

    Args:
        samples: A store.
        spec: With the layers that are asked for.
        rows: Of the samples, (B,).
        times: From `read_seconds`.
    """
    valid = {}
    for layer in spec.layers:
        there = times[layer.stack] != NO_DATE
        # An archive without dates says nothing about what is there; one with dates leaves NaT where nothing is.
        for i in np.flatnonzero(~there.any(axis=1)):
            there[i] = np.arange(layer.times) < samples.shape(int(rows[i]), layer.id)[0]
        valid[layer.id] = there & samples.are_valid(rows, layer.id)[:, None]
    return valid
