"""Images to be predicted: what a command line says of them, opened by sensor and date, on one grid."""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from seamo.bands import Unit
from seamo.errors import BandError, UsageError
from seamo.use.imagery import Imagery, check_same_grid, open_imagery, sensor_of
from seamo.use.options import Image, parse_images
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import Record

log = logging.getLogger(__name__)
FAR = 0.1  # a pixel that differs by more than this share from the record's is worth a warning
Dates = list[dict[str, Imagery]]
"""Of each date, the open image of each sensor."""


def images_of(
    paths: Sequence[Path],
    others: Sequence[str] = (),
    *,
    units: Sequence[str],
    bands: Sequence[str] = (),
    nodata: Sequence[str] = (),
) -> list[list[Image]]:
    """The images of each date, from what a command line says: see `seamo-bench predict --help`.

    Args:
        paths: The first image of each date.
        others: `sensor=path`, of other sensors; with one date only.
        units: `value` of the first images, `sensor=value` of the others.
        bands: As `units`.
        nodata: As `units`.

    Raises:
        UsageError: If a text is not understood, or for no image.
    """
    if others and len(paths) > 1:
        raise UsageError("is for one date", "--with", "Change is seen by one sensor.")
    return [parse_images(path, others, units=units, bands=bands, nodata=nodata) for path in paths]


def check_dates(record: Record, dates: Sequence[Sequence[Image]]) -> None:
    """Refuse another number of dates than the record's task looks at.

    Raises:
        UsageError: If it is another one.
    """
    wanted = find_protocol(record.facts.protocol.id).dates
    if len(dates) != wanted:
        fix = "Give BEFORE and AFTER." if wanted == 2 else "Give one image; other sensors' with --with."
        raise UsageError(f"{len(dates)} dates for a record of {record.facts.task.kind}", "IMAGE", fix)


def open_images(
    record: Record, sources: Mapping[str, tuple[str, ...]], dates: Sequence[Sequence[Image]], stack: ExitStack
) -> tuple[Dates, dict[str, Unit]]:
    """Every date's images by sensor, on one grid, with all bands that are read; and their units.

    Args:
        record: What is applied.
        sources: Sensor -> bands that its network's channels read.
        dates: The images of each date.
        stack: Closes them.

    Raises:
        BandError: If a band or a sensor is missing.
        UsageError: If an image cannot be opened, is one too many, or on another grid or in another unit than the rest.
    """
    opened: Dates = []
    units: dict[str, Unit] = {}
    needed = {sensor: [name for name in dict.fromkeys(names) if name] for sensor, names in sources.items()}
    for images in dates:
        own: dict[str, Imagery] = {}
        for one in images:
            where = str(one.path)
            imagery = stack.enter_context(open_imagery(one.path, unit=one.unit, bands=one.bands, nodata=one.nodata))
            sensor = one.sensor or sensor_of(imagery.bands, {s: tuple(n) for s, n in needed.items()}, where=where)
            if sensor not in needed:
                raise UsageError(f"the record's network sees {' and '.join(needed)}, not {sensor}", where)
            if sensor in own:
                raise UsageError(f"is a second image of {sensor}", where)
            absent = [name for name in needed[sensor] if name not in imagery.bands]
            if absent:
                fix = "The record's network needs them all; name what the file has with --bands."
                raise BandError(f"lacks {', '.join(absent)} of {sensor}", where, fix)
            if units.setdefault(sensor, one.unit) != one.unit:
                raise UsageError(f"the dates of {sensor} differ in unit", where, "Convert one of them.")
            if opened or own:
                check_same_grid(next(iter((opened[0] if opened else own).values())), imagery)
            own[sensor] = imagery
        gone = [sensor for sensor in needed if sensor not in own]
        if gone:
            fix = f"Give it with --with {gone[0]}=IMAGE."
            raise BandError(f"there is no image of {gone[0]}, which the record's network sees", record.key, fix)
        opened.append(own)
    return opened, units


def check_size(image: Imagery, window: tuple[int, int], where: str) -> None:
    """Refuse an image that is smaller than a window.

    Raises:
        UsageError: If it is, or windows are not square.
    """
    height, width = window
    if height != width:
        raise UsageError(f"the record's tiles are not square ({height} x {width})", where)
    if min(image.shape) < height:
        raise UsageError(
            f"is {image.shape[1]} x {image.shape[0]} pixels, the record's network sees {width} x {height} at once",
            image.source.name,
            "Give a larger image.",
        )


def grid_note(image: Imagery, gsd_m: float) -> str:
    """What to know about the size of its pixels."""
    source = image.source
    if source.crs is None or not source.crs.is_projected:
        return f"pixels of unknown size in metres; the record was made at {gsd_m:g} m"
    pixel = math.sqrt(abs(source.transform.determinant)) * source.crs.linear_units_factor[1]
    if abs(pixel / gsd_m - 1) <= FAR:
        return ""
    note = f"pixels of {pixel:.3g} m, the record was made at {gsd_m:g} m"
    log.warning("%s: %s: resample the image for a map that means something", source.name, note)
    return note
