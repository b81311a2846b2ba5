"""Reading ahead: the same batches as from a disk, in few requests, whatever is fetched, kept or lost."""

import time
from collections import Counter
from threading import Lock

import numpy as np
import pytest

from seamo.data.loader import Loader
from seamo.errors import StoreError
from seamo.store import ahead, spans
from seamo.store.cache import cached
from seamo.store.joined import JoinedStore
from seamo.testing.stores import tiny_store


class FarFiles:
    """Files behind a network: every request takes its time, is counted, and may fail."""

    def __init__(self, files, seconds=0.0, failing=()):
        self.files, self.seconds, self.failing = files, seconds, Counter(failing)
        self.asked, self.under_way, self.most = [], 0, 0
        self.lock = Lock()
        self.where = files.where

    def read_range(self, name, offset, length):
        with self.lock:
            self.asked.append((name, offset, length))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            fails, self.failing[name] = self.failing[name] > 0, self.failing[name] - 1
        try:
            time.sleep(self.seconds)
            if fails:
                raise StoreError("does not answer", name)
            return self.files.read_range(name, offset, length)
        finally:
            with self.lock:
                self.under_way -= 1


@pytest.fixture(scope="module")
def store():
    return tiny_store()


@pytest.fixture(params=["whole", "in pieces"])
def first(request, monkeypatch):
    """How spans of a first batch are asked for: those of a tiny store are too small to be worth pieces."""
    if request.param == "in pieces":
        monkeypatch.setattr(spans, "_WORTH", 0)
        monkeypatch.setattr(spans, "_GAP", 0)
    return request.param


def far(store, **options):
    files = FarFiles(store.pixel_files, **options)
    return store.reading_from(files), files


def epochs(store, **options):
    options = {"epochs": 2, "seed": 3, "shuffle": True, **options}
    return [
        (batch.keys, {name: layer.numpy().copy() for name, layer in batch.layers.items()}, batch.mask)
        for batch in Loader(store, store.rows("all"), 5, **options)
    ]


def same(one, other):
    assert len(one) == len(other) > 0
    for (keys, layers, mask), (keys2, layers2, mask2) in zip(one, other, strict=True):
        assert keys == keys2
        for name in layers:
            np.testing.assert_array_equal(layers[name], layers2[name])
        assert (mask is None) == (mask2 is None)
        if mask is not None:
            np.testing.assert_array_equal(mask.numpy(), mask2.numpy())


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    "options",
    [{}, {"shuffle": False}, {"block": 4, "buffer": 8}, {"layers": ["s1"]}, {"cursor": 1}, {"rank": 1, "world": 2}],
)
def test_batches_are_those_of_the_disk(store, options):
    other, files = far(store)
    same(epochs(other, **options), epochs(store, **options))
    assert files.asked


def test_batches_of_tar_shards_are_those_of_the_disk():
    store = tiny_store(layout="webdataset")
    same(epochs(far(store)[0]), epochs(store))


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("keep", [0, 3000, 2**29])
@pytest.mark.parametrize("options", [{}, {"block": 4, "buffer": 8}])
def test_any_limit_of_memory_gives_the_same(monkeypatch, store, keep, options):
    monkeypatch.setattr(ahead, "KEEP", keep)
    other, _ = far(store)
    same(epochs(other, **options), epochs(store, **options))


def test_a_split_that_fits_is_fetched_once_in_few_requests(store):
    other, files = far(store)
    epochs(other, epochs=4)
    assert len(files.asked) <= 2 * len(store.spec.layers) < len(store) * len(store.spec.layers)
    assert sum(length for *_, length in files.asked) < 1.01 * sum(map(sum_of_lengths(store), store.spec.layers))


def test_a_first_batch_comes_before_what_lies_between_and_no_byte_twice(monkeypatch, store, tmp_path):
    monkeypatch.setattr(spans, "_WORTH", 0)
    monkeypatch.setattr(spans, "_GAP", 0)
    monkeypatch.setattr(spans, "_REQUESTS", 1)  # asked for in the order in which they were begun
    monkeypatch.setenv("SEAMO_CACHE", str(tmp_path))
    monkeypatch.setenv("SEAMO_CACHE_LIMIT", "1GB")
    chunks = spans.find_chunks(store, store.rows("all"), [layer.id for layer in store.spec.layers])
    where = list(zip((chunks.names[file] for file in chunks.file), chunks.offset.tolist(), strict=True))
    wanted = np.flatnonzero(np.isin(chunks.row, [2, 7]))
    files = FarFiles(store.pixel_files)
    cache = cached(files, store.pixels)
    read = spans.AheadFiles(cache, chunks, keep=2**20, joined=True)
    read.expect_first(np.array([7, 2]))
    read.expect(store.rows("all"))
    for at, (name, offset) in enumerate(where):
        length = int(chunks.length[at])
        assert read.read_range(name, offset, length) == store.pixel_files.read_range(name, offset, length)
    read.close()
    begun = [(name, offset) for name, offset, _ in files.asked]
    assert set(begun[: len(wanted)]) == {where[at] for at in wanted}
    assert chunks.row[[where.index(one) for one in begun[: len(wanted) // 2]]].tolist() == [7] * (len(wanted) // 2)
    assert sum(length for *_, length in files.asked) == int(chunks.length.sum())
    asked = len(files.asked)
    again = spans.AheadFiles(cache, chunks, keep=2**20, joined=True)  # the cache has spans, whatever came first
    again.expect_first(np.array([1, 4]))
    again.read_range(*where[0], int(chunks.length[0]))
    again.close()
    assert len(files.asked) == asked


def sum_of_lengths(store):
    return lambda layer: int(store.read_index([f"{layer.id}.length"]).to_numpy().sum())


@pytest.mark.usefixtures("first")
def test_requests_are_under_way_together_whatever_the_number_of_decoders(monkeypatch, store):
    monkeypatch.setattr(ahead, "KEEP", 20_000)  # less than the store: every chunk is a request
    other, files = far(store, seconds=0.02)
    epochs(other, workers=1, epochs=1)
    assert files.most > 8


@pytest.mark.usefixtures("first")
def test_what_failed_once_is_asked_for_again_and_what_goes_on_failing_is_named(store):
    other, files = far(store)
    want = epochs(other)
    names = sorted({name for name, *_ in files.asked})
    other, _ = far(store, failing=dict.fromkeys(names, 1))
    same(epochs(other), want)
    other, _ = far(store, failing={names[0]: 10**6})
    with pytest.raises(StoreError, match="does not answer"):
        epochs(other)


def test_bytes_that_came_wrong_are_read_again_past_what_was_fetched(store, tmp_path, monkeypatch):
    class Wrong(FarFiles):
        def read_range(self, name, offset, length):
            data = bytearray(super().read_range(name, offset, length))
            covering = [one for one, start, size in self.asked if one == name and start <= offset < start + size]
            if len(covering) == 1:  # nothing of it was asked for before
                data[len(data) // 2] ^= 16
            return bytes(data)

    monkeypatch.setenv("SEAMO_CACHE", str(tmp_path))  # where a wrong span is kept
    monkeypatch.setenv("SEAMO_CACHE_LIMIT", "1GB")
    want = epochs(store)
    files = Wrong(store.pixel_files)
    other = store.reading_from(files)
    other._origin = files
    for _ in range(2):
        same(epochs(other), want)


def test_an_epoch_does_not_open_the_store_again():
    made = tiny_store()
    want = epochs(made)
    distant, files = far(made)
    same(epochs(distant), want)
    (made.path / "store.json").unlink()
    assert distant.reading_from(files)._columns is distant._columns  # an index that was fetched, and what was parsed
    before = len(files.asked)
    same(epochs(distant), want)
    assert len(files.asked) > before


def test_joined_stores_fetch_the_parts_that_are_far():
    optical, radar = tiny_store(layers=["s2"]), tiny_store(layers=["s1"])
    distant, files = far(radar)
    same(epochs(JoinedStore([optical, distant])), epochs(JoinedStore([optical, radar])))
    assert files.asked
    assert all("s1" in name for name, *_ in files.asked)


def test_spans_hold_every_chunk_and_no_more_than_they_should(monkeypatch, store):
    monkeypatch.setattr(spans, "_SPAN", 4000)
    layers = [layer.id for layer in store.spec.layers]
    chunks = spans.find_chunks(store, store.rows("all"), layers)
    for layer in layers:
        own = np.array([f"/{layer}/" in f"/{name}" for name in chunks.names])[chunks.file]
        frame = store.read_index([f"{layer}.offset", f"{layer}.length"]).iloc[chunks.row[own]]
        np.testing.assert_array_equal(np.stack([chunks.offset[own], chunks.length[own]], axis=1), frame.to_numpy())
    files = FarFiles(store.pixel_files)
    read = spans.AheadFiles(files, chunks, keep=2**20, joined=True)
    read.expect(store.rows("all"))
    for at in range(len(chunks.row)):
        name, offset, length = chunks.names[chunks.file[at]], int(chunks.offset[at]), int(chunks.length[at])
        assert read.read_range(name, offset, length) == store.pixel_files.read_range(name, offset, length)
    read.close()
    longest = int(chunks.length.max())
    assert max(length for *_, length in files.asked) < 4000 + longest
    assert len(files.asked) == len(set(files.asked))


def test_what_was_read_makes_room_before_what_was_fetched_for_later(monkeypatch, store):
    monkeypatch.setattr(spans, "_SPAN", 4000)
    chunks = spans.find_chunks(store, store.rows("all"), [layer.id for layer in store.spec.layers])
    total, longest = int(chunks.length.sum()), int(chunks.length.max())
    files = FarFiles(store.pixel_files)
    read = spans.AheadFiles(files, chunks, keep=total // 2, joined=True)
    rows, ahead_by = store.rows("all"), len(store) // 4
    read.expect(rows[:ahead_by])
    for number, row in enumerate(rows):
        read.expect(rows[number + ahead_by : number + ahead_by + 1])
        for at in np.flatnonzero(chunks.row == row):
            name = chunks.names[chunks.file[at]]
            read.read_range(name, int(chunks.offset[at]), int(chunks.length[at]))
    read.close()
    assert total // 2 > 2 * longest  # there is something to keep, and not all of it
    assert sum(length for *_, length in files.asked) < 1.01 * total  # each byte once, but for what lies between
