"""Which test images are of one place, and when and where they were taken: from a store's index, without pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.store.samples import Samples
from seamo_bench.predictions import Floats, Strings
from seamo_bench.protocol import Rows

# Tiles cut with half an overlap have their centres on one another's edges, and the box of a tile in degrees is up to a
# twentieth wider than the tile where its grid is turned: only what lies within this share of a box is in its midst.
INNER = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Dated:
    """Rows of a store with what their index says of time and place.

    Args:
        rows: (n,) ascending.
        keys: (n,).
        scenes: (n,) "" where unknown.
        days: (n, T) datetime64[D], NaT where unknown.
        boxes: (n, 4) west, south, east, north in degrees, NaN where unknown.
    """

    rows: Rows
    keys: Strings
    scenes: Strings
    days: NDArray[np.datetime64]
    boxes: Floats

    @property
    def latitude(self) -> NDArray[np.float64]:
        """(n,) of the centres, NaN where unknown."""
        return np.asarray(self.boxes[:, [1, 3]].mean(axis=1), dtype=np.float64)


def dated_rows(store: Samples, rows: Rows, stacks: Sequence[str], *, times: int) -> Dated:
    """Read dates and places of some rows.

    Args:
        store: The store.
        rows: Ascending.
        stacks: That are read; the dates are the first one's. Of several dates a sample one is there if all stacks that
            have dates have it.
        times: How many of them are looked at.
    """
    days = [store.dates_of(rows, stack)[:, :times].astype("datetime64[D]") for stack in stacks]
    for other in days[1:] if times > 1 else ():
        if not np.isnat(other).all():
            days[0][np.isnat(other)] = np.datetime64("NaT")
    frame = store.read_index(["key", "scene", "bbox"]).iloc[rows]
    boxes = np.full((len(rows), 4), np.nan)
    for i, box in enumerate(frame["bbox"]):
        if box is not None:
            boxes[i] = [box[name] for name in ("xmin", "ymin", "xmax", "ymax")]
    return Dated(
        rows,
        frame["key"].to_numpy(dtype=np.str_),
        frame["scene"].fillna("").to_numpy(dtype=np.str_),
        days[0],
        boxes,
    )


def same_places(images: Dated) -> Strings:
    """(n,) name of the place of every image: of one scene those that show one spot, else each for itself.

    Two images show one spot if the centre of each lies well inside the other (`INNER`); what has no coordinates is a
    place of its own, and so is every image of a scene of one day.
    Tiles that were cut from one scene side by side therefore are places of their own, too. A place is named by the key
    of its earliest image.
    """
    found = images.keys.copy()
    known = np.flatnonzero((images.scenes != "") & ~np.isnan(images.boxes).any(axis=1))
    order = known[np.lexsort((images.keys[known], images.days[known, 0], images.scenes[known]))]
    starts = np.unique(images.scenes[order], return_index=True)[1]
    for mine in np.split(order, starts[1:]) if len(order) else []:
        days = images.days[mine, 0]
        if (days != days[0]).any():  # many data sets cut thousands of tiles from a scene of one day
            found[mine] = images.keys[mine[_spots(images.boxes[mine])]]
    return found


def _spots(boxes: Floats) -> NDArray[np.int64]:
    """(n,) of every box the first one that shows its spot, itself if none before does."""
    centres = np.stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)], axis=1)
    found = np.arange(len(boxes))
    firsts: list[int] = []
    for i in range(len(boxes)):
        near = _holds(boxes[firsts], centres[i : i + 1]) & _holds(boxes[i : i + 1], centres[firsts])
        if near.any():
            found[i] = firsts[int(near.argmax())]
        else:
            firsts.append(i)
    return found


def _holds(boxes: Floats, points: Floats) -> NDArray[np.bool_]:
    """Whether points lie well inside boxes, one by one or one against all."""
    centres, reach = (boxes[:, :2] + boxes[:, 2:]) / 2, INNER * (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.asarray((np.abs(points - centres) < reach).all(axis=1))
