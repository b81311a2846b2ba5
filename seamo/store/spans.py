"""Reading ahead of the decoders, for stores behind a network: few large ranges, many requests at a time.

Behind a network the number of requests decides, then how many are under way: the threads that decode must not be the
ones that wait. Chunks that lie beside each other are fetched as one span, spans are fetched by threads that do nothing
else, and what was fetched is kept up to a limit. What is read does not depend on any of this: a chunk that was not
fetched ahead, or was dropped, is fetched when it is read.
"""

import bisect
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.store.cache import CachedFiles
from seamo.store.format import array_name, crc32c, shard_file
from seamo.store.reader import PixelFiles, Store

_SPAN = 4 * 2**20
_GAP = 2**16  # bytes between two chunks that are fetched along rather than asked for apart
_WORTH = 2**19  # bytes that a first batch need not wait for, for two requests more
_REQUESTS = 16

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """Where chunks lie, an entry each.

    Args:
        names: Files.
        file: (n,) which of them.
        row: (n,) whose chunk it is.
        offset: (n,) in its file.
        length: (n,) bytes.
    """

    names: tuple[str, ...]
    file: Rows
    row: Rows
    offset: Rows
    length: Rows


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A part of a span, by its place in the file."""

    start: int
    stop: int
    data: Future[bytes]


def find_chunks(store: Store, rows: Rows, layers: Sequence[str]) -> Chunks:
    """Where the chunks of some rows lie; those of layers that a sample lacks take no bytes, and are left out."""
    codes: dict[str, int] = {}
    parts: list[tuple[Rows, ...]] = []
    for layer in layers:
        places = store.places(rows, layer)
        kinds, which = np.unique(places.shard << 32 | places.bucket, return_inverse=True)
        named = [
            shard_file(store.meta.layout, kind >> 32, array_name(layer, kind & 0xFFFFFFFF)) for kind in kinds.tolist()
        ]
        code = np.array([codes.setdefault(name, len(codes)) for name in named], dtype=np.int64)
        there = places.length > 0
        parts.append((code[which[there]], rows[there], places.offset[there], places.length[there]))
    return Chunks(tuple(codes), *(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class AheadFiles:
    """The files of a store's pixels, of which some rows are fetched ahead. Thread-safe.

    Args:
        files: What is fetched from.
        chunks: That will be read.
        keep: Bytes to keep.
        joined: Fetch what lies together at once; else every chunk by itself.
    """

    def __init__(self, files: PixelFiles, chunks: Chunks, *, keep: int, joined: bool) -> None:
        self._files, self._chunks, self._keep = files, chunks, keep
        self._far = files.behind if isinstance(files, CachedFiles) else files
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="seamo-fetch")
        self._lock = Lock()
        self._fetched: dict[int, Future[bytes]] = {}  # span -> its bytes
        self._wanted: Counter[int] = Counter()  # span -> chunks of it that were announced and not read yet
        self._spare: OrderedDict[int, None] = OrderedDict()  # spans that nobody waits for, the longest unused first
        self._kept = 0
        self._on_disk: dict[int, bool] = {}  # span -> whether the cache on a disk has it, as far as was asked
        self._wrong: set[int] = set()  # spans that the cache had and that were wrong
        self._pieces: dict[int, tuple[_Piece, ...]] = {}  # span -> what a first batch needs of it, until all is there
        self._cut(joined=joined)

    def _cut(self, *, joined: bool) -> None:
        """Cut the chunks into spans: neighbours in a file, up to a few megabytes."""
        chunks = self._chunks
        order = np.lexsort((chunks.offset, chunks.file))
        file, offset = chunks.file[order], chunks.offset[order]
        stop = offset + chunks.length[order]
        window = offset // (_SPAN if joined else 1)
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (file[1:] != file[:-1]) | (window[1:] != window[:-1]) | (offset[1:] - stop[:-1] > _GAP)
        span = np.cumsum(begins) - 1
        heads = np.flatnonzero(begins)
        self._file, self._start = file[heads], offset[heads]
        self._stop = np.maximum.reduceat(stop, heads) if len(heads) else stop
        self._of_chunk = of_chunk = np.empty(len(order), dtype=np.int64)
        of_chunk[order] = span
        self._spans_of_row: dict[int, list[int]] = {}
        for row, one in zip(chunks.row.tolist(), of_chunk.tolist(), strict=True):
            self._spans_of_row.setdefault(row, []).append(one)
        self._of_file: dict[str, tuple[list[int], int]] = {}
        for code, name in enumerate(chunks.names):
            first, last = np.searchsorted(self._file, [code, code + 1])
            self._of_file[name] = (self._start[first:last].tolist(), int(first))

    def expect(self, rows: Rows) -> None:
        """Begin to fetch the spans of these rows, as far as there is room."""
        for row in rows.tolist():
            for span in self._spans_of_row.get(row, ()):
                with self._lock:
                    self._wanted[span] += 1
                    self._spare.pop(span, None)
                    if span not in self._fetched and not self._is_cached(span) and self._make_room(span):
                        self._begin(span)

    def expect_first(self, rows: Rows) -> None:
        """The same for a first batch, which somebody waits for: its own chunks first, then what lies between them.

        A span is asked for in pieces where that leaves enough for later; they are joined to it, so no byte comes twice.
        """
        chunks, turn = self._chunks, {row: n for n, row in enumerate(rows.tolist())}
        of_span: dict[int, list[tuple[int, int]]] = {}
        for at in sorted(np.flatnonzero(np.isin(chunks.row, rows)), key=lambda at: turn[int(chunks.row[at])]):
            offset = int(chunks.offset[at])
            of_span.setdefault(int(self._of_chunk[at]), []).append((offset, offset + int(chunks.length[at])))
        cut = []
        with self._lock:
            for span, ranges in of_span.items():
                if span in self._fetched or self._is_cached(span) or not self._make_room(span):
                    continue
                name, runs = self._range(span)[0], _runs(ranges)
                if self._size(span) - sum(stop - start for start, stop in runs) < len(runs) * _WORTH:
                    self._begin(span)
                    continue
                self._kept += self._size(span)
                self._pieces[span] = tuple(
                    _Piece(start, stop, self._pool.submit(self._far.read_range, name, start, stop - start))
                    for start, stop in runs
                )
                cut.append(span)
            for span in cut:
                self._fetched[span] = self._pool.submit(self._join, span, self._pieces[span])
        self.expect(rows)

    def where(self, name: str) -> str:
        """The address of a name, for messages."""
        return self._files.where(name)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file, from what was fetched if they are there.

        Raises:
            StoreError: If they cannot be read.
        """
        out = np.empty(length, dtype=np.uint8)
        return out[: self.read_into(name, offset, out)[0]].tobytes()

    def read_into(self, name: str, offset: int, out: NDArray[Any]) -> tuple[int, int]:
        """Fill a contiguous array with the bytes at an offset: how many there were, and their CRC-32C.

        Raises:
            StoreError: If they cannot be read.
        """
        memory = out.reshape(-1).view(np.uint8)
        starts, first = self._of_file.get(name, ([], 0))
        span = first + bisect.bisect_right(starts, offset) - 1
        if span < first or offset + len(memory) > self._stop[span]:
            return _filled(memory, self._files.read_range(name, offset, len(memory)))
        with self._lock:
            self._wanted[span] -= 1
            is_fetched = span in self._fetched
        if not is_fetched and isinstance(self._files, CachedFiles) and self._on_disk.get(span):
            checksum = self._files.fill_part(*self._range(span), offset - int(self._start[span]), memory)
            if checksum is not None:
                return len(memory), checksum
            self._on_disk[span] = False
        return _filled(memory, self._part(span, name, offset, len(memory)))

    def _part(self, span: int, name: str, offset: int, length: int) -> memoryview | bytes:
        """Some bytes of a span that is fetched, or will be if there is room."""
        with self._lock:
            fetched = self._fetched.get(span)
            if fetched is None and self._make_room(span):
                fetched = self._begin(span)
            at = int(self._start[span])
            for piece in self._pieces.get(span, ()):
                if piece.start <= offset and offset + length <= piece.stop:
                    fetched, at = piece.data, piece.start
        if fetched is None:
            return self._files.read_range(name, offset, length)
        try:
            data = fetched.result()
        except StoreError:
            self._drop(span)
            return self._files.read_range(name, offset, length)  # past what was fetched; it may say what is wrong
        with self._lock:
            if self._wanted[span] <= 0 and span in self._fetched:
                self._spare[span] = None
                self._spare.move_to_end(span)
        return memoryview(data)[offset - at : offset - at + length]

    def forget(self, name: str, offset: int) -> None:
        """Keep no longer what lies there, in memory and in the cache on a disk."""
        starts, first = self._of_file.get(name, ([], 0))
        span = first + bisect.bisect_right(starts, offset) - 1
        if span >= first:
            self._drop(span)
            self._wrong.add(span)
            self._on_disk[span] = False
            if isinstance(self._files, CachedFiles):
                self._files.drop(*self._range(span))

    def close(self) -> None:
        """Begin nothing more, and forget what was fetched."""
        self._pool.shutdown(wait=False, cancel_futures=True)  # what is under way may wait for an answer
        with self._lock:
            self._fetched.clear()
            self._pieces.clear()
            self._spare.clear()
            self._kept = 0

    def _size(self, span: int) -> int:
        return int(self._stop[span] - self._start[span])

    def _range(self, span: int) -> tuple[str, int, int]:
        return self._chunks.names[self._file[span]], int(self._start[span]), self._size(span)

    def _is_cached(self, span: int) -> bool:
        """Whether the cache on a disk has it: then chunks are read from there, and none of it is kept in memory."""
        found = self._on_disk.get(span)
        if found is None:
            found = False
            if isinstance(self._files, CachedFiles) and span not in self._wrong:
                found = self._files.has(*self._range(span))
            self._on_disk[span] = found
        return found

    def _begin(self, span: int) -> Future[bytes]:
        self._kept += self._size(span)
        future = self._pool.submit(self._files.read_range, *self._range(span))
        self._fetched[span] = future
        return future

    def _join(self, span: int, pieces: "tuple[_Piece, ...]") -> bytes:
        """The bytes of a span of which some pieces are on their way: they were asked for before, so they come."""
        name, first, size = self._range(span)
        data = bytearray()
        for piece in pieces:
            data += self._between(name, first + len(data), piece.start) + piece.data.result()
        data += self._between(name, first + len(data), first + size)
        joined = bytes(data)
        if isinstance(self._files, CachedFiles) and span not in self._wrong:
            self._files.keep(name, first, joined)
        with self._lock:
            self._pieces.pop(span, None)
        return joined

    def _between(self, name: str, start: int, stop: int) -> bytes:
        return self._far.read_range(name, start, stop - start) if start < stop else b""

    def _make_room(self, span: int) -> bool:
        """Whether the span fits, after what was unused for longest was forgotten; what is announced stays."""
        size = self._size(span)
        while self._kept + size > self._keep:
            if not self._spare:
                return False
            old, _ = self._spare.popitem(last=False)
            del self._fetched[old]
            self._pieces.pop(old, None)
            self._on_disk.pop(old, None)  # by now it may be there
            self._kept -= self._size(old)
        return True

    def _drop(self, span: int) -> None:
        with self._lock:
            self._spare.pop(span, None)
            self._pieces.pop(span, None)
            if self._fetched.pop(span, None) is not None:
                self._kept -= self._size(span)


def _filled(memory: NDArray[np.uint8], data: memoryview | bytes) -> tuple[int, int]:
    count = len(data)
    memory[:count] = np.frombuffer(data, dtype=np.uint8)
    return count, crc32c(memory[:count])


def _runs(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Starts and stops, in order; those that meet, or nearly, are one."""
    runs: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if runs and start - runs[-1][1] <= _GAP:
            runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
        else:
            runs.append((start, stop))
    return runs
