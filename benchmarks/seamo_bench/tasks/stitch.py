"""Evaluation on scenes: overlapping tiles become one map by mean class probability, so that each pixel counts once.

Numpy only. Tiles of a scene come in the order of their rows of pixels; what no later tile can reach is decided at
once, so that memory holds one strip of class probabilities, as high as a tile, and the class ids of one scene.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.sample import IGNORE
from seamo_bench.predictions import TilePredictions, tile_confusion

Ids = NDArray[np.uint8]
Counts = NDArray[np.int64]
Rows = NDArray[np.int64]
KEEP_PIXELS = 2**28  # class ids of all images together are kept up to here; confusion counts always


@dataclass(frozen=True, slots=True, eq=False)
class StitchedImage:
    """What is scored as one image: a scene, or a tile whose place in a scene is not known.

    Args:
        key: Of the scene or the tile.
        unit: Scene; empty where unknown.
        rows: Rows of its tiles, in the order in which `stitch` wants them.
        y0, x0: Upper-left corner of each tile in the image.
        size: (H, W) that the tiles span.
    """

    key: str
    unit: str
    rows: Rows
    y0: Rows
    x0: Rows
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One tile's prediction.

    Args:
        probabilities: (K, h, w).
        truth: (h, w) class ids, 255 = ignore.
    """

    probabilities: NDArray[np.floating[Any]]
    truth: Ids


@dataclass(frozen=True, slots=True, eq=False)
class ScoredScene:
    """One image, scored.

    Args:
        confusion: (K, K) counts [true, predicted], each pixel once.
        tilewise: (K, K) counts of every tile by itself: pixels in overlaps count as often as tiles show them.
        ids: (H, W) predicted class ids, 255 where no tile is; empty (0, 0) if they are not kept.
    """

    confusion: Counts
    tilewise: Counts
    ids: Ids


def images_of(
    rows: Rows, *, keys: Sequence[str], scenes: Sequence[str], corners: NDArray[np.int64], sizes: NDArray[np.int64]
) -> list[StitchedImage]:
    """Group tiles into images: whole scenes where the tiles' places are known, else every tile by itself.

    Places are not known where a tile has no scene, or where two tiles of one scene claim the same corner.

    Args:
        rows: Of the tiles, (n,).
        keys: Key of each tile.
        scenes: Scene of each; empty where unknown.
        corners: (n, 2) y0 and x0 of each in its scene.
        sizes: (n, 2) height and width of each.

    Returns:
        Images in the order in which their first tile comes.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for position, scene in enumerate(scenes):
        groups.setdefault((scene, -1 if scene else position), []).append(position)
    images = []
    for (scene, _), members in groups.items():
        places = {(int(corners[m, 0]), int(corners[m, 1])) for m in members}
        if not scene or len(places) < len(members):
            images += [_one(rows, m, str(keys[m]), scene, sizes) for m in members]
            continue
        order = np.array(sorted(members, key=lambda m: (corners[m, 0], corners[m, 1])), dtype=np.int64)
        place = corners[order] - corners[order].min(axis=0)
        height, width = (place + sizes[order]).max(axis=0)
        images.append(StitchedImage(scene, scene, rows[order], place[:, 0], place[:, 1], (int(height), int(width))))
    return images


def _one(rows: Rows, member: int, key: str, scene: str, sizes: NDArray[np.int64]) -> StitchedImage:
    zero = np.zeros(1, dtype=np.int64)
    return StitchedImage(
        key, scene, rows[member : member + 1], zero, zero, (int(sizes[member, 0]), int(sizes[member, 1]))
    )


def stitch(image: StitchedImage, tiles: Iterable[Tile], num_classes: int, *, keep: bool = True) -> ScoredScene:
    """Mean class probability of all tiles over each pixel, then the most probable class (the lower id of equals).

    Args:
        image: Says where the tiles lie.
        tiles: In the order of `image.rows`.
        num_classes: K.
        keep: Whether to keep the class ids.

    Raises:
        ProtocolError: If two tiles disagree about the truth of one pixel: their places are wrong then.
    """
    stitcher = Stitcher(image, num_classes, keep=keep)
    for tile in tiles:
        stitcher.add(tile)
    return stitcher.finish()


class Stitcher:
    """`stitch`, tile by tile: several models' predictions of one pass over the tiles can be stitched side by side.

    Args:
        image: Says where the tiles lie.
        num_classes: K.
        keep: Whether to keep the class ids.
    """

    def __init__(self, image: StitchedImage, num_classes: int, *, keep: bool) -> None:
        self._image, self._num_classes, self._keep = image, num_classes, keep
        self._count = 0
        self._strip = _Strip(num_classes, image.size[1], image.key)
        self._confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
        self._tilewise = np.zeros_like(self._confusion)
        self._ids = np.full(image.size if keep else (0, 0), IGNORE, dtype=np.uint8)

    def add(self, tile: Tile) -> None:
        """Lay the next tile, in the order of `image.rows`."""
        own = tile.probabilities.argmax(axis=0).astype(np.uint8)
        self._tilewise += tile_confusion(tile.truth, own, self._num_classes)
        y0, x0 = int(self._image.y0[self._count]), int(self._image.x0[self._count])
        self._settle(y0)
        self._strip.add(tile, y0, x0)
        self._count += 1

    def finish(self) -> ScoredScene:
        """The image, after its last tile.

        Raises:
            ProtocolError: If tiles are missing.
        """
        if self._count != len(self._image.rows):
            raise ProtocolError(f"has {self._count} tiles instead of {len(self._image.rows)}", self._image.key)
        self._settle(self._image.size[0])
        return ScoredScene(self._confusion, self._tilewise, self._ids)

    def _settle(self, to: int) -> None:
        top, predicted, truth = self._strip.advance(to)
        self._confusion += tile_confusion(truth, predicted, self._num_classes)
        if self._keep:
            self._ids[top : top + len(predicted)] = predicted


@dataclass(slots=True, eq=False)
class _Strip:
    """The rows of a scene that later tiles may still reach.

    Probabilities are summed, not averaged: every class of a pixel is divided by the same number of tiles.
    """

    num_classes: int
    width: int
    name: str
    top: int = 0
    total: NDArray[np.float32] = field(init=False)
    truth: Ids = field(init=False)
    seen: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros((self.num_classes, 0, self.width), dtype=np.float32)
        self.truth = np.zeros((0, self.width), dtype=np.uint8)
        self.seen = np.zeros((0, self.width), dtype=np.bool_)

    def advance(self, to: int) -> tuple[int, Ids, Ids]:
        """Decide the rows above `to`: (first row, predicted ids, truth), 255 in both where no tile is."""
        rows = min(max(to - self.top, 0), len(self.truth))
        first = self.top
        predicted = self.total[:, :rows].argmax(axis=0).astype(np.uint8)
        predicted[~self.seen[:rows]] = IGNORE
        truth = self.truth[:rows]
        self.total, self.truth, self.seen = self.total[:, rows:], self.truth[rows:], self.seen[rows:]
        self.top = max(to, self.top)
        return first, predicted, truth

    def add(self, tile: Tile, y0: int, x0: int) -> None:
        """Lay a tile on the strip, whose top is at or above `y0`."""
        height, width = tile.truth.shape
        self._reach(y0 - self.top + height)
        part = slice(y0 - self.top, y0 - self.top + height), slice(x0, x0 + width)
        known = self.truth[part]
        clash = (known != tile.truth) & (known != IGNORE) & (tile.truth != IGNORE)
        if clash.any():
            raise ProtocolError(
                f"tiles disagree about the class of {int(clash.sum())} pixels that they share",
                f"scene {self.name}, tile at ({y0}, {x0})",
                "The index's scene, y0 or x0 are wrong; rebuild the store.",
            )
        self.total[(slice(None), *part)] += tile.probabilities
        self.truth[part] = np.where(known == IGNORE, tile.truth, known)
        self.seen[part] = True

    def _reach(self, rows: int) -> None:
        more = rows - len(self.truth)
        if more <= 0:
            return
        self.total = np.pad(self.total, ((0, 0), (0, more), (0, 0)))
        self.truth = np.pad(self.truth, ((0, more), (0, 0)), constant_values=IGNORE)
        self.seen = np.pad(self.seen, ((0, more), (0, 0)))


def tile_predictions(images: Sequence[StitchedImage], scored: Iterator[ScoredScene]) -> TilePredictions:
    """All images of a test split as they are stored."""
    kept, confusion, tilewise = [], [], []
    for one in scored:
        confusion.append(one.confusion)
        tilewise.append(one.tilewise)
        kept.append(one.ids)
    units = np.array([image.unit for image in images], dtype=np.str_)
    stitched = any(len(image.rows) > 1 for image in images)
    ids = np.concatenate([one.ravel() for one in kept])
    shapes = np.array([one.shape for one in kept], dtype=np.int32)
    return TilePredictions(
        keys=np.array([image.key for image in images], dtype=np.str_),
        confusion=np.stack(confusion),
        tilewise=np.stack(tilewise) if stitched else np.empty((0, 0, 0), dtype=np.int64),
        units=units if (units != "").all() else np.empty(0, dtype=np.str_),
        ids=ids,
        shapes=shapes if len(ids) else np.empty((0, 2), dtype=np.int32),
    )


def keeps_ids(images: Sequence[StitchedImage]) -> bool:
    """Whether the class ids of all images are few enough to be kept."""
    return sum(image.size[0] * image.size[1] for image in images) <= KEEP_PIXELS
