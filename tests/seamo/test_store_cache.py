"""The cache of what was fetched: right, below its limit, shared, killed, damaged, full."""

import hashlib
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from seamo.data.loader import Loader
from seamo.errors import UsageError
from seamo.store import ahead
from seamo.store.cache import CachedFiles, cached
from seamo.testing.stores import tiny_store

LIMIT = 400_000


class Far:
    def __init__(self):
        self.asked = 0

    def read_range(self, name, offset, length):
        self.asked += 1
        return content(name, offset, length)


def content(name, offset, length):
    return hashlib.shake_128(f"{name} {offset}".encode()).digest(length)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def test_what_was_read_is_not_asked_for_again_and_other_pixels_are_other_bytes(tmp_path):
    far = Far()
    files = CachedFiles(far, tmp_path, LIMIT, "a")
    assert [files.read_range("x", at, 1000) for at in (0, 1000, 0)] == [content("x", at, 1000) for at in (0, 1000, 0)]
    assert far.asked == 2
    CachedFiles(far, tmp_path, LIMIT, "a").read_range("x", 0, 1000)
    assert far.asked == 2
    CachedFiles(far, tmp_path, LIMIT, "b").read_range("x", 0, 1000)
    assert far.asked == 3


def test_the_longest_unused_goes_first_and_the_limit_holds(tmp_path):
    far = Far()
    files = CachedFiles(far, tmp_path, LIMIT, "a")
    for at in range(100):
        files.read_range("x", at, 10_000)
        assert size_of(tmp_path) <= LIMIT
        time.sleep(0.005)  # the clock of a file system is coarse
        files.read_range("x", 0, 10_000)  # always in use
    before = far.asked
    files.read_range("x", 0, 10_000)
    assert far.asked == before
    files.read_range("x", 1, 10_000)
    assert far.asked == before + 1


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "longer"])
def test_a_damaged_entry_is_fetched_again(tmp_path, damage):
    far = Far()
    files = CachedFiles(far, tmp_path, LIMIT, "a")
    files.read_range("x", 0, 1000)
    (entry,) = (path for path in tmp_path.glob("*/*") if path.is_file())
    data = bytearray(entry.read_bytes())
    data[500] ^= 4 if damage == "bit" else 0
    entry.write_bytes({"bit": data, "cut": data[:700], "empty": b"", "longer": data + b"x"}[damage])
    for _ in range(2):
        assert files.read_range("x", 0, 1000) == content("x", 0, 1000)
    assert far.asked == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    files = CachedFiles(Far(), tmp_path / "file" / "cache", LIMIT, "a")
    assert files.read_range("x", 0, 10) == content("x", 0, 10)
    CachedFiles(Far(), tmp_path, 5, "a").read_range("x", 0, 10)  # more than the limit
    assert not any(path.is_file() for path in tmp_path.glob("*/*"))


def test_processes_share_it_below_its_limit_and_one_may_be_killed(tmp_path):
    code = """
import hashlib, random, sys
from pathlib import Path
from seamo.store.cache import CachedFiles

class Far:
    def read_range(self, name, offset, length):
        return hashlib.shake_128(f"{name} {offset}".encode()).digest(length)

files, drawn = CachedFiles(Far(), Path(sys.argv[1]), int(sys.argv[2]), "a"), random.Random(sys.argv[3])
print("ready", flush=True)
for _ in range(300):
    at = drawn.randrange(120)
    assert files.read_range("x", at, 10_000) == Far().read_range("x", at, 10_000)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(LIMIT), str(n)], stdout=subprocess.PIPE)
        for n in range(3)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    most, killed = 0, False
    while any(process.poll() is None for process in running):
        sizes = {}
        for path in Path(tmp_path).glob("*/*"):
            with suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        # Files that went while others came were never there together: only those that are still there are counted.
        most = max(most, sum(sizes[path] for path in Path(tmp_path).glob("*/*") if path in sizes))
        if not killed and most > 100_000:
            running[0].send_signal(signal.SIGKILL)
            killed = True
    assert killed
    assert [process.wait() for process in running[1:]] == [0, 0]
    assert most <= LIMIT + 3 * 10_004  # what each of them replaces while it is looked at
    files = CachedFiles(Far(), tmp_path, LIMIT, "a")
    for at in range(120):
        assert files.read_range("x", at, 10_000) == content("x", at, 10_000)
    assert size_of(tmp_path) <= LIMIT


def test_the_environment_switches_it_on_and_states_a_limit(tmp_path, monkeypatch):
    far = Far()
    monkeypatch.delenv("SEAMO_CACHE", raising=False)
    assert cached(far, "a") is far
    monkeypatch.setenv("SEAMO_CACHE", str(tmp_path))
    for wrong in ("", "12", "many GB", "-1GB"):
        monkeypatch.setenv("SEAMO_CACHE_LIMIT", wrong)
        with pytest.raises(UsageError, match="is no size"):
            cached(far, "a")
    monkeypatch.setenv("SEAMO_CACHE_LIMIT", "1.5GB")
    store = tiny_store()
    distant = store.reading_from(Counted(store.pixel_files))
    want = [batch.layers["s2_10m"].numpy().copy() for batch in Loader(store, store.rows("all"), 4)]
    for asked in (True, False):
        distant.pixel_files.asked = 0
        got = [batch.layers["s2_10m"].numpy().copy() for batch in Loader(distant, store.rows("all"), 4)]
        np.testing.assert_array_equal(got, want)
        assert (distant.pixel_files.asked > 0) == asked


def test_a_chunk_that_is_damaged_in_the_cache_is_fetched_again_and_its_entry_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMO_CACHE", str(tmp_path))
    monkeypatch.setenv("SEAMO_CACHE_LIMIT", "1GB")
    store = tiny_store()
    distant = store.reading_from(Counted(store.pixel_files))

    def epoch(samples):
        return [batch.layers["s2_10m"].numpy().copy() for batch in Loader(samples, samples.rows("all"), 4)]

    want = epoch(store)
    np.testing.assert_array_equal(epoch(distant), want)
    for path in tmp_path.glob("*/*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
    asked = []
    for _ in range(3):
        distant.pixel_files.asked = 0
        np.testing.assert_array_equal(epoch(distant), want)
        asked.append(distant.pixel_files.asked)
    assert asked[0] > 0
    assert asked[2] == 0


def test_epochs_of_one_loader_read_from_the_cache_what_memory_does_not_hold(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMO_CACHE", str(tmp_path))
    monkeypatch.setenv("SEAMO_CACHE_LIMIT", "1GB")
    monkeypatch.setattr(ahead, "KEEP", 20_000)  # less than the store
    store = tiny_store()
    distant = store.reading_from(Counted(store.pixel_files))
    asked, want, options = [], [], {"epochs": 3, "shuffle": True, "block": 4, "buffer": 8}
    for batch in Loader(store, store.rows("all"), 4, **options):
        want.append({name: layer.numpy().copy() for name, layer in batch.layers.items()})
    for batch, right in zip(Loader(distant, store.rows("all"), 4, **options), want, strict=True):
        for name, layer in batch.layers.items():
            np.testing.assert_array_equal(layer.numpy(), right[name])
        asked.append(distant.pixel_files.asked)
    assert asked[-1] == asked[len(asked) // 2] > 0  # whatever the second epoch read was there


class Counted:
    def __init__(self, files):
        self.files, self.asked = files, 0
        self.where = files.where

    def read_range(self, name, offset, length):
        self.asked += 1
        return self.files.read_range(name, offset, length)
