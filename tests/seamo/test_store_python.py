"""What Python shows of stores, samples and batches, and the forms that torch's own code takes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from seamo.data.loader import Loader
from seamo.errors import MissingRowError, StoreError, UsageError
from seamo.inputs import torchform
from seamo.store.joined import JoinedStore
from seamo.summary import Summary
from seamo.testing.stores import tiny_store


@pytest.fixture(scope="module")
def store():
    return tiny_store()


def same(one, other):
    assert one.key == other.key
    assert one.layers.keys() == other.layers.keys()
    for name, pixels in one.layers.items():
        assert_array_equal(pixels, other.layers[name])


def test_a_sample_by_row_by_key_and_by_slice(store):
    keys = list(store.index["key"])
    first, *_, last = [store.read_sample(i) for i in range(len(store))]
    same(store[0], first)
    same(store[np.int64(0)], first)
    same(store[-1], last)
    same(store[keys[0]], first)
    assert [one.key for one in store[2:8:2]] == keys[2:8:2]
    assert [one.key for one in store[-2:]] == keys[-2:]
    assert [one.key for one in store] == keys  # a plain loop ends where the rows do
    joined = JoinedStore([tiny_store(layers=["s2"]), tiny_store(layers=["s1"])])
    same(joined[keys[3]], joined.read_sample(3))


def test_what_is_no_sample_says_so(store):
    for row in (len(store), -len(store) - 1, 10**6):
        with pytest.raises(MissingRowError, match=f"no row {row} of 12") as caught:
            store[row]
        assert isinstance(caught.value, IndexError)
        assert isinstance(caught.value, StoreError)
        assert pickle.loads(pickle.dumps(caught.value)).what == caught.value.what  # noqa: S301
    with pytest.raises(StoreError, match="no sample 'nothing'"):
        store["nothing"]
    for wrong in (1.5, None, True, (0, 1)):
        with pytest.raises(UsageError, match="no row, key or slice"):
            store[wrong]


def test_short_texts_name_bands_splits_and_classes(store):
    text = repr(store)
    assert len(text.splitlines()) < 12
    assert all(len(line) <= 120 for line in text.splitlines())
    for word in ("train 8", "(2, 4, 24, 24) uint16 dn: B02, B03, B04, B08", "3 classes: water", "synthetic", store.url):
        assert word in text
    batch = next(iter(store.loader("train", 3)))
    for value, words in (
        (store[0], ("Sample tiny_000", "s1", "(2, 2, 24, 24) float32", "label", "EPSG")),
        (batch, ("Batch of 3", "s2_10m", "(3, 2, 4, 24, 24) uint16", "tiny_000")),
        (store.loader("train", 3), ("Loader of", "3 batches of 3", "in order")),
        (store.torch("train"), ("8 samples", "B02")),
        (store, ("12 samples", "B11")),
    ):
        assert len(repr(value)) < 1200
        for word in words:
            assert word in repr(value)
            assert word in value._repr_html_()


def test_html_is_escaped():
    assert "<script>" not in Summary("<script>", (("<b>", "<script>alert(1)</script>"),)).html()


@pytest.mark.parametrize("task", ["single-label", "multi-label", "segmentation"])
def test_dicts_in_torchgeos_form_by_number_and_as_batches(task):
    store = tiny_store(task=task)
    samples = store.torch("train", stack="s2")
    rows = store.rows("train")
    assert len(samples) == len(rows)
    batches = list(store.torch("train", stack="s2", batch=3))
    assert [len(batch["key"]) for batch in batches] == [3, 3, 2]
    images = torch.cat([batch["image"] for batch in batches])
    for number, row in enumerate(rows):
        one = samples[number]
        assert one["key"] == store.index["key"][row]
        assert one["bands"] == store.stack_bands("s2") == batches[0]["bands"]
        assert_array_equal(one["image"].numpy(), store.read_stack(row, "s2"))
        assert_allclose(images[number].numpy(), one["image"].numpy(), rtol=1e-5, equal_nan=True)
        label = store.read_label(row)
        if task == "segmentation":
            assert one["mask"].dtype == torch.int64
            assert_array_equal(one["mask"].numpy(), label)
        elif task == "multi-label":
            assert one["label"].dtype == torch.float32
            assert set(np.flatnonzero(one["label"].numpy())) == set(label)
        else:
            assert int(one["label"]) == label
    name = "mask" if task == "segmentation" else "label"
    assert_array_equal(torch.cat([batch[name] for batch in batches]), torch.stack([one[name] for one in samples]))


def test_torchs_loader_takes_them_with_workers_and_a_transform(store):
    def halved(sample):
        return {"image": sample["image"] / 2, "label": sample["label"]}

    plain = store.torch("train", stack="s1")
    loader = torch.utils.data.DataLoader(store.torch("train", stack="s1", transform=halved), batch_size=4)
    got = torch.cat([batch["image"] for batch in loader])
    assert_array_equal(got.numpy(), torch.stack([one["image"] / 2 for one in plain]).numpy())
    forked = torch.utils.data.DataLoader(plain, batch_size=4, num_workers=1, collate_fn=lambda items: items[0]["key"])
    assert list(forked) == [plain[0]["key"], plain[4]["key"]]


def test_batches_inside_a_worker_would_come_twice_and_are_refused(store, monkeypatch):
    batches = store.torch("train", stack="s1", batch=2)
    assert len(list(torch.utils.data.DataLoader(batches, batch_size=None))) == 4
    monkeypatch.setattr(torchform, "get_worker_info", lambda: object())  # as in a worker of a DataLoader
    with pytest.raises(UsageError, match="threads of its own"):
        list(batches)


def test_shuffled_batches_follow_the_seed(store):
    orders = [
        [key for batch in store.torch("train", stack="s1", batch=2, shuffle=True, seed=seed) for key in batch["key"]]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == sorted(orders[0])


def test_every_pass_is_an_epoch_of_its_own_and_any_of_them_can_be_had_again(store):
    def keys(batches) -> list[str]:
        return [key for batch in batches for key in batch["key"]]

    batches = store.torch("train", stack="s1", batch=2, shuffle=True, seed=3)
    passes = [keys(batches) for _ in range(3)]
    assert len({tuple(one) for one in passes}) == 3
    for epoch, found in enumerate(passes):
        loader = Loader(store, store.rows("train"), 2, layers=["s1"], seed=3, shuffle=True, epoch=epoch)
        assert found == [key for batch in loader for key in batch.keys]
    batches.epoch = 1
    assert keys(torch.utils.data.DataLoader(batches, batch_size=None)) == passes[1]
    in_order = store.torch("train", stack="s1", batch=2)
    assert keys(in_order) == keys(in_order)


def test_pictures_have_a_row_a_sample_and_show_what_look_shows(store):
    figure = store.plot(0, store.index["key"][1], stack="s2")
    titles = [axis.get_title() for axis in figure.axes]
    assert sum("true colour" in title for title in titles) == 4  # two samples, two dates
    shown = next(axis for axis in figure.axes if axis.images).images[0].get_array()
    from seamo.store.pictures import stack_strips

    assert_array_equal(np.asarray(shown), stack_strips(store, 0, "s2")[0].panels[0].picture)
    alone = next(axis for axis in store[0].plot("s2").axes if axis.images).images[0].get_array()
    assert_array_equal(np.asarray(alone), np.asarray(shown))
    with pytest.raises(UsageError, match=r"has no spec.*Build a store"):
        replace(store[0], spec=None).plot()
    with pytest.raises(UsageError, match="no sample is named"):
        store.plot()
    with pytest.raises(MissingRowError, match="no row 12 of 12"):
        store.plot(12)
