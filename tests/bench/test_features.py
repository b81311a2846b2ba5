"""Cached features: computed once, resumed, read in any order without holding them, and noticed when dead."""

import numpy as np
import pytest
import torch

import seamo_bench
from seamo.errors import ProtocolError
from seamo_bench.facts import BackboneFacts
from seamo_bench.features.cache import FeatureCache, Work, degenerate
from seamo_bench.features.parts import read_parts, write_part
from seamo_bench.features.table import FeatureTable
from tests.bench.bench_store import toy_store

torch.set_num_threads(1)


def test_features_are_cached_shared_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("seamo_bench.features.cache.PART_ROWS", 16)
    store = toy_store(tmp_path / "stores")
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    facts = BackboneFacts(id="image-statistics", card="c")
    seen = []
    work = Work(torch.device("cpu"), batch_size=8, progress=lambda _done, total, _what: seen.append(total))

    def cache():
        return FeatureCache(tmp_path, store, backbone, facts=facts, work=work)

    rows = np.array([5, 3, 40, 41])
    some = cache().table(rows).read()
    assert seen.pop() == 4
    every = cache().table(np.arange(90)).read()
    assert seen.pop() == 86  # only what was missing
    np.testing.assert_array_equal(every[rows], some)
    broken = next(path for path in cache().folder.glob("*.npy") if not path.name.endswith(".rows.npy"))
    lost = len(np.load(broken))
    broken.unlink()  # as if killed between the two files of a part
    np.testing.assert_array_equal(cache().table(np.arange(90)).read(), every)
    assert seen.pop() == lost
    pixels = store.read_layer(40, "s2_10m")[0, 0].astype(np.float64)
    want = [pixels.mean(), pixels.std(), *np.quantile(pixels, [0.1, 0.9])]
    np.testing.assert_allclose(every[40, :4], want, rtol=1e-6)


def test_a_damaged_part_is_made_again_and_the_first_notes_stay(tmp_path, monkeypatch):
    """As a disk leaves files after a power cut; and a resumed run says about its images what the first one said."""
    monkeypatch.setattr("seamo_bench.features.cache.PART_ROWS", 16)
    store = toy_store(tmp_path / "stores")
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    facts = BackboneFacts(id="image-statistics", card="c")

    def cache(batch_size=8):
        work = Work(torch.device("cpu"), batch_size=batch_size)
        return FeatureCache(tmp_path, store, backbone, facts=facts, work=work)

    looked = []

    def look(inputs, _wiring):
        looked.append(len(inputs["s2"]))
        return [f"look {len(looked)}"]

    monkeypatch.setattr("seamo_bench.features.cache.check_range", look)
    want = cache().table(np.arange(90)).read()
    for name in ("*.npy", "*.rows.npy"):
        for keep in (0, 5, 70, -3):
            path = next(one for one in sorted(cache().folder.glob(name)))
            path.write_bytes(path.read_bytes()[:keep])
            np.testing.assert_array_equal(cache(batch_size=32).table(np.arange(90)).read(), want)
    assert looked == [64]
    assert cache().notes == ("look 1",)


def test_a_table_reads_what_an_array_would(tmp_path):
    rng = np.random.default_rng(0)
    want = rng.normal(size=(300, 7)).astype(np.float32)
    order = np.concatenate([rng.permutation(200), np.arange(200, 300)])
    for start in range(0, 300, 64):
        rows = order[start : start + 64]
        write_part(tmp_path, rows, want[rows])
    write_part(tmp_path, order[10:20], want[order[10:20]])  # twice: as if two runs had computed them
    parts = read_parts(tmp_path, 320)
    assert len(parts.files) == 6
    assert set(np.flatnonzero(parts.where[:, 0] < 0)) == set(range(300, 320))
    table = FeatureTable(parts.files, parts.where[:300], parts.width)
    np.testing.assert_array_equal(table.read(), want)
    for positions in (rng.integers(0, 300, 500), np.arange(250, 150, -1), np.empty(0, np.int64)):
        np.testing.assert_array_equal(table.take(positions), want[positions])
    np.testing.assert_array_equal(np.concatenate(list(table.blocks(77))), want)
    assert [len(block) for block in table.blocks(77)] == [77, 77, 77, 69]

    path = parts.files[0].path
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ProtocolError, match="ends too early"):
        table.read()
    path.unlink()
    with pytest.raises(ProtocolError, match="cannot be read"):
        table.read()


def test_degenerate_features_are_noticed():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(100, 20)).astype(np.float32)
    assert degenerate(good) == ""
    assert "constant" in degenerate(np.full((100, 20), 3.0, np.float32))
    assert "constant" in degenerate(np.where(np.arange(20) < 4, good, 1.0).astype(np.float32))
    assert "effective rank" in degenerate(good[:, :1] @ np.ones((1, 20), np.float32) + 1e-6 * good)
