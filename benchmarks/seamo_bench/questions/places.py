"""Which test images are of one place, and when and where they were taken: from a store's index, without pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.store.samples import Samples
from seamo_bench.predictions import Floats, Strings
from seamo_bench.protocol import Rows


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


def dated_rows(store: Samples, rows: Rows, stack: str, *, times: int) -> Dated:
    """Read dates and places of some rows.

    Args:
        store: The store.
        rows: Ascending.
        stack: Whose dates count.
        times: How many of them are looked at.
    """
    frame = store.read_index(["key", "scene", "bbox"]).iloc[rows]
    boxes = np.full((len(rows), 4), np.nan)
    for i, box in enumerate(frame["bbox"]):
        if box is not None:
            boxes[i] = [box[name] for name in ("xmin", "ymin", "xmax", "ymax")]
    return Dated(
        rows,
        frame["key"].to_numpy(dtype=np.str_),
        frame["scene"].fillna("").to_numpy(dtype=np.str_),
        store.dates_of(rows, stack)[:, :times].astype("datetime64[D]"),
        boxes,
    )


def same_places(images: Dated) -> Strings:
    """(n,) name of the place of every image: of one scene those that show one spot, else each for itself.

    Two images show one spot if the centre of each lies in the other; what has no coordinates is a place of its own.
    Tiles that were cut from one scene side by side therefore are places of their own, too. A place is named by the key
    of its earliest image.
    """
    found = images.keys.copy()
    known = np.flatnonzero((images.scenes != "") & ~np.isnan(images.boxes).any(axis=1))
    order = known[np.lexsort((images.keys[known], images.days[known, 0], images.scenes[known]))]
    firsts: list[int] = []
    scene = ""
    for i in order.tolist():
        if images.scenes[i] != scene:
            scene, firsts = str(images.scenes[i]), []
        near = next((one for one in firsts if _one_spot(images.boxes[one], images.boxes[i])), None)
        if near is None:
            firsts.append(i)
        else:
            found[i] = images.keys[near]
    return found


def _one_spot(a: Floats, b: Floats) -> bool:
    return _holds(a, b) and _holds(b, a)


def _holds(box: Floats, other: Floats) -> bool:
    x, y = other[[0, 2]].mean(), other[[1, 3]].mean()
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])
