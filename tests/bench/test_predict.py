"""predict: test tiles written as GeoTIFFs give the stored predictions again, or are refused for a reason."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from seamo.errors import BandError, CheckpointError, ProtocolError, StoreError, UsageError
from seamo.files import open_files
from seamo.store.reader import open_store
from seamo.use.parts import Parts
from seamo_bench.cli import main
from seamo_bench.predict import applied
from seamo_bench.predict.images import images_of
from seamo_bench.predict.predict import Setting, predict
from seamo_bench.predictions import probabilities
from seamo_bench.protocols import find_protocol
from seamo_bench.records import heads as kept
from seamo_bench.records.examine import verify
from seamo_bench.records.layout import name_there
from seamo_bench.records.record import load_predictions, read_records, write_record
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.dense_store import SCENE, dense_samples, dense_spec, dense_store, write_store
from tests.bench.test_joined import build as build_part
from tests.bench.test_run import quiet

torch.set_num_threads(1)
FOUR = ("B02", "B03", "B04", "B08")
PIXELS = "{head: linear, frozen: true, epochs: 4, warmup: 0, batch: 8, base_lrs: [0.1], scale_lr: false}"
SINGLE = """
id: single
rows:
  - {store: toy, protocol: linear, params: {steps: 5}, seeds: 1}
  - {store: toy, protocol: logreg}
  - {store: toy, protocol: knn}
  - {store: eurosat, protocol: knn}
  - {stores: [optical, radar], protocol: linear, params: {steps: 5}, seeds: 1}
"""
DENSE = f"""
id: scenes
rows:
  - {{store: scenes, protocol: dense, seeds: 1, params: {PIXELS}}}
"""
CHANGE = DENSE.replace("protocol: dense", "protocol: change").replace("head: linear", "head: linear, flip: false")
DEMO = """
id: demo
rows:
  - {store: toy, protocol: finetune, missing: zero, size: 32}
  - {store: toy, protocol: linear, missing: nearest-wavelength, size: 32, params: {steps: 20, lrs: [0.1]}}
  - {store: toy, protocol: logreg, missing: select-columns, size: 32}
  - {store: scenes, protocol: dense, missing: new-tokenizer, params: {head: author}}
"""


def run(tmp, text, stores, *, backbones, budget="full", **machine):
    """Run a suite into a folder and give its records by protocol and store."""
    tmp.mkdir(parents=True, exist_ok=True)
    (tmp / "suite.yaml").write_text(text)
    results = tmp / "results"
    places = Places(stores, results, tmp)
    cells = make_plan(load_suite(str(tmp / "suite.yaml")), backbones, places, budget)
    for _ in run_plan(cells, places, machine=Machine(**machine), progress=quiet, inner=quiet):
        pass
    found = {}
    for record in read_records(results).records:
        assert record.status != "failed", record.reason
        found[record.facts.protocol.id, "+".join(one.id for one in record.facts.stores)] = record
    return results, found


def write_tiff(path, pixels, bands, *, nodata=None, gsd=10.0, crs="EPSG:32632"):
    """(C, H, W) with its bands as descriptions, at 500 km east, 5,000 km north in UTM 32, or nowhere."""
    place = {"crs": crs, "transform": from_origin(500000, 5000000, gsd, gsd)} if crs else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = rasterio.open(
            path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2],
            dtype=pixels.dtype, nodata=nodata, **place,
        )  # fmt: skip
    with target:
        target.write(pixels)
        for number, name in enumerate(bands):
            target.set_band_description(number + 1, name)
    return path


def in_a_row(store, keys, layer):
    """The tiles of keys side by side, (C, h, n w)."""
    return np.concatenate([store.read_layer(store.row(str(key)), layer)[0] for key in keys], axis=2)


def read(path):
    with rasterio.open(path) as source:
        return source.read()


def path_of(results, record):
    return results / f"{record.key}.json"


def apply(results, record, images, out, *, unit=("dn",), others=(), **options):
    return predict(path_of(results, record), images_of(images, others, units=unit), out, setting=Setting(**options))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Stores, results and records of a single-label task, of one and of two sensors."""
    root = tmp_path_factory.mktemp("single")
    spec = toy_spec(bands=FOUR)
    build_store(root / "stores", spec, toy_samples(spec, 60))
    build_part(root / "stores", "optical", range(40))
    build_part(root / "stores", "radar", range(40))
    return root / "stores", *run(root, SINGLE, root / "stores", backbones=("image-statistics",))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Overlapping tiles, a linear head on single pixels."""
    root = tmp_path_factory.mktemp("scenes")
    store = dense_store(root / "stores")
    return store, *run(root, DENSE, root / "stores", backbones=("pixel-values",))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Trained networks: of tiles without overlap, and of single labels; bands filled."""
    root = tmp_path_factory.mktemp("demo")
    toy, dense = toy_spec(bands=FOUR), dense_spec()
    build_store(root / "stores", toy, toy_samples(toy, 60))
    write_store(root / "stores", dense, *dense_samples(dense, stride=16))
    return root / "stores", *run(root, DEMO, root / "stores", backbones=("seamo-random",), budget="demo")


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


def whole_scene(store, name):
    """A scene's pixels (T, C, H, W) put together from its tiles; one date without T."""
    index = store.index[store.index["scene"] == name]
    times = store.spec.num_times("s2")
    out = np.zeros((times, len(FOUR), SCENE, SCENE), dtype=np.uint16)
    for row, y0, x0 in zip(index.index, index["y0"], index["x0"], strict=True):
        tile = store.read_layer(int(row), "s2")
        out[:, :, y0 : y0 + tile.shape[2], x0 : x0 + tile.shape[3]] = tile
    return out[0] if times == 1 else out


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


def test_what_is_not_measured_has_no_class(scenes, single, tmp_path):
    store, results, records = scenes
    pixels = whole_scene(store, "scene3")
    pixels[1, 3:9, 20:] = 0
    image = write_tiff(tmp_path / "holes.tif", pixels, FOUR, nodata=0)
    apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")
    np.testing.assert_array_equal(read(tmp_path / "out.tif")[0] == 255, pixels[1] == 0)
    stores, results, records = single
    pixels = in_a_row(open_store(stores / "toy"), ["s0000", "s0001", "s0002"], "s2_10m")
    pixels[0, :, 8:13] = 65535  # five of the eight columns of the second tile
    pixels[0, :, 16:19] = 65535
    image = write_tiff(tmp_path / "row.tif", pixels, FOUR)
    given = images_of([image], units=("dn",), nodata=("65535",))
    predict(path_of(results, records["linear", "toy"]), given, tmp_path / "cells.tif", setting=Setting())
    assert (read(tmp_path / "cells.tif")[0] == 255).tolist() == [[False, True, False]]


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


def test_units_are_converted_or_refused(single, tmp_path):
    stores, results, records = single
    record = records["linear", "toy"]
    pixels = in_a_row(open_store(stores / "toy"), ["s0000", "s0001"], "s2_10m")
    plain = write_tiff(tmp_path / "plain.tif", pixels, FOUR)
    shifted = write_tiff(tmp_path / "shifted.tif", pixels + 1000, FOUR)
    apply(results, record, [plain], tmp_path / "a.tif", probabilities=True)
    apply(results, record, [shifted], tmp_path / "b.tif", unit=("dn+1000",), probabilities=True)
    np.testing.assert_allclose(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"), atol=1e-6)
    with pytest.raises(ProtocolError, match="unit db cannot become dn"):
        apply(results, record, [plain], tmp_path / "c.tif", unit=("db",))


def test_pixels_in_another_unit_than_stated_are_refused(scenes, tmp_path):
    store, results, records = scenes
    pixels = (whole_scene(store, "scene3") / 10000).astype(np.float32)  # reflectance
    image = write_tiff(tmp_path / "reflectance.tif", pixels, FOUR)
    with pytest.raises(UsageError, match=r"look like reflectance \(0 to 1\), not dn"):
        apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")
    shifted = write_tiff(tmp_path / "shifted.tif", pixels * 10000 + 12_000, FOUR)  # bright, but no other unit
    with pytest.raises(ProtocolError, match="after normalisation the first batch has mean"):
        apply(results, records["dense", "scenes"], [shifted], tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_images_that_do_not_fit_are_refused(single, scenes, tmp_path):
    stores, results, records = single
    record = records["linear", "toy"]
    pixels = in_a_row(open_store(stores / "toy"), ["s0000", "s0001"], "s2_10m")
    out = tmp_path / "out.tif"
    three = write_tiff(tmp_path / "three.tif", pixels[:3], FOUR[:3])
    with pytest.raises(BandError, match="lacks B08 of s2"):
        apply(results, record, [three], out)
    small = write_tiff(tmp_path / "small.tif", pixels[:, :, :7], FOUR)
    with pytest.raises(UsageError, match="is 7 x 8 pixels, the record's network sees 8 x 8 at once"):
        apply(results, record, [small], out)
    whole = write_tiff(tmp_path / "whole.tif", pixels, FOUR)
    with pytest.raises(UsageError, match="2 dates for a record of single-label"):
        apply(results, record, [whole, whole], out)
    with pytest.raises(UsageError, match=r"is not a \.tif"):
        apply(results, record, [whole], tmp_path / "out.png")
    with pytest.raises(UsageError, match="--stride: is 9, outside 1 to the window of 8 pixels"):
        apply(results, record, [whole], out, stride=9)
    with pytest.raises(UsageError, match="the record was made on tiles of 8 x 8"):
        apply(results, record, [whole], out, window=16)
    store, results, records = scenes
    scene = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR)
    with pytest.raises(UsageError, match="--stride: belongs to classification"):
        apply(results, records["dense", "scenes"], [scene], out, stride=4)


@pytest.mark.filterwarnings("error")
def test_an_image_without_a_place_gives_a_map_without_one(scenes, tmp_path):
    store, results, records = scenes
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR, crs=None)
    facts = apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")
    assert facts["note"] == "pixels of unknown size in metres; the record was made at 10 m"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "out.tif") as source:
        assert source.crs is None


def test_what_an_image_says_of_itself_is_heeded(scenes, tmp_path):
    store, results, records = scenes
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR)
    with rasterio.open(image, "r+") as target:
        target.scales, target.offsets = [1e-4] * len(FOUR), [-0.1] * len(FOUR)
    with pytest.raises(UsageError, match=r"scene\.tif: says of band 1 that .* is not unit dn\. That is unit dn\+1000"):
        apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3").astype(np.complex64), FOUR)
    with pytest.raises(UsageError, match="holds complex values"):
        apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")


def test_another_pixel_size_is_said(scenes, tmp_path, caplog):
    store, results, records = scenes
    image = write_tiff(tmp_path / "coarse.tif", whole_scene(store, "scene3"), FOUR, gsd=20.0)
    facts = apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")
    assert facts["note"] == "pixels of 20 m, the record was made at 10 m"
    assert "pixels of 20 m" in caplog.text


def test_a_window_is_asked_for_where_images_vary_in_size(single, tmp_path):
    stores, results, records = single
    record = records["linear", "toy"]
    stored = load_predictions(record, results)
    head = record.head.model_copy(update={"tile": (0, 0)})  # as records of such a data set have it
    again = write_record(tmp_path, record.facts, about=record.about, predictions=stored, head=head)
    (tmp_path / head.name).write_bytes((results / head.name).read_bytes())
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), stored.keys, "s2_10m"), FOUR)
    with pytest.raises(UsageError, match=r"the images of its data set vary in size\. Give --window"):
        apply(tmp_path, again, [image], tmp_path / "out.tif")
    apply(tmp_path, again, [image], tmp_path / "out.tif", window=8)
    assert read(tmp_path / "out.tif")[0, 0].tolist() == stored.scores.argmax(axis=1).tolist()


def test_records_that_cannot_be_applied_say_why(single, tmp_path):
    stores, results, records = single
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), ["s0000"], "s2_10m"), FOUR)
    out = tmp_path / "out.tif"
    with pytest.raises(ProtocolError, match="no trained head is kept beside this record of knn"):
        apply(results, records["knn", "toy"], [image], out)
    with pytest.raises(ProtocolError, match="is impossible: no store of eurosat"):
        apply(results, records["knn", "eurosat"], [image], out)
    with pytest.raises(UsageError, match="there is no such record"):
        predict(results / "nothing.json", images_of([image], units=("dn",)), out, setting=Setting())
    assert not out.exists()


def test_a_protocol_says_itself_how_its_head_is_applied(single, tmp_path, monkeypatch):
    stores, results, records = single
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), ["s0000"], "s2_10m"), FOUR)
    record, seen = records["logreg", "toy"], []

    def always_the_second(trained):
        seen.append((trained.num_classes, trained.where, sorted(trained.state), len(trained.blank)))
        return lambda dates: torch.eye(trained.num_classes)[1].expand(len(dates[0]["s2"]), -1) * 50

    own = replace(find_protocol("logreg"), apply=always_the_second)
    monkeypatch.setattr(applied, "find_protocol", lambda _: own)
    apply(results, record, [image], tmp_path / "out.tif")
    assert seen == [(len(record.facts.task.classes), record.key, ["bias", "weight"], 1)]
    assert (read(tmp_path / "out.tif") == 1).all()
    # A protocol on features that says nothing and trained a matrix: the matrix is applied, as logreg's own way does.
    monkeypatch.setattr(applied, "find_protocol", lambda _: replace(own, apply=None))
    apply(results, record, [image], tmp_path / "matrix.tif", probabilities=True)
    monkeypatch.undo()
    apply(results, record, [image], tmp_path / "own.tif", probabilities=True)
    np.testing.assert_array_equal(read(tmp_path / "matrix.tif"), read(tmp_path / "own.tif"))
    monkeypatch.setattr(applied, "find_protocol", lambda _: replace(own, apply=None, needs="network"))
    monkeypatch.setattr(applied, "load_network", None)  # it is refused before anything is loaded
    with pytest.raises(ProtocolError, match="what logreg trains cannot be applied to new images"):
        apply(results, record, [image], tmp_path / "none.tif")


def test_another_backbone_or_head_than_the_record_s_is_refused(single, tmp_path):
    stores, results, records = single
    record = records["linear", "toy"]
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), ["s0000"], "s2_10m"), FOUR)
    head = (results / record.head.name).read_bytes()

    def changed(head_bytes=head, **backbone):
        folder = tmp_path / f"changed-{len(list(tmp_path.iterdir()))}"
        facts = record.facts.model_copy(update={"backbone": record.facts.backbone.model_copy(update=backbone)})
        again = write_record(
            folder, facts, about=record.about, predictions=load_predictions(record, results), head=record.head
        )
        if head_bytes:
            (folder / record.head.name).write_bytes(head_bytes)
        return folder, again

    out = tmp_path / "out.tif"
    with pytest.raises(CheckpointError, match="is not the backbone of the record"):
        apply(*changed(card="0" * 64), [image], out)
    with pytest.raises(CheckpointError, match="its weights have the digest of nothing, the record's abababababab"):
        apply(*changed(weights="ab" * 32), [image], out)
    with pytest.raises(UsageError, match=r"the backbone 'my-run' of the record is not known here. .*--backbone RUN"):
        apply(*changed(id="my-run"), [image], out)
    with pytest.raises(ProtocolError, match="cannot be read"):
        apply(*changed(head_bytes=b""), [image], out)
    folder, again = changed(head_bytes=head[:-4] + b"\0\0\0\0")
    with pytest.raises(ProtocolError, match="its sha256 differs"):
        apply(folder, again, [image], out)
    assert verify(again, folder) == ("the trained head beside it is not the one it names (its sha256 differs)",)
    (folder / record.head.name).unlink()
    assert verify(again, folder) == ()  # a published record need not carry its head


def test_what_is_heavy_is_kept_where_it_is_asked_for(single, tmp_path, monkeypatch):
    stores, _, records = single
    suite = "id: s\nrows: [{store: toy, protocol: linear, params: {steps: 2}, seeds: 1}]"
    monkeypatch.setattr(kept, "SMALL_BYTES", 100)
    results, light = run(tmp_path / "light", suite, stores, backbones=("image-statistics",))
    assert light["linear", "toy"].head is None
    assert not list(results.glob("*.safetensors"))
    results, heavy = run(tmp_path / "heavy", suite, stores, backbones=("image-statistics",), keep_models=True)
    assert (results / heavy["linear", "toy"].head.name).stat().st_size > 100
    assert heavy["linear", "toy"].key == light["linear", "toy"].key
    assert records["linear", "toy"].head.tile == (8, 8)


def test_a_kill_leaves_no_map_and_the_next_call_goes_on(scenes, tmp_path, monkeypatch):
    store, results, records = scenes
    record = records["dense", "scenes"]
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR)
    apply(results, record, [image], tmp_path / "whole.tif")
    save, saved = Parts.save, []

    def stops(parts, k, array):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(k)
        save(parts, k, array)

    out = tmp_path / "out.tif"
    monkeypatch.setattr(Parts, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        apply(results, record, [image], out)
    assert not out.exists()
    monkeypatch.setattr(Parts, "save", lambda parts, k, array: (saved.append(k), save(parts, k, array))[1])
    apply(results, record, [image], out)
    assert saved == [0, 1, 2]
    np.testing.assert_array_equal(read(out), read(tmp_path / "whole.tif"))
    assert not list(tmp_path.glob(".*parts"))
    with pytest.raises(UsageError, match="exists already"):
        apply(results, record, [image], out)


def test_a_full_disk_is_one_message(scenes, tmp_path, monkeypatch):
    store, results, records = scenes
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR)

    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("seamo.use.parts.write_atomically", full)
    with pytest.raises(StoreError, match=r"cannot be written .*Make room and give the same command again"):
        apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")


def test_from_the_command_line(single, bucket, tmp_path, monkeypatch, capsys):
    stores, results, records = single
    record = records["linear", "toy"]
    stored = load_predictions(record, results)
    pixels = in_a_row(open_store(stores / "toy"), stored.keys, "s2_10m")
    image = write_tiff(tmp_path / "row.tif", pixels, ("", "", "", ""))

    def call(*more, there=""):
        command = ["seamo-bench", "predict", there or path_of(results, record), image, "--unit", "dn", *more]
        monkeypatch.setattr(sys, "argv", [str(one) for one in command])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capsys.readouterr()

    code, done = call("-o", tmp_path / "none.tif")
    assert code == 1
    assert "names none of its bands" in done.err
    code, done = call("-o", tmp_path / "out.tif", "--bands", ",".join(FOUR))
    assert (code, done.out) == (0, f"{tmp_path / 'out.tif'}\n")
    assert "image-statistics, linear on toy (synthetic): s2 B02 B03 B04 B08 (dn)" in done.err
    assert read(tmp_path / "out.tif")[0, 0].tolist() == stored.scores.argmax(axis=1).tolist()
    code, done = call("-o", tmp_path / "again.tif", "--bands", ",".join(FOUR), "--json")
    (row,) = json.loads(done.out)
    assert (row["id"], row["width"]) == (str(tmp_path / "again.tif"), len(stored.keys))
    assert Path(row["id"]).is_file()
    head, key = record.head, f"{record.key}.json"
    for name, there in ((key, key), (head.name, name_there(head.name, head.sha256))):
        open_files(bucket).put_once(there, (results / name).read_bytes())
    code, done = call("-o", tmp_path / "there.tif", "--bands", ",".join(FOUR), there=f"{bucket}/{key}")
    assert (code, done.out) == (0, f"{tmp_path / 'there.tif'}\n")
    assert (tmp_path / "there.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()
