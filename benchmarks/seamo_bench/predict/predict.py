"""A record applied to images of any size: a map of classes, georeferenced, that goes on after a kill.

Segmentation and change give a class a pixel: windows of the size of the record's tiles, blended by weights that fall
to their edges (`seamo.use.windows`). Classification gives a class a cell of `stride` pixels, that of a window around
it; at the image's edge the window is moved inside. What is not measured has no class: a pixel without all its bands,
a window of which less than half is measured.
"""

import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from seamo.errors import UsageError
from seamo.inputs.check import check_range, refuse_unit
from seamo.manifest import shipped_manifest
from seamo.progress import Progress
from seamo.sample import IGNORE
from seamo.store.pictures import class_colours, safe_colours
from seamo.use.imagery import Imagery
from seamo.use.options import Image
from seamo.use.parts import Parts
from seamo.use.windows import Encoded, Windows, blend, plan_windows
from seamo_bench.facts import Facts
from seamo_bench.predict.applied import Applied, load_applied
from seamo_bench.predict.images import Dates, check_dates, check_size, grid_note, open_images
from seamo_bench.records.heads import kept_record

log = logging.getLogger(__name__)
MEASURED = 0.5  # share of a window that must be measured to give it a class
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Setting:
    """How a record is applied.

    Args:
        backbone, weights, window, device: See `seamo_bench.predict.applied.load_applied`.
        overlap: Segmentation and change: share of a window that the next one sees again.
        stride: Classification: side of a cell of the map, in pixels; 0 = the window's, so that each pixel is seen once.
        probabilities: Write the probability of every class instead of the most probable class.
        batch: Windows at once.
    """

    backbone: str = ""
    weights: Path = Path("weights")
    window: int = 0
    device: str = ""
    overlap: float = 0.5
    stride: int = 0
    probabilities: bool = False
    batch: int = 16


def predict(
    path: Path, dates: Sequence[Sequence[Image]], out: Path, *, setting: Setting, progress: TextIO | None = None
) -> dict[str, Any]:
    """Write the map of a record's classes.

    Args:
        path: The record's JSON, with its head beside it.
        dates: The images of each date, one a sensor; a record of change takes two dates (before, after), others one.
        out: `.tif`, which does not exist yet; it appears when it is whole. Class ids (uint8, 255 = none, with a
            colour table), or float32 probabilities, a band a class, NaN where none: with `setting.probabilities`,
            and of multi-label records always.
        setting: How.
        progress: Where to show the way.

    Returns:
        What was done (also in the output's tag `seamo`).

    Raises:
        UsageError, BandError: If the images or options do not fit the record.
        ProtocolError, CheckpointError: If the record cannot be applied.
        StoreError: If the disk is full; finished parts stay.
    """
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError("is not a .tif", str(out), "The map is a GeoTIFF.")
    record, head = kept_record(path)
    check_dates(record, dates)
    with ExitStack() as stack:
        opened, units = open_images(record, head.sources, dates, stack)
        applied = load_applied(
            path, units,
            backbone=setting.backbone, weights=setting.weights, window=setting.window, device=setting.device,
        )  # fmt: skip
        first = next(iter(opened[0].values()))
        check_size(first, applied.window, record.key)
        floats = setting.probabilities or record.facts.task.kind == "multi-label"
        if len(record.facts.task.classes) > IGNORE and not floats:
            raise UsageError(f"more than {IGNORE} classes have no ids of 8 bits", record.key, "Use --probabilities.")
        plan: _Blended | _Cells
        if applied.dense:
            if setting.stride:
                raise UsageError("belongs to classification", "--stride", "A class a pixel needs none.")
            plan = _Blended(applied, opened, setting.batch, setting.overlap)
        else:
            plan = _Cells(applied, opened, setting.batch, setting.stride)
        about = _about(applied, plan, setting, grid_note(first, head.gsd_m))
        files = [[one.path.stat().st_size, one.path.stat().st_mtime_ns, str(one.nodata)] for d in dates for one in d]
        parts = Parts(out, {"images": files, "probabilities": floats, **about}, plan.total)
        if parts.first_missing == 0:
            _check_pixels(applied, opened)
        for k, rows in plan.rows(parts.first_missing, progress):
            parts.save(k, rows if floats else _ids(rows))
        with parts.writing():
            strips = (parts.load(k) for k in range(parts.total))
            _write(parts.whole, strips, _profile(first, plan, record.facts, floats), record.facts, about)
        parts.finish()
    height, width = plan.grid
    return {"out": str(out), "height": height, "width": width, **about}


def _read(
    applied: Applied, dates: Dates, places: Sequence[tuple[int, int]]
) -> tuple[list[dict[str, Rows]], NDArray[np.bool_]]:
    """Windows by their upper left corners: sensor -> (n, C, h, w) of each date, and which pixels have everything."""
    height, width = applied.window
    pixels = [
        {
            sensor: np.stack(
                [
                    imagery.read(applied.sources[sensor], top=top, left=left, height=height, width=width)
                    for top, left in places
                ]
            )
            for sensor, imagery in images.items()
        }
        for images in dates
    ]
    measured = [~np.isnan(one).any(axis=1) for images in pixels for one in images.values()]
    there = np.asarray(np.stack(measured).all(axis=0))
    return pixels, there


def _scores(applied: Applied, pixels: Sequence[Mapping[str, Rows]], seen: NDArray[np.bool_]) -> Rows:
    return applied.probabilities([applied.batch({s: one[seen] for s, one in images.items()}) for images in pixels])


def _check_pixels(applied: Applied, dates: Dates) -> None:
    """Refuse pixels that cannot be in the unit stated: nine windows of each date together."""
    height, width = next(iter(dates[0].values())).shape
    tops, lefts = (sorted({i * (n - applied.window[0]) // 2 for i in range(3)}) for n in (height, width))
    pixels, there = _read(applied, dates, [(top, left) for top in tops for left in lefts])
    seen = np.asarray(there.mean(axis=(1, 2)) >= MEASURED)
    if not seen.any():
        return
    units = {layer.sensor: layer.unit for layer in applied.spec.layers}
    for images in pixels:
        for sensor, one in images.items():
            refuse_unit(units[sensor], one[seen], sensor)
        batch = applied.batch({sensor: one[seen] for sensor, one in images.items()})
        for note in check_range(applied.adapter(batch), applied.adapter.wiring):
            log.warning("%s", note)


# Maps ----------------------------------------------------------------------------------------------------


class _Blended:
    """A class a pixel: overlapping windows, blended."""

    def __init__(self, applied: Applied, dates: Dates, batch: int, overlap: float) -> None:
        self.applied, self.dates, self.batch = applied, dates, batch
        shape = next(iter(dates[0].values())).shape
        self.windows: Windows = plan_windows(*shape, patch=1, size=applied.window[0], overlap=overlap)
        self.grid, self.total, self.cell = shape, len(self.windows.tops), 1

    def rows(self, first: int, progress: TextIO | None) -> Iterator[tuple[int, Rows]]:
        """(k, finished rows (rows, width, K)) of every row of windows from `first`."""
        num_classes = len(self.applied.record.facts.task.classes)
        return blend(self.windows, num_classes, self._encoded, first=first, progress=progress)

    def _encoded(self, top: int) -> Iterator[Encoded]:
        for at in range(0, len(self.windows.lefts), self.batch):
            lefts = list(self.windows.lefts[at : at + self.batch])
            pixels, there = _read(self.applied, self.dates, [(top, left) for left in lefts])
            num_classes = len(self.applied.record.facts.task.classes)
            values = np.zeros((*there.shape, num_classes), dtype=np.float32)
            seen = np.asarray(there.any(axis=(1, 2)))  # a window without any measurement is not worth looking at
            if seen.any():
                values[seen] = _scores(self.applied, pixels, seen).transpose(0, 2, 3, 1)
            yield lefts, values, there


class _Cells:
    """A class a cell: that of the window around it."""

    def __init__(self, applied: Applied, dates: Dates, batch: int, stride: int) -> None:
        self.applied, self.dates, self.batch = applied, dates, batch
        side = applied.window[0]
        self.cell = stride or side
        if not 1 <= self.cell <= side:
            raise UsageError(f"is {stride}, outside 1 to the window of {side} pixels", "--stride")
        shape = next(iter(dates[0].values())).shape
        self.grid = (math.ceil(shape[0] / self.cell), math.ceil(shape[1] / self.cell))
        self.total = self.grid[0]
        margin = (side - self.cell) // 2
        self.tops, self.lefts = (
            [min(max(k * self.cell - margin, 0), n - side) for k in range(m)]
            for n, m in zip(shape, self.grid, strict=True)
        )

    def rows(self, first: int, progress: TextIO | None) -> Iterator[tuple[int, Rows]]:
        """(k, one row of cells (1, width, K)) from `first`."""
        total = len(self.tops) * len(self.lefts)
        meter = Progress(progress, "windows", total, done=first * len(self.lefts))
        num_classes = len(self.applied.record.facts.task.classes)
        for k in range(first, self.total):
            row = np.full((1, len(self.lefts), num_classes), np.nan, dtype=np.float32)
            for at in range(0, len(self.lefts), self.batch):
                lefts = self.lefts[at : at + self.batch]
                pixels, there = _read(self.applied, self.dates, [(self.tops[k], left) for left in lefts])
                seen = np.asarray(there.mean(axis=(1, 2)) >= MEASURED)
                if seen.any():
                    row[0, at + np.flatnonzero(seen)] = _scores(self.applied, pixels, seen)
                meter.add(len(lefts))
            yield k, row


def _ids(rows: Rows) -> NDArray[np.uint8]:
    """The most probable class of (rows, width, K), 255 where nothing is known: (rows, width, 1)."""
    known = ~np.isnan(rows).any(axis=2)
    ids = np.full((*known.shape, 1), IGNORE, dtype=np.uint8)
    ids[known] = rows[known].argmax(axis=1).astype(np.uint8)[:, None]
    return ids


def colours_of(facts: Facts) -> list[tuple[int, int, int]]:
    """A colour a class: the manifest's, where it knows the data set."""
    spec = shipped_manifest().get(facts.stores[0].id)
    space = None if spec is None else spec.label_spaces.get(facts.task.label_space)
    known = space is not None and space.names == facts.task.classes
    return class_colours(space) if space is not None and known else safe_colours(len(facts.task.classes))


def _about(applied: Applied, plan: "_Blended | _Cells", setting: Setting, note: str) -> dict[str, Any]:
    facts = applied.record.facts
    dense = isinstance(plan, _Blended)
    return {
        "record": applied.record.key,
        "task": facts.task.kind,
        "classes": list(facts.task.classes),
        "backbone": facts.backbone.id,
        "protocol": facts.protocol.id,
        "trained_on": [
            one.id + (" (synthetic)" if one.synthetic else " (subset)" if one.subset else "") for one in facts.stores
        ],
        "budget": facts.budget,
        "bands": {sensor: list(names) for sensor, names in applied.sources.items()},
        "units": {layer.sensor: layer.unit.value for layer in applied.spec.layers},
        "window": list(applied.window),
        "cell": plan.cell,
        **({"overlap": setting.overlap} if dense else {}),
        "none": "pixels without all bands" if dense else f"windows measured to less than {MEASURED:.0%}",
        "note": note,
    }


def _profile(image: Imagery, plan: "_Blended | _Cells", facts: Facts, floats: bool) -> dict[str, Any]:
    source, cell = image.source, plan.cell
    a, b, c, d, e, f = tuple(source.transform)[:6]
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": plan.grid[0],
        "width": plan.grid[1],
        "compress": "deflate",
        "bigtiff": "if_safer",
        "count": len(facts.task.classes) if floats else 1,
        "dtype": "float32" if floats else "uint8",
        "nodata": math.nan if floats else IGNORE,
    }
    if source.crs:
        profile |= {"crs": source.crs, "transform": Affine(a * cell, b * cell, c, d * cell, e * cell, f)}
    return profile


def _write(
    path: Path, strips: Iterator[NDArray[Any]], profile: Mapping[str, Any], facts: Facts, about: Mapping[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an image without a place gives a map without one
        target = rasterio.open(path, "w", **profile)
    with target:
        target.update_tags(seamo=json.dumps(about), classes=json.dumps(facts.task.classes))
        if profile["count"] == 1 and profile["dtype"] == "uint8":
            table = {k: (*colour, 255) for k, colour in enumerate(colours_of(facts))}
            target.write_colormap(1, {**table, IGNORE: (0, 0, 0, 0)})
            target.set_band_description(1, "class id")
        else:
            for number, name in enumerate(facts.task.classes):
                target.set_band_description(number + 1, name)
        top = 0
        for strip in strips:
            window = Window(0, top, strip.shape[1], len(strip))
            target.write(np.ascontiguousarray(strip.transpose(2, 0, 1)), window=window)
            top += len(strip)
