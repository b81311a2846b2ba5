"""Test tiles written as GeoTIFFs give the stored predictions again."""

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from seamo.errors import BandError, UsageError
from seamo.store.reader import open_store
from seamo_bench.predict.images import images_of
from seamo_bench.predict.predict import Setting, predict
from seamo_bench.predictions import probabilities
from seamo_bench.records.record import load_predictions
from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.dense_store import SCENE, dense_store
from tests.bench.trained_heads import CHANGE, FOUR, apply, in_a_row, path_of, read, run, whole_scene, write_tiff

torch.set_num_threads(1)


@pytest.mark.parametrize("protocol", ["linear", "logreg"])
def test_probed_features_give_the_stored_scores_of_every_test_tile(single, tmp_path, protocol):
    stores, results, records = single
    record, store = records[protocol, "toy"], open_store(stores / "toy")
    stored = load_predictions(record, results)
    pixels = in_a_row(store, stored.keys, "s2_10m")[::-1]  # bands in another order: names decide
    image = write_tiff(tmp_path / "row.tif", pixels, FOUR[::-1])
    apply(results, record, [image], tmp_path / "chance.tif", probabilities=True)
    np.testing.assert_allclose(read(tmp_path / "chance.tif")[:, 0].T, probabilities(stored), atol=1e-5)
    facts = apply(results, record, [image], tmp_path / "ids.tif")
    assert read(tmp_path / "ids.tif")[0, 0].tolist() == stored.scores.argmax(axis=1).tolist()
    assert facts["record"] == record.key
    assert facts["trained_on"] == ["toy (synthetic)"]


def test_optical_and_radar_in_two_files(single, tmp_path):
    stores, results, records = single
    record = records["linear", "optical+radar"]
    stored = load_predictions(record, results)
    rows = {name: in_a_row(open_store(stores / name), stored.keys, layer)
            for name, layer in (("optical", "s2"), ("radar", "s1"))}  # fmt: skip
    optical = write_tiff(tmp_path / "optical.tif", rows["optical"], ("B02", "B03"))
    radar = write_tiff(tmp_path / "radar.tif", rows["radar"], ("VV", "VH"))
    both = {"unit": ("dn", "s1=db"), "others": (f"s1={radar}",)}
    apply(results, record, [optical], tmp_path / "out.tif", probabilities=True, **both)
    np.testing.assert_allclose(read(tmp_path / "out.tif")[:, 0].T, probabilities(stored), atol=1e-5)
    with pytest.raises(
        BandError, match=r"no image of s1, which the record's network sees\. Give it with --with s1=IMAGE"
    ):
        apply(results, record, [optical], tmp_path / "none.tif")
    with pytest.raises(UsageError, match="the unit is not stated"):
        apply(results, record, [optical], tmp_path / "none.tif", others=both["others"])


def test_multi_label_gives_a_band_a_class(tmp_path):
    spec = toy_spec(bands=FOUR, kind="multi-label")
    store = build_store(tmp_path / "stores", spec, toy_samples(spec, 60))
    suite = "id: m\nrows: [{store: toy, protocol: linear, params: {steps: 5}, seeds: 1}]"
    results, records = run(tmp_path, suite, tmp_path / "stores", backbones=("image-statistics",))
    record = records["linear", "toy"]
    stored = load_predictions(record, results)
    image = write_tiff(tmp_path / "row.tif", in_a_row(store, stored.keys, "s2_10m"), FOUR)
    apply(results, record, [image], tmp_path / "out.tif")
    np.testing.assert_allclose(read(tmp_path / "out.tif")[:, 0].T, probabilities(stored), atol=1e-5)
    with rasterio.open(tmp_path / "out.tif") as source:
        assert source.descriptions == ("class 0", "class 1", "class 2")
        assert np.isnan(source.nodata)


def test_a_linear_head_on_pixels_gives_the_stored_ids_of_a_scene_whatever_the_overlap(scenes, tmp_path):
    store, results, records = scenes
    record = records["dense", "scenes"]
    stored = load_predictions(record, results)
    height, width = stored.shapes[0]
    assert (height, width) == (SCENE, SCENE)
    scene = whole_scene(store, str(stored.keys[0]))
    image = write_tiff(tmp_path / "scene.tif", scene, FOUR)
    for overlap in (0.0, 0.5, 0.8):
        out = tmp_path / f"{overlap}.tif"
        apply(results, record, [image], out, overlap=overlap)
        np.testing.assert_array_equal(read(out)[0], stored.ids[: height * width].reshape(height, width))
    with rasterio.open(image) as source, rasterio.open(tmp_path / "0.5.tif") as target:
        assert (target.crs, target.transform, target.shape) == (source.crs, source.transform, source.shape)
        assert (target.dtypes, target.nodata, target.descriptions) == (("uint8",), 255, ("class id",))
        assert json.loads(target.tags()["classes"]) == ["Background", "field", "water"]
        assert json.loads(target.tags()["seamo"])["bands"] == {"s2": list(FOUR)}
        assert target.colormap(1)[0] == (230, 159, 0, 255)  # Okabe and Ito: the manifest has no such data set
        assert target.colormap(1)[255][3] == 0


def test_change_takes_two_images(tmp_path):
    store = dense_store(tmp_path / "stores", kind="change", names=("no change", "change"))
    results, records = run(tmp_path, CHANGE, tmp_path / "stores", backbones=("pixel-values",))
    record = records["change", "scenes"]
    stored = load_predictions(record, results)
    dates = whole_scene(store, str(stored.keys[0]))
    before, after = (write_tiff(tmp_path / f"{k}.tif", date, FOUR) for k, date in enumerate(dates))
    apply(results, record, [before, after], tmp_path / "out.tif")
    ids = stored.ids[: SCENE * SCENE].reshape(SCENE, SCENE)
    assert 0 < (ids == 1).mean() < 1
    np.testing.assert_array_equal(read(tmp_path / "out.tif")[0], ids)
    with pytest.raises(UsageError, match=r"1 dates for a record of change\. Give BEFORE and AFTER"):
        apply(results, record, [before], tmp_path / "one.tif")
    shifted = write_tiff(tmp_path / "shifted.tif", dates[1][:, :-1], FOUR)
    with pytest.raises(UsageError, match="is not on the grid of"):
        apply(results, record, [before, shifted], tmp_path / "two.tif")


@pytest.mark.parametrize(
    ("protocol", "policy"), [("finetune", "zero"), ("linear", "nearest-wavelength"), ("logreg", "select-columns")]
)
def test_bands_that_a_store_lacks_are_made_up_as_in_the_record(demo, tmp_path, protocol, policy):
    stores, results, records = demo
    record = records[protocol, "toy"]
    assert record.facts.adapter.missing == policy
    stored = load_predictions(record, results)
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), stored.keys, "s2_10m"), FOUR)
    apply(results, record, [image], tmp_path / "chance.tif", probabilities=True, batch=5)
    np.testing.assert_allclose(read(tmp_path / "chance.tif")[:, 0].T, probabilities(stored), atol=1e-5)


def test_a_trained_encoder_with_a_new_tokenizer_gives_the_stored_ids(demo, tmp_path):
    stores, results, records = demo
    record = records["dense", "scenes"]
    stored, store = load_predictions(record, results), open_store(stores / "scenes")
    for place, name in enumerate(stored.keys):
        image = write_tiff(tmp_path / f"scene{place}.tif", whole_scene(store, str(name)), FOUR)
        apply(results, record, [image], tmp_path / f"out{place}.tif", overlap=0.0)
        ids = stored.ids.reshape(-1, SCENE, SCENE)[place]
        assert (read(tmp_path / f"out{place}.tif")[0] == ids).mean() > 0.999  # ties of float32 sums apart


def test_cells_smaller_than_windows(single, tmp_path):
    stores, results, records = single
    record = records["linear", "toy"]
    pixels = in_a_row(open_store(stores / "toy"), ["s0003", "s0004"], "s2_10m")
    image = write_tiff(tmp_path / "row.tif", pixels[:, :, :13], FOUR)
    facts = apply(results, record, [image], tmp_path / "cells.tif", stride=4, probabilities=True)
    assert (facts["height"], facts["width"]) == (2, 4)
    with rasterio.open(tmp_path / "cells.tif") as source:
        assert source.transform == from_origin(500000, 5000000, 40, 40)
    cells = read(tmp_path / "cells.tif")
    # Windows of 8 around cells of 4 begin 2 pixels before them, inside 0..5: the image is 13 wide.
    for column, left in enumerate((0, 2, 5, 5)):
        one = write_tiff(tmp_path / f"window{column}.tif", pixels[:, :, left : left + 8], FOUR)
        apply(results, record, [one], tmp_path / f"out{column}.tif", probabilities=True)
        alone = read(tmp_path / f"out{column}.tif")
        assert alone.shape == (3, 1, 1)
        np.testing.assert_allclose(cells[:, :, column], alone[:, :, 0].repeat(2, axis=1), atol=1e-5)


@pytest.mark.soak
def test_real_eurosat_files_give_the_stored_scores(samples, tmp_path):
    raw = samples / "eurosat_ms"
    build = [sys.executable, "-m", "seamo_prep.cli", "build", "eurosat", "--raw", str(raw), "--workers", "1"]
    subprocess.run([*build, "--store", str(tmp_path / "stores")], check=True, capture_output=True)
    suite = "id: real\nrows: [{store: eurosat, protocol: logreg}]"
    results, records = run(tmp_path, suite, tmp_path / "stores", backbones=("image-statistics",))
    record = records["logreg", "eurosat"]
    stored = load_predictions(record, results)
    names = "B01,B02,B03,B04,B05,B06,B07,B08,B09,B10,B11,B12,B8A"  # the files' own order; they do not say it
    for number in range(3):
        (file,) = raw.rglob(f"{str(stored.keys[number]).rpartition('/')[2]}.tif")
        out = tmp_path / f"{number}.tif"
        given = images_of([file], units=("dn",), bands=(names,))
        facts = predict(path_of(results, record), given, out, setting=Setting(probabilities=True))
        np.testing.assert_allclose(read(out)[:, 0, 0], probabilities(stored)[number], atol=1e-5)
        assert facts["trained_on"] == ["eurosat (subset)"]
        assert facts["note"] == ""
