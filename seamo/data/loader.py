"""Loader: batches of a store in a planned order, read by threads into recycled memory."""

import copy
import itertools
import math
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.making import BatchSamples, DateChoice, ImageMaker, Making
from seamo.data.reading import LabelReader, read_seconds, read_valid
from seamo.errors import SeamoError, StoreError, UsageError
from seamo.manifest import LayerSpec
from seamo.native.scratch import Scratch
from seamo.store.ahead import ReadAhead
from seamo.store.format import LABEL, bucket_of
from seamo.store.plan import Mix, ShardPlan
from seamo.store.samples import Samples
from seamo.store.stacks import layer_ids
from seamo.summary import Summary

Array = NDArray[Any]
_LAYER, _SCRATCH = Scratch(), Scratch()  # a thread's: the layer of which an image is made, and what that takes


class Loader:
    """Epochs of a store's rows as `Batch`es, for training and for feature extraction alike.

    Threads read and decode straight into the batch's memory (the decoders release the GIL); batches come in
    the order of the plan, whatever the number of threads. Its whole state is (epoch, cursor), the cursor being
    the number of global batches done. Every iteration starts at that state. Several epochs follow each other
    without a pause: the first batches of one are read while the last ones of the epoch before are used.

    A batch's memory is used again only when nothing refers to the batch any more, so batches may be kept.
    Images of varying size come in batches of one size bucket, padded at the bottom and right (`Batch.size`).

    Args:
        store: An open store, or whatever else has `Samples`.
        rows: Rows to read, each once an epoch (`store.rows(split, ...)`).
        batch_size: Samples of a global batch, all ranks together.
        layers: Layer or stack ids to read; None = all.
        label_space: Label space of the labels; empty = the task's default.
        seed: Of the shuffle.
        epoch: First epoch to read.
        epochs: Number of epochs to read.
        cursor: Global batches of the first epoch that are done.
        shuffle: New order each epoch; otherwise the order of `rows`.
        block: With `shuffle`: neighbours of `rows` that are shuffled as one (`seamo.store.plan.ShardPlan`); 0 = none.
        buffer: With `block`: samples in the window that mixes them.
        mix: With `shuffle`, of a `seamo.store.mixed.MixedStore`: number of rows and weight of each of its stores.
        drop_last: Leave out what does not fill a batch (training).
        rank: Rank of this process.
        world: Number of ranks; each gets an equal share of every global batch.
        parts: Deliver a rank's share of a global batch in this many batches (gradient accumulation).
        workers: Reading threads.
        prefetch: Batches that are read ahead.
        pin: Page-locked memory, for asynchronous copies to a GPU.
        find_holes: Look for fill values while the pixels are in the cache (`Batch.holes`).
        dates: Chooses one date of each sample, so that others are not decoded (`Batch.dates`); for layers that `images`
            does not make use of.
        images: Makes finished images of some layers in the reading threads: batches then have the images
            (`Batch.images`) and not these layers, which are decoded into memory of one layer a thread.

    Raises:
        UsageError: For a layer, label space, rank or count that cannot be.
        StoreError: While iterating: a sample cannot be read (names it), or lacks its label.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> for batch in Loader(store, store.rows("train"), 4, layers=["s2"]):
        ...     print({name: tuple(layer.shape) for name, layer in batch.layers.items()}, batch.label.tolist())
        {'s2_10m': (4, 2, 4, 24, 24), 's2_20m': (4, 2, 1, 12, 12)} [0, 1, 2, 2]
        {'s2_10m': (4, 2, 4, 24, 24), 's2_20m': (4, 2, 1, 12, 12)} [0, 1, 1, 2]
    """

    def __init__(
        self,
        store: Samples,
        rows: NDArray[np.int64],
        batch_size: int,
        *,
        layers: Sequence[str] | None = None,
        label_space: str = "",
        seed: int = 0,
        epoch: int = 0,
        epochs: int = 1,
        cursor: int = 0,
        shuffle: bool = False,
        block: int = 0,
        buffer: int = 0,
        mix: Mix = (),
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
        workers: int = 2,
        prefetch: int = 2,
        pin: bool = False,
        find_holes: bool = False,
        dates: DateChoice | None = None,
        images: ImageMaker | None = None,
    ) -> None:
        if min(workers, prefetch, parts) < 1 or epochs < 0 or not 0 <= rank < world:
            raise UsageError(
                f"workers={workers}, prefetch={prefetch}, parts={parts} must be 1 or more, epochs={epochs} 0 or more, "
                f"rank {rank} below {world}",
                where="Loader",
            )
        self.store = store
        self.spec = store.spec.only_layers(layer_ids(store.spec, layers))
        self._labels = LabelReader(store.spec, label_space)
        self._rank, self._world, self._parts = rank, world, parts
        self._workers, self._prefetch = workers, prefetch
        self._memory = _Memory(pin)
        self._find_holes = find_holes
        self._dates = dates
        self._images = images
        used = set() if images is None else set(images.layers)
        self._whole = [layer for layer in self.spec.layers if layer.id not in used]
        self._used = [layer for layer in self.spec.layers if layer.id in used]
        # Column by column: of a million rows the whole index takes seconds and a gigabyte.
        self._keys: Any = store.read_index(["key"])["key"].array
        self._height_width: Array = store.read_index(["height", "width"]).to_numpy(dtype=np.int64)
        rows = np.asarray(rows, dtype=np.int64)
        self._vary = any(layer.size is None for layer in self.spec.layers)
        self.plan = ShardPlan(
            rows=rows,
            batch=batch_size,
            seed=seed,
            epoch=epoch,
            shuffle=shuffle,
            drop_last=drop_last,
            groups=_buckets(self._height_width[rows].max(axis=1)) if self._vary else None,
            block=block,
            buffer=buffer,
            mix=mix,
        )
        if not 0 <= cursor <= len(self.plan):
            raise UsageError(f"cursor {cursor} is outside the epoch's {len(self.plan)} batches", where="Loader")
        self.cursor = cursor
        self._epochs = epochs

    def __repr__(self) -> str:
        return self._shown().text()

    def _repr_html_(self) -> str:
        return self._shown().html()

    def _shown(self) -> Summary:
        plan, layers = self.plan, ", ".join(layer.id for layer in self.spec.layers)
        order = f"shuffled with seed {plan.seed}" if plan.shuffle else "in order"
        lines = [("layers", layers), ("rows", f"{len(plan.rows):,} {order}"), ("threads", str(self._workers))]
        return Summary(f"Loader of {self.store.title}: {len(self)} batches of {plan.batch}", tuple(lines))

    def of_epoch(self, epoch: int) -> "Loader":
        """The same from the beginning of another epoch; nothing is read or sorted anew."""
        other = copy.copy(self)
        other.plan, other.cursor = replace(self.plan, epoch=epoch), 0
        return other

    def __len__(self) -> int:
        """Batches that iterating gives on this rank."""
        return sum(1 for _ in self._units())

    def __iter__(self) -> Generator[Batch, None, None]:
        ids = [layer.id for layer in self.spec.layers] + ([LABEL] if self._labels.kind == "mask" else [])
        plan = self.plan
        ahead = ReadAhead(self.store, plan.rows, ids, is_shuffled=plan.shuffle, buffer=plan.buffer, mix=plan.mix)
        units = ahead.announce(self._units())
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="seamo-loader")
        try:
            pending = deque(
                self._start(executor, ahead.samples, unit) for unit in itertools.islice(units, self._prefetch)
            )
            while pending:
                # Finished before more is begun: threads that wake up ask for Python's lock.
                made = [self._finish(pending.popleft())]
                pending.extend(self._start(executor, ahead.samples, unit) for unit in itertools.islice(units, 1))
                yield made.pop()  # nothing here refers to a batch that is handed out
        finally:
            # Also on an error, Ctrl-C and an early break: what has not begun is dropped, what runs is one sample long.
            executor.shutdown(wait=True, cancel_futures=True)
            ahead.close()

    def _units(self) -> Iterator["_Unit"]:
        for offset in range(self._epochs):
            plan = replace(self.plan, epoch=self.plan.epoch + offset) if offset else self.plan
            for share in plan.shares(self._rank, self._world, 0 if offset else self.cursor):
                pieces = zip(
                    *(np.array_split(one, self._parts) for one in (share.rows, share.padding, share.turns)), strict=True
                )
                yield from (_Unit(rows, padding, turns, plan.epoch) for rows, padding, turns in pieces if len(rows))

    def _start(self, executor: ThreadPoolExecutor, samples: Samples, unit: "_Unit") -> "_Pending":
        # All of it in the reading threads: whoever asks for batches has other work. Tasks begin in this order, so a
        # sample never waits for a preparation that waits for a thread.
        work = executor.submit(self._prepare, samples, unit)
        return _Pending(unit, work, [executor.submit(self._read, work, i) for i in range(len(unit.rows))])

    def _prepare(self, samples: Samples, unit: "_Unit") -> "_Work":
        n = len(unit.rows)
        times = read_seconds(samples, self.spec, unit.rows)
        valid = read_valid(samples, self.spec, unit.rows, times)
        sizes = {layer.id: self._size(layer, unit) for layer in self.spec.layers}
        drawn = BatchSamples(unit.rows, unit.turns, unit.epoch, valid)
        dates = None if self._dates is None else self._dates(drawn)
        layers = {
            layer.id: self._memory.take(
                (n, layer.times if dates is None else 1, len(layer.bands), *sizes[layer.id]), np.dtype(layer.dtype)
            )
            for layer in self._whole
        }
        mask = None
        if self._labels.kind == "mask":
            mask = self._memory.take((n, *max(sizes.values())), np.dtype(np.uint8))
        making, images = None, {}
        if self._images is not None:
            making = self._images.draw(drawn)
            floats = np.dtype(np.float32)
            images = {name: self._memory.take((n, *shape), floats) for name, shape in making.shapes.items()}
        return _Work(samples, unit.rows, times, valid, sizes, dates, layers, mask, making, images)

    def _size(self, layer: LayerSpec, unit: "_Unit") -> tuple[int, int]:
        if layer.size is not None:
            return layer.size
        finest = min(one.gsd_m for one in self.spec.layers)
        side = math.ceil(bucket_of(*self._height_width[unit.rows].max(axis=0)) * finest / layer.gsd_m)
        return side, side

    def _read(self, prepared: "Future[_Work]", i: int) -> "_Facts":
        work = prepared.result()
        row, samples = int(work.rows[i]), work.samples
        for layer in self._whole:
            date = None if work.dates is None or layer.times == 1 else int(work.dates[i])
            samples.read_layer(row, layer.id, work.layers[layer.id][i].numpy(), date=date)
        masks: dict[str, NDArray[np.bool_]] = {}
        if work.making is not None:
            out = {name: target[i].numpy() for name, target in work.images.items()}
            for layer in self._used:
                date = None if work.making.date is None or layer.times == 1 else int(work.making.date[i])
                shape = (layer.times if date is None else 1, len(layer.bands), *work.sizes[layer.id])
                pixels = samples.read_layer(row, layer.id, _LAYER.array(shape, layer.dtype), date=date)
                for name, known in work.making.make(i, layer.id, pixels, out, _SCRATCH).items():
                    masks[name] = masks[name] & known if name in masks else known
        label = None
        if work.mask is not None:
            mask = work.mask[i].numpy()
            samples.read_layer(row, LABEL, mask)
            self._labels.map_mask(mask)
        elif self._labels.kind != "none":
            label = self._labels.row(samples.read_label(row), str(self._keys[row]))
        holes = frozenset[str]()
        if self._find_holes:
            holes = frozenset(
                layer.id
                for layer in self._whole
                if _has_hole(work.layers[layer.id][i].numpy(), layer, work.there(layer, i))
            )
        return _Facts(label, masks, holes)

    def _finish(self, pending: "_Pending") -> Batch:
        facts = []
        for row, future in zip(pending.unit.rows, pending.futures, strict=True):
            error = future.exception()
            if isinstance(error, SeamoError) or (error is not None and not isinstance(error, Exception)):
                raise error
            if error is not None:
                key = self._keys[row]
                raise StoreError(
                    f"cannot be read ({type(error).__name__}: {error})", where=f"{self.store.title}: sample {key}"
                ) from error
            facts.append(future.result())
        unit, work = pending.unit, pending.work.result()
        labels = [sample.label for sample in facts if sample.label is not None]
        return Batch(
            spec=self.spec,
            rows=torch.from_numpy(np.array(unit.rows)),
            keys=tuple(str(self._keys[row]) for row in unit.rows),
            layers=work.layers,
            valid={name: torch.from_numpy(there) for name, there in work.valid.items()},
            times={stack: torch.from_numpy(seconds) for stack, seconds in work.times.items()},
            size=torch.from_numpy(self._height_width[unit.rows]),
            label=torch.from_numpy(np.stack(labels)) if labels else None,
            mask=work.mask,
            padding=torch.from_numpy(np.array(unit.padding)),
            holes=frozenset[str]().union(*(sample.holes for sample in facts)) if self._find_holes else None,
            turns=torch.from_numpy(np.array(unit.turns)) if self.plan.mix else None,
            dates=None if work.dates is None else torch.from_numpy(np.array(work.dates)),
            images=work.images,
            measured=_measured(work.images, facts),
        )


def _buckets(sides: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray([bucket_of(int(side), int(side)) for side in sides], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Unit:
    rows: NDArray[np.int64]
    padding: NDArray[np.bool_]
    turns: NDArray[np.int64]
    epoch: int


@dataclass(frozen=True, slots=True)
class _Work:
    # What the threads need to read the samples of a unit, and where they write it.
    samples: Samples
    rows: NDArray[np.int64]
    times: dict[str, NDArray[np.int64]]
    valid: dict[str, NDArray[np.bool_]]
    sizes: dict[str, tuple[int, int]]
    dates: NDArray[np.int64] | None
    layers: dict[str, Tensor]
    mask: Tensor | None
    making: Making | None
    images: dict[str, Tensor]

    def there(self, layer: LayerSpec, i: int) -> NDArray[np.bool_]:
        """Which of the dates that were read are there."""
        valid: NDArray[np.bool_] = self.valid[layer.id][i]
        return valid if self.dates is None or layer.times == 1 else valid[self.dates[i : i + 1]]


@dataclass(frozen=True, slots=True)
class _Facts:
    label: Array | None
    masks: dict[str, NDArray[np.bool_]]
    holes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Pending:
    unit: _Unit
    work: Future[_Work]
    futures: list[Future[_Facts]]


class _Memory:
    """Memory of batches, used again once nothing refers to the tensor made of it.

    Fresh pages cost as much as decoding does. Page-locked memory comes from torch's own host allocator, which
    recycles too, and waits for copies that are still under way.
    """

    def __init__(self, pin: bool) -> None:
        self._pin = pin
        self._free: dict[int, deque[Array]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
        """A tensor whose contents are whatever was there."""
        if self._pin:
            torch_dtype = torch.from_numpy(np.empty(0, dtype=dtype)).dtype
            return torch.empty(shape, dtype=torch_dtype, pin_memory=True)
        size = math.prod(shape) * dtype.itemsize
        free = self._free.setdefault(size, deque())
        block = free.pop() if free else np.empty(size, dtype=np.uint8)
        lease = block.view(dtype).reshape(shape)
        # The tensor's storage holds `lease`; when the last view of it is gone, the block is free again.
        weakref.finalize(lease, free.append, block).atexit = False
        return torch.from_numpy(lease)


def _has_hole(pixels: Array, layer: LayerSpec, there: NDArray[np.bool_]) -> bool:
    fill = layer.fill_value
    dates = [pixels[t] for t in np.flatnonzero(there)]
    # The largest and smallest of numbers among which is a NaN are NaN: no array of booleans.
    if layer.is_float and not all(np.isfinite(image.max()) and np.isfinite(image.min()) for image in dates):
        return True
    return fill is not None and not math.isnan(fill) and any(bool((image == fill).any()) for image in dates)


def _measured(images: dict[str, Tensor], facts: Sequence[_Facts]) -> dict[str, Tensor]:
    """Where the numbers of images are measurements, of those images of which some are not."""
    found = {}
    for name in {name for sample in facts for name in sample.masks}:
        known = torch.ones(images[name].shape, dtype=torch.bool)
        for i, sample in enumerate(facts):
            if name in sample.masks:
                known[i] = torch.from_numpy(sample.masks[name])
        found[name] = known
    return found
