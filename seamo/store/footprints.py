"""Where samples lie, as index.parquet says it: polygons and boxes in longitude and latitude, as GeoParquet asks for.

A footprint that crosses the antimeridian is cut there (RFC 7946, section 3.1.9) into a MultiPolygon, and its box runs
from a larger xmin to a smaller xmax (section 5.2); one that holds a pole is the cap of all longitudes (section 5.3).
Corners are joined by straight lines in degrees: samples are small.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp_points

from seamo.errors import StoreError
from seamo.rasterfacts import GDAL_ERRORS, gdal_settings

Box = dict[str, float]
Ring = NDArray[np.float64]  # (P, 2) longitude and latitude, counter-clockwise, the first point again at the end
# One WKB polygon of five points: byte order 1, type 3, one ring, five points, 93 bytes.
_WKB = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])
_POLYGON, _MULTIPOLYGON = 3, 6
_PLACE = "Correct its coordinate system and its place (gdal_edit.py -a_srs ... -a_ullr ...), or take them out."
_PROJ = "PROJ reads the data of another installation: unset PROJ_DATA and PROJ_LIB."


class ImageGrid(NamedTuple):
    """The finest grid of one sample; without a transform it has no place."""

    key: str
    crs: str
    transform: tuple[float, ...] | None
    height: int
    width: int


def footprints(grids: Sequence[ImageGrid]) -> tuple[list[Box | None], list[bytes | None]]:
    """Box and WKB geometry of each sample in WGS84.

    Raises:
        StoreError: If a coordinate system cannot be understood.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, grid in enumerate(grids):
        if grid.transform is not None and grid.height and grid.width:
            groups[grid.crs].append(i)
    boxes: list[Box | None] = [None] * len(grids)
    shapes: list[bytes | None] = [None] * len(grids)
    for crs, members in groups.items():
        corners = np.stack([_corners(grids[i]) for i in members])
        try:
            with gdal_settings():
                lon, lat = warp_points(crs, "EPSG:4326", corners[..., 0].ravel(), corners[..., 1].ravel())
        except (*GDAL_ERRORS, CRSError) as error:
            key = grids[_first_bad(crs, corners, members)].key
            what = f"its place cannot be found in coordinate system {crs!r} ({error})"
            raise StoreError(what, key, _PROJ if "proj.db" in str(error) else _PLACE) from error
        points = np.stack([lon, lat], axis=-1).reshape(len(members), 5, 2)
        wkb = np.zeros(len(members), dtype=_WKB)
        wkb["order"], wkb["type"], wkb["rings"], wkb["points"], wkb["xy"] = 1, _POLYGON, 1, 5, points
        low, high = points.min(axis=1), points.max(axis=1)
        # Wider than half the globe, or beyond its edge, is the look of what crosses it; but in degrees an image may be
        # as wide as that.
        odd = (high[:, 0] - low[:, 0] > 180) | (high[:, 0] > 180) | (low[:, 0] < -180)
        odd &= np.isfinite(points).all(axis=(1, 2))
        if CRS.from_user_input(crs).is_geographic:
            odd &= np.ptp(corners[..., 0], axis=1) <= 180
        for place, i in enumerate(members):
            if odd[place]:
                boxes[i], shapes[i] = _around(points[place])
                continue
            (xmin, ymin), (xmax, ymax) = low[place].tolist(), high[place].tolist()
            boxes[i] = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
            shapes[i] = wkb[place].tobytes()
    return boxes, shapes


def _first_bad(crs: str, corners: NDArray[np.float64], members: Sequence[int]) -> int:
    """Which of some images has no place by itself; the first where none is to blame."""
    for own, member in zip(corners, members, strict=True):
        try:
            with gdal_settings():
                warp_points(crs, "EPSG:4326", own[:, 0], own[:, 1])
        except (*GDAL_ERRORS, CRSError):
            return member
    return members[0]


def _corners(grid: ImageGrid) -> NDArray[np.float64]:
    # Counter-clockwise from the lower left for a north-up image, as GeoParquet recommends, closed.
    a, b, c, d, e, f = grid.transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    h, w = grid.height, grid.width
    cols, lines = np.array([0.0, w, w, 0.0, 0.0]), np.array([h, h, 0.0, 0.0, h], dtype=np.float64)
    return np.stack([a * cols + b * lines + c, d * cols + e * lines + f], axis=-1)


def _around(ring: Ring) -> tuple[Box, bytes]:
    """Box and geometry of a ring across the antimeridian, or around a pole."""
    steps = (np.diff(ring[:, 0]) + 180) % 360 - 180
    lon = ring[0, 0] + np.concatenate([[0.0], np.cumsum(steps)])
    south, north = float(ring[:, 1].min()), float(ring[:, 1].max())
    if abs(lon[-1] - lon[0]) > 180:  # it went around once: a pole is inside
        pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
        box = {"xmin": -180.0, "ymin": min(south, pole), "xmax": 180.0, "ymax": max(north, pole)}
        return box, _polygon(_cap(ring, pole))
    lon -= 360 * np.floor((lon.min() + 180) / 360)  # begins within -180..180
    if lon.max() <= 180:
        whole = np.stack([lon, ring[:, 1]], axis=1)
        return {"xmin": float(lon.min()), "ymin": south, "xmax": float(lon.max()), "ymax": north}, _polygon(whole)
    unwrapped = np.stack([lon, ring[:, 1]], axis=1)
    west, east = _cut(unwrapped, keep=-1), _cut(unwrapped, keep=1)
    east[:, 0] -= 360
    box = {"xmin": float(lon.min()), "ymin": south, "xmax": float(lon.max()) - 360, "ymax": north}
    parts = np.array([_MULTIPOLYGON, 2], dtype="<u4").tobytes()
    return box, b"\x01" + parts + _polygon(west) + _polygon(east)


def _cut(ring: Ring, *, keep: int) -> Ring:
    """The part of a convex ring on one side of longitude 180 (Sutherland and Hodgman 1974)."""
    kept: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True):
        if keep * (x0 - 180) >= 0:
            kept.append((x0, y0))
        if (x0 - 180) * (x1 - 180) < 0:
            kept.append((180.0, y0 + (y1 - y0) * (180 - x0) / (x1 - x0)))
    return np.array([*kept, kept[0]])


def _cap(ring: Ring, pole: float) -> Ring:
    """All longitudes between a ring around a pole and the pole, counter-clockwise."""
    x, y = ring[:-1][np.argsort(ring[:-1, 0])].T
    edge = float(np.interp(180, [x[-1], x[0] + 360], [y[-1], y[0]]))
    border = [(-180.0, edge), *zip(x.tolist(), y.tolist(), strict=True), (180.0, edge)]
    points = [*border, (180.0, pole), (-180.0, pole), border[0]]
    return np.array(points if pole > 0 else points[::-1])


def _polygon(ring: Ring) -> bytes:
    head = np.array([_POLYGON, 1, len(ring)], dtype="<u4").tobytes()
    return b"\x01" + head + np.ascontiguousarray(ring, dtype="<f8").tobytes()


def geo_metadata(boxes: Sequence[Box | None], shapes: Sequence[bytes | None]) -> bytes:
    """The value of the key `geo` of a GeoParquet file."""
    known = [box for box in boxes if box is not None]
    cut = any(shape is not None and shape[1] == _MULTIPOLYGON for shape in shapes)
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"] if cut else ["Polygon"],
        "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if known:
        column["bbox"] = _together(known)
    # No `crs` member: GeoParquet's default, longitude and latitude on WGS84 (OGC:CRS84).
    facts = {"version": "1.1.0", "primary_column": "footprint", "columns": {"footprint": column}}
    return json.dumps(facts, sort_keys=True).encode()


def _together(boxes: Sequence[Mapping[str, float]]) -> list[float]:
    crosses = any(box["xmin"] > box["xmax"] for box in boxes)
    return [
        -180.0 if crosses else min(box["xmin"] for box in boxes),
        min(box["ymin"] for box in boxes),
        180.0 if crosses else max(box["xmax"] for box in boxes),
        max(box["ymax"] for box in boxes),
    ]
