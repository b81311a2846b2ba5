"""Synthetic images and the map of a model over them by plain loops."""

import numpy as np
import rasterio
import rioxarray  # noqa: F401 - gives Datasets their `rio`
import torch
from affine import Affine

from seamo.model.config import SeaMoConfig

CONFIG = SeaMoConfig(size=24, patch=4, dim=16, depth=2, heads=2)
BANDS = CONFIG.bands["s2"]
PLACE = Affine(10.0, 0.0, 600000.0, 0.0, -10.0, 5900040.0)
NODATA = 65535


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
