"""A split as a plain `webdataset` pipeline, for training code that is built on that library.

`seamo.data.loader.Loader` reads the same samples with threads into recycled memory, gives every rank equal batches and
resumes; this is for what composes webdataset's own stages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import webdataset as wds
from numpy.typing import NDArray

from seamo.data.reading import LabelReader, read_seconds, read_valid
from seamo.manifest import DatasetSpec
from seamo.store.format import LABEL
from seamo.store.samples import Samples
from seamo.store.stacks import layer_ids


def make_pipeline(
    samples: Samples, rows: NDArray[Any], *, layers: Sequence[str] | None = None, label_space: str = ""
) -> "wds.FluidWrapper":
    """A pipeline over rows of a store: `.shuffle`, `.map`, `.batched` and the like compose as on any other.

    Samples are found through the index, as byte ranges of the shards (`shards/*.tar` or zarr), checked and decoded by
    the store itself; both layouts give the same. Rows are shared one by one, first among nodes, then among the workers
    of a DataLoader (`webdataset.split_by_node`, `split_by_worker`): every sample is read once, and two shares differ by
    one sample at most. Each sample is a dict of

    * `__key__`: text;
    * `<layer>`: (T, C, H, W) array of the stored dtype, in the archive's own unit (`store.spec.layer(...).unit`), fill
      value where nothing is;
    * `label`: int class id; (K,) uint8 multi-hot vector; or (H, W) uint8 mask of class ids, 255 = ignore; no such
      field where the data set has no labels;
    * `times.<stack>`: (T,) int64 seconds since 1970-01-01 UTC, the smallest int64 where there is no date;
    * `valid.<layer>`: (T,) bool, which images are there.

    Images of varying size keep their own, so such samples cannot be `.batched` before they are cut.

    Args:
        samples: A store.
        rows: Rows to read, in this order.
        layers: Layer or stack ids; None = all.
        label_space: Label space of the labels; empty = the task's default.

    Raises:
        ManifestError: If there is no such layer or label space.
        UsageError: If the label space does not fit.
        StoreError: While iterating: a sample cannot be read, or lacks its label.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store(layout="webdataset")
        >>> sample = next(iter(make_pipeline(store, store.rows("train"), layers=["s2_20m"])))
        >>> list(sample)
        ['__key__', 's2_20m', 'label', 'times.s2', 'valid.s2_20m']
        >>> sample["s2_20m"].shape, sample["label"], sample["times.s2"].shape
        ((2, 1, 12, 12), 0, (2,))
    """
    spec = samples.spec.only_layers(layer_ids(samples.spec, layers))
    read = _Read(samples, spec, LabelReader(samples.spec, label_space))
    pipeline = wds.FluidWrapper(_Rows(tuple(int(row) for row in rows)))
    return pipeline.compose(wds.split_by_node, wds.split_by_worker, read)


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: tuple[int, ...]

    def __call__(self) -> Iterator[int]:
        return iter(self.rows)


@dataclass(frozen=True, slots=True)
class _Read:
    # A value, not a generator: pipelines travel to worker processes.
    samples: Samples
    spec: DatasetSpec
    labels: LabelReader

    def __call__(self, rows: Iterable[int]) -> Iterator[dict[str, Any]]:
        keys = self.samples.read_columns(["key"]).column("key").to_numpy()
        for row in rows:
            yield self._sample(row, str(keys[row]))

    def _sample(self, row: int, key: str) -> dict[str, Any]:
        sample: dict[str, Any] = {"__key__": key}
        sample |= {layer.id: self.samples.read_layer(row, layer.id) for layer in self.spec.layers}
        if self.labels.kind == "mask":
            mask = self.samples.read_layer(row, LABEL)
            self.labels.map_mask(mask)
            sample["label"] = mask
        elif self.labels.kind != "none":
            label = self.labels.row(self.samples.read_label(row), key)
            sample["label"] = label if label.ndim else int(label)
        alone = np.array([row])
        times = read_seconds(self.samples, self.spec, alone)
        valid = read_valid(self.samples, self.spec, alone, times)
        sample |= {f"times.{stack}": seconds[0] for stack, seconds in times.items()}
        return sample | {f"valid.{layer}": there[0] for layer, there in valid.items()}
