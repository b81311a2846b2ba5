"""Lists of footprints: where the samples of a data set lie, and when they were taken, without a pixel of them.

A footprint is four corners in longitude and latitude (WGS84, degrees) joined by straight lines in degrees: of a store
the corners of each sample's grid, of a box its own. One that was cut at the antimeridian, or that holds a pole, is its
box (`seamo.store.footprints`), which is larger and never smaller.

A file of them is Parquet or CSV with `id`, `west`, `south`, `east`, `north` and, where known, `begin` and `end` (UTC
days); Parquet may have `corners` (eight numbers), which count instead of the box. GeoParquet with a `bbox` covering
and STAC-GeoParquet are read, too.

How many images of the data set are not in a list is kept with it, as nobody can say where those lie: in the metadata
of Parquet (`unplaced`; STAC-GeoParquet of ours says what it left out), or as rows whose four sides are empty.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo.disk import write_output
from seamo.errors import UsageError
from seamo.store.samples import Samples

Degrees = NDArray[np.float64]
Days = NDArray[np.datetime64]
_SIDES = ("west", "south", "east", "north")
_COVERING = ("xmin", "ymin", "xmax", "ymax")
# Where a day is said: in our form, and in STAC's (a moment, or a range).
_BEGINS, _ENDS = ("begin", "start_datetime", "datetime"), ("end", "end_datetime", "datetime")
# One WKB polygon of five points, as almost every footprint of an index is.
_WKB = np.dtype([("head", "u1", (13,)), ("xy", "<f8", (5, 2))])
_UNPLACED = "unplaced"
_FORM = "It needs id, west, south, east and north (degrees), and may have begin and end (UTC days)."


@dataclass(frozen=True, slots=True, eq=False)
class Footprints:
    """Where N samples lie.

    Args:
        ids: (N,) of the samples.
        corners: (N, 4, 2) longitude and latitude in degrees, in order around the footprint. Longitudes of one
            footprint run on without a jump: they begin within -180..180 and may end beyond 180.
        begin, end: (N,) first and last day (UTC) of its images, NaT where unknown.
        unplaced: How many more images there are, whose place is not known.
    """

    ids: NDArray[np.str_]
    corners: Degrees
    begin: Days
    end: Days
    unplaced: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def boxes(self) -> Degrees:
        """(N, 4) west, south, east and north; east may lie beyond 180."""
        return np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1)

    @property
    def num_dated(self) -> int:
        """How many have a day."""
        return int((~np.isnat(self.begin) & ~np.isnat(self.end)).sum())


def of_boxes(
    ids: Sequence[str], boxes: Degrees, begin: Days | None = None, end: Days | None = None, *, where: str = "footprints"
) -> Footprints:
    """Footprints that are boxes.

    Args:
        ids: Of the samples.
        boxes: (N, 4) west, south, east, north in degrees; west > east across the antimeridian.
        begin: (N,) first days, NaT where unknown; None: all of them are.
        end: (N,) last days, likewise.
        where: What an error names.

    Raises:
        UsageError: If a box has no area or lies outside the globe.
    """
    west, south, east, north = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    within = (abs(west) <= 180) & (abs(east) <= 180) & (abs(south) <= 90) & (abs(north) <= 90)
    unrolled = np.where(east < west, east + 360, east)
    bad = ~(within & (south < north) & (west < unrolled))  # NaN is not within; 180 and -180 are one meridian
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        box = f"{west[first]:g}, {south[first]:g}, {east[first]:g}, {north[first]:g}"
        what = f"{int(bad.sum()):,} footprints have no area in longitude and latitude, first {ids[first]}: {box}"
        raise UsageError(what, where, "A place without a size is no footprint: give its west, south, east and north.")
    corners = np.stack([west, south, unrolled, south, unrolled, north, west, north], axis=1).reshape(-1, 4, 2)
    nothing = np.full(len(west), "NaT", dtype="datetime64[D]")
    return Footprints(
        np.asarray(ids, dtype=np.str_), corners, nothing if begin is None else begin, nothing if end is None else end
    )


def footprints_of(store: Samples, rows: NDArray[np.int64]) -> tuple[Footprints, NDArray[np.int64]]:
    """Footprints of some samples of a store, and their rows; those without a georeference are `unplaced`."""
    frame = store.read_index(["key", "footprint", "bbox"]).iloc[rows]
    there = frame["footprint"].notna().to_numpy()
    unplaced = int((~there).sum())
    frame, rows = frame[there], rows[there]
    boxes = np.array([[box[name] for name in _COVERING] for box in frame["bbox"]]).reshape(-1, 4)
    begin, end = _days_of(store, rows)
    found = of_boxes(frame["key"].tolist(), boxes, begin, end, where=store.title)
    shapes = frame["footprint"].tolist()
    plain = np.array([len(one) == _WKB.itemsize for one in shapes], dtype=bool)
    points = np.frombuffer(b"".join(one for one in shapes if len(one) == _WKB.itemsize), dtype=_WKB)["xy"][:, :4]
    found.corners[plain] = points
    return replace(found, unplaced=unplaced), rows


def _days_of(store: Samples, rows: NDArray[np.int64]) -> tuple[Days, Days]:
    begin = end = np.full(len(rows), "NaT", dtype="datetime64[D]")
    for stack in store.spec.stacks if len(rows) else ():
        days = store.dates_of(rows, stack).astype("datetime64[D]")
        begin = np.fmin(begin, np.fmin.reduce(days, axis=1))
        end = np.fmax(end, np.fmax.reduce(days, axis=1))
    return begin, end


def write_footprints(path: Path, found: Footprints) -> None:
    """Write a list as Parquet.

    Raises:
        UsageError: If the file cannot be written.
    """
    boxes = found.boxes
    east = np.where(boxes[:, 2] > 180, boxes[:, 2] - 360, boxes[:, 2])
    corners = pa.FixedSizeListArray.from_arrays(pa.array(found.corners.ravel()), 8)
    table = pa.table(
        {
            "id": pa.array(found.ids.tolist(), pa.string()),
            **{name: boxes[:, at] if name != "east" else east for at, name in enumerate(_SIDES)},
            "begin": pa.array(found.begin.astype("datetime64[D]"), pa.date32()),
            "end": pa.array(found.end.astype("datetime64[D]"), pa.date32()),
            "corners": corners,
        }
    ).replace_schema_metadata({_UNPLACED: str(found.unplaced)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_output(path, sink.getvalue().to_pybytes(), error=UsageError)


def read_footprints(path: Path) -> Footprints:
    """Read a list.

    Raises:
        UsageError: If the file is none, or a footprint in it has no area.
    """
    unplaced = 0
    try:
        if path.suffix == ".csv":
            frame = pd.read_csv(path, dtype={"id": str, "begin": str, "end": str})
        else:
            unplaced = _unplaced(pq.read_metadata(path).metadata or {})
            names = pq.read_schema(path).names
            known = ("id", *_SIDES, "bbox", "corners", *dict.fromkeys((*_BEGINS, *_ENDS)))
            frame = pq.read_table(path, columns=[name for name in known if name in names]).to_pandas()
        if "west" in frame:
            placed = frame[list(_SIDES)].notna().any(axis=1)
            unplaced += int((~placed).sum())
            frame = frame[placed]
        return replace(_read(frame, path.name), unplaced=unplaced)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, pa.ArrowException) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"is no list of footprints ({error})", str(path), _FORM) from error


def _unplaced(metadata: Mapping[bytes, bytes]) -> int:
    """Images that a list says it leaves out: one of ours, or STAC-GeoParquet of ours."""
    found = int(metadata.get(_UNPLACED.encode(), b"0"))
    stac = json.loads(metadata.get(b"stac-geoparquet", b"{}"))
    for collection in stac.get("collections", {}).values():
        found += sum(int(count) for count in collection.get("seamo:left_out", {}).values())
    if found < 0:
        raise ValueError(f"{found} images without a place")
    return found


def _read(frame: Any, where: str) -> Footprints:
    if "bbox" in frame and "west" not in frame:
        boxes = np.array([[box[name] for name in _COVERING] for box in frame["bbox"]]).reshape(-1, 4)
    else:
        boxes = np.stack([frame[name].to_numpy(dtype=np.float64) for name in _SIDES], axis=1)
    begin, end = _days(frame, _BEGINS), _days(frame, _ENDS)
    found = of_boxes(frame["id"].astype(str).tolist(), boxes, begin, end, where=where)
    if "corners" not in frame:
        return found
    corners = np.stack(frame["corners"].to_list()).astype(np.float64).reshape(-1, 4, 2) if len(frame) else found.corners
    around = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    if not np.allclose(around, found.boxes, rtol=0, atol=1e-9):
        raise UsageError("corners lie elsewhere than their boxes", where, "Leave the column `corners` out.")
    return Footprints(found.ids, corners, found.begin, found.end)


def _days(frame: Any, names: Sequence[str]) -> Days:
    found = np.full(len(frame), "NaT", dtype="datetime64[D]")
    for name in names:
        if name in frame:
            said = pd.to_datetime(frame[name], utc=True, format=None if name in ("begin", "end") else "ISO8601")
            days = said.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
            found = np.where(np.isnat(found), days, found)
    return found
