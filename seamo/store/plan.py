"""ShardPlan: who reads what, as pure arithmetic on (rows, seed, epoch, rank, world, worker, cursor)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError

Rows = NDArray[np.int64]
_SHUFFLE = 0x5EA0_0001  # the stream of the shuffle, apart from every other use of the same seed


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one rank reads of one global batch.

    Args:
        batch: Index of the global batch within the epoch.
        rows: (n,) rows of the store.
        padding: (n,) bool, True for a repeat that only keeps the ranks equal.
    """

    batch: int
    rows: Rows
    padding: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ShardPlan:
    """The order of one epoch, cut into global batches that any number of ranks shares.

    The batches do not depend on the number of ranks, parts or workers: rank r of W takes the r-th of W
    equal slices of every global batch. So a run may stop after any batch and go on with another W, and
    its state is (epoch, cursor), the cursor being the number of global batches done. A batch whose size W
    does not divide is filled up with repeats of its own rows, marked as padding (fewer than W of them).

    Shuffling is one full permutation of the rows, drawn anew each epoch. A chunk is one sample of a layer
    (hundreds of kilobytes to megabytes) found by its byte range, and at that size random reads reach about
    three quarters of sequential ones on a disk and cost the same on a bucket; shuffling within blocks of
    shards would save little and make neighbours in the archive neighbours in the batch.

    Args:
        rows: Rows of the store to read, each once an epoch.
        batch: Samples of a global batch, all ranks together.
        seed: Of the shuffle.
        epoch: Epoch number; with `shuffle`, each has its own order.
        shuffle: Permute; otherwise the order of `rows` is kept.
        drop_last: Leave out what does not fill a batch (training).
        groups: (len(rows),) group of each row (size bucket); a batch never mixes groups.

    Example:
        >>> plan = ShardPlan(rows=np.arange(10, 17), batch=4)
        >>> len(plan), plan.batch_rows(1).tolist()
        (2, [14, 15, 16])
        >>> last = plan.share(1, rank=1, world=2)
        >>> last.rows.tolist(), last.padding.tolist()  # equal shares: a repeat is marked
        ([16, 14], [False, True])
    """

    rows: Rows
    batch: int
    seed: int = 0
    epoch: int = 0
    shuffle: bool = False
    drop_last: bool = False
    groups: Rows | None = None
    _order: Rows = field(init=False, repr=False)  # rows in reading order
    _spans: Rows = field(init=False, repr=False)  # start and stop of each batch in it, flat

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError(f"a batch of {self.batch} samples", where="ShardPlan")
        if self.groups is not None and len(self.groups) != len(self.rows):
            raise UsageError(f"{len(self.groups)} groups for {len(self.rows)} rows", where="ShardPlan")
        order, starts = _arrange(self)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_spans", starts)

    def __len__(self) -> int:
        """Number of global batches of the epoch, the same for every rank."""
        return len(self._spans) // 2

    def batch_rows(self, index: int) -> Rows:
        """Rows of one global batch, all ranks together."""
        return self._order[self._spans[2 * index] : self._spans[2 * index + 1]]

    def share(self, index: int, rank: int = 0, world: int = 1) -> Share:
        """What `rank` of `world` reads of global batch `index`."""
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} of {world}", where="ShardPlan")
        rows = self.batch_rows(index)
        each = -(-len(rows) // world)
        position = np.arange(rank * each, (rank + 1) * each)
        return Share(index, rows[position % len(rows)], position >= len(rows))

    def shares(
        self, rank: int = 0, world: int = 1, cursor: int = 0, *, worker: int = 0, workers: int = 1
    ) -> Iterator[Share]:
        """The shares of one rank from a cursor on.

        Args:
            rank: Rank of this process.
            world: Number of ranks.
            cursor: Global batches of this epoch that are done.
            worker: For readers that split batches between processes: batches `worker`, `worker + workers`, ...
            workers: Number of such processes.
        """
        for index in range(cursor + worker, len(self), workers):
            yield self.share(index, rank, world)


def random_order(n: int, seed: int, epoch: int) -> Rows:
    """A permutation of n numbers that depends on (n, seed, epoch) alone, on every machine and numpy version.

    It sorts raw Philox words, whose stream numpy guarantees (it does not for `Generator.permutation`).
    """
    words = np.random.Philox(key=seed, counter=[0, 0, epoch, _SHUFFLE]).random_raw(n)
    return np.argsort(np.asarray(words, dtype=np.uint64), kind="stable").astype(np.int64)


def _arrange(plan: ShardPlan) -> tuple[Rows, Rows]:
    rows = np.asarray(plan.rows, dtype=np.int64)
    place = random_order(len(rows), plan.seed, plan.epoch) if plan.shuffle else np.arange(len(rows), dtype=np.int64)
    if plan.groups is not None:
        # One group after another, the order inside a group kept.
        place = place[np.argsort(np.asarray(plan.groups)[place], kind="stable")]
        bounds = np.flatnonzero(np.diff(np.asarray(plan.groups)[place])) + 1
        runs = np.split(place, bounds)
    else:
        runs = [place]
    spans: list[tuple[int, int]] = []
    start = 0
    for run in runs:
        for offset in range(0, len(run), plan.batch):
            stop = min(offset + plan.batch, len(run))
            if stop - offset == plan.batch or not plan.drop_last:
                spans.append((start + offset, start + stop))
        start += len(run)
    if plan.shuffle and len(runs) > 1:
        # Groups must not follow one another: small images first would be a curriculum nobody asked for.
        spans = [spans[i] for i in random_order(len(spans), plan.seed, plan.epoch)]
    return rows[place], np.asarray(spans, dtype=np.int64).reshape(-1)
