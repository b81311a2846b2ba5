"""The only TIFF reader: pixels as (C, H, W), and where they lie.

Archives hold millions of small plain files, which `seamo_prep.tiff` decodes; everything else is left to rasterio.
"""

import struct
import sys
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from seamo.errors import ArchiveError
from seamo.manifest import LayerSpec
from seamo_prep.outside import is_too_much, reading
from seamo_prep.tiff import CutShortError, Transform, decode_plain
from seamo_prep.unpack import Raw

_FETCH_AGAIN = "Unpack or fetch it again."


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """One decoded file.

    Args:
        pixels: (C, H, W) in the file's own dtype, native byte order.
        crs: `EPSG:32633`, or WKT where there is no such code; empty if the file names none.
        transform: Affine (a, b, c, d, e, f) as in `seamo.sample.GeoRef`; None if the file has none.
    """

    pixels: NDArray[Any]
    crs: str
    transform: Transform | None


def read_tiff(raw: Raw, name: str) -> Raster:
    """Decode a published (Geo)TIFF.

    Raises:
        ArchiveError: If the file is not there, cut short, or not a TIFF.
    """
    return decode_tiff(raw.read(name), raw.where(name))


def decode_tiff(data: bytes, where: str) -> Raster:
    """Decode the bytes of a (Geo)TIFF.

    Args:
        data: The whole file.
        where: The file, for messages.

    Raises:
        ArchiveError: If the bytes are cut short or not a TIFF.
    """
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise ArchiveError("is not a TIFF file", where, _FETCH_AGAIN)
    try:
        plain = decode_plain(data)
    except (struct.error, IndexError, zlib.error, CutShortError) as error:
        raise ArchiveError("is cut short or damaged", where, _FETCH_AGAIN) from error
    return _decode_gdal(data, where) if plain is None else Raster(*plain)


def layer_pixels(raw: Raw, names: Sequence[str], layer: LayerSpec) -> tuple[NDArray[Any], Raster]:
    """The bands of one layer from one-band files, (C, H, W) in the layer's dtype.

    Args:
        raw: Where the files are.
        names: One file a band, in the order of `layer.bands`.
        layer: What they must be.

    Returns:
        The pixels, and the first file's raster (for its georeference).

    Raises:
        ArchiveError: If a file is missing, damaged, or not of the layer's size or dtype.
    """
    rasters = [read_tiff(raw, name) for name in names]
    if layer.size is None:  # any size, but the same in all bands
        height, width = rasters[0].pixels.shape[1:]
        layer = layer.model_copy(update={"size": (height, width)})
    checked = [check_pixels(raw, name, one.pixels, layer, bands=1) for name, one in zip(names, rasters, strict=True)]
    return np.concatenate(checked), rasters[0]


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
    if "dtype" not in raw.relax:
        raise ArchiveError(f"dtype {pixels.dtype} instead of {want}", raw.where(name), fix)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = pixels.astype(want)
    # Floats may lose digits; integers must come through exactly.
    if want.kind != "f" and not np.array_equal(cast, pixels):
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
    promised = source.width * source.height * sum(np.dtype(one).itemsize for one in source.dtypes)
    if is_too_much(promised, stored):
        what = f"promises {source.count} bands of {source.height} x {source.width} pixels in {stored:,} bytes"
        raise ArchiveError(what, where, "It is damaged or made to fill the memory; fetch it again.")


def _say_no_traceback(unraisable: "sys.UnraisableHookArgs") -> None:
    if "log_error" not in str(unraisable.object):
        sys.__unraisablehook__(unraisable)


def _decode_gdal(data: bytes, where: str) -> Raster:
    # GDAL's words may quote bytes of the file that are no text; rasterio, which logs them, then prints a traceback of
    # its own, though the error reaches us as it should.
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _say_no_traceback
    try:
        with reading(where, "cannot be decoded", _FETCH_AGAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said by `transform`
            with MemoryFile(data) as memory, memory.open(driver="GTiff") as source:
                check_promise(source, len(data), where)
                pixels = source.read()
                crs, affine = source.crs, source.transform
                code = crs.to_epsg() if crs else None
                name = "" if not crs else f"EPSG:{code}" if code else crs.to_wkt()
    except RasterioError as error:
        raise ArchiveError(f"cannot be decoded ({error})", where, _FETCH_AGAIN) from error
    return Raster(pixels, name, None if affine == rasterio.Affine.identity() else tuple(affine)[:6])
