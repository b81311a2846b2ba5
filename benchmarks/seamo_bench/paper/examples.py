"""Examples out of stores and records: places of test scenes with their truth and what every model says there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError, StoreError
from seamo.sample import IGNORE
from seamo.store.joined import JoinedStore
from seamo.store.pictures import ABSENT, Picture, stack_strips
from seamo.store.reader import Store, open_store
from seamo.store.roots import store_urls
from seamo.store.samples import Samples
from seamo_bench.board.compare import Column, column_of, row_of
from seamo_bench.facts import Facts
from seamo_bench.paper.identity import is_seamo
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.tasks.stitch import StitchedImage
from seamo_bench.tasks.stores import store_of_facts
from seamo_bench.tasks.trials import labels_of, make_trials
from seamo_bench.tasks.truth import mask_of, mask_size, scored_images

Ids = NDArray[np.uint8]
CROP = 256  # pixels of a scene that are shown; a tile where it is larger
CANDIDATES = 300  # tiles among which examples are chosen


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One model's predictions in a column.

    Args:
        record: Of one seed.
        title: As tables print it.
        score: Under the task's primary metric.
        seamo: Whether it is a pretrained SeaMo.
        predictions: Of the test split.
    """

    record: Record
    title: str
    score: float | None
    seamo: bool
    predictions: ClassPredictions | TilePredictions


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One image of one stack.

    Args:
        name: Stack, product and rendering, with the date where there are several.
        stretch: How it was rendered, with the numbers.
        day: Date, empty if unknown.
        picture: Of the image.
    """

    name: str
    stretch: str
    day: str
    picture: Picture


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A part of a test scene.

    Args:
        key: Of the scene or tile, and where in it.
        pictures: Of every stack and date.
        truth: (H, W) class ids, 255 = none.
        predicted: Class ids of every model, in their order.
    """

    key: str
    pictures: tuple[Shown, ...]
    truth: Ids
    predicted: tuple[Ids, ...]


def stores_under(root: Path) -> list[Store]:
    """Every published store under a folder, `<root>/<dataset-id>/<build8>`, and its views.

    Raises:
        StoreError: If there is none.
    """
    found = [open_store(path) for dataset in sorted(root.glob("[!.]*")) for path in store_urls(dataset)]
    if not found:
        raise StoreError("there is no store", str(root), "Name the folder that `seamo-prep build --store` filled.")
    return found


def store_of(record: Record, stores: Sequence[Store]) -> Samples:
    """The store that a record read, by its content.

    Raises:
        StoreError: If it is not among them.
    """
    parts = []
    for wanted in record.facts.stores:
        chosen = store_of_facts([store for store in stores if store.spec.id == wanted.id], wanted, record.facts)
        if chosen is None:
            others = [store.content[:12] for store in stores if store.spec.id == wanted.id]
            what = f"with the content {wanted.content[:12]}"
            what += f", there is {', '.join(others)}" if others else ""
            raise StoreError(f"no store of {wanted.id} {what}", fix="Records and stores belong together.")
        parts.append(chosen)
    return parts[0] if len(parts) == 1 else JoinedStore(parts)


def best_column(records: Sequence[Record], dataset: str) -> list[Record]:
    """The ok records of one data set that answer one question: of the column with the most models.

    Between columns of as many models: the larger share of labels, the full budget, then what trains most.
    """
    columns: dict[Column, list[Record]] = {}
    for record in records:
        if record.status == "ok" and column_of(record).dataset == dataset:
            columns.setdefault(column_of(record), []).append(record)
    if not columns:
        return []
    order = sorted(
        columns,
        key=lambda one: (
            -_models(columns[one]),
            -one.fraction,
            one.budget != "full",
            *(-count for count in _trained(columns[one])),
            one,
        ),
    )
    return columns[order[0]]


def _trained(records: Sequence[Record]) -> tuple[int, int]:
    """How many parameters were trained, at most, and how many of the records have a head."""
    most = max(record.cost.trainable_parameters or 0 for record in records)
    return most, sum(record.head is not None for record in records)


def _models(records: Sequence[Record]) -> int:
    return len({row_of(record) for record in records})


def models_of(records: Sequence[Record], results: Path, most: int) -> tuple[list[Model], int]:
    """The first seed of each model: SeaMo first, then by score, floors last; at most so many, and how many there are.

    Raises:
        ProtocolError: If predictions are damaged.
    """
    first: dict[str, Record] = {}
    for record in sorted(records, key=lambda one: (one.facts.backbone.id, one.facts.seed, one.facts.split.salt)):
        first.setdefault(row_of(record), record)

    def rank(record: Record) -> tuple[bool, bool, float, str]:
        score = record.scores.get(PRIMARY[record.facts.task.kind])
        return not is_seamo(record), bool(record.about.floor), -(score or 0.0), row_of(record)

    chosen = sorted(first.values(), key=rank)
    if len(chosen) > most:  # a floor stays among them, to compare with
        floors = [record for record in chosen if record.about.floor][:1]
        rest = [record for record in chosen if record not in floors]
        chosen = rest[: most - len(floors)] + floors
    models = [
        Model(
            record,
            record.about.backbone,
            record.scores.get(PRIMARY[record.facts.task.kind]),
            is_seamo(record),
            load_predictions(record, results),
        )
        for record in chosen
    ]
    return models, len(first)


def test_images(store: Samples, facts: Facts) -> list[StitchedImage]:
    """What counts as one image of a record's test split, in the order of its predictions."""
    trials = make_trials(
        store,
        labels_of(store, facts.task),
        scheme=facts.split.scheme,
        fraction=facts.split.fraction,
        salt=facts.split.salt,
        budget=facts.budget,
    )
    return scored_images(store, facts.task, trials[0].test)


def places_of(store: Samples, models: Sequence[Model], count: int) -> list[Spot]:
    """Places of the test split that show many classes, of different scenes first.

    Raises:
        ProtocolError: If class ids were not kept, or predictions are of other images than the store's test split.
    """
    facts = models[0].record.facts
    images = test_images(store, facts)
    keys = [image.key for image in images]
    maps = []
    for model in models:
        own = model.predictions
        if not isinstance(own, TilePredictions) or not len(own.ids):
            raise ProtocolError("its class ids were not kept: the test images have too many pixels", model.record.key)
        if own.keys.tolist() != keys:
            raise ProtocolError("its predictions are of other images than the store's test split", model.record.key)
        ends = np.cumsum(own.shapes.astype(np.int64).prod(axis=1))
        maps.append([own.ids[end - h * w : end].reshape(h, w) for end, (h, w) in zip(ends, own.shapes, strict=True)])
    found = []
    for number, top, left, height, width in _chosen(store, images, facts, count):
        image, part = images[number], (slice(top, top + height), slice(left, left + width))
        pictures, truth = _cut(store, image, facts, part)
        whole = (height, width) == image.size
        key = image.key if whole else f"{image.key} at ({top}, {left})"
        found.append(Spot(key, pictures, truth, tuple(own[number][part] for own in maps)))
    return found


def _chosen(
    store: Samples, images: Sequence[StitchedImage], facts: Facts, count: int
) -> list[tuple[int, int, int, int, int]]:
    """(image, top, left, height, width) of the places to show."""
    grid = mask_size(store, facts.task)
    tiles = [(number, k) for number, image in enumerate(images) for k in range(len(image.rows))]
    tiles = tiles[:: max(1, len(tiles) // CANDIDATES)]
    interest: dict[tuple[int, int], float] = {}
    for number, k in tiles:
        truth = mask_of(store, int(images[number].rows[k]), facts.task.label_space)
        interest[number, k] = _variety(truth)
    rank: dict[int, int] = {}
    ordered = []
    for tile in sorted(tiles, key=lambda one: -interest[one]):
        rank[tile[0]] = rank.get(tile[0], -1) + 1
        ordered.append((rank[tile[0]], -interest[tile], tile))
    chosen: list[tuple[int, int, int, int, int]] = []
    for _, _, (number, k) in sorted(ordered):
        image = images[number]
        height, width = (min(max(CROP, own), whole) for own, whole in zip(grid, image.size, strict=True))
        top = int(np.clip(image.y0[k] + grid[0] // 2 - height // 2, 0, image.size[0] - height))
        left = int(np.clip(image.x0[k] + grid[1] // 2 - width // 2, 0, image.size[1] - width))
        apart = all(one[0] != number or abs(one[1] - top) >= height or abs(one[2] - left) >= width for one in chosen)
        if apart:
            chosen.append((number, top, left, height, width))
        if len(chosen) == count:
            break
    return chosen


def _variety(truth: Ids) -> float:
    """Entropy of the classes, lowered by the share of pixels without one."""
    known = truth[truth != IGNORE]
    if not len(known):
        return 0.0
    share = np.bincount(known) / len(known)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() * len(known) / truth.size)


def _cut(
    store: Samples, image: StitchedImage, facts: Facts, part: tuple[slice, slice]
) -> tuple[tuple[Shown, ...], Ids]:
    """Pictures and truth of a part of an image, from its tiles."""
    shape = part[0].stop - part[0].start, part[1].stop - part[1].start
    truth = np.full(shape, IGNORE, dtype=np.uint8)
    shown: dict[str, Shown] = {}
    height, width = mask_size(store, facts.task)
    for row, y0, x0 in zip(image.rows.tolist(), image.y0.tolist(), image.x0.tolist(), strict=True):
        down, across = _overlap(part[0], y0, height), _overlap(part[1], x0, width)
        if down is None or across is None:
            continue
        here, there = (down[0], across[0]), (down[1], across[1])
        own = mask_of(store, row, facts.task.label_space)[there]
        truth[here] = np.where(truth[here] == IGNORE, own, truth[here])
        for one in pictures_of(store, row, facts):
            if one.picture.shape[:2] == (height, width):
                blank = replace(one, picture=np.full((*shape, 3), ABSENT, dtype=np.uint8))
                shown.setdefault(one.name, blank).picture[here] = one.picture[there]
    return tuple(shown.values()), truth


def _overlap(part: slice, start: int, length: int) -> tuple[slice, slice] | None:
    """Where a tile lies in a part, and what of the tile; None if it is outside."""
    low, high = max(part.start, start), min(part.stop, start + length)
    if low >= high:
        return None
    return slice(low - part.start, high - part.start), slice(low - start, high - start)


def pictures_of(store: Samples, row: int, facts: Facts | None = None) -> list[Shown]:
    """The most natural rendering of every date of every stack that a network saw, or of all stacks."""
    seen = None if facts is None or facts.adapter is None else {one.stack for one in facts.adapter.inputs}
    found = []
    for stack in store.spec.stacks:
        if seen is not None and stack not in seen:
            continue
        strip = stack_strips(store, row, stack)[0]
        name = strip.caption.partition(",")[0].partition(":")[0]
        several = len(strip.panels) > 1
        for date, panel in enumerate(strip.panels):
            if panel.picture is not None:
                own = f"{name}, date\u00a0{date + 1}" if several else name
                found.append(Shown(own, strip.caption, panel.title, panel.picture))
    return found
