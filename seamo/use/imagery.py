"""Rasters of any size, read window by window, bands by name, missing pixels as NaN."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from seamo.bands import SENSORS
from seamo.errors import BandError, UsageError

_CACHE_MB = (
    512  # of GDAL's decoded blocks: two rows of 512 px blocks of a 12-band tile; GDAL itself takes 5 % of memory
)
_TOLERANCE = 0.01  # pixels by which two grids may lie apart
_SHORT = re.compile(r"B(\d)")  # B2: how some archives write B02


@dataclass(frozen=True, slots=True, eq=False)
class Imagery:
    """An open raster.

    Args:
        source: Of rasterio.
        names: Band name of each raster band, empty where it is not to be used.
        nodata: Value that is no measurement, beside what the raster itself declares.
    """

    source: DatasetReader
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

    @property
    def _has_masks(self) -> bool:
        return any(set(flags) - {MaskFlags.all_valid, MaskFlags.nodata} for flags in self.source.mask_flag_enums)

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
            # A mask band or alpha; comparing with a nodata value ourselves is faster than asking for its mask.
            masks = self.source.read_masks(numbers, window=window) if self._has_masks else None
        except RasterioError as error:
            raise UsageError(f"cannot be read ({error})", self.source.name, "Copy it again.") from error
        values = pixels.astype(np.float32)
        if masks is not None:
            values[masks == 0] = np.nan
        for place, number in enumerate(numbers):
            for nodata in {self.source.nodatavals[number - 1], self.nodata} - {None}:
                values[place][pixels[place] == nodata] = np.nan
        if pixels.dtype.kind == "f":
            values[~np.isfinite(values)] = np.nan
        out[:, :rows, :cols] = values
        return out


@contextmanager
def open_imagery(path: Path, *, bands: Sequence[str] = (), nodata: float | None = None) -> Iterator[Imagery]:
    """Open a GeoTIFF, or another raster that GDAL reads.

    Args:
        path: The file.
        bands: Name of each raster band in order, `-` for one not to use; without it the raster's band
            descriptions name them (`B02`, `B2`, `B2, central wavelength 490 nm`, `VV`).
        nodata: Value that is no measurement, beside what the raster itself declares.

    Raises:
        UsageError: If the file cannot be opened.
        BandError: If bands are not named, too few or too many are, or one stands twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the output has no place then, either
            source = rasterio.open(path)
    except RasterioError as error:
        raise UsageError(f"cannot be opened as a raster ({error})", str(path)) from error
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), source:
        yield Imagery(source, _names(source, bands, str(path)), nodata)


def check_same_grid(first: Imagery, other: Imagery) -> None:
    """Pixels of two rasters must cover the same ground, to a hundredth of a pixel at the corners.

    Raises:
        UsageError: If they do not, with the command that warps the second onto the first.
    """
    one, two = first.source, other.source
    same = first.shape == other.shape and one.crs == two.crs
    for row, column in ((0, 0), (0, one.width), (one.height, 0)):
        apart = np.subtract(one.xy(row, column, offset="ul"), two.xy(row, column, offset="ul"))
        same = same and bool(np.hypot(*apart) < _TOLERANCE * min(one.res))
    if not same:
        warped = f"{Path(two.name).stem}-on-grid.tif"
        none = "nan" if np.dtype(two.dtypes[0]).kind == "f" else str(np.iinfo(two.dtypes[0]).min)
        # Else what the second does not reach would hold 0, which is a measurement in decibels.
        nodata = "" if two.nodata is not None else f" --src-nodata {none} --dst-nodata {none}"
        raise UsageError(
            f"is not on the grid of {one.name}: {_grid(two)} instead of {_grid(one)}",
            two.name,
            f"Warp it: rio warp {two.name} {warped} --like {one.name} --resampling bilinear{nodata}",
        )


def _grid(source: DatasetReader) -> str:
    a, _, c, _, e, f = tuple(source.transform)[:6]
    size = f"{source.width} x {source.height} pixels of {a:g} x {-e:g}"
    return f"{size} from ({c:.10g}, {f:.10g}) in {source.crs or 'no CRS'}"


def sensor_of(bands: Sequence[str], sensors: dict[str, tuple[str, ...]], *, where: str) -> str:
    """The one of the model's sensors that these bands belong to.

    Raises:
        BandError: If none, or several, know any of them.
    """
    found = [sensor for sensor, known in sensors.items() if set(known) & set(bands)]
    if len(found) == 1:
        return found[0]
    raise BandError(f"bands {', '.join(bands)} do not tell the sensor", where, f"Give --sensor: {', '.join(sensors)}.")


def _names(source: DatasetReader, given: Sequence[str], where: str) -> tuple[str, ...]:
    if given:
        if len(given) != source.count:
            raise BandError(f"{len(given)} names for {source.count} bands", where, "Name each; - leaves one out.")
        unknown = [name for name in given if name != "-" and name not in _known()]
        if unknown:
            raise BandError(f"no band {unknown[0]!r}", where, f"Bands: {', '.join(sorted(_known()))}.")
        names = tuple("" if name == "-" else name for name in given)
    else:
        names = tuple(_from_description(text) for text in source.descriptions)
    used = [name for name in names if name]
    if not used:
        raise BandError("names none of its bands", where, "Give --bands B02,B03,... in the order of the file.")
    if len(set(used)) != len(used):
        raise BandError(f"a band stands twice in {', '.join(used)}", where, "Leave one out with --bands (-).")
    return names


def _from_description(text: str | None) -> str:
    first = re.split(r"[\s,;(]", (text or "").strip(), maxsplit=1)[0]
    short = _SHORT.fullmatch(first)
    name = f"B0{short[1]}" if short else first
    return name if name in _known() else ""


def _known() -> set[str]:
    return {band.name for bands in SENSORS.values() for band in bands}
