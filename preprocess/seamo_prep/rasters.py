"""The only TIFF reader: pixels as (C, H, W), and where they lie."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo_prep.unpack import Raw

Transform = tuple[float, float, float, float, float, float]


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
    raise NotImplementedError(name)
