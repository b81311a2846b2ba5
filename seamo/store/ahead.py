"""What is fetched before it is read, where a store lies behind a network: by loaders, and by loops over samples."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from seamo.store.cache import cached
from seamo.store.format import LABEL, stored_ids
from seamo.store.joined import JoinedStore
from seamo.store.mixed import MixedStore
from seamo.store.plan import Mix, mix_quotas
from seamo.store.reader import Store
from seamo.store.samples import Samples
from seamo.store.spans import AheadFiles, find_chunks

KEEP = 512 * 2**20
"""Bytes of stored chunks that a loader keeps in memory; a split that takes no more is fetched once."""

_ROWS = 64  # that are announced together
_REQUESTS = 64  # chunks that are asked for ahead where each takes a request of its own

Rows = NDArray[np.int64]


_Home = Callable[[Rows], Rows]  # rows of the samples -> rows of one of their stores


class _HasRows(Protocol):
    @property
    def rows(self) -> Rows:
        """Rows that are read together."""


Unit = TypeVar("Unit", bound=_HasRows)


class ReadAhead:
    """Fetches what batches will need; of a store on a disk nothing, which the kernel reads ahead itself.

    A split that fits into memory is fetched in spans, and kept. Of a larger one, spans are fetched and forgotten where
    neighbours are read together (in order, or in an order of blocks), and else every chunk takes a request.

    Args:
        samples: What is read.
        rows: That are read, each once an epoch.
        layers: Ids of layers, `label` for masks.
        is_shuffled: Whether rows are drawn from all over.
        buffer: Samples in the window of an order of blocks; 0 without blocks.
        mix: Of a mixture: see `seamo.store.plan.ShardPlan`.
    """

    def __init__(
        self,
        samples: Samples,
        rows: Rows,
        layers: Sequence[str],
        *,
        is_shuffled: bool,
        buffer: int = 0,
        mix: Mix = (),
    ) -> None:
        self._files: list[tuple[AheadFiles, _Home]] = []
        self._is_whole, self._per_row, self._chunks_per_row = False, 1.0, len(layers)
        self.samples = samples
        """The same samples, read through what was fetched."""
        remote = _remote_parts(samples)
        if not remote or not len(rows):
            return
        parts = {}
        chunks = {
            n: find_chunks(store, home(rows), [layer for layer in layers if _is_in(samples, store, layer, n)])
            for n, (store, home) in remote.items()
        }
        often = [quota / n for quota, (n, _) in zip(mix_quotas(mix, len(rows)), mix, strict=True)]
        stored = {n: int(one.length.sum()) for n, one in chunks.items()}
        read = {n: size * (often[n] if often else 1.0) for n, size in stored.items()}  # in an epoch
        self._per_row = max(sum(read.values()) / len(rows), 1.0)
        self._is_whole = is_shuffled and sum(stored.values()) <= KEEP
        shares = stored if self._is_whole else read
        keep = max(KEEP, int(1.5 * buffer * self._per_row))
        for n, (store, home) in remote.items():
            share = int(keep * shares[n] / max(sum(shares.values()), 1)) + 2**20
            joined = self._is_whole or not is_shuffled or buffer > 0
            files = AheadFiles(cached(store.pixel_files, store.pixels), chunks[n], keep=share, joined=joined)
            self._files.append((files, home))
            parts[n] = store.reading_from(files)
        self.samples = samples.with_parts(parts) if isinstance(samples, JoinedStore | MixedStore) else parts[0]

    def announce(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """The same units; what those that follow will need is fetched meanwhile."""
        if not self._files:
            yield from units
            return
        waiting: deque[Unit] = deque()
        for number, unit in enumerate(units):
            for files, home in self._files:
                expect = files.expect if number else files.expect_first
                expect(home(unit.rows))
            waiting.append(unit)
            if len(waiting) > self._depth(len(unit.rows)):
                yield waiting.popleft()
        yield from waiting

    def close(self) -> None:
        """Begin nothing more, and forget what was fetched."""
        for files, _ in self._files:
            files.close()

    def _depth(self, rows: int) -> int:
        """Units that are fetched ahead: a quarter of the memory, all of it where all is kept."""
        room = KEEP if self._is_whole else KEEP // 4
        fitting = int(room // (self._per_row * rows))
        enough = fitting if self._is_whole else max(4, -(-_REQUESTS // (rows * self._chunks_per_row)))
        return max(1, min(fitting, enough))


def in_order(store: Store, some: Sequence[int]) -> Iterator[tuple[int, Store]]:
    """Rows of a store, with what to read each from, for a loop over whole samples: fetched before its turn comes."""
    rows = np.asarray(some, dtype=np.int64)
    ahead = ReadAhead(store, rows, stored_ids(store.spec), is_shuffled=False)
    fetched = cast(Store, ahead.samples)  # of a store, a store
    try:
        for block in ahead.announce(_Block(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)):
            yield from ((int(row), fetched) for row in block.rows)
    finally:
        ahead.close()


@dataclass(frozen=True, slots=True)
class _Block:
    rows: Rows


def _remote_parts(samples: Samples) -> "dict[int, tuple[Store, _Home]]":
    """The stores that lie behind a network, by their place, with what finds the rows of samples in each."""
    if isinstance(samples, Store):
        return {} if samples.is_on_disk else {0: (samples, lambda rows: rows)}
    if isinstance(samples, JoinedStore | MixedStore):
        return {n: (part, partial(samples.rows_in, n)) for n, part in enumerate(samples.parts) if not part.is_on_disk}
    return {}


def _is_in(samples: Samples, store: Store, layer: str, part: int) -> bool:
    if layer == LABEL:
        return part == 0
    return isinstance(samples, MixedStore) or any(layer == one.id for one in store.spec.layers)
