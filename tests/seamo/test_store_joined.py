"""Samples, the protocol, and joined stores, which compose what they read: of which store what comes."""

import inspect
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from seamo.data.loader import Loader
from seamo.errors import StoreError
from seamo.identity import digest
from seamo.store.joined import JoinedStore
from seamo.store.mixed import MixedStore
from seamo.store.pictures import cards
from seamo.store.reader import Store
from seamo.store.samples import Images, Samples
from seamo.testing.stores import tiny_store
from tests.test_layers import imports, modules

OPTICAL, RADAR = ["s2"], ["s1"]


@pytest.fixture(scope="module", params=["zarr", "webdataset"])
def parts(request):
    return tiny_store(layers=OPTICAL, samples=15), tiny_store(layers=RADAR, layout=request.param)


@pytest.fixture(scope="module")
def joined(parts):
    return JoinedStore(parts)


SAID = {**vars(Images), **vars(Samples)}
MEMBERS = sorted(name for name in SAID if not name.startswith("_")) + ["__len__"]


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("kind", [Store, JoinedStore])
def test_both_kinds_of_store_have_what_samples_says(kind, name, parts, joined):
    said = SAID[name]
    if isinstance(said, property):
        for store in (*parts, joined):
            assert getattr(store, name) is not None
        return
    ours = inspect.signature(getattr(kind, name)).parameters
    assert [(one.name, one.kind, one.default) for one in inspect.signature(said).parameters.values()] == [
        (one.name, one.kind, one.default) for one in ours.values()
    ]


class Listed:
    """A store of somebody else: nothing is inherited, and nothing but `Samples` is there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str):
        if name not in MEMBERS:
            raise AttributeError(f"{name} is no part of Samples")
        return getattr(self._store, name)

    def __len__(self) -> int:
        return len(self._store)


@pytest.mark.parametrize("task", ["single-label", "segmentation"])
def test_loader_views_and_pictures_need_nothing_else(task):
    from seamo.data.pipeline import make_pipeline
    from seamo.store.cube import open_cube
    from seamo.store.view import to_dataset

    store = tiny_store(task=task)
    listed, rows = Listed(store), store.rows("train")
    ours, theirs = (next(iter(Loader(samples, rows, 4))) for samples in (store, listed))
    assert_array_equal(ours.layers["s1"], theirs.layers["s1"])
    assert to_dataset(listed, 0).equals(store.to_xarray(store.index["key"][0]))
    assert open_cube(listed, rows).equals(store.to_xarray(split="train"))
    assert [sample["__key__"] for sample in make_pipeline(listed, rows)] == store.index["key"][rows].tolist()
    assert cards(listed, [0])[0].about == cards(store, [0])[0].about


def test_the_ring_is_open():
    """Loader, pipeline and views know no store, so that stores may know them."""
    below = {"seamo.data.loader", "seamo.data.pipeline", "seamo.data.reading", "seamo.store.samples",
             "seamo.store.stacks", "seamo.store.view", "seamo.store.cube", "seamo.store.pictures"}  # fmt: skip
    for module in below:
        text = modules()[module].read_text("utf-8")
        assert "seamo.store.reader" not in text, module  # in type-only imports neither
        assert "seamo.store.joined" not in text, module
    assert not any(name.startswith("seamo.store.joined") for name, _ in imports(modules()["seamo.store.reader"], ""))


def test_it_is_no_store(joined):
    assert not isinstance(joined, Store)
    assert not hasattr(joined, "path")  # there is no folder
    assert repr(joined).startswith("Tiny synthetic (15 samples) + Tiny synthetic (12 samples): 12 samples\n")


def test_columns_are_the_index_s_in_every_form(parts, joined):
    for store in (*parts, joined, MixedStore([parts[0]], ["s2_10m"])):
        for name in ("key", "split", "scene", "height"):
            assert store.read_columns([name]).column(name).to_pylist() == store.index[name].tolist(), name


def test_content_and_row_order_are_what_they_were(parts, joined):
    first, second = parts
    assert joined.content == digest({"joined": [first.content, second.content]})
    assert joined.index["key"].tolist() == [f"tiny_{i:03d}" for i in range(12)]
    assert joined.meta.subset == "12 samples are in all of them, of at most 15"
    turned = JoinedStore([second, first])
    assert turned.content != joined.content
    for split, fraction, salt in (("train", 1.0, 0), ("train", 0.5, 0), ("train", 0.5, "seco"), ("all", 0.5, 3)):
        ours, theirs = joined.subset(split, fraction, salt), second.subset(split, fraction, salt)
        assert ours.sha256 == theirs.sha256  # the second store has the common samples alone, and the same id
        assert ours.name == theirs.name
        assert_array_equal(ours.rows, theirs.rows)
    with pytest.raises(StoreError, match="no split 'tain'"):
        joined.rows("tain")


def test_georeferences_are_the_first_store_s(parts, joined):
    assert joined.read_geo(3) == parts[0].read_geo(3)
    assert joined.read_geo(3) is not None


def test_georeferences_belong_to_the_finest_grid(parts):
    coarse = tiny_store(layers=["s2_20m"])
    both = JoinedStore([coarse, parts[1]])  # 20 m first, 10 m second
    assert both.read_geo(2) == parts[1].read_geo(2)
    place = both.to_xarray("tiny_002", stack="s1")
    assert place["s1"].shape == (2, 2, 24, 24)
    assert place.rio.resolution() == (10.0, -10.0)
    with pytest.raises(StoreError, match=r"stack s2 is \(12, 12\) pixels, the sample \(24, 24\). Name one stack"):
        both.to_xarray("tiny_002")


def test_one_sample_as_xarray_has_the_layers_of_all(parts, joined):
    place = joined.to_xarray("tiny_007", time=1)
    assert place["s2"].dims == ("band_s2", "y", "x")
    assert place["s1"].dims == ("band_s1", "y", "x")
    assert place.rio.crs.to_epsg() == 32633
    alone = parts[1].to_xarray("tiny_007", time=1)
    assert_array_equal(place["s1"].values, alone["s1"].values)
    assert_array_equal(place.x.values, alone.x.values)


def test_many_samples_as_xarray_and_webdataset_have_the_layers_of_all(parts, joined):
    rows = joined.rows("train")
    cube = joined.to_xarray(split="train")
    piped = list(joined.webdataset("train"))
    assert [sample["__key__"] for sample in piped] == cube["key"].values.tolist()
    for layer, part in (("s2_10m", parts[0]), ("s1", parts[1])):
        want = np.stack([part.read_layer(part.row(key), layer) for key in cube["key"].values])
        assert len(want) == len(rows) == 8
        assert_array_equal(cube[layer].values, want)
        assert_array_equal(np.stack([sample[layer] for sample in piped]), want)


def test_masks_on_another_grid_than_the_images_are_refused():
    coarse = tiny_store(layers=["s2_20m"], task="segmentation")
    both = JoinedStore([coarse, tiny_store(layers=RADAR, task="segmentation")])
    assert both.read_layer(0, "label").shape == (12, 12)
    with pytest.raises(StoreError, match=r"masks are \(12, 12\) pixels, the images \(24, 24\)"):
        both.to_xarray("tiny_000", stack="s1")


def test_samples_are_put_together(parts, joined):
    sample = joined[-1]
    first, second = parts[0][11], parts[1][11]
    assert sample.key == first.key == second.key == "tiny_011"
    assert list(sample.layers) == ["s2_10m", "s2_20m", "s1"]
    assert_array_equal(sample.layers["s1"], second.layers["s1"])
    assert_array_equal(sample.layers["s2_10m"], first.layers["s2_10m"])
    assert list(sample.time) == ["s2", "s1"]
    assert (sample.label, sample.scene, sample.geo) == (first.label, first.scene, first.geo)
    with pytest.raises(IndexError):
        joined[12]


def test_whole_images_and_pictures(parts, joined):
    assert_array_equal(joined.read_stack(5, "s2"), parts[0].read_stack(5, "s2"))
    assert joined.stack_bands("s1") == ("VV", "VH")
    assert [strip.caption.split(":")[0].split(" ")[0] for strip in cards(joined, [5])[0].strips] == ["s2", "s2", "s1"]


def test_what_cannot_be_joined(parts):
    with pytest.raises(StoreError, match="layer s2_10m is in more than one of them"):
        JoinedStore([parts[0], parts[0]])
    with pytest.raises(StoreError, match="no sample 'tiny_013' in all of them"):
        JoinedStore(parts).row("tiny_013")
    with pytest.raises(StoreError, match="no layer 's3'"):
        JoinedStore(parts).read_layer(0, "s3")
    with pytest.raises(StoreError, match="have different tasks or classes"):
        JoinedStore([parts[0], tiny_store(layers=RADAR, task="multi-label")])


def test_it_pickles(joined):
    again = pickle.loads(pickle.dumps(joined))  # noqa: S301 - our own bytes
    assert again.content == joined.content
    assert_array_equal(again.read_layer(4, "s1"), joined.read_layer(4, "s1"))
