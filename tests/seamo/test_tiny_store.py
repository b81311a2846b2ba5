"""`seamo.testing.stores.tiny_store`: what it says it makes, the same each time, gone with the store."""

import gc

import numpy as np
import pytest

from seamo.errors import ManifestError
from seamo.store.check import content_of, differing_files
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store


def test_it_is_a_real_store_and_says_that_it_is_synthetic(tmp_path):
    store = tiny_store(tmp_path, samples=7, times=3)
    again = open_store(tmp_path / "tiny")
    assert again.title == "Tiny synthetic (7 samples)"
    assert again.meta.synthetic is not None
    assert content_of(again) == store.content
    assert not list(differing_files(again, deep=True))
    assert again[6].layers["s2_20m"].shape == (3, 1, 12, 12)
    assert tiny_store(tmp_path, samples=7, times=3).path == store.path  # it is there already


def test_it_is_the_same_each_time_in_either_layout():
    first, second, tar = tiny_store(), tiny_store(), tiny_store(layout="webdataset")
    assert first.content == second.content == tar.content
    assert first.path != second.path
    assert tar.meta.layout == "webdataset"


def test_a_layer_does_not_depend_on_the_others():
    whole, part = tiny_store(), tiny_store(layers=["s1"])
    np.testing.assert_array_equal(whole.read_layer(5, "s1"), part.read_layer(5, "s1"))
    with pytest.raises(ManifestError, match="no layer 's5'"):
        tiny_store(layers=["s5"])


def test_brightness_tells_the_class():
    store = tiny_store()
    for layer in ("s2_10m", "s2_20m", "s1"):
        means = [float(store.read_layer(i, layer).mean()) for i in range(12)]
        order = sorted(range(12), key=means.__getitem__)
        assert [store.read_label(i) for i in order] == [0] * 4 + [1] * 4 + [2] * 4


def test_masks_hold_two_classes_and_ignored_pixels():
    mask = tiny_store(task="segmentation").read_label(1)
    assert np.unique(mask[1:]).tolist() == [1, 2]
    assert (mask[0] == 255).all()


def test_the_folder_goes_with_the_store(tmp_path):
    store = tiny_store()
    root = store.path.parents[1]
    assert root.is_dir()
    del store
    gc.collect()
    assert not root.exists()
    kept = tiny_store(tmp_path).path
    gc.collect()
    assert kept.is_dir()
