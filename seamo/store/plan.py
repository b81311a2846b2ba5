"""ShardPlan: who reads what, as pure arithmetic on (rows, seed, epoch, rank, world, worker, cursor)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError

Rows = NDArray[np.int64]
Mix = tuple[tuple[int, float], ...]
"""Of every store of a mixture: its number of rows, and its weight, in whatever measure."""

_SHUFFLE = 0x5EA0_0001  # the stream of the shuffle, apart from every other use of the same seed
_MIXING = 2**32  # a stream below that one, beside those of the stores of a mixture
_STEPS = 2**16  # of a place, in `block_order`: ties between samples are rare


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one rank reads of one global batch.

    Args:
        batch: Index of the global batch within the epoch.
        rows: (n,) rows of the store.
        padding: (n,) bool, True for a repeat that only keeps the ranks equal.
        turns: (n,) how many passes through its store began since the epoch did; 0 where nothing is mixed.
    """

    batch: int
    rows: Rows
    padding: NDArray[np.bool_]
    turns: Rows


@dataclass(frozen=True, slots=True, eq=False)
class ShardPlan:
    """The order of one epoch, cut into global batches that any number of ranks shares.

    The batches do not depend on the number of ranks, parts or workers: rank r of W takes the r-th of W
    equal slices of every global batch. So a run may stop after any batch and go on with another W, and
    its state is (epoch, cursor), the cursor being the number of global batches done. A batch whose size W
    does not divide is filled up with repeats of its own rows, marked as padding (fewer than W of them).

    Shuffling is one full permutation of the rows, drawn anew each epoch: on a disk, where a chunk is one sample of
    a layer, random reads reach about three quarters of sequential ones. Over a network every range costs a request;
    `block` neighbours are then shuffled together, and a window of `buffer` samples mixes what lies near each other in
    that order. What this costs in independence is `block_price`. The order is the same wherever the store lies.

    A mixture draws from several stores, each in its own endless order: one shuffled pass through the store behind the
    other, so that no sample comes again before all others of its store have come. An epoch takes the next so many of
    each, by the weights, and shuffles which store is whose turn. Epoch e begins where e - 1 ended: still arithmetic.

    Args:
        rows: Rows of the store to read, each once an epoch.
        batch: Samples of a global batch, all ranks together.
        seed: Of the shuffle.
        epoch: Epoch number; with `shuffle`, each has its own order.
        shuffle: Permute; otherwise the order of `rows` is kept.
        drop_last: Leave out what does not fill a batch (training).
        groups: (len(rows),) group of each row (size bucket); a batch never mixes groups.
        block: Neighbours of `rows` that are shuffled as one; 0 or 1 shuffles every sample by itself.
        buffer: With `block`: samples in the window that mixes them.
        mix: With `shuffle`: number of rows and weight of every store whose rows stand one after another in `rows`. An
            epoch has as many samples as there are rows, or whole batches of that with `drop_last`.

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
    block: int = 0
    buffer: int = 0
    mix: Mix = ()
    _order: Rows = field(init=False, repr=False)  # rows in reading order
    _turns: Rows = field(init=False, repr=False)  # of each
    _spans: Rows = field(init=False, repr=False)  # start and stop of each batch in it, flat

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError(f"a batch of {self.batch} samples", where="ShardPlan")
        if min(self.block, self.buffer) < 0 or (self.block > 1 and self.buffer < self.block):
            raise UsageError(f"a buffer of {self.buffer} samples for blocks of {self.block}", where="ShardPlan")
        if self.groups is not None and len(self.groups) != len(self.rows):
            raise UsageError(f"{len(self.groups)} groups for {len(self.rows)} rows", where="ShardPlan")
        if self.mix and (not self.shuffle or sum(n for n, _ in self.mix) != len(self.rows)):
            raise UsageError(f"a mixture of {self.mix} with {len(self.rows)} rows", where="ShardPlan")
        order, turns, starts = _arrange(self)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_turns", turns)
        object.__setattr__(self, "_spans", starts)

    def __len__(self) -> int:
        """Number of global batches of the epoch, the same for every rank."""
        return len(self._spans) // 2

    def batch_rows(self, index: int) -> Rows:
        """Rows of one global batch, all ranks together."""
        return self._order[self._spans[2 * index] : self._spans[2 * index + 1]]

    def share(self, index: int, rank: int = 0, world: int = 1) -> Share:
        """What `rank` of `world` reads of global batch `index`.

        Raises:
            UsageError: If there is no such rank.
        """
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} of {world}", where="ShardPlan")
        start, stop = self._spans[2 * index : 2 * index + 2].tolist()
        n = stop - start
        each = -(-n // world)
        position = np.arange(rank * each, (rank + 1) * each)
        places = start + position % n
        return Share(index, self._order[places], position >= n, self._turns[places])

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


def random_order(n: int, seed: int, epoch: int, *, stream: int = 0) -> Rows:
    """A permutation of n numbers that depends on its arguments alone, on every machine and numpy version.

    It sorts raw Philox words, whose stream numpy guarantees (it does not for `Generator.permutation`).

    Args:
        n: How many.
        seed: Of the shuffle.
        epoch: Every epoch has its own order.
        stream: Orders of different streams are independent.
    """
    return np.argsort(_words(n, seed, epoch, stream), kind="stable").astype(np.int64)


def block_order(n: int, seed: int, epoch: int, *, block: int, buffer: int, stream: int = 0) -> Rows:
    """An order of n numbers that shuffles blocks of neighbours, and mixes samples within a window of them.

    The sample at place i of the shuffled blocks is put at i + u, u uniform in [0, buffer): where a batch is drawn,
    the samples of about `buffer` places are equally likely. Depends on its arguments alone, as `random_order`.

    Args:
        n: How many.
        seed: Of the shuffle.
        epoch: Every epoch has its own order.
        block: Neighbours that stay near each other.
        buffer: The window.
        stream: As in `random_order`; the next one is used, too.
    """
    blocks = random_order(-(-n // block), seed, epoch, stream=stream)
    order = (blocks[:, None] * block + np.arange(block)).reshape(-1)
    order = order[order < n]
    shift = _words(n, seed, epoch, stream + 1) % np.uint64(buffer * _STEPS)
    place = np.arange(n, dtype=np.int64) * _STEPS + shift.astype(np.int64)
    return np.asarray(order[np.argsort(place, kind="stable")], dtype=np.int64)


def _words(n: int, seed: int, epoch: int, stream: int) -> NDArray[np.uint64]:
    return np.asarray(np.random.Philox(key=seed, counter=[0, stream, epoch, _SHUFFLE]).random_raw(n), dtype=np.uint64)


def mix_quotas(mix: Mix, length: int) -> tuple[int, ...]:
    """How many of `length` samples each store of a mixture gives: its share, rounded by largest remainders.

    Raises:
        UsageError: If a store would give none.

    Example:
        >>> mix_quotas(((20, 0.5), (10, 0.3), (70, 0.2)), 99)
        (49, 30, 20)
    """
    total = math.fsum(weight for _, weight in mix)
    exact = [weight / total * length for _, weight in mix]
    quotas = [int(one) for one in exact]
    by_remainder = sorted(range(len(mix)), key=lambda k: (quotas[k] - exact[k], k))
    for k in by_remainder[: length - sum(quotas)]:
        quotas[k] += 1
    if not all(quotas):
        what = f"a weight is so small that its store gives none of the {length} samples of an epoch"
        raise UsageError(what, "data.weights", "Give a larger one, or leave the store out.")
    return tuple(quotas)


def mixed_order(mix: Mix, length: int, seed: int, epoch: int, *, block: int = 0, buffer: int = 0) -> tuple[Rows, Rows]:
    """One epoch of a mixture: places in the rows of all stores, one after another, and the turn of each.

    Args:
        mix: The stores.
        length: Samples of an epoch.
        seed: Of the shuffle.
        epoch: Which one; those before it have had theirs.
        block: As in `ShardPlan`, within a store.
        buffer: Samples in the window, all stores together.
    """
    quotas = mix_quotas(mix, length)
    whose = np.repeat(np.arange(len(mix)), quotas)[random_order(length, seed, epoch, stream=_MIXING)]
    places, turns = np.empty((2, length), dtype=np.int64)
    offset = 0
    for k, ((n, _), quota) in enumerate(zip(mix, quotas, strict=True)):
        window = max(block, round(buffer * quota / length))
        start, stop = epoch * quota, (epoch + 1) * quota
        passes = range(start // n, -(-stop // n))
        orders = [
            block_order(n, seed, one, block=block, buffer=window, stream=2 * k)
            if block > 1
            else random_order(n, seed, one, stream=2 * k)
            for one in passes
        ]
        first = passes.start * n
        mine = whose == k
        places[mine] = offset + np.concatenate(orders)[start - first : stop - first]
        turns[mine] = np.arange(start, stop) // n - passes.start
        offset += n
    return places, turns


def block_price(classes: NDArray[np.float64], *, block: int, buffer: int, batch: int) -> float:
    """How much more the class shares of a batch vary in block order than in a full shuffle: 1 = no more.

    1 + rho * batch * (block - 1) / buffer, rho being the correlation of labels inside a block (the intraclass
    correlation, Fisher 1925, summed over classes).

    Args:
        classes: (N, K) which classes each row has, in the order of the rows.
        block: As in `ShardPlan`.
        buffer: As in `ShardPlan`.
        batch: As in `ShardPlan`.
    """
    n = len(classes) // block * block
    if block < 2 or n == 0:
        return 1.0
    apart = classes[:n] - classes[:n].mean(axis=0)
    spread = float(np.square(apart).mean(axis=0).sum())
    if spread == 0:
        return 1.0
    sums = apart.reshape(-1, block, classes.shape[1]).sum(axis=1)
    pairs = (np.square(sums).sum() - np.square(apart).sum()) / (n * (block - 1))
    return 1.0 + max(float(pairs) / spread, 0.0) * batch * (block - 1) / min(buffer, n)


def _arrange(plan: ShardPlan) -> tuple[Rows, Rows, Rows]:
    rows = np.asarray(plan.rows, dtype=np.int64)
    place, turns = _ordered(plan)
    if plan.groups is not None:
        # One group after another, the order inside a group kept.
        sorted_ = np.argsort(np.asarray(plan.groups)[place], kind="stable")
        place, turns = place[sorted_], turns[sorted_]
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
    return rows[place], turns, np.asarray(spans, dtype=np.int64).reshape(-1)


def _ordered(plan: ShardPlan) -> tuple[Rows, Rows]:
    n = len(plan.rows)
    if plan.mix:
        length = n // plan.batch * plan.batch if plan.drop_last else n
        return mixed_order(plan.mix, length, plan.seed, plan.epoch, block=plan.block, buffer=plan.buffer)
    return _shuffled(plan) if plan.shuffle else np.arange(n, dtype=np.int64), np.zeros(n, dtype=np.int64)


def _shuffled(plan: ShardPlan) -> Rows:
    if plan.block > 1:
        return block_order(len(plan.rows), plan.seed, plan.epoch, block=plan.block, buffer=plan.buffer)
    return random_order(len(plan.rows), plan.seed, plan.epoch)
