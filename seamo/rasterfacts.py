"""What a raster file says about its own pixels: one reading for archives, `seamo embed` and `seamo-bench predict`.

GDAL tells it (descriptions, nodata, masks, alpha, scale and offset, colours, ground control points); the checks here
hold it against what a person says of the same file. A file that says nothing is taken at the person's word.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.session import DummySession

from seamo.bands import COMMON_NAMES, SENSORS, Unit
from seamo.errors import SeamoError

GDAL_ERRORS = (RasterioError, CPLE_BaseError)  # rasterio's own, and those of GDAL that it passes on
# Options of GDAL that change what a file says, at GDAL's own defaults. Shells set the first two to open files in
# buckets faster: then sidecars, and with them nodata, masks and places, are passed over without a word.
_DEFAULTS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE",
    "GDAL_PAM_ENABLED": "YES",
    "GDAL_GEOREF_SOURCES": "PAM,INTERNAL,TABFILE,WORLDFILE",  # else places are dropped, or taken from another file
    "GTIFF_POINT_GEO_IGNORE": "FALSE",  # else images lie half a pixel beside
    "GTIFF_IGNORE_READ_ERRORS": "FALSE",  # else what cannot be decoded is 0
}
TOLERANCE = 0.01  # pixels by which the corners of two grids may lie apart
# What value = scale * pixel + offset means under each unit: reflectance, decibels. Other units have no such value.
_MEANING = {
    Unit.DN: (1e-4, 0.0),
    Unit.DN_PLUS_1000: (1e-4, -0.1),
    Unit.REFLECTANCE_X10000: (1e-4, 0.0),
    Unit.DB_X100: (0.01, 0.0),
}


def gdal_settings(**options: Any) -> rasterio.Env:
    """GDAL inside a `with` reads files of this disk as it does by itself, whatever the environment tells it.

    A file is opened inside, and all that it says is asked for there: GDAL looks into sidecars when it must.

    rasterio's own `Env()`, and its functions outside of one, ask boto3 for a session wherever a key of AWS is in the
    environment: 30 ms each, and an error where AWS_PROFILE names no profile. Buckets are read by `seamo.files`.

    Args:
        options: GDAL's, by its names.
    """
    return rasterio.Env(session=DummySession(), **_DEFAULTS, **options)


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Where the pixels of a raster lie.

    Args:
        height, width: Pixels.
        crs: `EPSG:32633`, or WKT where there is no such code; empty if the file names none.
        transform: Affine (a, b, c, d, e, f) as in `seamo.sample.GeoRef`; None if the file has none.
    """

    height: int
    width: int
    crs: str = ""
    transform: tuple[float, float, float, float, float, float] | None = None

    @property
    def is_placed(self) -> bool:
        """True if the file says where on Earth it lies."""
        return bool(self.crs) and self.transform is not None

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Coordinates of the upper left corner of a pixel; of the pixel grid itself without a transform."""
        a, b, c, d, e, f = self.transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        return a * column + b * row + c, d * column + e * row + f

    def __str__(self) -> str:
        size = f"{self.width} x {self.height} pixels"
        if self.transform is None:
            return f"{size} without a place" + (f" in {self.crs}" if self.crs else "")
        a, _, c, _, e, f = self.transform
        return f"{size} of {a:g} x {-e:g} from ({c:.10g}, {f:.10g}) in {self.crs or 'no CRS'}"


@dataclass(frozen=True, slots=True)
class RasterStatements:
    """What one file says; the tuples have one entry a band.

    Args:
        grid: Where it lies.
        dtypes: As rasterio names them.
        descriptions: Empty where a band has none.
        nodata: Value that is no measurement, or None.
        scales, offsets: value = scale * pixel + offset; 1 and 0 where the file says nothing.
        colours: Colour interpretation, as GDAL names it in lower case: `gray`, `alpha`, `palette`, ...
        has_mask: True if a mask inside or beside the file says which pixels are measured.
        num_gcps: Ground control points; they place a file without a transform roughly.
        has_rpcs: True if rational polynomials do.
        pages: Images in the file, of which the first is read; overviews and masks are none.
    """

    grid: PixelGrid
    dtypes: tuple[str, ...]
    descriptions: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    colours: tuple[str, ...]
    has_mask: bool = False
    num_gcps: int = 0
    has_rpcs: bool = False
    pages: int = 1

    @property
    def alpha(self) -> tuple[int, ...]:
        """Positions of the alpha bands, from 0."""
        return tuple(n for n, colour in enumerate(self.colours) if colour == "alpha")

    @property
    def measured(self) -> tuple[int, ...]:
        """Positions of all other bands."""
        return tuple(n for n, colour in enumerate(self.colours) if colour != "alpha")

    @property
    def tells_missing(self) -> bool:
        """True if the file has a way to say that a pixel is not measured."""
        return self.has_mask or bool(self.alpha) or any(one is not None for one in self.nodata)


def raster_facts(source: DatasetReader) -> RasterStatements:
    """What an open raster says.

    Raises:
        RasterioError, CPLE_BaseError, ValueError: If the file is damaged, or its text is not UTF-8.
    """
    affine = source.transform
    transform = None if affine.is_identity else tuple(affine)[:6]
    # Alpha makes a mask of the whole file, too; it is read as a band, as GDAL forgets it where there is nodata as well.
    masks = (set(flags) - {MaskFlags.all_valid, MaskFlags.nodata} for flags in source.mask_flag_enums)
    return RasterStatements(
        grid=PixelGrid(source.height, source.width, crs_name(source.crs), transform),
        dtypes=tuple(source.dtypes),
        descriptions=tuple((text or "").strip() for text in source.descriptions),
        nodata=tuple(source.nodatavals),
        scales=tuple(source.scales),
        offsets=tuple(source.offsets),
        colours=tuple(one.name for one in source.colorinterp),
        has_mask=any(flags and MaskFlags.alpha not in flags for flags in masks),
        num_gcps=len(source.gcps[0]),
        has_rpcs=bool(source.tags(ns="RPC")),
        pages=max(1, len(source.subdatasets)),
    )


def crs_name(crs: CRS | None) -> str:
    """`EPSG:32633`, or WKT where there is no such code; empty for none."""
    if not crs:
        return ""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def missing_pixels(
    pixels: NDArray[Any], nodata: Sequence[Sequence[float | None]], mask: NDArray[np.uint8] | None
) -> NDArray[np.bool_]:
    """Which pixels are no measurement: nodata, masked, and what is not finite.

    Args:
        pixels: (C, H, W).
        nodata: For each band the values that are none.
        mask: (C, H, W) or (1, H, W), 0 where nothing was measured; None if there is none.

    Returns:
        (C, H, W).

    Example:
        >>> missing_pixels(np.array([[[0, 1]]], np.uint16), [[0.0]], None).tolist()
        [[[True, False]]]
    """
    missing = declared_missing(pixels, nodata, mask)
    if pixels.dtype.kind in "fc":
        missing |= ~np.isfinite(pixels)
    return missing


def declared_missing(
    pixels: NDArray[Any], nodata: Sequence[Sequence[float | None]], mask: NDArray[np.uint8] | None
) -> NDArray[np.bool_]:
    """As `missing_pixels`, without what is not finite and that nobody declared: nodata and masked alone."""
    missing = np.zeros(pixels.shape, dtype=np.bool_)
    if mask is not None:
        missing |= mask == 0
    for band, values in enumerate(nodata):
        for said in values:
            value = None if said is None else held_nodata(said, pixels.dtype)
            if value is not None:
                missing[band] |= pixels[band] == value
    return missing


def held_nodata(value: float, dtype: np.dtype[Any]) -> float | None:
    """The number of a dtype that a nodata value stands for, as GDAL has it; None if it can stand for no pixel.

    In floats the nearest one (no float32 pixel equals the float64 number 0.1), in integers the whole part.

    Example:
        >>> held_nodata(-9999, np.dtype("uint16")) is None
        True
    """
    if dtype.kind in "fc":
        with np.errstate(over="ignore"):
            return float(dtype.type(value).real)
    if not np.isfinite(value) or not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        return None
    return int(value)


def check_readable(
    facts: RasterStatements, unit: Unit, where: str, *, bands: Sequence[int], error: type[SeamoError]
) -> None:
    """Refuse pixels that do not mean what is said of them: complex, palette indices, another scale or offset.

    And a file of several pages, of which one would be taken for the whole.

    Nothing is converted: a scale of 0.0001 with an offset of -0.1 is the unit `dn+1000`, and one says so.

    Args:
        facts: Of the file.
        unit: What its numbers are said to mean.
        where: The file, for messages.
        bands: Positions of the bands that are read.
        error: What is raised.

    Raises:
        SeamoError: Of the class `error`.
    """
    if facts.pages > 1:
        fix = "Write its pages as the bands of one image, or as a file each."
        raise error(f"holds {facts.pages} images (pages), of which only the first would be read", where, fix)
    for band in bands:
        if facts.dtypes[band].startswith("complex"):
            fix = "Compute the amplitude, or decibels of the intensity, first."
            raise error(f"holds complex values ({facts.dtypes[band]}), whose imaginary part would be lost", where, fix)
        if facts.colours[band] == "palette" and unit != Unit.CLASS:
            fix = "Write the colours as bands (gdal_translate -expand rgb), or take the colour table out."
            raise error("holds indices into a colour table, which are no measurement", where, fix)
        said = (facts.scales[band], facts.offsets[band])
        if not _same_scale(said, (1.0, 0.0)) and not _same_scale(said, _MEANING.get(unit, (1.0, 0.0))):
            fits = [one.value for one in Unit if _same_scale(said, _MEANING.get(one, (1.0, 0.0)))]
            raise error(
                f"says of band {band + 1} that value = {said[0]:g} * pixel {'-' if said[1] < 0 else '+'} "
                f"{abs(said[1]):g} (scale and offset), which is not unit {unit.value}",
                where,
                (f"That is unit {' or '.join(fits)}: declare it, for files that say nothing as well. " if fits else "")
                + "Or convert the pixels and take scale and offset out (gdal_translate -unscale).",
            )


def check_placed(facts: RasterStatements, where: str, *, fix: str, error: type[SeamoError]) -> None:
    """Refuse a file that control points or polynomials alone place: no grid is invented from them.

    Raises:
        SeamoError: Of the class `error`.
    """
    if facts.grid.transform is None and (facts.num_gcps or facts.has_rpcs):
        what = f"{facts.num_gcps} ground control points" if facts.num_gcps else "rational polynomials (RPC)"
        how = "-tps" if facts.num_gcps else "-rpc"
        warp = f"Warp it onto a grid: gdalwarp {how} -t_srs EPSG:... {where} warped.tif."
        raise error(f"is placed by {what} alone and has no grid", where, f"{warp} {fix}".rstrip())


def grids_apart(one: PixelGrid, other: PixelGrid) -> bool:
    """True if two rasters do not cover the same ground, to a hundredth of a pixel at the corners.

    Their pixels may differ in size. A file without a place is apart from every file that has one; whether two files
    without any lie on one ground, no file says.
    """
    if one.is_placed != other.is_placed or not _same_crs(one.crs, other.crs):
        return True
    if one.transform is None or other.transform is None:
        return one.transform != other.transform
    widths = [np.hypot(transform[0], transform[3]) for transform in (one.transform, other.transform)]
    tolerance = TOLERANCE * min(widths)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        here = one.corner(row * one.height, column * one.width)
        there = other.corner(row * other.height, column * other.width)
        if not np.hypot(here[0] - there[0], here[1] - there[1]) < tolerance:
            return True
    return False


def band_said(text: str, sensors: Sequence[str] = tuple(SENSORS)) -> str:
    """The band that a description names; empty if none, or several.

    Args:
        text: `B02`, `B2, central wavelength 490 nm`, `Sigma0_VV_db`; a common name (`red`) where one sensor is given.
        sensors: Whose bands it may be.

    Example:
        >>> band_said("B8a (narrow NIR)"), band_said("Red", ["s2"]), band_said("VV/VH")
        ('B8A', 'B04', '')
    """
    ids = {band.name.lower(): band.name for sensor in sensors for band in SENSORS.get(sensor, ())}
    words = [re.sub(r"^b(\d)$", r"b0\1", word) for word in re.split(r"[^a-z0-9]+", text.lower())]
    found = {ids[word] for word in words if word in ids}
    if not found and len(sensors) == 1:
        plain = re.sub(r"[^a-z0-9]", "", text.lower())
        found = {name for common, name in COMMON_NAMES.get(sensors[0], {}).items() if common == plain}
    return found.pop() if len(found) == 1 else ""


def bind_bands(
    facts: RasterStatements, wanted: Sequence[str], sensor: str, where: str, *, any_text: bool, error: type[SeamoError]
) -> list[int]:
    """Positions of the wanted bands in a file: by its descriptions where it has any, else in order.

    Where only some bands are described, these must stand where the order has them.

    Args:
        facts: Of the file.
        wanted: Names of the sensor's bands.
        sensor: Key of `seamo.bands.SENSORS`.
        where: The file, for messages.
        any_text: Descriptions that name no band of the sensor and are no mere number are passed over.
        error: What is raised.

    Raises:
        SeamoError: Of the class `error`: if the descriptions say something else, with both lists, or the file has
            another number of bands.
    """
    texts = [facts.descriptions[n] for n in facts.measured]
    said = [band_said(text, [sensor]) for text in texts]
    listed = f"it describes its bands as {', '.join(text or '-' for text in texts)}; wanted: {', '.join(wanted)}"
    fix = "Correct the list of bands, or the file's descriptions."
    named = [name for name in said if name]
    if len(set(named)) != len(named) and set(named) & set(wanted):
        raise error(f"a band stands twice: {listed}", where, fix)
    if set(wanted) <= set(named):
        return [facts.measured[said.index(name)] for name in wanted]
    if len(texts) != len(wanted):
        beside = f" and {len(facts.alpha)} of alpha" if facts.alpha else ""
        raise error(
            f"{len(texts)} bands{beside} instead of {len(wanted)}" + (f": {listed}" if any(texts) else ""),
            where,
            "If the last is measured, its colour is not alpha: rio edit-info --colorinterp N=undefined."
            if len(facts.colours) == len(wanted)
            else "This is another product.",
        )
    for position, (text, name, want) in enumerate(zip(texts, said, wanted, strict=True)):
        if name and name != want:
            raise error(listed, where, fix)
        if not name and not any_text and not _is_number(text, position + 1):
            what = f"{text!r} is no band of {sensor}: {listed}"
            raise error(what, where, f"{fix} With --relax names the text is passed over.")
    return list(facts.measured)


def _is_number(text: str, position: int) -> bool:
    """True for descriptions that writers make up (`Band 2`, `stack_2`), and for none."""
    number = re.search(r"(?:^|[^0-9])(\d+)$", text)
    return not text or (number is not None and int(number[1]) == position)


def _same_scale(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return bool(np.isclose(one[0], other[0], rtol=1e-6, atol=0) and np.isclose(one[1], other[1], rtol=1e-6, atol=1e-12))


def _same_crs(one: str, other: str) -> bool:
    if one == other or not one or not other:
        return one == other
    try:
        return bool(CRS.from_user_input(one) == CRS.from_user_input(other))
    except CRSError:
        return False
