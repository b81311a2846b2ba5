"""How large the pixels of a store are on the ground, by what its files say of their places."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as warp_points

from seamo.earth import RADIUS_KM
from seamo.rasterfacts import gdal_settings
from seamo.sample import GeoRef
from seamo.store.reader import Store


def pixel_sizes(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Side of a square of the area of one pixel, on a sphere.

    Args:
        store: The store.
        rows: Of samples.

    Returns:
        (N,) metres, of the finest layer's grid; NaN where a sample has no place, or one that cannot be understood.
    """
    groups: dict[str, list[tuple[int, GeoRef]]] = defaultdict(list)
    for number, row in enumerate(rows.tolist()):
        if (geo := store.read_geo(row)) is not None:
            groups[geo.crs].append((number, geo))
    sizes = np.full(len(rows), np.nan)
    for crs, members in groups.items():
        a, b, c, d, e, f = np.array([geo.transform for _, geo in members]).T
        east, north = np.stack([c, c + a, c + b]), np.stack([f, f + d, f + e])  # of a corner and its two neighbours
        try:
            with gdal_settings():
                told = warp_points(crs, "EPSG:4326", east.ravel(), north.ravel())
        except (RasterioError, CRSError):
            continue
        longitude, latitude = (np.asarray(one).reshape(east.shape) for one in told)
        x = np.radians((longitude[1:] - longitude[0] + 180) % 360 - 180) * np.cos(np.radians(latitude[0]))
        y = np.radians(latitude[1:] - latitude[0])
        sizes[[number for number, _ in members]] = 1000 * RADIUS_KM * np.sqrt(np.abs(x[0] * y[1] - x[1] * y[0]))
    return sizes
