"""The floors that cost seconds, against a reading of their own: numpy and rasterio, patches cut by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import seamo_bench
from seamo.bands import SENSORS
from seamo.errors import BandError
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store
from seamo_bench.backbones.texture import INDICES, LAGS
from seamo_bench.networks.floors import ImageStatistics, TokenizerStatistics
from seamo_bench.networks.texture import TextureStatistics
from seamo_bench.zoo.catalogue import find_card

torch.set_num_threads(1)
PATCH, WIDTH = 4, 96


def tokens_of(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (patches, width): each patch flattened band by band, times the weights."""
    _, height, width = image.shape
    cut = [
        image[:, y : y + PATCH, x : x + PATCH].reshape(-1)
        for y in range(0, height - PATCH + 1, PATCH)
        for x in range(0, width - PATCH + 1, PATCH)
    ]
    return np.stack(cut) @ weight.T


def weight_of(count: int) -> np.ndarray:
    """Xavier's uniform numbers of seed 0, by their formula (Glorot and Bengio 2010, eq. 16)."""
    inputs = count * PATCH * PATCH
    drawn = torch.rand((WIDTH, inputs), generator=torch.Generator().manual_seed(0)).double().numpy()
    return (2 * drawn - 1) * np.sqrt(6 / (inputs + WIDTH))


def test_rgb_statistics_of_real_tiles_are_those_of_their_files(samples: Path, tmp_path: Path) -> None:
    raw = samples / "eurosat_ms"
    words = ["-m", "seamo_prep.cli", "build", "eurosat", "--raw", raw, "--store", tmp_path, "--limit", "3"]
    subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True)
    store = open_store(next((tmp_path / "eurosat").glob("*/store.json")).parent)
    backbone = seamo_bench.load_backbone("rgb-statistics", store=store)
    batch = next(iter(store.loader("all", 3)))
    found = backbone.features(batch).pooled.numpy()
    for row, key in zip(found, batch.keys, strict=True):
        (path,) = raw.rglob(f"{key.rsplit('/', 1)[-1]}.tif")
        with rasterio.open(path) as source:
            red, green, blue = (source.read(index).astype(np.float64) for index in (4, 3, 2))
        want = [number for band in (red, green, blue) for number in (band.mean(), band.std())]
        np.testing.assert_allclose(row, want, rtol=1e-6)


def test_rgb_statistics_take_8_bit_images_and_need_colours() -> None:
    network = ImageStatistics(("rgb",), tails=False)
    image = torch.tensor([[[1.0, 3.0]], [[5.0, 5.0]], [[float("nan"), 7.0]]])[None]
    assert network.forward_features({"rgb": image}).pooled.tolist() == [[2, 1, 5, 0, 7, 0]]
    radar = tiny_store(layers=["s1"])
    with pytest.raises(BandError, match="rgb-statistics: needs rgb or s2, tiny has s1"):
        seamo_bench.load_backbone("rgb-statistics", store=radar)


def test_tokenizer_statistics_of_a_store_are_those_of_its_patches() -> None:
    store = tiny_store(samples=12)
    backbone = seamo_bench.load_backbone("tokenizer-statistics", store=store)
    batch = next(iter(store.loader("test", 2)))
    found = backbone.features(batch).pooled.numpy()
    assert found.shape == (2, 2 * 2 * WIDTH)
    train = store.rows("train")
    for row, where in zip(found, batch.rows.tolist(), strict=True):
        want = []
        for layers in (("s2_10m", "s2_20m"), ("s1",)):
            bands = []
            for layer in layers:
                known = np.stack([store.read_layer(int(one), layer) for one in train]).astype(np.float64)
                mean, std = known.mean(axis=(0, 1, 3, 4)), known.std(axis=(0, 1, 3, 4))
                image = (store.read_layer(where, layer)[0] - mean[:, None, None]) / std[:, None, None]
                times = 24 // image.shape[-1]
                bands.append(image.repeat(times, axis=1).repeat(times, axis=2))  # nearest to the finest grid
            image = np.concatenate(bands)  # B02, B03, B04, B08, B11 is the canonical order
            tokens = tokens_of(image, weight_of(len(image)))
            want += [tokens.mean(axis=0), tokens.std(axis=0)]
        np.testing.assert_allclose(row, np.concatenate(want), rtol=1e-4, atol=1e-4)


def test_a_patch_with_a_missing_pixel_is_left_out_whole() -> None:
    network = TokenizerStatistics({"s2": 2}, patch=PATCH, width=WIDTH, seed=0)
    generator = np.random.default_rng(0)
    image = generator.normal(size=(2, 9, 14)).astype(np.float32)  # its last row and two columns make no whole patch
    holed = image.copy()
    holed[1, 5, 6] = np.nan  # in patch (1, 1) of a grid of 2 x 3
    tokens = tokens_of(image[:, :8, :12], weight_of(2))
    kept = np.delete(tokens, 4, axis=0)
    batch = torch.from_numpy(np.stack([image, holed, np.full_like(image, np.nan)]))
    found = network.forward_features({"s2": batch}).pooled.numpy()
    for row, want in zip(found[:2], (tokens, kept), strict=True):
        np.testing.assert_allclose(row, np.concatenate([want.mean(axis=0), want.std(axis=0)]), atol=1e-5)
    assert not found[2].any()


def test_the_untrained_weights_do_not_follow_the_seed_of_a_run() -> None:
    store = tiny_store()
    batch = next(iter(store.loader("test", 1)))
    one, two = (
        seamo_bench.load_backbone("tokenizer-statistics", store=store, seed=seed).features(batch).pooled
        for seed in (0, 5)
    )
    assert torch.equal(one, two)
    assert dict(find_card("tokenizer-statistics").card.variant)["seed"] == 0


def texture_of(channel: np.ndarray) -> list[float]:
    """Mean, std, p10, p90 and autocorrelations of one channel (H, W), pixel by pixel and pair by pair."""
    height, width = channel.shape
    known = {(y, x): float(channel[y, x]) for y in range(height) for x in range(width) if not np.isnan(channel[y, x])}
    if not known:
        return [0.0] * (4 + len(LAGS))
    values = np.array(list(known.values()))
    mean, variance = values.mean(), values.var()
    found = [mean, variance**0.5, *np.percentile(values, (10, 90))]
    for lag in LAGS:
        ways = []
        for down, right in ((lag, 0), (0, lag)):
            pairs = [(a, known[y + down, x + right]) for (y, x), a in known.items() if (y + down, x + right) in known]
            ways.append(np.mean([(a - mean) * (b - mean) for a, b in pairs]) if pairs and variance else np.nan)
        found.append(np.nan_to_num((ways[0] + ways[1]) / 2 / variance if variance else np.nan))
    return found


def test_texture_statistics_of_a_store_are_those_of_its_pixels() -> None:
    store = tiny_store(samples=12)
    backbone = seamo_bench.load_backbone("texture-statistics", store=store)
    batch = next(iter(store.loader("test", 2)))
    found = backbone.features(batch).pooled.numpy()
    for row, where in zip(found, batch.rows.tolist(), strict=True):
        scales = {"s2_10m": 1e-4, "s2_20m": 1e-4, "s1": 0.1}  # reflectance, bel
        layers = {name: store.read_layer(where, name)[0] * scale for name, scale in scales.items()}
        blue, green, red, near = layers["s2_10m"]
        short = layers["s2_20m"][0].repeat(2, axis=0).repeat(2, axis=1)
        radar = layers["s1"]
        indices = [(a - b) / (a + b) for a, b in ((near, red), (green, red), (green, near), (green, short))]
        channels = [blue, green, red, near, short, *indices, *radar, radar[0] - radar[1]]
        want = np.array([texture_of(channel) for channel in channels])
        got = row.reshape(want.shape)
        np.testing.assert_allclose(got[:, :4], want[:, :4], rtol=1e-4, atol=1e-6)
        assert np.abs(got).max() < 5  # neighbours by the cosine see levels and texture alike
        np.testing.assert_allclose(got[:, 4:], want[:, 4:], atol=1e-4)


def test_texture_statistics_leave_out_what_was_not_measured() -> None:
    generator = np.random.default_rng(0)
    image = generator.normal(100, 30, size=(2, 11, 7)).cumsum(axis=2).astype(np.float32)  # no columns 8 apart
    holed = image.copy()
    holed[0, 3:5, 2:] = np.nan
    holed[1] = np.nan
    still = np.full_like(image, 3000.1)
    still[0, 0, 0] = -5.0  # a reflectance below 0 counts as none
    network = TextureStatistics({"rgb": [(0, 1)]}, scales={"rgb": 1.0}, logarithmic=(), lags=LAGS)
    found = network.forward_features({"rgb": torch.from_numpy(np.stack([image, holed, still]))}).pooled.numpy()
    for row, one in zip(found, (image, holed, still), strict=True):
        first, second = one.astype(np.float64).clip(min=0)
        channels = [*one.astype(np.float64), (first - second) / (first + second)]
        want = np.array([texture_of(channel) for channel in channels])
        want[:, -1] = 0.0  # the lag of which the columns have no pair
        np.testing.assert_allclose(row.reshape(want.shape), want, rtol=1e-4, atol=1e-5)
    assert not found[1].reshape(3, -1)[1:].any()  # neither the band nor its index was measured
    assert not found[2].reshape(3, -1)[1, 4:].any()  # 3000.1 is no float32: what rounding leaves has no texture


def test_texture_does_not_follow_brightness_and_contrast() -> None:
    waves = torch.sin(torch.arange(640) * torch.pi / 8).expand(1, 1, 16, 640)  # of 16 pixels, the same in every row
    network = TextureStatistics({"s1": []}, scales={"s1": 0.1}, logarithmic=("s1",), lags=LAGS)
    one, other = (network.forward_features({"s1": 50 + scale * waves}).pooled[0, 4:] for scale in (1.0, 7.0))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    want = [(1 + np.cos(lag * np.pi / 8)) / 2 for lag in LAGS]
    np.testing.assert_allclose(one, want, atol=0.01)


def test_every_index_is_of_bands_that_its_sensor_has() -> None:
    for spec in find_card("texture-statistics").card.inputs:
        names = {band.name for band in SENSORS[spec.sensor]}
        assert all({a, b} <= names and a != b for a, b in INDICES[spec.sensor])
