"""Loader: batches of a store in a planned order, read by threads into recycled memory."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.data.batch import Batch
from seamo.store.reader import Store


class Loader:
    """One epoch of a store's rows as `Batch`es, for training and for feature extraction alike.

    Threads read and decode straight into the batch's memory (the decoders release the GIL); batches come in
    the order of the plan, whatever the number of threads. Its whole state is (epoch, cursor), the cursor being
    the number of global batches done.

    Args:
        store: An open store.
        rows: Rows to read, each once an epoch (`store.rows(split, ...)`).
        batch_size: Samples of a global batch, all ranks together.
        layers: Layer or stack ids to read; None = all.
        label_space: Label space of the labels; empty = the task's default.
        seed: Of the shuffle.
        epoch: Epoch to read.
        cursor: Global batches of this epoch that are done.
        shuffle: New order each epoch; otherwise the order of `rows`.
        drop_last: Leave out what does not fill a batch (training).
        rank: Rank of this process.
        world: Number of ranks; each gets an equal share of every global batch.
        parts: Deliver a rank's share of a batch in this many batches (gradient accumulation).
        workers: Reading threads.
        prefetch: Batches that are read ahead.
        pin: Page-locked memory, for asynchronous copies to a GPU.
    """

    def __init__(
        self,
        store: Store,
        rows: NDArray[np.int64],
        batch_size: int,
        *,
        layers: Sequence[str] | None = None,
        label_space: str = "",
        seed: int = 0,
        epoch: int = 0,
        cursor: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
        workers: int = 2,
        prefetch: int = 2,
        pin: bool = False,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """Batches that iterating gives on this rank."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError
