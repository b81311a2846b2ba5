"""Rasters of any size, read window by window, bands by name, missing pixels as NaN."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.windows import Window

from seamo.bands import SENSORS, Unit
from seamo.errors import BandError, UsageError
from seamo.rasterfacts import (
    GDAL_ERRORS,
    RasterStatements,
    band_said,
    check_placed,
    check_readable,
    gdal_settings,
    grids_apart,
    missing_pixels,
    raster_facts,
)

_CACHE_MB = (
    512  # of GDAL's decoded blocks: two rows of 512 px blocks of a 12-band tile; GDAL itself takes 5 % of memory
)


@dataclass(frozen=True, slots=True, eq=False)
class Imagery:
    """An open raster.

    Args:
        source: Of rasterio.
        facts: What the file says of itself.
        names: Band name of each raster band, empty where it is not to be used.
        nodata: Value that is no measurement, beside what the raster itself declares.
    """

    source: DatasetReader
    facts: RasterStatements
    names: tuple[str, ...]
    nodata: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.height, self.source.width

    @property
    def bands(self) -> tuple[str, ...]:
        """The named bands, in the raster's order."""
        return tuple(name for name in self.names if name)

    def read(self, bands: Sequence[str], *, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """A window, (C, height, width); NaN where there is no measurement or no raster.

        Raises:
            UsageError: If the raster cannot be read there.
        """
        H, W = self.shape
        out = np.full((len(bands), height, width), np.nan, dtype=np.float32)
        rows, cols = min(height, H - top), min(width, W - left)
        if rows <= 0 or cols <= 0:
            return out
        numbers = [self.names.index(name) + 1 for name in bands]
        window = Window(left, top, cols, rows)
        try:
            pixels = self.source.read(numbers, window=window)
            # A mask band; comparing with a nodata value ourselves is faster than asking for its mask.
            mask = self.source.read_masks(numbers, window=window) if self.facts.has_mask else None
            alpha = [self.source.read(number + 1, window=window) for number in self.facts.alpha]
        except (*GDAL_ERRORS, ValueError) as error:
            raise UsageError(f"cannot be read ({error})", self.source.name, "Copy it again.") from error
        missing = missing_pixels(pixels, [[self.facts.nodata[n - 1], self.nodata] for n in numbers], mask)
        for band in alpha:
            missing |= band == 0
        with np.errstate(over="ignore"):  # a float64 beyond float32: not finite, as what is missing
            values = pixels.astype(np.float32)
        values[missing] = np.nan
        values[np.isinf(values)] = np.nan
        out[:, :rows, :cols] = values
        return out


@contextmanager
def open_imagery(
    path: Path, *, unit: Unit, bands: Sequence[str] = (), nodata: float | None = None
) -> Iterator[Imagery]:
    """Open a GeoTIFF, or another raster that GDAL reads.

    Args:
        path: The file.
        unit: What its numbers are said to mean; scale and offset in the file must agree.
        bands: Name of each raster band in order, `-` for one not to use; without it the raster's band
            descriptions name them (`B02`, `B2`, `B2, central wavelength 490 nm`, `VV`).
        nodata: Value that is no measurement, beside what the raster itself declares.

    Raises:
        UsageError: If the file cannot be opened, or its pixels are complex, indices of colours, or by its own words
            of another unit.
        BandError: If bands are not named, too few or too many are, one stands twice, or the file's descriptions say
            something else.
    """
    where = str(path)
    try:
        with warnings.catch_warnings(), gdal_settings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the output has no place then, either
            source = rasterio.open(path)
            facts = raster_facts(source)
    except (*GDAL_ERRORS, ValueError) as error:
        raise UsageError(f"cannot be opened as a raster ({error})", where) from error
    with gdal_settings(GDAL_CACHEMAX=_CACHE_MB), source:
        names = _names(facts, bands, where)
        read = [number for number, name in enumerate(names) if name]
        check_readable(facts, unit, where, bands=read, error=UsageError)
        check_placed(facts, where, fix="", error=UsageError)
        yield Imagery(source, facts, names, nodata)


def check_same_grid(first: Imagery, other: Imagery) -> None:
    """Pixels of two rasters must cover the same ground, to a hundredth of a pixel at the corners.

    Raises:
        UsageError: If they do not, with the command that warps the second onto the first.
    """
    one, two = first.source, other.source
    here, there = first.facts.grid, other.facts.grid
    if not (here.is_placed and there.is_placed):
        without = one.name if not here.is_placed else two.name
        raise UsageError(
            f"does not say where it lies, so nothing says that {one.name} and {two.name} lie on one grid",
            without,
            "Write its place into it: rio edit-info --crs EPSG:... --transform [a,b,c,d,e,f].",
        )
    same = first.shape == other.shape and not grids_apart(here, there)
    if not same:
        warped = f"{Path(two.name).stem}-on-grid.tif"
        none = "nan" if np.dtype(two.dtypes[0]).kind == "f" else str(np.iinfo(two.dtypes[0]).min)
        # Else what the second does not reach would hold 0, which is a measurement in decibels.
        nodata = "" if two.nodata is not None else f" --src-nodata {none} --dst-nodata {none}"
        raise UsageError(
            f"is not on the grid of {one.name}: {there} instead of {here}",
            two.name,
            f"Warp it: rio warp {two.name} {warped} --like {one.name} --resampling bilinear{nodata}",
        )


def sensor_of(bands: Sequence[str], sensors: dict[str, tuple[str, ...]], *, where: str) -> str:
    """The one of the model's sensors that these bands belong to.

    Raises:
        BandError: If none, or several, know any of them.
    """
    found = [sensor for sensor, known in sensors.items() if set(known) & set(bands)]
    if len(found) == 1:
        return found[0]
    raise BandError(f"bands {', '.join(bands)} do not tell the sensor", where, f"Give --sensor: {', '.join(sensors)}.")


def _names(facts: RasterStatements, given: Sequence[str], where: str) -> tuple[str, ...]:
    said = tuple(band_said(text) for text in facts.descriptions)
    if given:
        if len(given) != len(said):
            raise BandError(f"{len(given)} names for {len(said)} bands", where, "Name each; - leaves one out.")
        unknown = [name for name in given if name != "-" and name not in _known()]
        if unknown:
            raise BandError(f"no band {unknown[0]!r}", where, f"Bands: {', '.join(sorted(_known()))}.")
        if any(name not in ("-", own) for name, own in zip(given, said, strict=True) if own):
            listed = ", ".join(text or "-" for text in facts.descriptions)
            what = f"it describes its bands as {listed}; given: {', '.join(given)}"
            raise BandError(what, where, "Correct --bands, or the file's descriptions.")
        names = tuple("" if name == "-" else name for name in given)
    else:
        names = said
    used = [name for name in names if name]
    for number in facts.alpha:
        if names[number]:
            fix = "Leave it out (-), or correct its colour: rio edit-info --colorinterp N=undefined."
            raise BandError(f"band {number + 1} is alpha, not {names[number]}", where, fix)
    if not used:
        raise BandError("names none of its bands", where, "Give --bands B02,B03,... in the order of the file.")
    if len(set(used)) != len(used):
        raise BandError(f"a band stands twice in {', '.join(used)}", where, "Leave one out with --bands (-).")
    return names


def _known() -> set[str]:
    return {band.name for bands in SENSORS.values() for band in bands}
