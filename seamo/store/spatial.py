"""The split scheme of places: whole blocks of land are train, val or test; nothing is learnt close to a test sample.

A scheme's name says all of it: `spatial-20km-2km` has blocks of 20 km (`seamo.earth.blocks_of`) and leaves out of train
and val whatever lies nearer than 2 km to a test sample, from centre to centre. Blocks are drawn 60/20/20 by the hash of
their place, so a sample's block never depends on other samples, and two guard distances have the same test samples.
"""

import re
from typing import NamedTuple

import numpy as np

from seamo.earth import Floats, blocks_of, nearest_km
from seamo.errors import StoreError
from seamo.store.subsets import rank

SPATIAL_EXAMPLE = "spatial-20km-2km"
_NAME = re.compile(r"spatial-([1-9]\d{0,3})km-(0|[1-9]\d{0,3})km")


class SpatialScheme(NamedTuple):
    """What the name of a spatial scheme says.

    Args:
        block_km: Side of a block.
        guard_km: How far training and validation samples are from every test sample, at least.
    """

    block_km: int
    guard_km: int


def parse_spatial(name: str) -> SpatialScheme | None:
    """What the name of a scheme says, None if it is none of this kind or not written in its one form.

    Example:
        >>> parse_spatial("spatial-20km-2km"), parse_spatial("spatial-020km-2km"), parse_spatial("official")
        (SpatialScheme(block_km=20, guard_km=2), None, None)
    """
    found = _NAME.fullmatch(name)
    if found is None or int(found[2]) > int(found[1]):
        return None
    return SpatialScheme(int(found[1]), int(found[2]))


def spatial_splits(dataset_id: str, scheme: SpatialScheme, places: Floats) -> list[str]:
    """`train`, `val`, `test` or "" of every sample.

    Args:
        dataset_id: Goes into the hash.
        scheme: From `parse_spatial`.
        places: (N, 2) longitude and latitude of the samples' centres in degrees, NaN where unknown: in no split.

    Raises:
        StoreError: If no place is known.
    """
    if not np.isfinite(places).all(axis=1).any():
        raise StoreError("does not say where its samples lie, so they cannot be split by place", dataset_id)
    blocks, inverse = np.unique(blocks_of(places, scheme.block_km), axis=0, return_inverse=True)
    drawn = [_drawn(dataset_id, scheme, row, column) for row, column in blocks.tolist()]
    splits = np.array(drawn, dtype=np.str_)[inverse.ravel()]
    learnt = np.flatnonzero((splits == "train") | (splits == "val"))
    away = nearest_km(places[learnt], places[splits == "test"], within=scheme.guard_km)
    splits[learnt[away < scheme.guard_km]] = ""
    return [str(one) for one in splits]


def _drawn(dataset_id: str, scheme: SpatialScheme, row: int, column: int) -> str:
    if row < 0:
        return ""
    share = int.from_bytes(rank(dataset_id, f"spatial-{scheme.block_km}km", f"{row}/{column}")[:8], "big") / 2**64
    return "train" if share < 0.6 else "val" if share < 0.8 else "test"
