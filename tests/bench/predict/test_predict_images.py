"""What an image says of itself is heeded, and an image that does not fit a record is refused for a reason."""

import numpy as np
import pytest
import rasterio
import torch

from seamo.errors import BandError, ProtocolError, UsageError
from seamo.store.reader import open_store
from seamo_bench.predict.images import images_of
from seamo_bench.predict.predict import Setting, predict
from seamo_bench.records.record import load_predictions, write_record
from tests.bench.trained_heads import FOUR, apply, in_a_row, path_of, read, whole_scene, write_tiff

torch.set_num_threads(1)


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
