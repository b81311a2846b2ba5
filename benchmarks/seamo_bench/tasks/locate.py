"""Where samples and scenes lie: centres and countries, put beside predictions from a store's index. Numpy only.

They are stored with the predictions, so that maps and tables of countries are made from results alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from seamo_bench.predictions import Floats, Ints, Predictions

if TYPE_CHECKING:
    from seamo.store.samples import Samples

# A footprint of a store is a WKB polygon of five points, the first one again at the end: byte order, type, rings,
# number of points, then x and y of each. Across the antimeridian or around a pole it has more.
_WKB = np.dtype([("head", "u1", (13,)), ("xy", "<f8", (5, 2))])
_MULTIPOLYGON = 6
_DECIMALS = 4  # of a degree: 11 m; the last digits of a projection differ between versions of PROJ


def locate(predictions: Predictions, store: "Samples") -> Predictions:
    """The predictions with the centres of their samples, or scenes, and with countries where the store has them.

    Args:
        predictions: Of samples (their keys are the store's) or of stitched scenes (their keys are its scenes).
        store: What they were made on.
    """
    frame = store.read_index(["key", "scene", "footprint"])
    named = {name: frame[name].fillna("").to_numpy(dtype=np.str_) for name in ("key", "scene")}
    keys, inverse = np.unique(predictions.keys, return_inverse=True)
    by_scene = ~np.isin(keys, named["key"])
    places = np.full((len(keys), 2), np.nan)
    countries = np.full(len(keys), "", dtype=object)
    nations = store.index["country"].fillna("").to_numpy(dtype=np.str_) if "country" in store.index else None
    for name, mine in (("key", ~by_scene), ("scene", by_scene)):
        rows = np.flatnonzero(np.isin(named[name], keys[mine]))
        which = np.searchsorted(keys, named[name][rows])
        if nations is not None:
            countries[which] = nations[rows]
        there = frame["footprint"].iloc[rows].notna().to_numpy()
        known, of = np.unique(which[there], return_inverse=True)
        places[known] = _centres(frame["footprint"].iloc[rows[there]].tolist(), of, len(known))
    spots = places[inverse].round(_DECIMALS).astype(np.float32)
    names = countries[inverse].astype(np.str_)
    return replace(
        predictions,
        places=spots if np.isfinite(spots).any() else np.empty((0, 2), dtype=np.float32),
        countries=names if (names != "").any() else np.empty(0, dtype=np.str_),
    )


def centres_of(store: "Samples") -> Floats:
    """(N, 2) longitude and latitude of the centre of every row, in degrees, rounded to 11 m; NaN where unknown."""
    footprints = store.read_index(["footprint"])["footprint"]
    there = np.flatnonzero(footprints.notna().to_numpy())
    places = np.full((len(footprints), 2), np.nan)
    if len(there):
        found = _centres(footprints.iloc[there].tolist(), np.arange(len(there)), len(there))
        places[there] = found.round(_DECIMALS)
    return places


def _centres(footprints: Sequence[bytes], of: Ints, count: int) -> Floats:
    """(count, 2) mean of the footprints' corners, group by group; longitudes may cross 180 degrees."""
    if all(len(one) == _WKB.itemsize for one in footprints):
        corners = np.frombuffer(b"".join(footprints), dtype=_WKB)["xy"][:, :4]
    else:
        corners = np.stack([_corners(one) for one in footprints])
    first = np.zeros((count, 2))
    first[of[::-1]] = corners[::-1, 0]  # the first footprint of each group: offsets from it are small
    offsets = corners - first[of][:, None]
    offsets[..., 0] = (offsets[..., 0] + 180) % 360 - 180
    mean = np.stack([np.bincount(of, offsets[..., axis].mean(axis=1), minlength=count) for axis in (0, 1)], axis=1)
    places = first + mean / np.bincount(of, minlength=count)[:, None]
    places[:, 0] = (places[:, 0] + 180) % 360 - 180
    return places


def _corners(footprint: bytes) -> Floats:
    """(4, 2) corners of a sample, without the points at which a footprint was cut."""
    if len(footprint) == _WKB.itemsize:
        return np.asarray(np.frombuffer(footprint, dtype=_WKB)["xy"][0, :4])
    at = 9 if footprint[1] == _MULTIPOLYGON else 0
    points: dict[tuple[float, float], None] = {}
    while at < len(footprint):  # polygons of one ring
        count = int.from_bytes(footprint[at + 9 : at + 13], "little")
        ring = np.frombuffer(footprint, "<f8", 2 * count, at + 13).reshape(count, 2)
        points |= {(x, y): None for x, y in ring.tolist() if abs(x) != 180}
        at += 13 + 16 * count
    return np.resize(np.array(list(points)), (4, 2))  # fewer where a corner lies on the cut itself
