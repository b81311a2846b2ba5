"""Loader: the samples that were written, in the planned order, however many threads read them."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from seamo.data.batch import NAT
from seamo.data.loader import Loader
from seamo.errors import StoreError, UsageError
from seamo.manifest import parse_spec
from seamo.sample import Sample
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan
from tests.seamo.small_store import build_small_store, make_sample, small_spec
from tests.seamo.store_samples import build, mask_sample, masks_spec, seasons_sample, seasons_samples, seasons_spec


@pytest.fixture(scope="module", params=["zarr", "webdataset"])
def store(request, tmp_path_factory):
    plan = BuildPlan(spec=seasons_spec(), split_scheme="none", layout=request.param)
    return open_store(build(tmp_path_factory.mktemp("stores"), plan, seasons_samples(20)))


def test_batches_hold_what_was_written_in_order(store):
    rows = store.rows("all")
    assert rows.tolist() == [0, 1, 2, 3, *range(5, 20)]  # sample 4 could not be read when the store was built
    batches = list(Loader(store, rows, 8, workers=3))
    assert [len(batch) for batch in batches] == [8, 8, 3]
    assert [row for batch in batches for row in batch.rows.tolist()] == rows.tolist()
    spec = seasons_spec()
    for batch in batches:
        assert not batch.padding.any()
        for at, row in enumerate(batch.rows.tolist()):
            written = seasons_sample(row, spec)
            assert batch.keys[at] == written.key
            assert int(batch.label[at]) == written.label
            for layer in spec.layers:
                pixels = batch.layers[layer.id][at].numpy()
                assert pixels.dtype == np.dtype(layer.dtype)
                if layer.id in written.layers:
                    np.testing.assert_array_equal(pixels, written.layers[layer.id])
                else:
                    assert np.isnan(pixels).all()


def test_what_is_absent_is_marked(store):
    batch = next(iter(Loader(store, np.array([3, 5, 6]), 3)))
    everything, half, nothing = [True] * 4, [True, True, False, False], [False] * 4
    assert batch.valid["s2_20m"].tolist() == [everything, half, half]
    assert batch.valid["s1"].tolist() == [nothing, half, half]
    written = seasons_sample(5, seasons_spec()).time["s2"].astype(np.int64)
    assert batch.times["s2"][1].tolist() == [int(written[0]), int(written[1]), NAT, NAT]


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_holes_are_found_in_images_that_are_there(tmp_path, layout):
    store = build_small_store(tmp_path, 6, absent=(1,), holes=(4,), layout=layout)
    found = [batch.holes for batch in Loader(store, np.arange(6), 2, find_holes=True)]
    assert found == [set(), set(), {"s2a_20m"}]  # two dates of sample 1 are nothing but fill, which `valid` says
    assert next(iter(Loader(store, np.arange(6), 2))).holes is None  # nobody looked


def test_a_nan_is_a_hole(tmp_path):
    spec = small_spec()
    sample = make_sample(spec, 0, absent=0)
    sample.layers["s1"][2, 1, 23, 0] = np.nan
    store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), [sample]))
    assert next(iter(Loader(store, np.arange(1), 1, find_holes=True))).holes == {"s1"}


def test_stacks_and_layers_are_chosen_by_name(store):
    batch = next(iter(Loader(store, np.array([0]), 1, layers=["s2", "s1"])))
    assert list(batch.layers) == ["s2_10m", "s2_20m", "s2_60m", "s1"]
    batch = next(iter(Loader(store, np.array([0]), 1, layers=["s2_60m"])))
    assert list(batch.layers) == ["s2_60m"]
    assert list(batch.times) == ["s2"]


@pytest.mark.parametrize("workers", [1, 4])
def test_threads_do_not_change_the_epoch(store, workers):
    options = {"seed": 5, "epoch": 2, "shuffle": True, "drop_last": True}
    one = [batch.rows.tolist() for batch in Loader(store, store.rows("all"), 4, workers=2, **options)]
    other = [batch.rows.tolist() for batch in Loader(store, store.rows("all"), 4, workers=workers, **options)]
    assert one == other
    assert [len(rows) for rows in one] == [4, 4, 4, 4]


def test_epochs_follow_each_other(store):
    options = {"seed": 5, "shuffle": True, "drop_last": True, "parts": 2}
    alone = [
        batch.rows.tolist()
        for epoch, cursor in ((2, 1), (3, 0), (4, 0))
        for batch in Loader(store, store.rows("all"), 8, epoch=epoch, cursor=cursor, **options)
    ]
    together = Loader(store, store.rows("all"), 8, epoch=2, epochs=3, cursor=1, **options)
    assert [batch.rows.tolist() for batch in together] == alone
    assert len(together) == len(alone) == 2 + 4 + 4
    assert list(Loader(store, store.rows("all"), 8, epochs=0)) == []


def test_the_next_epoch_is_read_while_the_last_batch_is_used(store):
    class Watched(Store):
        def read_label(self, i):  # what is read last of a sample
            read.append(i)
            return super().read_label(i)

    read = []
    batches = iter(Loader(Watched(store.path), np.arange(4), 2, epochs=2, layers=["s2_60m"], prefetch=2))
    next(batches)
    next(batches)  # the last one of the first epoch: two batches of the second are under way
    deadline = time.monotonic() + 20
    while len(read) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(read) == [0, 0, 1, 1, 2, 2, 3, 3]
    batches.close()


def test_cursor_ranks_and_parts_cut_the_same_epoch(store):
    options = {"seed": 1, "epoch": 3, "shuffle": True, "drop_last": True}
    whole = [set(batch.rows.tolist()) for batch in Loader(store, store.rows("all"), 8, **options)]
    for world, parts in ((2, 1), (2, 2), (1, 4)):
        seen = [set() for _ in whole]
        for rank in range(world):
            loader = Loader(store, store.rows("all"), 8, rank=rank, world=world, parts=parts, cursor=1, **options)
            batches = list(loader)
            assert len(batches) == len(loader) == (len(whole) - 1) * parts
            for i, batch in enumerate(batches):
                assert len(batch) == 8 // world // parts
                seen[1 + i // parts] |= set(batch.rows.tolist())
        assert seen[1:] == whole[1:]


def test_kept_batches_are_never_overwritten_and_dropped_ones_are_used_again(store):
    loader = Loader(store, np.arange(3), 1, layers=["s2_10m"], prefetch=1)
    kept = list(loader)
    assert len({batch.layers["s2_10m"].data_ptr() for batch in kept}) == 3
    for batch in kept:
        expected = seasons_sample(int(batch.rows[0]), seasons_spec()).layers["s2_10m"]
        np.testing.assert_array_equal(batch.layers["s2_10m"][0].numpy(), expected)
    memory = {batch.layers["s2_10m"].data_ptr() for batch in kept}
    view = kept[0].layers["s2_10m"][0, 1:]  # a view keeps its batch's memory, too
    before = view.clone()
    del kept, batch
    again = {batch.layers["s2_10m"].data_ptr() for batch in loader}
    assert again & memory
    assert view.data_ptr() not in again
    assert torch.equal(view.to(torch.int32), before.to(torch.int32))


def test_a_damaged_sample_is_named(tmp_path):
    plan = BuildPlan(spec=seasons_spec(), split_scheme="none", layout="webdataset")
    store = open_store(build(tmp_path, plan, seasons_samples(12)))
    place = store.read_index(["s2_10m.offset"])
    shard = next((store.path / "shards").glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[int(place["s2_10m.offset"][7]) + 11] ^= 0xFF
    shard.write_bytes(data)
    loader = Loader(store, np.arange(5, 12), 2, workers=2)
    with pytest.raises(StoreError, match="sample_0007 layer s2_10m"):
        list(loader)
    assert _threads() == 0


def test_an_early_break_leaves_no_threads(store):
    for _ in Loader(store, store.rows("all"), 2, workers=3):
        break
    assert _threads() == 0
    batches = iter(Loader(store, store.rows("all"), 2, workers=3))
    next(batches)
    batches.close()
    assert _threads() == 0


def _threads() -> int:
    return sum(thread.name.startswith("seamo-loader") for thread in threading.enumerate())


def test_ctrl_c_ends_the_process(store):
    code = textwrap.dedent(f"""
        import time
        from seamo.data.loader import Loader
        from seamo.store.reader import Store, open_store
        store = open_store({str(store.path)!r})
        while True:
            for batch in Loader(store, store.rows("all"), 4):
                print("ready", flush=True)
                time.sleep(0.01)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 15
    assert b"KeyboardInterrupt" in errors
    assert process.returncode != 0


def test_masks_of_varying_size_come_in_buckets(tmp_path):
    samples = [mask_sample(i) for i in range(12)]
    store = open_store(build(tmp_path, BuildPlan(masks_spec(), "none"), samples))
    seen = []
    for batch in Loader(store, store.rows("all"), 2):
        side = batch.mask.shape[-1]
        for at, row in enumerate(batch.rows.tolist()):
            written = samples[row]
            height, width = written.label.shape
            assert batch.size[at].tolist() == [height, width]
            # sizes 20 x 31 and 32 x 32 -> 32; 40 x 64 -> 64; 65 x 10 -> 96 (counted by hand)
            assert side == {31: 32, 32: 32, 64: 64, 10: 96}[width]
            np.testing.assert_array_equal(batch.mask[at, :height, :width].numpy(), written.label)
            assert (batch.mask[at, height:].numpy() == 255).all()
            assert (batch.mask[at, :, width:].numpy() == 255).all()
            np.testing.assert_array_equal(batch.layers["rgb"][at, ..., :height, :width].numpy(), written.layers["rgb"])
            seen.append(row)
    assert sorted(seen) == list(range(12))


def _multi_store(root: Path):
    names = [{"name": name} for name in ("wheat", "maize", "pine", "oak", "lake")]
    fewer = {
        "classes": [{"name": "crop"}, {"name": "forest"}],
        "source": "fine",
        "derived": {0: [0, 1], 1: [2, 3]},
    }
    spec = seasons_spec(
        task={"kind": "multi-label", "label_space": "fine"}, label_spaces={"fine": {"classes": names}, "coarse": fewer}
    )
    labels = [(0, 4), (1, 2), (4,), (0, 1, 3)]
    made = [seasons_sample(i, spec) for i in range(4)]
    samples = [Sample(one.key, one.layers, one.time, label=label) for one, label in zip(made, labels, strict=True)]
    return open_store(build(root, BuildPlan(parse_spec(spec.model_dump(), "x"), "none"), samples))


def test_several_labels_are_multi_hot_in_the_asked_space(tmp_path):
    store = _multi_store(tmp_path)
    batch = next(iter(Loader(store, np.arange(4), 4, layers=["s2_60m"])))
    assert batch.label.tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [1, 1, 0, 1, 0]]
    batch = next(iter(Loader(store, np.arange(4), 4, layers=["s2_60m"], label_space="coarse")))
    assert batch.label.tolist() == [[1, 0], [1, 1], [0, 0], [1, 1]]  # a lake is in no coarse class


def test_impossible_requests_are_refused(store):
    with pytest.raises(UsageError, match="cursor 9 is outside"):
        Loader(store, np.arange(4), 2, cursor=9)
    with pytest.raises(UsageError, match="rank 2 below 2"):
        Loader(store, np.arange(4), 2, rank=2, world=2)
