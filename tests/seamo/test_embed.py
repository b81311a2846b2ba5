"""Embedding against plain loops over rasterio's own reading, and by hand for a store."""

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
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from seamo.bands import Unit
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.manifest import Statistics
from seamo.model.config import SeaMoConfig
from seamo.use.bands import select_columns
from seamo.use.dense import Source, embed_image
from seamo.use.imagery import open_imagery
from seamo.use.inputs import load_pretrained
from seamo.use.parts import Parts
from seamo.use.windows import plan_windows
from tests.seamo.small_model import model_folder
from tests.seamo.small_store import build_small_store
from tests.seamo.test_cli_seamo import seamo

CONFIG = SeaMoConfig(size=24, patch=4, dim=16, depth=2, heads=2)
BANDS = CONFIG.bands["s2"]
PLACE = Affine(10.0, 0.0, 600000.0, 0.0, -10.0, 5900040.0)
NODATA = 65535


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    model_folder(path, CONFIG)
    return load_pretrained(path, device="cpu")


def write_image(path, pixels, *, names=BANDS, described=True, transform=PLACE, nodata=NODATA):
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), "nodata": nodata, "tiled": True}
    size = {"height": pixels.shape[1], "width": pixels.shape[2], "blockxsize": 16, "blockysize": 16}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile, **size) as target:
        target.write(pixels)
        if described:
            target.descriptions = names
    return path


def scene(height, width, *, bands=12, seed=0):
    """DN around the card's mean of 1000, with structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(bands, height // 8 + 1, width // 8 + 1))
    smooth = np.kron(coarse, np.ones((8, 8)))[:, :height, :width]
    return (1000 + 300 * smooth + 60 * rng.normal(size=(bands, height, width))).clip(1, 5000).astype(np.uint16)


def by_loops(model, pixels, *, window, step, invalid):
    """The map by plain loops: normalise, cut, encode one window at a time, weigh, add, divide."""
    patch, side = 4, window // 4
    bands, height, width = pixels.shape
    rows, columns = -(-height // patch), -(-width // patch)
    mean = 1000.0 + np.arange(bands)[:, None, None]
    x = np.full((bands, rows * patch, columns * patch), 0.5, dtype=np.float64)
    inside = np.clip((pixels - (mean - 1000.0)) / 2000.0, 0, 1)  # mean - 2 std .. mean + 2 std, std 500
    x[:, :height, :width] = np.where(invalid, 0.5, inside)
    seen = np.zeros((rows * patch, columns * patch))
    seen[:height, :width] = ~invalid.any(axis=0)
    total, weight = np.zeros((rows, columns, 16)), np.zeros((rows, columns))
    starts = []
    for n in (rows, columns):
        m = min(side, n)
        found = [s for s in range(0, n, step) if s + m < n] + [n - m]
        starts.append((m, found))
    for top in starts[0][1]:
        for left in starts[1][1]:
            h, w = starts[0][0], starts[1][0]
            cut = x[:, top * patch : (top + h) * patch, left * patch : (left + w) * patch]
            with torch.no_grad():
                tokens = model.encode({"s2": torch.tensor(cut[None], dtype=torch.float32)})[0].double().numpy()
            for i in range(h):
                for j in range(w):
                    share = np.sin(np.pi * (i + 0.5) / h) ** 2 * np.sin(np.pi * (j + 0.5) / w) ** 2
                    total[top + i, left + j] += share * tokens[i * w + j]
                    weight[top + i, left + j] += share
    out = total / weight[..., None]
    for i in range(rows):
        for j in range(columns):
            if seen[i * patch : (i + 1) * patch, j * patch : (j + 1) * patch].mean() < 0.5:
                out[i, j] = np.nan
    return out


def read_map(path):
    with rasterio.open(path) as source:
        assert source.descriptions == tuple(f"feature {number}" for number in range(source.count))
        return source.read().transpose(1, 2, 0), source.crs, source.transform, source.tags(), source.nodata


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


def test_bands_are_found_by_name(pretrained, tmp_path):
    pixels = scene(24, 24)
    straight = write_image(tmp_path / "a.tif", pixels)
    order = np.random.default_rng(1).permutation(12)
    extra = np.concatenate([pixels[order], pixels[:1]])
    names = [*(BANDS[i].replace("B0", "B") + ", central wavelength" for i in order), "B10"]
    described = write_image(tmp_path / "b.tif", extra, names=names)
    given = write_image(tmp_path / "c.tif", extra, described=False)
    embed_image(pretrained, Source(straight, Unit.DN), tmp_path / "1.tif")
    embed_image(pretrained, Source(described, Unit.DN), tmp_path / "2.tif")
    embed_image(pretrained, Source(given, Unit.DN, bands=(*(BANDS[i] for i in order), "-")), tmp_path / "3.tif")
    first = read_map(tmp_path / "1.tif")[0]
    for other in ("2.tif", "3.tif"):
        np.testing.assert_array_equal(read_map(tmp_path / other)[0], first)
    with pytest.raises(BandError, match="names none of its bands"):
        embed_image(pretrained, Source(given, Unit.DN), tmp_path / "4.tif")
    with pytest.raises(BandError, match="2 names for 13 bands"):
        embed_image(pretrained, Source(given, Unit.DN, bands=("B02", "B03")), tmp_path / "4.tif")
    with pytest.raises(BandError, match="stands twice"):
        embed_image(pretrained, Source(given, Unit.DN, bands=("B02",) * 13), tmp_path / "4.tif")


def test_units_are_converted_or_refused(pretrained, tmp_path):
    pixels = scene(24, 24)
    plain = write_image(tmp_path / "a.tif", pixels)
    offset = write_image(tmp_path / "b.tif", pixels + 1000)
    embed_image(pretrained, Source(plain, Unit.DN), tmp_path / "1.tif")
    embed_image(pretrained, Source(offset, Unit.DN_PLUS_1000), tmp_path / "2.tif")
    np.testing.assert_array_equal(read_map(tmp_path / "1.tif")[0], read_map(tmp_path / "2.tif")[0])
    with pytest.raises(ProtocolError, match="unit db cannot become dn"):
        embed_image(pretrained, Source(plain, Unit.DB), tmp_path / "3.tif")
    # Stated as digital numbers, but ten times as large.
    with pytest.raises(UsageError, match="more than 5 std"):
        embed_image(pretrained, Source(write_image(tmp_path / "d.tif", pixels * 10), Unit.DN), tmp_path / "3.tif")


def test_missing_bands(pretrained, tmp_path):
    pixels = scene(24, 24)
    some = [i for i, name in enumerate(BANDS) if name not in ("B01", "B09")]
    path = write_image(tmp_path / "a.tif", pixels[some], names=[BANDS[i] for i in some])
    with pytest.raises(BandError, match="needs s2:B01, s2:B09, image has B02"):
        embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif")
    x = np.clip((pixels - (np.arange(12)[:, None, None])) / 2000.0, 0, 1).astype(np.float32)
    zero, mean = x.copy(), x.copy()
    zero[[0, 9]] = 0
    mean[[0, 9]] = x[some].mean(axis=0)
    small = select_columns(pretrained.model, {"s2": [BANDS[i] for i in some], "s1": ["VV", "VH"]})
    for policy, model, image in (
        ("zero", pretrained.model, zero),
        ("mean", pretrained.model, mean),
        ("select-columns", small, x[some]),
    ):
        facts = embed_image(pretrained, Source(path, Unit.DN), tmp_path / f"{policy}.tif", missing=policy)
        with torch.no_grad():
            want = model.encode({"s2": torch.from_numpy(image)[None]}).reshape(6, 6, 16).numpy()
        np.testing.assert_allclose(read_map(tmp_path / f"{policy}.tif")[0], want, rtol=0, atol=2e-5)
        assert facts["inputs"][0]["made_up"] == (
            {} if policy == "select-columns" else {"bands": ["B01", "B09"], "how": policy}
        )


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


def test_pixels_that_are_not_there_are_nan(tmp_path):
    pixels = scene(20, 20, bands=2)
    pixels[0, 3, 4] = NODATA
    pixels[1, 5, 6] = 7
    path = write_image(tmp_path / "a.tif", pixels, names=("B02", "B03"))
    with open_imagery(path, unit=Unit.DN, nodata=7) as imagery:
        read = imagery.read(("B03", "B02"), top=2, left=2, height=30, width=6)
    want = np.full((2, 30, 6), np.nan, dtype=np.float32)
    want[:, :18] = pixels[::-1, 2:, 2:8]
    want[1, 1, 2] = want[0, 3, 4] = np.nan
    np.testing.assert_array_equal(read, want)


def test_a_mask_band_counts(tmp_path):
    path = write_image(tmp_path / "a.tif", scene(20, 20, bands=1), names=("B02",), nodata=None)
    mask = np.full((20, 20), 255, dtype=np.uint8)
    mask[4:6, 7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    with open_imagery(path, unit=Unit.DN) as imagery:
        read = imagery.read(("B02",), top=0, left=0, height=20, width=20)[0]
    assert np.array_equal(np.isnan(read), mask == 0)


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


def with_words(path, pixels, **said):
    """An image with attributes of rasterio's file set before its pixels."""
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), "crs": "EPSG:32633", "transform": PLACE}
    profile |= {"height": pixels.shape[1], "width": pixels.shape[2]} | said.pop("profile", {})
    with rasterio.open(path, "w", **{key: value for key, value in profile.items() if value is not None}) as target:
        for name, value in said.items():
            setattr(target, name, value)
        target.write(pixels)
    return path


def test_what_a_file_says_of_its_numbers_agrees_with_the_unit(pretrained, tmp_path):
    pixels = scene(24, 24)
    for scale, offset, unit, fits in (
        (1e-4, 0.0, Unit.DN, True),
        (1e-4, -0.1, Unit.DN_PLUS_1000, True),
        (1e-4, -0.1, Unit.DN, False),
        (1.0, -1000.0, Unit.DN, False),
        (1e-4, 0.0, Unit.DN_PLUS_1000, False),
    ):
        words = {"scales": [scale] * 12, "offsets": [offset] * 12, "descriptions": BANDS}
        path = with_words(tmp_path / "a.tif", pixels, **words)
        if fits:
            with open_imagery(path, unit=unit) as imagery:
                read = imagery.read(("B02",), top=0, left=0, height=24, width=24)
            np.testing.assert_array_equal(read[0], pixels[BANDS.index("B02")])
        else:
            with pytest.raises(UsageError, match=r"a\.tif: says of band 1 that value = .* which is not unit dn"):
                embed_image(pretrained, Source(path, unit), tmp_path / "out.tif")


def test_complex_colour_tables_and_control_points_are_refused(pretrained, tmp_path):
    path = with_words(tmp_path / "a.tif", scene(24, 24, bands=2).astype(np.complex64), descriptions=("VV", "VH"))
    with pytest.raises(UsageError, match="holds complex values"):
        embed_image(pretrained, Source(path, Unit.DB), tmp_path / "out.tif")
    with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint8", height=24, width=24) as target:
        target.write_colormap(1, {1: (255, 0, 0, 255)})
        target.write(np.ones((1, 24, 24), dtype=np.uint8))
    with pytest.raises(UsageError, match="indices into a colour table"):
        embed_image(pretrained, Source(path, Unit.DN, bands=("B02",)), tmp_path / "out.tif")
    points = [GroundControlPoint(r, c, 600000 + 10 * c, 5900040 - 10 * r) for r, c in ((0, 0), (0, 24), (24, 0))]
    placed = {"crs": None, "transform": None}
    path = with_words(tmp_path / "b.tif", scene(24, 24), descriptions=BANDS, profile=placed,
                      gcps=(points, rasterio.CRS.from_epsg(32633)))  # fmt: skip
    with pytest.raises(UsageError, match=r"3 ground control points alone and has no grid.*gdalwarp -tps"):
        embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif")


def test_alpha_and_nodata_both_count(tmp_path):
    pixels = scene(20, 20, bands=3)
    pixels[0, 1, 1] = 0
    pixels[2], pixels[2, 3, 4] = 255, 0
    colours = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
    words = {"descriptions": ("B02", "B03", ""), "colorinterp": colours, "profile": {"nodata": 0}}
    path = with_words(tmp_path / "a.tif", pixels, **words)
    with open_imagery(path, unit=Unit.DN) as imagery:
        read = imagery.read(("B02", "B03"), top=0, left=0, height=20, width=20)
    assert [list(map(int, place)) for place in np.argwhere(np.isnan(read))] == [[0, 1, 1], [0, 3, 4], [1, 3, 4]]
    with (
        pytest.raises(BandError, match="band 3 is alpha, not B04"),
        open_imagery(path, unit=Unit.DN, bands=("B02", "B03", "B04")),
    ):
        pass


def test_names_that_contradict_the_file_show_both_lists(tmp_path):
    path = write_image(tmp_path / "a.tif", scene(20, 20, bands=2), names=("B03", "B02"))
    for given in (("B02", "B03"), ("B03", "B04")):
        with (
            pytest.raises(BandError, match=f"describes its bands as B03, B02; given: {', '.join(given)}"),
            open_imagery(path, unit=Unit.DN, bands=given),
        ):
            pass
    with open_imagery(path, unit=Unit.DN, bands=("B03", "-")) as imagery:
        assert imagery.bands == ("B03",)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_grid_is_not_the_same_grid(pretrained, tmp_path):
    nowhere = {"crs": None, "transform": None}
    one = with_words(tmp_path / "a.tif", scene(24, 24), descriptions=BANDS, profile=nowhere)
    radar = scene(24, 24, bands=2).astype(np.float32)
    for profile in (nowhere, {}, {"crs": None}):
        two = with_words(tmp_path / "b.tif", radar, descriptions=("VV", "VH"), profile=profile)
        with pytest.raises(UsageError, match="does not say where it lies"):
            embed_image(pretrained, Source(one, Unit.DN), tmp_path / "out.tif", others=[Source(two, Unit.DB)])
    embed_image(pretrained, Source(one, Unit.DN), tmp_path / "out.tif")  # by itself it may lie nowhere


def test_an_image_of_this_disk_asks_for_no_profile_of_aws(pretrained, tmp_path, request):
    path = write_image(tmp_path / "a.tif", scene(24, 24))
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "with.tif", size=24)
    request.getfixturevalue("no_such_profile")
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "without.tif", size=24)
    assert (tmp_path / "without.tif").read_bytes() == (tmp_path / "with.tif").read_bytes()
