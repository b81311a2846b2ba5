"""The truth of a task, a line a sample: what a store says, what a record's predictions repeat, and digests of both.

Lines and digests are those of `seamo.store.truth`, so that a record's test split can be held against the `truth` of a
store.json, too. The row sums of an image's confusion counts are the pixels of its mask. Samples of a cross-validation
scheme stand once a repeat: their key is followed by ` repeat R fold F`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.sample import IGNORE
from seamo.store.format import finest_layer
from seamo.store.truth import keys_digest, line_text
from seamo_bench.facts import TaskFacts
from seamo_bench.predictions import Ints, Predictions, TilePredictions
from seamo_bench.protocol import Rows, Split
from seamo_bench.tasks.stitch import StitchedImage, images_of

if TYPE_CHECKING:
    from seamo.store.samples import Samples

Ids = NDArray[np.uint8]
Lines = Mapping[str, str]  # key -> label


class Truth(NamedTuple):
    """Digests of a list of lines.

    Args:
        rows: How many.
        keys: Sha256 of the sorted keys, joined by newlines.
        labels: Sha256 of the sorted lines, joined by newlines.
    """

    rows: int
    keys: str
    labels: str


def digests(lines: Lines) -> Truth:
    """What is kept of a split's truth where its lines are too many.

    Example:
        >>> from seamo.store.truth import labels_digest
        >>> digests({"b": "1", "a": "0"}).labels == labels_digest(["a", "b"], [0, 1])
        True
    """
    return Truth(len(lines), keys_digest(lines), keys_digest(f"{key}\t{label}" for key, label in lines.items()))


def lines_of_predictions(predictions: Predictions) -> Lines:
    """What a record's predictions claim: of its samples, or of its images.

    Raises:
        ProtocolError: If a sample stands twice (in one repeat of a cross-validation scheme).
    """
    if isinstance(predictions, TilePredictions):
        return _lines(predictions.keys.tolist(), [counts_text(one) for one in predictions.confusion.sum(axis=2)])
    keys = predictions.keys.tolist()
    if len(predictions.folds):
        numbers = zip(keys, predictions.repeats.tolist(), predictions.folds.tolist(), strict=True)
        keys = [_in_fold(key, repeat, fold) for key, repeat, fold in numbers]
    return _lines(keys, label_texts(predictions.labels))


def lines_of_samples(store: "Samples", labels: NDArray[Any], trials: Sequence[Split]) -> Lines:
    """What a store says of the test samples of a task whose labels are classes.

    Args:
        store: The store.
        labels: From `seamo_bench.tasks.trials.labels_of`.
        trials: From `seamo_bench.tasks.trials.make_trials`.
    """
    names = store.index["key"]
    keys: list[str] = []
    for trial in trials:
        own = [str(key) for key in names.iloc[trial.test]]
        keys += own if trial.repeat < 0 else [_in_fold(key, trial.repeat, trial.fold) for key in own]
    return _lines(keys, label_texts(labels[np.concatenate([trial.test for trial in trials])]))


def label_texts(labels: Ints) -> list[str]:
    """Labels as lines have them: (N,) class ids, or (N, K) 0/1.

    Example:
        >>> label_texts(np.array([2, 0])), label_texts(np.array([[1, 0, 1], [0, 0, 0]]))
        (['2', '0'], ['0,2', ''])
    """
    if labels.ndim == 1:
        return [line_text(label if label >= 0 else None) for label in labels.tolist()]
    return [line_text(tuple(np.flatnonzero(row).tolist())) for row in labels]


def counts_text(counts: Ints) -> str:
    """Pixels of each class, (K,), as lines have them."""
    return line_text({number: count for number, count in enumerate(counts.tolist()) if count})


def _in_fold(key: str, repeat: int, fold: int) -> str:
    return f"{key} repeat {repeat} fold {fold}"


def _lines(keys: Sequence[str], labels: Sequence[str]) -> Lines:
    lines = dict(zip(keys, labels, strict=True))
    if len(lines) != len(keys):
        raise ProtocolError("a sample stands twice, so it would count twice", "predictions")
    return lines


def scored_images(store: "Samples", task: TaskFacts, rows: Rows) -> list[StitchedImage]:
    """What counts as one image of a task with masks: whole scenes where places are known, else tiles.

    Raises:
        ProtocolError: If images vary in size.
    """
    part = store.index.iloc[rows]
    return images_of(
        rows,
        keys=[str(key) for key in part["key"]],
        scenes=[str(scene) for scene in part["scene"].fillna("")],
        corners=part[["y0", "x0"]].to_numpy(dtype=np.int64),
        sizes=np.tile(np.array(mask_size(store, task), dtype=np.int64), (len(rows), 1)),
    )


def mask_size(store: "Samples", task: TaskFacts) -> tuple[int, int]:
    """(H, W) of the masks.

    Raises:
        ProtocolError: If images vary in size.
    """
    layer = store.spec.map_of(task.label_space)
    size = store.spec.layer(layer).size if layer else finest_layer(store.spec).size
    if size is None:
        raise ProtocolError("images vary in size", store.title)
    return size


def mask_of(store: "Samples", row: int, label_space: str) -> Ids:
    """The mask of a tile in a label space, (H, W): its label, or a layer of class ids; 255 = ignore."""
    layer = store.spec.map_of(label_space)
    mask = store.read_layer(row, layer)[0, 0] if layer else store.read_label(row)
    if not isinstance(mask, np.ndarray):
        return np.full(finest_layer(store.spec).size or (1, 1), IGNORE, dtype=np.uint8)
    space = store.spec.label_space(label_space)
    if not layer and not space.source:
        return mask.astype(np.uint8)
    table = np.full(256, IGNORE, dtype=np.uint8)
    for own, theirs in space.derived.items() if space.source else ((k, (k,)) for k in range(len(space.classes))):
        table[list(theirs)] = own
    return table[mask]


class ImageTruth(NamedTuple):
    """The truth of one image.

    Args:
        mask: (H, W) class ids of the whole image, 255 where no tile has a class.
        tilewise: (K,) pixels of each class, those in overlaps as often as tiles show them.
        overlaps: Whether a pixel is in two tiles.
    """

    mask: Ids
    tilewise: NDArray[np.int64]
    overlaps: bool


def image_truth(store: "Samples", image: StitchedImage, task: TaskFacts) -> ImageTruth:
    """Read the masks of an image's tiles and lay them where they belong."""
    count = len(task.classes)
    whole = np.full(image.size, IGNORE, dtype=np.uint8)
    seen = np.zeros(image.size, dtype=np.bool_)
    tilewise = np.zeros(count, dtype=np.int64)
    overlaps = False
    for row, y0, x0 in zip(image.rows.tolist(), image.y0.tolist(), image.x0.tolist(), strict=True):
        mask = mask_of(store, row, task.label_space)
        place = np.s_[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        overlaps |= bool(seen[place].any())
        seen[place] = True
        part = whole[place]
        np.copyto(part, mask, where=part == IGNORE)
        tilewise += pixels_of(mask, count)
    return ImageTruth(whole, tilewise, overlaps)


def pixels_of(mask: Ids, num_classes: int) -> NDArray[np.int64]:
    """(K,) pixels of each class; ignored ones count nowhere."""
    return np.asarray(np.bincount(mask.ravel(), minlength=256)[:num_classes], dtype=np.int64)
