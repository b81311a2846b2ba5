"""The floors that cost seconds, against a reading of their own: numpy and rasterio, patches cut by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import seamo_bench
from seamo.errors import BandError
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store
from seamo_bench.networks.floors import ImageStatistics, TokenizerStatistics
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
