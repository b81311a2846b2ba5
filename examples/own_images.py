"""Images as you may have them, to try `seamo-prep init` on: `python examples/own_images.py FOLDER [KIND]`.

The pixels are synthetic. Of kind `classes` (without KIND) they are 60 GeoTIFFs in a folder a class, with the bands B02,
B03, B04, B08 described, in another order in each file, and 0 declared as nodata. Of kind `masks` they are 24 places,
with images/ of two dates each, and masks/ of water. Of kind `unnamed` they are twelve whose bands nobody describes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from seamo.testing.world import Scene, World
from seamo_prep.unpack import declare_synthetic

COVERS = {"crops": "annual-crop", "forest": "broad-leaved-forest", "water": "sea"}
BANDS = ("B02", "B03", "B04", "B08")
SIDE = 60  # pixels of 10 m
DATES = ("2021-03-02", "2021-07-25")


def write(path: Path, pixels: NDArray[np.uint16], scene: Scene, names: Sequence[str], nodata: int | None) -> None:
    """A GeoTIFF of (C, H, W) pixels where a scene lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=pixels.dtype, nodata=nodata,
        crs=f"EPSG:{scene.epsg}", transform=rasterio.Affine(*scene.transform), compress="deflate",
    ) as file:  # fmt: skip
        file.write(pixels)
        if names:
            file.descriptions = tuple(names)


def image(scene: Scene, date: str, names: Sequence[str]) -> NDArray[np.uint16]:
    """Bands of a scene at one date, (C, H, W)."""
    bands = scene.s2(np.datetime64(date), "L2A", clouds=False)
    return np.stack([bands[name] for name in names])


def classes(folder: Path, world: World) -> None:
    """A folder a class."""
    rng = np.random.default_rng(4)
    for name, cover in COVERS.items():
        for number in range(1, 21):
            scene = world.scene(f"{name}-{number}", SIDE, focus=cover)
            order = [str(one) for one in rng.permutation(BANDS)]
            pixels = image(scene, DATES[1], order)
            if number % 5 == 0:
                pixels[:, :, : SIDE // 6] = 0  # the edge of a swath
            write(folder / name / f"{name}_{number:02d}.tif", pixels, scene, order, 0)


def masks(folder: Path, world: World) -> None:
    """Images of two dates with masks of water: dark in the near infrared on both."""
    for number in range(1, 25):
        scene = world.scene(f"place-{number}", SIDE, focus="river")
        dates = [image(scene, date, BANDS) for date in DATES]
        for date, pixels in zip(DATES, dates, strict=True):
            write(folder / "images" / f"place{number:02d}_{date.replace('-', '')}.tif", pixels, scene, BANDS, 0)
        water = (np.stack(dates)[:, 3].max(axis=0) < 1000).astype(np.uint8) * 255
        write(folder / "masks" / f"place{number:02d}.tif", water[None], scene, ["water"], None)


def unnamed(folder: Path, world: World) -> None:
    """Images whose bands nobody describes."""
    for number in range(1, 13):
        scene = world.scene(f"unnamed-{number}", SIDE)
        write(folder / f"{number:02d}.tif", image(scene, DATES[1], BANDS), scene, (), None)


def main() -> None:
    """Write one of the three folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", nargs="?", choices=("classes", "masks", "unnamed"), default="classes")
    chosen = parser.parse_args()
    {"classes": classes, "masks": masks, "unnamed": unnamed}[chosen.kind](chosen.folder, World(seed=7))
    declare_synthetic(chosen.folder, what="synthetic images to try `init` on; nothing in them was measured")
    count = len(list(chosen.folder.rglob("*.tif")))
    print(f"{count} synthetic GeoTIFFs in {chosen.folder}")


if __name__ == "__main__":
    main()
