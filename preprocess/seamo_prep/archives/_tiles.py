"""What readers share that cut scenes into tiles: positions, parts of large rasters, pictures, class ids of masks."""

import re
import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from seamo.errors import ArchiveError
from seamo.manifest import LabelSpace
from seamo.rasterfacts import gdal_settings
from seamo.sample import IGNORE, GeoRef
from seamo_prep.far import path_of
from seamo_prep.unpack import Raw

_FETCH_AGAIN = "Unpack or fetch it again."
_CACHE_BYTES = 128 << 20  # of decoded blocks; GDAL by itself takes a twentieth of the machine's memory


def starts(length: int, tile: int, stride: int) -> list[int]:
    """Where whole tiles start along one side; what remains at the far edge is in none.

    Example:
        >>> starts(600, 256, 256)
        [0, 256]
    """
    return list(range(0, length - tile + 1, stride))


def anchored_starts(length: int, tile: int, stride: int) -> list[int]:
    """The same, with a last tile that ends at the far edge, so that every pixel is in one.

    Example:
        >>> anchored_starts(200, 128, 64)
        [0, 64, 72]
    """
    whole = starts(length, tile, stride)
    last = length - tile
    return whole if whole[-1:] == [last] or last < 0 else [*whole, last]


def tile_name(y0: int, x0: int) -> str:
    """Last part of a tile's key; names sort by row, then by column (sides up to 99,999 pixels)."""
    return f"y{y0:05d}_x{x0:05d}"


def key_part(name: str) -> str:
    """A published name as a part of a key: what keys cannot hold becomes `-`."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def tile_geo(crs: str, transform: tuple[float, ...] | None, y0: int, x0: int) -> GeoRef | None:
    """Georeference of the tile at (y0, x0) of a scene, if the scene has one."""
    if not crs or transform is None:
        return None
    a, b, c, d, e, f = transform
    return GeoRef(crs, (a, b, c + a * x0 + b * y0, d, e, f + d * x0 + e * y0))


@dataclass(frozen=True, slots=True)
class RasterFacts:
    """A raster's header.

    Args:
        height, width, bands: Its size.
        dtype: Name of its pixels' type.
        crs: As in `seamo.sample.GeoRef`; empty if the file names none.
        transform: As there; None if the file has none.
    """

    height: int
    width: int
    bands: int
    dtype: str
    crs: str
    transform: tuple[float, float, float, float, float, float] | None


class PartialRaster:
    """A TIFF of which only parts are read, open on a file, inside an archive, or in memory.

    Args:
        source: The open dataset.
        where: The file, for messages.
    """

    def __init__(self, source: Any, where: str) -> None:
        self._source, self.where = source, where
        affine, code = source.transform, source.crs.to_epsg() if source.crs else None
        self.facts = RasterFacts(
            height=source.height,
            width=source.width,
            bands=source.count,
            dtype=source.dtypes[0],
            crs=f"EPSG:{code}" if code else source.crs.to_wkt() if source.crs else "",
            transform=None if affine == rasterio.Affine.identity() else tuple(affine)[:6],
        )

    def rows(self, y0: int, height: int) -> NDArray[Any]:
        """(C, height, width of the raster) from row `y0` on.

        Raises:
            ArchiveError: If the file is damaged.
        """
        try:
            with gdal_settings(GDAL_CACHEMAX=_CACHE_BYTES):
                return np.asarray(self._source.read(window=Window(0, y0, self.facts.width, height)))
        except RasterioError as error:
            raise ArchiveError(f"cannot be decoded ({error})", self.where, _FETCH_AGAIN) from error


@contextmanager
def open_raster(raw: Raw, name: str) -> Generator[PartialRaster]:
    """Open a TIFF to read parts of it.

    It is read where it lies if that can be done (on disk, in a .zip or .tar), from a copy on this disk if RAW is at an
    address, else as a whole from memory.

    Raises:
        ArchiveError: If the file is not there or not a TIFF.
    """
    if not raw.exists(name):
        raise ArchiveError("the file is not there", raw.where(name), _FETCH_AGAIN)
    with ExitStack() as stack:
        try:
            with warnings.catch_warnings(), gdal_settings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said by `facts`
                path: Any = raw.gdal_path(name)
                if path is None:
                    copy = raw.brought(name)  # it is there until this function is left
                    path = path_of(copy) if copy else stack.enter_context(MemoryFile(raw.read(name)))
                source = stack.enter_context(
                    path.open(driver="GTiff") if isinstance(path, MemoryFile) else rasterio.open(path, driver="GTiff")
                )
                opened = PartialRaster(source, raw.where(name))
        except RasterioError as error:
            raise ArchiveError(f"cannot be decoded ({error})", raw.where(name), _FETCH_AGAIN) from error
        yield opened


def raster_facts(raw: Raw, name: str) -> RasterFacts:
    """The header of a TIFF."""
    with open_raster(raw, name) as opened:
        return opened.facts


@contextmanager
def open_picture(raw: Raw, name: str, kind: str) -> Generator[Image.Image]:
    """Open a JPEG or PNG; `decode` its pixels before using them.

    Pillow warns of pictures above 89 million pixels and refuses those above twice as many. The warning is
    silenced here, and only here; the refusal stays.

    Args:
        raw: Where the file is.
        name: The file.
        kind: `JPEG` or `PNG`.

    Raises:
        ArchiveError: If the file is not there, or no such picture.
    """
    source: Path | BytesIO = raw.path(name) or BytesIO(raw.read(name))
    with _decoding(raw, name), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(source, formats=[kind])
    try:
        yield picture
    finally:
        picture.close()  # the pixels too; leaving `with picture:` would keep them


def decode(raw: Raw, name: str, picture: Image.Image) -> Image.Image:
    """The same picture with its pixels in memory.

    Raises:
        ArchiveError: If the file is cut short or damaged.
    """
    with _decoding(raw, name):
        picture.load()
    return picture


@contextmanager
def _decoding(raw: Raw, name: str) -> Generator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise ArchiveError(f"cannot be decoded ({error})", raw.where(name), _FETCH_AGAIN) from error


def class_ids(values: NDArray[Any], space: LabelSpace, where: str) -> NDArray[np.uint8]:
    """Class ids for the published values of a mask.

    Args:
        values: (H, W), whole numbers.
        space: Its `raw` says which id a value means.
        where: The file, for messages.

    Raises:
        ArchiveError: For a value that the label space does not list.
    """
    found = np.unique(values)
    unknown = [int(value) for value in found if int(value) not in space.raw]
    if unknown:
        known = ", ".join(str(value) for value in sorted(space.raw))
        raise ArchiveError(f"mask holds {unknown[0]}, which is no class", where, f"Known values: {known}.")
    ids = np.full(values.shape, IGNORE, dtype=np.uint8)
    for value in found:
        ids[values == value] = space.raw[int(value)]
    return ids


def declared_size(raw: Raw, name: str) -> tuple[int, int] | None:
    """(H, W) that `SYNTHETIC.json` declares under a name; None for published data."""
    declared = (raw.synthetic or {}).get("sizes", {}).get(name)
    return None if declared is None else (int(declared[0]), int(declared[1]))
