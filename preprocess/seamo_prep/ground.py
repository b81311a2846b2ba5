"""How large the pixels of a store are on the ground, by what its files say of their places."""

import numpy as np
from numpy.typing import NDArray

from seamo.earth import RADIUS_KM
from seamo.store.reader import Store


def pixel_sizes(store: Store) -> NDArray[np.float64]:
    """Sizes of one pixel of the finest layer, on a sphere.

    Computed from the boxes in longitude and latitude that the index keeps, so that it needs no coordinate systems. The
    box of a turned image is larger than the image: by as much as it is in the image's own system.

    Args:
        store: Whose samples are all looked at.

    Returns:
        (N, 2) metres, of the samples that have a place: the side of a square of the pixel's area, and from north to
        south, which is the one that people state of pixels in degrees.
    """
    table = store.read_columns(["bbox", "transform", "height", "width"])
    rows = [row for row in table.to_pylist() if row["bbox"] and row["transform"] and row["height"] and row["width"]]
    box = np.array([[row["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for row in rows]).reshape(-1, 4)
    west, south, east, north = box.T
    height, width = np.array([(row["height"], row["width"]) for row in rows], dtype=np.float64).reshape(-1, 2).T
    a, b, _, d, e, _ = np.array([row["transform"][:6] for row in rows]).reshape(-1, 6).T
    image = np.abs(a * e - b * d) * height * width  # in the units of its own system; 0 says no place
    around = (np.abs(a) * width + np.abs(b) * height) * (np.abs(d) * width + np.abs(e) * height)
    filled = image / np.where(image > 0, around, 1)
    degrees = np.where(east > west, east - west, east - west + 360)  # across the antimeridian
    across = np.radians(degrees) * np.cos(np.radians((south + north) / 2))
    tall = np.radians(north - south)
    sizes = np.stack([np.sqrt(across * tall * filled / (height * width)), tall / height], axis=1)
    return np.asarray(1000 * RADIUS_KM * sizes[image > 0])
