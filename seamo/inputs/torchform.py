"""A split as torch's own kinds of data set: dicts in the form that torchgeo and Lightning code take."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from seamo.data.loader import Loader
from seamo.data.reading import LabelReader
from seamo.errors import MissingRowError, UsageError
from seamo.inputs.adapter import measured
from seamo.inputs.resize import resize
from seamo.store.format import LABEL
from seamo.store.samples import Samples
from seamo.store.stacks import read_stack, stack_bands
from seamo.summary import Summary

Sampled = dict[str, Any]
Transform = Callable[[Sampled], Sampled]


def default_stack(samples: Samples) -> str:
    """The only stack of a store, else the first with Sentinel-2 or colours."""
    stacks = list(samples.spec.stacks)
    optical = [one for one in stacks if samples.spec.stack_layers(one)[0].sensor in ("s2", "rgb")]
    return (optical or stacks)[0]


class TorchSamples(Dataset[Sampled]):
    """Samples of a split by number, for `torch.utils.data.DataLoader` and code that is written for torchgeo.

    Each is a dict of

    * `image`: (C, H, W) float32 tensor, (T, C, H, W) where a stack has several dates: every layer of the stack on its
      finest grid, in the store's own unit (nothing is normalised), NaN where nothing was measured;
    * `label`: int64 class id, or a float32 vector of 0 and 1 of a multi-label set; `mask`: (H, W) int64, 255 = ignore;
    * `bands`: names of the channels; `key`: of the sample.

    Safe in the workers of a DataLoader, whatever way they are started.

    Args:
        samples: A store.
        rows: Which of its rows.
        stack: Id of a stack.
        label_space: Label space of the labels; empty = the task's default.
        transform: Called with each dict; what it returns is handed out.

    Raises:
        ManifestError: If there is no such stack or label space.
    """

    def __init__(
        self,
        samples: Samples,
        rows: NDArray[np.int64],
        *,
        stack: str,
        label_space: str = "",
        transform: Transform | None = None,
    ) -> None:
        self.samples, self.rows, self.stack, self.transform = (
            samples,
            np.asarray(rows, dtype=np.int64),
            stack,
            transform,
        )
        self.bands = stack_bands(samples.spec, stack)
        self._labels = LabelReader(samples.spec, label_space)
        self._keys = samples.read_columns(["key"]).column("key").to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return self._shown().text()

    def _repr_html_(self) -> str:
        return self._shown().html()

    def _shown(self) -> Summary:
        lines = (("stack", self.stack), ("bands", ", ".join(self.bands)), ("label", self._labels.kind))
        return Summary(f"{len(self)} samples of {self.samples.title} for torch", lines)

    def __getitem__(self, number: int) -> Sampled:
        if not -len(self) <= number < len(self):
            raise MissingRowError(f"there is no sample {number} of {len(self)}", self.samples.title)
        row = int(self.rows[number])
        image = torch.from_numpy(read_stack(self.samples, row, self.stack, "bilinear"))
        made: Sampled = {"image": image[0] if len(image) == 1 else image, "bands": self.bands}
        made["key"] = str(self._keys[row])
        if self._labels.kind == "mask":
            mask = self.samples.read_layer(row, LABEL)
            self._labels.map_mask(mask)
            made["mask"] = torch.from_numpy(mask.astype(np.int64))
        elif self._labels.kind != "none":
            made["label"] = _label(torch.from_numpy(self._labels.row(self.samples.read_label(row), made["key"])))
        return made if self.transform is None else self.transform(made)


class TorchBatches(IterableDataset[Sampled]):
    """The same as batches, over the fast `Loader`: dicts as `TorchSamples` gives them, with a batch dimension.

    `bands` stand once, `key` has one for each sample; images of varying size are padded at the bottom and right, `size`
    (B, 2) is their true height and width. Its threads do what the workers of a
    `torch.utils.data.DataLoader` would; inside one use `batch_size=None, num_workers=0`.

    Every pass is an epoch of its own, the one after the last: a shuffled split comes in another order, which follows
    from the loader's seed. `epoch` is that of the next pass, and may be set (to go on with a training).

    Args:
        loader: Over layers of one stack.
        stack: Its id.
        transform: Called with each batch.

    Raises:
        UsageError: If images vary in size and the stack has several grids: padding would run into the coarser one.
    """

    def __init__(self, loader: Loader, *, stack: str, transform: Transform | None = None) -> None:
        layers = loader.spec.stack_layers(stack)
        if len(layers) > 1 and any(layer.size is None for layer in layers):
            fix = "Take the data set without batch=, which resizes each image in its true extent."
            raise UsageError("images of varying size on several grids", f"{loader.spec.id} stack {stack}", fix)
        self.loader, self.stack, self.transform = loader, stack, transform
        self.bands = stack_bands(loader.spec, stack)
        self.epoch = loader.plan.epoch

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Sampled]:
        if get_worker_info() is not None:
            raise UsageError(
                "reads with threads of its own: every worker would give all batches", "store.torch(batch=...)",
                "DataLoader(..., batch_size=None, num_workers=0), or the data set without batch=.",
            )  # fmt: skip
        is_first = self.epoch == self.loader.plan.epoch
        loader = self.loader if is_first else self.loader.of_epoch(self.epoch)
        self.epoch += 1
        for batch in loader:
            made: Sampled = {"image": self._images(batch), "bands": self.bands, "key": batch.keys}
            if any(layer.size is None for layer in batch.spec.layers):
                made["size"] = batch.size
            if batch.mask is not None:
                made["mask"] = batch.mask.to(torch.int64)
            elif batch.label is not None:
                made["label"] = _label(batch.label)
            yield made if self.transform is None else self.transform(made)

    def _images(self, batch: Any) -> Tensor:
        layers = self.loader.spec.stack_layers(self.stack)
        grid = tuple(batch.layers[layers[0].id].shape[-2:])
        dates = []
        for date in range(layers[0].times):
            parts = [resize(measured(batch, layer, date), grid) for layer in layers]
            dates.append(torch.cat(parts, dim=1)[:, self._order(layers)])
        return dates[0] if len(dates) == 1 else torch.stack(dates, dim=1)

    def _order(self, layers: Sequence[Any]) -> list[int]:
        have = [name for layer in layers for name in layer.bands]
        return [have.index(name) for name in self.bands]


def _label(label: Tensor) -> Tensor:
    return label.to(torch.float32) if label.dtype == torch.uint8 else label
