"""Folders of one's own images in the shapes that people have, made of real EuroSAT tiles or of a synthetic world."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from seamo.testing.world import World

FILE_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")  # EuroSAT's
BGRN = ("B02", "B03", "B04", "B08")
CLASSES = {"Forest": "coniferous-forest", "River": "river", "Highway": "road"}
EACH = 4
NEWER = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)


@dataclass(frozen=True)
class Tile:
    """One image: band -> (64, 64) uint16, and where it lies."""

    name: str
    label: str
    bands: Mapping[str, np.ndarray]
    crs: Any
    place: Any


def synthetic_tiles() -> list[Tile]:
    """Twelve synthetic tiles of three classes; nothing in them was measured."""
    world, found = World(seed=3), []
    for label, cover in CLASSES.items():
        for number in range(1, EACH + 1):
            scene = world.scene(f"{label}_{number}", 66, focus=cover)
            bands = scene.s2(np.datetime64("2019-06-01"), "L1C", clouds=False)
            fine = {name: np.kron(px, np.ones((66 // len(px),) * 2, np.uint16))[:64, :64] for name, px in bands.items()}
            place = rasterio.Affine(*scene.transform)
            found.append(Tile(f"{label}_{number}", label, fine, f"EPSG:{scene.epsg}", place))
    return found


def real_tiles(samples: Path) -> list[Tile]:
    """Twelve real tiles of EuroSAT (MIT) of the same classes."""
    found = []
    for label in CLASSES:
        for number in range(1, EACH + 1):
            path = samples / "eurosat_ms" / "EuroSAT_MS" / label / f"{label}_{number}.tif"
            with rasterio.open(path) as file:
                bands = dict(zip(FILE_ORDER, file.read(), strict=True))
                found.append(Tile(path.stem, label, bands, file.crs, file.transform))
    return found


def write(
    path: Path, pixels: np.ndarray, tile: Tile, *, names: Sequence[str | None] = (), nodata: float | None = None,
    scale: tuple[float, float] | None = None, crs: Any = None, **options: Any,
) -> Path:  # fmt: skip
    """A GeoTIFF of (C, H, W) pixels where a tile lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=pixels.dtype, nodata=nodata,
        crs=crs or tile.crs, transform=tile.place, **options,
    ) as file:  # fmt: skip
        file.write(pixels)
        if names:
            file.descriptions = tuple(names)
        if scale:
            file.scales, file.offsets = (scale[0],) * count, (scale[1],) * count
    return path


def stack(tile: Tile, bands: Sequence[str] = BGRN) -> np.ndarray:
    """Bands of a tile, (C, H, W)."""
    return np.stack([tile.bands[name] for name in bands])


def orders(bands: Sequence[str] = BGRN) -> Iterator[tuple[str, ...]]:
    """The bands in another order every time; always the same orders."""
    rng = np.random.default_rng(5)
    while True:
        yield tuple(str(one) for one in rng.permutation(bands))


def drawn(tile: Tile, *values: int) -> np.ndarray:
    """A mask (1, 64, 64): where the near infrared is dark or not, and the rest of the values in a corner."""
    mask = np.where(tile.bands["B08"] > np.median(tile.bands["B08"]), values[0], values[1]).astype(np.uint8)
    for number, value in enumerate(values[2:]):
        mask[number, :] = value
    return mask[None]
