"""Features of stores, by hand; parts of a long output that are kept beside it."""

import json
import resource
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from seamo.errors import ProtocolError, StoreError, UsageError
from seamo.manifest import SplitSpec, shipped_manifest
from seamo.sample import Sample
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan, StoreWriter
from seamo.use import pooled
from seamo.use.parts import Parts
from seamo.use.pooled import Reading, embed_store
from tests.seamo.embed.images import BANDS, scene
from tests.seamo.small_store import build_small_store


def test_parts_of_something_else_are_not_used(tmp_path):
    old = Parts(tmp_path / "x.tif", {"a": 1}, 2)
    old.save(0, np.zeros(3))
    assert Parts(tmp_path / "x.tif", {"a": 1}, 2).first_missing == 1
    assert Parts(tmp_path / "x.tif", {"a": 2}, 2).first_missing == 0
    assert not old.folder.exists()
    (tmp_path / "y.tif").touch()
    with pytest.raises(UsageError, match="exists already"):
        Parts(tmp_path / "y.tif", {}, 1)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-3] + b"\x01" + data[-2:], lambda _: b""]
)
def test_a_part_that_was_damaged_is_made_again(tmp_path, damage, caplog):
    parts = Parts(tmp_path / "x.tif", {"a": 1}, 3)
    for k in range(2):
        parts.save(k, np.arange(3.0) + k)
    file = sorted(parts.folder.iterdir())[1]
    file.write_bytes(damage(file.read_bytes()))
    again = Parts(tmp_path / "x.tif", {"a": 1}, 3)
    assert again.first_missing == 1
    assert f"{file.name}: is not what was written" in caplog.text
    np.testing.assert_array_equal(again.load(0), np.arange(3.0))
    with pytest.raises(StoreError, match="is not what was written"):
        again.load(1)


def test_parts_that_were_exchanged_or_brought_from_elsewhere_are_made_again(tmp_path):
    """All of one size and each as it was written, but not here."""
    parts, other = Parts(tmp_path / "x.tif", {"a": 1}, 2), Parts(tmp_path / "y.tif", {"a": 1}, 2)
    for k in range(2):
        parts.save(k, np.arange(3.0) + k)
        other.save(k, np.arange(3.0) + k)
    first, second = sorted(parts.folder.iterdir())
    kept = first.read_bytes(), second.read_bytes()
    first.write_bytes(kept[1])
    second.write_bytes(kept[0])
    assert Parts(tmp_path / "x.tif", {"a": 1}, 2).first_missing == 0
    first.write_bytes(kept[0])
    second.write_bytes(sorted(other.folder.iterdir())[1].read_bytes())
    assert Parts(tmp_path / "x.tif", {"a": 1}, 2).first_missing == 1
    second.write_bytes(kept[1])
    assert Parts(tmp_path / "x.tif", {"a": 1}, 2).first_missing == 2


def test_what_is_left_of_the_parts_of_a_whole_output_is_swept(tmp_path):
    parts = Parts(tmp_path / "x.npz", {"a": 1}, 1)
    parts.save(0, np.zeros(3))
    (tmp_path / "x.npz").touch()  # as if killed between the rename and the removal of the parts
    with pytest.raises(UsageError, match="exists already"):
        Parts(tmp_path / "x.npz", {"a": 1}, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_a_full_disk_is_one_message_and_keeps_what_is_there(tmp_path):
    parts = Parts(tmp_path / "x.tif", {"a": 1}, 2)
    parts.save(0, np.zeros(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # no file may grow beyond this
    try:
        with pytest.raises(StoreError, match="Make room"):
            parts.save(1, np.zeros(3000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [one.name for one in parts.folder.iterdir()] == ["part-000000.bin"]


def test_a_store_by_hand(pretrained, tmp_path):
    store = build_small_store(tmp_path / "st", n=6, absent=(2,))
    reading = Reading(sensors=("s1",), statistics="store", batch=4)
    embed_store(pretrained, store, reading, tmp_path / "out.npz")
    embed_store(pretrained, store, reading, tmp_path / "out.parquet")
    found = np.load(tmp_path / "out.npz")
    assert found["features"].shape == (6, 4, 16)
    assert np.isnan(found["features"][2, 2:]).all()
    facts = store.meta.statistics["train"]["s1"]
    mean = np.array([facts[name]["mean"] for name in ("VV", "VH")])[:, None, None]
    std = np.array([facts[name]["std"] for name in ("VV", "VH")])[:, None, None]
    for i in range(6):
        for t in range(4):
            if np.isnan(found["features"][i, t, 0]):
                assert (i, t) in ((2, 2), (2, 3))
                continue
            x = np.clip((store.read_layer(i, "s1")[t] - (mean - 2 * std)) / (4 * std), 0, 1).astype(np.float32)
            with torch.no_grad():
                want = pretrained.model.encode({"s1": torch.from_numpy(x)[None]}).mean(dim=1)[0].numpy()
            np.testing.assert_allclose(found["features"][i, t], want, rtol=0, atol=2e-5)
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert len(table) == 22
    assert list(table["key"][:4]) == ["0000000"] * 4
    assert table["date.s1"][1] == pd.Timestamp("2020-04-09")
    row = table[(table["key"] == "0000003") & (table["slot"] == 2)].iloc[0]
    np.testing.assert_array_equal(row["feature"], found["features"][3, 2])
    about = json.loads(str(found["about"]))
    assert "content" in about["store"]
    assert about["data"][store.spec.id]["attribution"] == store.spec.attribution != ""


def test_pixels_in_another_unit_than_the_numbers_are_refused(pretrained, tmp_path):
    store = build_small_store(tmp_path / "st", n=6)  # decibels; the card's numbers are a thousand
    with pytest.raises(ProtocolError, match=r"s1: after normalisation the first batch has mean 0 and std 0"):
        embed_store(pretrained, store, Reading(sensors=("s1",)), tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_a_store_goes_on_after_an_interruption(pretrained, tmp_path, monkeypatch):
    store = build_small_store(tmp_path / "st", n=7)
    reading = Reading(statistics="store", stacks=(("s2", "s2a"),))
    embed_store(pretrained, store, reading, tmp_path / "whole.npz")
    monkeypatch.setattr(pooled, "PART", 3)
    save = Parts.save

    def dies(self, k, array):
        if k == 1:
            raise KeyboardInterrupt
        save(self, k, array)

    monkeypatch.setattr(Parts, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        embed_store(pretrained, store, reading, tmp_path / "out.npz")
    monkeypatch.setattr(Parts, "save", save)
    embed_store(pretrained, store, reading, tmp_path / "out.npz")
    one, other = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(one["features"], other["features"], rtol=0, atol=1e-6)


def test_images_that_vary_in_size(pretrained, tmp_path):
    """Padded in the store, in batches of a size; each is resized to the model's 24 pixels, as Pillow does it."""
    spec = shipped_manifest()["fmow-sentinel"]
    spec = spec.model_copy(update={"splits": {"listed": SplitSpec(in_archive=True)}})
    sides = [(20, 30), (70, 24), (28, 28), (12, 60), (24, 24)]  # buckets 32, 96, 32, 64, 32
    pixels = [scene(*side, bands=13, seed=i) for i, side in enumerate(sides)]
    samples = [Sample(key=f"{i:07d}", layers={"s2": one[None]}, label=0) for i, one in enumerate(pixels)]
    with StoreWriter(tmp_path / "st", BuildPlan(spec, "listed"), [one.key for one in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        store = open_store(writer.publish(splits=dict.fromkeys([one.key for one in samples], "train")))
    embed_store(pretrained, store, Reading(batch=2), tmp_path / "out.npz")
    found = np.load(tmp_path / "out.npz")
    names = spec.layer("s2").bands
    for i, one in enumerate(pixels):
        bands = [Image.fromarray(one[names.index(name)].astype(np.float32)) for name in BANDS]
        resized = np.stack([np.asarray(band.resize((24, 24), Image.Resampling.BICUBIC)) for band in bands])
        x = np.clip((resized - np.arange(12)[:, None, None]) / 2000, 0, 1).astype(np.float32)
        with torch.no_grad():
            want = pretrained.model.encode({"s2": torch.from_numpy(x)[None]}).mean(dim=1)[0].numpy()
        np.testing.assert_allclose(found["features"][i, 0], want, rtol=0, atol=1e-4)
    assert list(found["key"]) == [one.key for one in samples]
