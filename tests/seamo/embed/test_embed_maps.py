"""Maps against plain loops over rasterio's own reading: windows, seams, sensors, interruptions, the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives Datasets their `rio`
import torch
import xarray as xr
from affine import Affine

from seamo.bands import Unit
from seamo.errors import UsageError
from seamo.manifest import Statistics
from seamo.use.dense import Source, embed_image
from seamo.use.parts import Parts
from seamo.use.windows import plan_windows
from tests.seamo.embed.images import BANDS, NODATA, PLACE, by_loops, read_map, scene, write_image
from tests.seamo.small_store import build_small_store
from tests.seamo.test_cli_seamo import seamo


def test_windows_by_hand():
    # 100 px are 13 patches of 8 (the last hangs over), 64 px are 8; windows of 8 patches, 4 apart.
    windows = plan_windows(100, 64, patch=8, size=64, overlap=0.5)
    assert (windows.grid, windows.side, windows.tops, windows.lefts) == ((13, 8), (8, 8), (0, 4, 5), (0,))
    assert [windows.rows_of(k) for k in range(3)] == [(0, 4), (4, 5), (5, 13)]
    assert plan_windows(20, 9, patch=8, size=64, overlap=0.5).side == (3, 2)  # smaller than a window
    assert plan_windows(128, 128, patch=8, size=64, overlap=0.0).tops == (0, 8)
    # With half overlap the weights of neighbours add up to one: sin^2 + cos^2.
    weight = windows.weight
    line = weight[:, 0] / weight[0, 0] * np.sin(np.pi / 16) ** 2
    np.testing.assert_allclose(line[:4] + line[4:], 1.0, atol=1e-6)
    for bad in ({"size": 60}, {"size": 4}, {"overlap": 0.95}, {"overlap": -0.1}):
        with pytest.raises(UsageError):
            plan_windows(100, 64, **{"patch": 8, "size": 64, "overlap": 0.5, **bad})


@pytest.mark.parametrize(("height", "width"), [(50, 70), (30, 11)])
def test_a_map_equals_plain_loops(pretrained, tmp_path, height, width):
    pixels = scene(height, width)
    pixels[:, :9, :9] = NODATA  # four patches without a pixel, and a rim of one pixel around them
    pixels[3, 20:22, 4:8] = NODATA  # half of a patch, in one band
    path = write_image(tmp_path / "a.tif", pixels)
    facts = embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif", batch=3)
    found, crs, transform, tags, nodata = read_map(tmp_path / "out.tif")
    want = by_loops(pretrained.model, pixels.astype(float), window=24, step=3, invalid=pixels == NODATA)
    assert np.isnan(want[:2, :2]).all()
    assert not np.isnan(want[5, 1]).any()
    np.testing.assert_allclose(found, want, rtol=0, atol=2e-5)
    # A cell is 4 pixels of 10 m.
    assert (crs.to_epsg(), tuple(transform)[:6]) == (32633, (40.0, 0.0, 600000.0, 0.0, -40.0, 5900040.0))
    assert np.isnan(nodata)
    about = json.loads(tags["seamo"])
    assert about["inputs"][0]["normalisation"]["source"] == "typed in the test"
    assert about["weights_sha256"] == pretrained.card["weights"]["sha256"]
    assert facts["cells"] == [*want.shape]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "out.tif"]


def test_other_window_sizes_lay_positions_over_the_trained_grid(pretrained, tmp_path):
    pixels = scene(40, 40)
    path = write_image(tmp_path / "a.tif", pixels)
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif", size=32, overlap=0.25)
    want = by_loops(pretrained.model, pixels.astype(float), window=32, step=6, invalid=pixels == NODATA)
    np.testing.assert_allclose(read_map(tmp_path / "out.tif")[0], want, rtol=0, atol=2e-5)


def test_two_sensors_are_encoded_together(pretrained, tmp_path):
    optical, radar = scene(24, 24), scene(24, 24, bands=2, seed=1).astype(np.float32) - 1010
    optical[:, 4:8, 8:12] = NODATA  # a patch without light
    radar[1, 12:16, :4] = np.nan  # and one without cross-polarisation
    one = write_image(tmp_path / "s2.tif", optical)
    two = write_image(tmp_path / "s1.tif", radar, names=("VV", "VH"), nodata=None)
    source, other = Source(one, Unit.DN), Source(two, Unit.DB)
    facts = embed_image(pretrained, source, tmp_path / "out.tif", others=[other])
    # One window. Card: mean 1000 + band, std 500; what is missing is the mean.
    x = {"s2": np.clip((optical - np.arange(12.0)[:, None, None]) / 2000, 0, 1)}
    x["s1"] = np.clip((radar - np.arange(2.0)[:, None, None]) / 2000, 0, 1)
    x["s2"][:, 4:8, 8:12] = 0.5
    x["s1"][1, 12:16, :4] = 0.5
    with torch.no_grad():
        tokens = pretrained.model.encode({s: torch.tensor(v, dtype=torch.float32)[None] for s, v in x.items()})[0]
        alone = pretrained.model.encode({"s2": torch.tensor(x["s2"], dtype=torch.float32)[None]})[0].numpy()
    want = ((tokens[:36] + tokens[36:]) / 2).numpy().reshape(6, 6, 16)
    want[1, 2] = want[3, 0] = np.nan
    found = read_map(tmp_path / "out.tif")[0]
    np.testing.assert_allclose(found, want, rtol=0, atol=2e-5)
    assert np.nanmax(np.abs(found - alone.reshape(6, 6, 16))) > 1e-3  # radar has a say
    assert [one["sensor"] for one in facts["inputs"]] == ["s2", "s1"]
    # The order of the images does not matter.
    embed_image(pretrained, other, tmp_path / "turned.tif", others=[source])
    np.testing.assert_array_equal(read_map(tmp_path / "turned.tif")[0], found)
    with pytest.raises(UsageError, match="second image of s2"):
        embed_image(pretrained, source, tmp_path / "x.tif", others=[source])


def test_a_real_pair_of_both_sensors(pretrained, samples, tmp_path):
    """BigEarthNet publishes both sensors on one grid; SSL4EO-S12 v1.0 does not."""
    optical, radar = "S2A_MSIL2A_20170613T101031_87_48", "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_87_48"
    folders = {
        optical: samples / "bigearthnet_v1/BigEarthNet-v1.0",
        radar: samples / "bigearthnet_v1/BigEarthNet-S1-v1.0",
    }
    read = {}
    for name, bands in ((optical, ("B02", "B03", "B04", "B08")), (radar, ("VV", "VH"))):
        files = [rasterio.open(folders[name] / name / f"{name}_{band}.tif") for band in bands]
        read[name] = np.concatenate([one.read() for one in files])
        grid = {"crs": files[0].crs, "transform": files[0].transform, "height": 120, "width": 120, "count": len(bands)}
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", dtype=read[name].dtype, **grid) as target:
            target.write(read[name])
            target.descriptions = bands
    level = dict.fromkeys(("B02", "B03", "B04", "B08"), 2000.0)
    numbers = Statistics(source="typed here", unit=Unit.DN, mean=level, std=dict.fromkeys(level, 1500.0))
    first = Source(tmp_path / f"{optical}.tif", Unit.DN, statistics=numbers)
    other = Source(tmp_path / f"{radar}.tif", Unit.DB)
    embed_image(pretrained, first, tmp_path / "out.tif", others=[other], size=120, missing="zero")
    x = np.full((12, 120, 120), 0.5)  # where statistics are given, a band that is not there is at its centre
    for i, band in enumerate(level):
        x[BANDS.index(band)] = np.clip((read[optical][i] + 1000.0) / 6000, 0, 1)
    images = {"s2": x, "s1": np.clip((read[radar] - np.arange(2.0)[:, None, None]) / 2000, 0, 1)}
    with torch.no_grad():
        tokens = pretrained.model.encode({s: torch.tensor(v, dtype=torch.float32)[None] for s, v in images.items()})[0]
    found, crs, transform, _, _ = read_map(tmp_path / "out.tif")
    np.testing.assert_allclose(found, ((tokens[:900] + tokens[900:]) / 2).reshape(30, 30, 16), rtol=0, atol=2e-5)
    assert (crs.to_epsg(), tuple(transform)[:6]) == (32633, (40.0, 0.0, 404400.0, 0.0, -40.0, 5342400.0))


@pytest.mark.parametrize(("shift", "nodata"), [((120.0, 0.0), None), ((0.0, 0.2), 0)])
def test_images_on_other_grids_are_refused_with_the_way_to_warp_them(pretrained, tmp_path, shift, nodata):
    one = write_image(tmp_path / "s2.tif", scene(24, 24))
    moved = Affine.translation(*shift) @ PLACE
    radar = scene(24, 24, bands=2, seed=1).astype(np.float32) - 1010
    two = write_image(tmp_path / "s1.tif", radar, names=("VV", "VH"), transform=moved, nodata=nodata)
    with pytest.raises(UsageError, match="not on the grid") as caught:
        embed_image(pretrained, Source(one, Unit.DN), tmp_path / "out.tif", others=[Source(two, Unit.DB)])
    # The remedy is a command, and it works as it stands.
    command = str(caught.value).partition("Warp it: ")[2].split()
    assert command[:2] == ["rio", "warp"]
    rio = Path(sys.executable).with_name("rio")
    subprocess.run([rio, *command[1:]], cwd=tmp_path, check=True, capture_output=True)
    warped = Source(tmp_path / "s1-on-grid.tif", Unit.DB, bands=("VV", "VH"))
    embed_image(pretrained, Source(one, Unit.DN), tmp_path / "out.tif", others=[warped])
    found = read_map(tmp_path / "out.tif")[0]
    # 120 m are three patches of 40 m: there is no radar west of them, and so no feature.
    assert np.isnan(found[:, :3]).all() == (shift[0] > 0)
    assert not np.isnan(found[:, 3:]).any()


def test_zarr_holds_the_same_map_with_its_place(pretrained, tmp_path):
    path = write_image(tmp_path / "a.tif", scene(50, 70))
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif")
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.zarr")
    tiff, _, transform, _, _ = read_map(tmp_path / "out.tif")
    with xr.open_zarr(tmp_path / "out.zarr") as data:
        features = data["features"]
        assert features.dims == ("feature", "y", "x")
        np.testing.assert_array_equal(features.to_numpy().transpose(1, 2, 0), tiff)
        assert features.rio.crs.to_epsg() == 32633
        assert features.rio.transform() == transform
        # Centre of the upper-left cell: 20 m into the image.
        assert (float(data["x"][0]), float(data["y"][0])) == (600020.0, 5900020.0)
        assert data.attrs["seamo"]["inputs"][0]["sensor"] == "s2"


def test_seams_are_blended_away(pretrained, tmp_path, monkeypatch):
    """The worst case: features that say nothing but where in the window they are, 0 to 5 from left to right."""

    def where(self, images):  # noqa: ARG001 - a method
        batch, _, height, width = images["s2"].shape
        columns = torch.arange(width // 4).float().repeat(height // 4)
        return columns[None, :, None].expand(batch, -1, 16)

    monkeypatch.setattr(type(pretrained.model), "encode", where)
    path = write_image(tmp_path / "a.tif", np.full((12, 24, 120), 1200, dtype=np.uint16))
    found = {}
    for overlap in (0.0, 0.5):
        embed_image(pretrained, Source(path, Unit.DN), tmp_path / f"{overlap}.tif", overlap=overlap)
        found[overlap] = read_map(tmp_path / f"{overlap}.tif")[0][2, :, 0]
    assert np.abs(np.diff(found[0.0])).max() == pytest.approx(5)
    # Column b of a window also is column b + 3 of the one before: b + 3 sin^2(pi (b + 3.5) / 6) for b = 0, 1, 2.
    np.testing.assert_allclose(found[0.5][3:27], [2.79904, 2.5, 2.20096] * 8, atol=1e-4)


def test_an_interrupted_map_goes_on_and_is_the_same(pretrained, tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.tif", scene(100, 40))
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "whole.tif")
    saved, encoded = [], []
    save, encode = Parts.save, type(pretrained.model).encode

    def dies(self, k, array):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(k)
        save(self, k, array)

    def counts(self, images):
        encoded.append(1)
        return encode(self, images)

    monkeypatch.setattr(Parts, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()
    monkeypatch.setattr(Parts, "save", save)
    monkeypatch.setattr(type(pretrained.model), "encode", counts)
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif", batch=100)
    # 25 patches down, windows of 6, 3 apart: 8 rows of windows. 3 were finished; the third is encoded once more.
    assert (saved, len(encoded)) == ([0, 1, 2], 6)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.tif", "out.tif", "whole.tif"]


def test_the_command(pretrained, tmp_path):
    path = write_image(tmp_path / "a.tif", scene(24, 24))
    done = seamo("embed", pretrained.path, path, "-o", tmp_path / "out.tif", "--unit", "dn", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out.tif'}\n"
    assert "1/1 windows (100%)" in done.stderr
    assert "typed in the test" in done.stderr  # where the numbers come from is said
    with rasterio.open(tmp_path / "out.tif") as source:
        assert (source.count, source.width) == (16, 6)
    decibels_x100 = scene(24, 24, bands=2).astype(np.int16) - np.int16(2000)
    radar = write_image(tmp_path / "s1.tif", decibels_x100, described=False, nodata=None)
    both = (path, "-o", tmp_path / "both.zarr", "--unit", "dn", "--with", f"s1={radar}", "--device", "cpu")
    done = seamo("embed", pretrained.path, *both, "--unit", "s1=db*100", "--bands", "s1=VV,VH", "--nodata", "s1=-9999")
    assert done.returncode == 0, done.stderr
    assert "s1: VV VH; x * 0.01 + 0" in done.stderr
    assert "B12; x * 1 + 0" in done.stderr
    for arguments, message in (
        ((*both, "--bands", "s1=VV,VH"), "--unit s1="),
        ((*both, "--unit", "s2=db"), "'s2=db' is for no image"),
        ((*both, "--unit", "db"), "'db' is the second for one image"),
        ((*both, "--with", f"s1={path}"), "two images of s1"),
        ((*both, "--nodata", "none"), "'none' is no number"),
        ((path, "-o", tmp_path / "b.tif"), "the unit is not stated"),
        ((path, "-o", tmp_path / "b.csv", "--unit", "dn"), "neither .tif nor .zarr"),
        ((path, "-o", tmp_path / "out.tif", "--unit", "dn"), "exists already"),
        ((path, "-o", tmp_path / "b.tif", "--unit", "dn", "--split", "train"), "--split belongs to a store"),
        ((tmp_path / "no.tif", "-o", tmp_path / "b.tif"), "neither a file nor a store"),
        ((path, "-o", tmp_path / "b.tif", "--unit", "dn", "--missing", "guess"), "no policy 'guess'"),
    ):
        done = seamo("embed", pretrained.path, *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_the_command_takes_statistics_from_a_file_and_stores(pretrained, tmp_path):
    path = write_image(tmp_path / "a.tif", scene(24, 24))
    numbers = {name: 1000.0 + i for i, name in enumerate(BANDS)}
    # The card's own mean, and half its standard deviation: the same as an image twice as far from the mean.
    half = {"unit": "dn", "source": "typed here", "mean": numbers, "std": dict.fromkeys(BANDS, 250.0)}
    (tmp_path / "n.yaml").write_text(json.dumps({"s2": half}))
    model = ("embed", pretrained.path)
    arguments = ("--unit", "dn", "--sensor", "s2", "--device", "cpu")
    done = seamo(*model, path, "-o", tmp_path / "1.tif", *arguments, "--statistics", tmp_path / "n.yaml")
    assert done.returncode == 0, done.stderr
    assert "typed here" in done.stderr
    pixels = scene(24, 24).astype(np.float32)
    mean = 1000 + np.arange(12, dtype=np.float32)[:, None, None]
    far = write_image(tmp_path / "b.tif", mean + 2 * (pixels - mean), nodata=None)
    embed_image(pretrained, Source(far, Unit.DN), tmp_path / "2.tif")
    np.testing.assert_allclose(read_map(tmp_path / "1.tif")[0], read_map(tmp_path / "2.tif")[0], rtol=0, atol=2e-5)
    del half["std"]["B8A"]
    (tmp_path / "n.yaml").write_text(json.dumps({"s2": half}))
    done = seamo(*model, path, "-o", tmp_path / "3.tif", *arguments, "--statistics", tmp_path / "n.yaml")
    assert (done.returncode, "statistics of s2:B8A are missing" in done.stderr) == (1, True), done.stderr

    store = build_small_store(tmp_path / "st", n=3)
    table = tmp_path / "f.parquet"
    done = seamo(*model, store.path, "-o", table, "--statistics", "store", "--stack", "s2=s2a", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, len(pd.read_parquet(table))) == (f"{table}\n", 12)
    for options, message in (
        (("--unit", "dn"), "--unit belongs to an image"),
        (("--stack", "s2"), "is not sensor=stack"),
        (("--sensor", "rgb"), "no sensor rgb"),
    ):
        done = seamo(*model, store.path, "-o", tmp_path / "g.parquet", *options)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
