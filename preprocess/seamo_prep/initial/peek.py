"""What files say of themselves: headers of all that are looked at, pixels of some."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from seamo.errors import ArchiveError
from seamo.rasterfacts import GDAL_ERRORS, RasterStatements, gdal_settings, missing_pixels, raster_facts
from seamo_prep.rasters import check_promise

_SIDE = 256  # pixels of the middle of an image that are looked at
_MASK_SIDE = 2_048  # the same of one band of whole numbers, which may be a mask: a class may stand anywhere
_KEPT = 4_096  # pixels of a file whose values are kept
SENTINELS = (0.0, -9999.0, -32768.0, 65535.0, -99.0)  # values by which files mark what is missing, unsaid


@dataclass(frozen=True, slots=True, eq=False)
class Peek:
    """One file.

    Args:
        path: Below the folder.
        facts: What its header says.
        values: (C, n) of pixels that are there, of the bands that are measured, without those of `sentinels`; None if
            they were not looked at.
        ids: Values of the first band that stand there, of a file of whole numbers; empty if they were not looked at.
        sentinels: Value -> share of all pixels at which every band holds it, though the file does not say so.
    """

    path: str
    facts: RasterStatements
    values: NDArray[np.float64] | None = None
    ids: frozenset[int] = frozenset()
    sentinels: tuple[tuple[float, float], ...] = ()


def peek(root: Path, paths: Sequence[str], *, pixels: int) -> tuple[dict[str, Peek], list[tuple[str, str]]]:
    """Look at files.

    Args:
        root: The folder.
        paths: Below it.
        pixels: Of how many of them, spread evenly, pixels are read, too.

    Returns:
        Path -> what it says, and (path, reason) of those that cannot be read.
    """
    step = max(1, -(-len(paths) // max(pixels, 1)))
    found: dict[str, Peek] = {}
    broken: list[tuple[str, str]] = []
    with warnings.catch_warnings(), gdal_settings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for number, path in enumerate(paths):
            try:
                found[path] = _look(root / path, path, with_pixels=number % step == 0)
            except (*GDAL_ERRORS, ArchiveError, ValueError, OSError) as error:
                text = str(error).splitlines()[0] if str(error) else type(error).__name__
                broken.append((path, f"cannot be read as a GeoTIFF ({text})"))
    return found, broken


def _look(file: Path, path: str, *, with_pixels: bool) -> Peek:
    with rasterio.open(file, driver="GTiff") as source:
        check_promise(source, file.stat().st_size, str(file))
        facts = raster_facts(source)
        if not with_pixels or any(one.startswith("complex") for one in facts.dtypes):
            return Peek(path, facts)
        is_ids = len(facts.measured) == 1 and np.dtype(facts.dtypes[facts.measured[0]]).kind in "ui"
        side = _MASK_SIDE if is_ids else _SIDE
        height, width = min(side, source.height), min(side, source.width)
        window = Window((source.width - width) // 2, (source.height - height) // 2, width, height)
        bands = [number + 1 for number in facts.measured]
        pixels = source.read(bands, window=window)
        mask = source.read_masks(bands, window=window) if facts.has_mask or facts.alpha else None
    missing = missing_pixels(pixels, [[facts.nodata[number]] for number in facts.measured], mask)
    there = ~missing.any(axis=0)
    sentinels = []
    for value in SENTINELS:
        same = (pixels == value).all(axis=0) & there
        if same.any():
            sentinels.append((value, float(same.mean())))
            there = there & ~same  # they would pull percentiles to where nothing was measured
    values = pixels[:, there].astype(np.float64)
    values = values[:, :: -(-values.shape[1] // _KEPT) or 1]
    ids = frozenset(int(one) for one in np.unique(pixels[0])) if pixels.dtype.kind in "uib" else frozenset()
    return Peek(path, facts, values, ids, tuple(sentinels))
