"""The only TIFF reader: pixels as (C, H, W), where they lie, and what the file says of them.

Archives hold millions of small plain files, which `seamo_prep.tiff` decodes; everything else is left to rasterio. A
plain file may state its nodata; whatever else is said (masks, alpha, scale, offset, descriptions) is GDAL's to read.
"""

import secrets
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader, MemoryFile

from seamo.errors import ArchiveError
from seamo.manifest import LayerSpec
from seamo.rasterfacts import (
    GDAL_ERRORS,
    PixelGrid,
    RasterStatements,
    declared_missing,
    gdal_settings,
    held_nodata,
    missing_pixels,
    raster_facts,
)
from seamo_prep.outside import DAMAGE, is_too_much, reading
from seamo_prep.tiff import decode_plain
from seamo_prep.tifftags import CutShortError, Transform
from seamo_prep.unpack import Raw

_FETCH_AGAIN = "Unpack or fetch it again."
_IN_MEMORY = "image.tif"
_BESIDE = (".aux.xml", ".msk")  # files in which GDAL keeps what a TIFF cannot, or shall not, hold
_WORLD = (".tfw", ".TFW", ".tifw", ".tiffw", ".wld", ".WLD")  # six numbers that place an image


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """One decoded file.

    Args:
        pixels: (C, H, W) in the file's own dtype, native byte order.
        facts: What the file says of them.
        mask: (C, H, W) of a mask inside or beside the file, 0 where nothing was measured; None if there is none.
    """

    pixels: NDArray[Any]
    facts: RasterStatements
    mask: NDArray[np.uint8] | None = None

    @property
    def crs(self) -> str:
        """`EPSG:32633`, or WKT where there is no such code; empty if the file names none."""
        return self.facts.grid.crs

    @property
    def transform(self) -> Transform | None:
        """Affine (a, b, c, d, e, f) as in `seamo.sample.GeoRef`; None if the file has none."""
        return self.facts.grid.transform

    def missing(self) -> NDArray[np.bool_]:
        """Pixels that are no measurement by what the file says, (C, H, W): nodata, mask, alpha 0, not finite."""
        missing: NDArray[np.bool_] = missing_pixels(self.pixels, [[one] for one in self.facts.nodata], self.mask)
        return self._with_alpha(missing)

    def infinite(self) -> NDArray[np.bool_]:
        """Pixels that are infinite, although the file does not say that they are missing, (C, H, W)."""
        found: NDArray[np.bool_] = np.isinf(self.pixels)
        if found.any():
            nodata = [[one] for one in self.facts.nodata]
            found &= ~self._with_alpha(declared_missing(self.pixels, nodata, self.mask))
        return found

    def _with_alpha(self, missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
        for band in self.facts.alpha:
            missing |= self.pixels[band] == 0
        return missing


def read_tiff(raw: Raw, name: str, *, out: NDArray[Any] | None = None) -> Raster:
    """Decode a published (Geo)TIFF.

    Args:
        raw: Where the file is.
        name: Of the file.
        out: See `decode_tiff`.

    Raises:
        ArchiveError: If the file is not there, cut short, or not a TIFF.
    """
    return decode_tiff(raw.read(name), raw.where(name), out=out)


def decode_tiff(data: bytes, where: str, *, out: NDArray[Any] | None = None) -> Raster:
    """Decode the bytes of a (Geo)TIFF.

    Args:
        data: The whole file.
        where: The file, for messages.
        out: (C, H, W), C-contiguous, in which the pixels of most plain files of that shape and dtype come to lie; then
            it is `Raster.pixels`. Else it may hold anything afterwards.

    Raises:
        ArchiveError: If the bytes are cut short or not a TIFF.
    """
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise ArchiveError("is not a TIFF file", where, _FETCH_AGAIN)
    try:
        plain = decode_plain(data, out)
    except (CutShortError, *DAMAGE) as error:
        raise ArchiveError("is cut short or damaged", where, _FETCH_AGAIN) from error
    if plain is None:
        return _decode_gdal(data, where)
    count, height, width = plain.pixels.shape
    nodata = None if plain.nodata is None else held_nodata(plain.nodata, plain.pixels.dtype)
    first = ("red", "green", "blue") if plain.is_rgb and count >= 3 else ("gray",)
    facts = RasterStatements(
        grid=PixelGrid(height, width, plain.crs, plain.transform),
        dtypes=(_name_of(plain.pixels.dtype),) * count,
        descriptions=("",) * count,
        nodata=(nodata,) * count,
        scales=(1.0,) * count,
        offsets=(0.0,) * count,
        colours=(*first, *("undefined",) * (count - len(first))),
    )
    return Raster(plain.pixels, facts)


def read_own(raw: Raw, name: str) -> Raster:
    """Decode a (Geo)TIFF of a person's own, with what lies beside it (`.aux.xml`, `.msk`, a world file).

    Raises:
        ArchiveError: If the file is not there, cut short, or not a TIFF.
    """
    file, where = raw.file(name), raw.where(name)
    if file is None or not any(raw.exists(one) for one in beside(name)):
        return read_tiff(raw, name)
    if isinstance(file, Path):
        with _gdal(where), rasterio.open(file, driver="GTiff") as source:
            check_promise(source, file.stat().st_size, where)
            return _read_gdal(source)
    with _gdal(where), ExitStack() as stack:  # a folder in memory, with what lies beside it
        image, folder = raw.read(name), secrets.token_hex(8)
        for inside, there in zip(beside(_IN_MEMORY), beside(name), strict=True):
            if raw.exists(there):
                stack.enter_context(MemoryFile(raw.read(there), dirname=folder, filename=inside))
        memory = stack.enter_context(MemoryFile(image, dirname=folder, filename=_IN_MEMORY))
        source = stack.enter_context(memory.open(driver="GTiff"))
        check_promise(source, len(image), where)
        return _read_gdal(source)


def layer_pixels(
    raw: Raw, names: Sequence[str], layer: LayerSpec, out: NDArray[Any] | None = None
) -> tuple[NDArray[Any], Raster]:
    """The bands of one layer from one-band files, (C, H, W) in the layer's dtype.

    Args:
        raw: Where the files are.
        names: One file a band, in the order of `layer.bands`.
        layer: What they must be.
        out: (C, H, W) of the layer's size and dtype, C-contiguous, to put the pixels into; None makes one.

    Returns:
        The pixels, and the first file's raster (for its georeference).

    Raises:
        ArchiveError: If a file is missing, damaged, or not of the layer's size or dtype.
    """
    band = None if out is None else out[:1]
    first = read_tiff(raw, names[0], out=band)
    if layer.size is None:  # any size, but the same in all bands
        height, width = first.pixels.shape[1:]
        layer = layer.model_copy(update={"size": (height, width)})
    pixels = check_pixels(raw, names[0], first.pixels, layer, bands=1)
    if out is None:
        out = np.empty((len(names), *pixels.shape[1:]), dtype=pixels.dtype)
    if pixels is not band:
        out[:1] = pixels
    for c, name in enumerate(names[1:], 1):
        band = out[c : c + 1]
        pixels = check_pixels(raw, name, read_tiff(raw, name, out=band).pixels, layer, bands=1)
        if pixels is not band:
            band[:] = pixels
    return out, first


def check_pixels(raw: Raw, name: str, pixels: NDArray[Any], layer: LayerSpec, *, bands: int) -> NDArray[Any]:
    """The same pixels in the layer's dtype, after the checks of shape and dtype.

    Args:
        raw: Says what is relaxed.
        name: The file, for messages.
        pixels: (C, H, W).
        layer: What they must be; a layer without a size takes any.
        bands: Number of bands that the file must have.

    Raises:
        ArchiveError: If they are something else.
    """
    if pixels.shape[0] != bands:
        raise ArchiveError(f"{pixels.shape[0]} bands instead of {bands}", raw.where(name), "This is another product.")
    if layer.size is not None and pixels.shape[1:] != layer.size:
        raise ArchiveError(
            f"{pixels.shape[1]} x {pixels.shape[2]} pixels instead of {layer.size[0]} x {layer.size[1]}",
            raw.where(name),
            "Images of another size, all alike, are taken with --relax shape.",
        )
    want = np.dtype(layer.dtype)
    if pixels.dtype == want:
        return pixels
    fix = "Another type whose values fit is taken with --relax dtype."
    if pixels.dtype.kind == "c":
        raise ArchiveError(f"complex values ({pixels.dtype}) do not fit {want}", raw.where(name),
                           "Compute the amplitude, or decibels of the intensity, first.")  # fmt: skip
    if "dtype" not in raw.relax:
        raise ArchiveError(f"dtype {pixels.dtype} instead of {want}", raw.where(name), fix)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = pixels.astype(want)
    # Floats may lose digits, not their size; integers must come through exactly.
    if pixels.dtype.kind == "f" and want.kind == "f":
        fits = np.array_equal(np.isfinite(cast), np.isfinite(pixels))
    else:
        fits = np.array_equal(cast.astype(np.float64), pixels) if want.kind == "f" else np.array_equal(cast, pixels)
    if not fits:
        raise ArchiveError(f"values of dtype {pixels.dtype} do not fit {want}", raw.where(name), fix)
    return cast


def check_promise(source: Any, stored: int, where: str) -> None:
    """Refuse an open dataset whose header promises more pixels than a file of its size is believed.

    Args:
        source: Of rasterio.
        stored: Bytes of the file.
        where: The file, for messages.

    Raises:
        ArchiveError: Before a pixel is decoded.
    """
    # GDAL's CInt16, the pixels of Sentinel-1 SLC, has no numpy type.
    bytes_each = (4 if one == "complex_int16" else np.dtype(one).itemsize for one in source.dtypes)
    promised = source.width * source.height * sum(bytes_each)
    if is_too_much(promised, stored):
        what = f"promises {source.count} bands of {source.height} x {source.width} pixels in {stored:,} bytes"
        raise ArchiveError(what, where, "It is damaged or made to fill the memory; fetch it again.")


def _say_no_traceback(unraisable: "sys.UnraisableHookArgs") -> None:
    if "log_error" not in str(unraisable.object):
        sys.__unraisablehook__(unraisable)


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    return str(dtype)  # a tenth of the time that a small file takes


def _decode_gdal(data: bytes, where: str) -> Raster:
    with _gdal(where), MemoryFile(data) as memory, memory.open(driver="GTiff") as source:
        check_promise(source, len(data), where)
        return _read_gdal(source)


@contextmanager
def _gdal(where: str) -> Generator[None]:
    """What rasterio and GDAL raise inside, as an `ArchiveError`."""
    # GDAL's words may quote bytes of the file that are no text; rasterio, which logs them, then prints a traceback of
    # its own, though the error reaches us as it should.
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _say_no_traceback
    try:
        with reading(where, "cannot be decoded", _FETCH_AGAIN), warnings.catch_warnings(), gdal_settings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said by `transform`
            yield
    except GDAL_ERRORS as error:
        raise ArchiveError(f"cannot be decoded ({error})", where, _FETCH_AGAIN) from error


def _read_gdal(source: DatasetReader) -> Raster:
    facts = raster_facts(source)
    return Raster(source.read(), facts, source.read_masks() if facts.has_mask else None)


def beside(name: str) -> list[str]:
    """Where GDAL looks for what a TIFF does not say itself: its statistics and nodata, its mask, its place.

    Example:
        >>> beside("a/b.tif")[:3]
        ['a/b.tif.aux.xml', 'a/b.tif.msk', 'a/b.tfw']
    """
    folder, slash, file = name.rpartition("/")
    stem = file.rpartition(".")[0] or file
    return [name + end for end in _BESIDE] + [f"{folder}{slash}{stem}{end}" for end in _WORLD]
