"""A packed store is the store of the rounded numbers, to every reader of ours, to xarray and to whoever reads a tar."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.testing import assert_array_equal

from seamo.data.loader import Loader
from seamo.errors import SampleError, StoreError, UsageError
from seamo.native import widen
from seamo.sample import Sample
from seamo.store.check import band_statistics, content_of
from seamo.store.copy import copy_store
from seamo.store.meta import meta_bytes, read_meta
from seamo.store.packing import MISSING, STEP, pack, stepped, unpack
from seamo.store.reader import Store, open_store
from seamo.store.writer import BadSample, BuildPlan, build8
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

SPEC = seasons_spec()
OLD = "627da02f"  # of the plan without packing, before there was any: stores that are out there must be found again
LAYOUTS = ["zarr", "webdataset"]


def samples(*, rounded: bool = False) -> list[Sample | BadSample]:
    """The usual ones with two holes; `rounded` to hundredths by decimal text, not as the store does it."""
    made = seasons_samples(20)
    for i, one in enumerate(made):
        if isinstance(one, BadSample) or "s1" not in one.layers:
            continue
        pixels = one.layers["s1"].copy()
        pixels[0, 1, 2, 3:5] = np.nan
        if rounded:
            text = [f"{value:.2f}" for value in pixels.astype(np.float64).ravel()]
            pixels = (np.array(text, dtype=np.float64) + 0.0).astype(np.float32).reshape(pixels.shape)  # -0.00 is 0
        made[i] = replace(one, layers=one.layers | {"s1": pixels})
    return made


def plan(layout: str, *, is_packed: bool = True, **changes) -> BuildPlan:
    return BuildPlan(SPEC, "hash-60-20-20", layout=layout, pack=("s1",) if is_packed else (), **changes)


@pytest.fixture(scope="module", params=LAYOUTS)
def pair(request, tmp_path_factory) -> tuple[Store, Store]:
    """Packed, and of the rounded floats."""
    root = tmp_path_factory.mktemp("packed")
    packed = build(root, plan(request.param), samples())
    return open_store(packed), open_store(build(root, plan(request.param, is_packed=False), samples(rounded=True)))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_every_step_comes_back(is_compiled, monkeypatch):
    if not is_compiled:
        monkeypatch.setattr(widen, "kernels", lambda: None)
    steps = np.arange(-32768, 32768, dtype=np.int16)
    values = unpack(steps, STEP, 0.0, np.empty(steps.shape, np.float32))
    assert np.isnan(values[0])
    assert_array_equal(values[1:], np.array([f"{int(step)}e-2" for step in steps[1:]], np.float64).astype(np.float32))
    assert_array_equal(pack(values, "here"), steps)
    with pytest.raises(ValueError, match="does not become"):
        unpack(steps, STEP, 0.0, np.empty(5, np.float32))
    with pytest.raises(ValueError, match="contiguous"):
        unpack(steps[::2], STEP, 0.0, np.empty(32768, np.float32))


def test_no_number_moves_by_more_than_half_a_step():
    values = np.random.default_rng(0).uniform(-327, 327, 100_000).astype(np.float32)
    moved = np.abs(stepped(values, "here").astype(np.float64) - values)
    assert 0.0049 < moved.max() <= 0.005 + np.spacing(np.float32(327))
    with pytest.raises(SampleError, match=r"toy a layer s1: 400 dB does not fit"):
        pack(np.array([1.0, np.nan, -400.0], np.float32), "toy a layer s1")


def test_it_is_the_store_of_the_rounded_numbers(pair):
    packed, floats = pair
    assert (packed.content, packed.pixels, packed.meta.build) == (
        floats.content,
        floats.pixels,
        build8(plan(floats.meta.layout)),
    )
    assert packed.meta.build != floats.meta.build
    assert packed.meta.statistics == floats.meta.statistics
    assert content_of(packed) == packed.content
    assert packed.spec == floats.spec
    facts = packed.meta.arrays["s1"]
    assert (facts.scale, facts.offset, packed.meta.arrays["s2_10m"].scale) == (0.01, 0.0, None)
    rows = packed.rows("train")
    assert band_statistics(packed, "s1", rows) == band_statistics(floats, "s1", rows)


def test_our_readers(pair):
    packed, floats = pair
    for one in ("whole", "date"):
        for row in (0, 3, 6):  # 3 lacks it
            date = None if one == "whole" else 1
            assert_array_equal(packed.read_layer(row, "s1", date=date), floats.read_layer(row, "s1", date=date))
    assert_array_equal(packed.read_stack(5, "s1"), floats.read_stack(5, "s1"))
    rows = packed.rows("train")
    for ours, theirs in zip(Loader(packed, rows, 4), Loader(floats, rows, 4), strict=True):
        assert_array_equal(ours.layers["s1"].numpy(), theirs.layers["s1"].numpy())
    ours, theirs = (next(iter(one.webdataset("train"))) for one in pair)
    assert_array_equal(ours["s1"], theirs["s1"])
    ours, theirs = (one.to_xarray(split="train", layers=["s1"])["s1"].values for one in pair)
    assert ours.dtype == np.float32
    assert_array_equal(ours, theirs)


def test_other_readers(pair):
    packed, floats = pair
    want = [floats.read_layer(row, "s1") for row in range(20)]
    if packed.meta.layout == "zarr":
        decoded = xr.open_zarr(packed.path / "data.zarr")["s1"]
        assert decoded.dtype.kind == "f"
        assert_array_equal(decoded.values.astype(np.float32), want)
        plain = zarr.open_array(packed.path / "data.zarr/s1", mode="r")
        assert plain.dtype == np.int16
        about, stored = plain.attrs, plain[:]
        assert plain.fill_value == about["_FillValue"] == MISSING
        assert about["unit"] == "db"
    else:
        with tarfile.open(packed.path / "shards/000000.tar") as tar:
            key = packed.index["key"][0]
            about = json.load(tar.extractfile(f"{key}.json"))["packed"]["s1"]
            stored = np.load(io.BytesIO(tar.extractfile(f"{key}.s1.npy").read()))[None]
        want = want[:1]
    values = np.where(stored == about["_FillValue"], np.nan, stored * about["scale_factor"] + about["add_offset"])
    assert_array_equal(values.astype(np.float32), want)


def test_copies_keep_the_content(pair, tmp_path):
    packed, _ = pair
    other = LAYOUTS[packed.meta.layout == "zarr"]
    copied = open_store(copy_store(packed.path, tmp_path, layout=other, progress=lambda *_: None))
    assert (copied.content, copied.meta.layout) == (packed.content, other)
    assert copied.meta.arrays["s1"].scale == STEP
    assert copied.meta.build == build8(plan(other))


def test_what_cannot_be_packed_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"s2_10m is uint16 dn and is stored as it is.*To pack: s1"):
        build(tmp_path, replace(plan("zarr"), pack=("s2_10m",)), samples())
    loud = samples()
    loud[2].layers["s1"][0, 0, 0, 0] = 1e6
    with pytest.raises(SampleError, match=rf"toy {loud[2].key} layer s1: 1e\+06 dB does not fit into 16 bits"):
        build(tmp_path, plan("zarr"), loud)


def test_without_packing_a_plan_has_the_name_that_it_had():
    assert build8(plan("zarr", is_packed=False)) == OLD


@pytest.mark.parametrize(
    ("layer", "how"),
    [("s1", (0.02, 0.0)), ("s1", (0.01, None)), (next(one.id for one in SPEC.layers if one.id != "s1"), (0.01, 0.0))],
)
def test_a_packing_that_nobody_writes_is_refused(tmp_path, layer, how):
    """Read as ours its numbers would be others, without a word."""
    store = open_store(build(tmp_path, plan("zarr"), samples()))
    facts = store.meta.arrays[layer].model_copy(update=dict(zip(("scale", "offset"), how, strict=True)))
    meta = store.meta.model_copy(update={"arrays": {**store.meta.arrays, layer: facts}})
    with pytest.raises(StoreError, match="packs"):
        read_meta(meta_bytes(meta), "store.json")
