"""Predictions as they are stored: what metrics, intervals and tables are computed from. Numpy only."""

import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Strings = NDArray[np.str_]
Scale = Literal["logits", "probabilities"]
Kind = Literal["single-label", "multi-label", "segmentation", "change"]
LARGEST = 4 * 2**30  # bytes of all arrays of a file: the class ids of 2^28 pixels, and counts of a million images
_WHERE = "predictions"
_NPY = b"\x93NUMPY\x01\x00"  # how an array of format 1.0 begins
_MOST_PIXELS = 2**53  # counts are summed as float64, too
_ROUNDING = 1e-3
# Array -> kinds of its dtype, numbers of dimensions.
_SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "keys": ("U", (1,)),
    "labels": ("iu", (1, 2)),
    "scores": ("f", (2,)),
    "scale": ("U", (0,)),
    "units": ("U", (1,)),
    "repeats": ("i", (1,)),
    "folds": ("i", (1,)),
    "confusion": ("iu", (3,)),
    "ids": ("u", (1,)),
    "shapes": ("iu", (2,)),
    "tilewise": ("iu", (3,)),
    "places": ("f", (2,)),
    "countries": ("U", (1,)),
}


def _no_strings() -> Strings:
    return np.empty(0, dtype=np.str_)


def _no_ints() -> Ints:
    return np.empty(0, dtype=np.int16)


def _no_ids() -> NDArray[np.uint8]:
    return np.empty(0, dtype=np.uint8)


def _no_counts() -> Ints:
    return np.empty((0, 0, 0), dtype=np.int64)


def _no_shapes() -> Ints:
    return np.empty((0, 2), dtype=np.int32)


def _no_places() -> Floats:
    return np.empty((0, 2), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ClassPredictions:
    """Class scores of N samples.

    Args:
        keys: (N,) sample keys. With folds, a key stands once per repeat.
        labels: (N,) class ids (single-label) or (N, K) 0/1 (multi-label).
        scores: (N, K) float32, finite.
        scale: `logits` (softmax or sigmoid gives probabilities) or `probabilities`.
        units: (N,) scene or spatial block of each sample; empty where unknown: samples are the units.
        repeats, folds: (N,) of a cross-validation scheme; empty without.
        places: (N, 2) float32 longitude and latitude (WGS84, degrees) of each sample's centre, NaN where unknown;
            empty where no sample's is known.
        countries: (N,) country as the archive names it, "" where it does not; empty where it names none.
    """

    keys: Strings
    labels: Ints
    scores: Floats
    scale: Scale = "logits"
    units: Strings = field(default_factory=_no_strings)
    repeats: Ints = field(default_factory=_no_ints)
    folds: Ints = field(default_factory=_no_ints)
    places: Floats = field(default_factory=_no_places)
    countries: Strings = field(default_factory=_no_strings)


@dataclass(frozen=True, slots=True, eq=False)
class TilePredictions:
    """Confusion counts of N images (tiles, or stitched scenes).

    Args:
        keys: (N,) image keys.
        confusion: (N, K, K) pixel counts, [image, true class, predicted class]; pixels that the label space
            ignores are not in them (`tile_confusion`).
        units: (N,) scene or spatial block; empty where unknown: images are the units.
        ids: Predicted class ids of all images one after another, row by row; empty if not kept.
        shapes: (N, 2) height and width of each image in `ids`.
        tilewise: (N, K, K) of stitched scenes: the counts of their tiles one by one, so that a pixel in an overlap
            counts as often as tiles show it (older codes); empty where images are single tiles.
        places, countries: As in `ClassPredictions`, of each image.
    """

    keys: Strings
    confusion: Ints
    units: Strings = field(default_factory=_no_strings)
    ids: NDArray[np.uint8] = field(default_factory=_no_ids)
    shapes: Ints = field(default_factory=_no_shapes)
    tilewise: Ints = field(default_factory=_no_counts)
    places: Floats = field(default_factory=_no_places)
    countries: Strings = field(default_factory=_no_strings)


Predictions = ClassPredictions | TilePredictions


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a metric must know about the label space.

    Args:
        kind: Of the task.
        background: Class that the `_no_background` metrics leave out.
        positive: Class of the one-class metrics (change, water).
    """

    kind: Kind
    background: int | None = None
    positive: int | None = None


def check_predictions(predictions: Predictions, num_classes: int, kind: Kind | None = None) -> None:
    """Refuse predictions that no metric can be computed from.

    Args:
        predictions: Just made, or from a file of somebody else.
        num_classes: K.
        kind: Of the task that they answer; None takes that of their shape.

    Raises:
        ProtocolError: If they answer another kind of task, shapes do not fit, there is no sample, a label is outside
            the classes, a score is not finite or no probability where it is said to be one, folds do not stand
            against each other, or a key stands twice (in one repeat).
    """
    n = len(predictions.keys)
    if n == 0:
        raise ProtocolError("there is no sample to score", _WHERE, "Check the split: the test list is empty.")
    if kind is None:
        kind = _kind_of(predictions)
    if isinstance(predictions, TilePredictions) != (kind in ("segmentation", "change")):
        raise ProtocolError(f"are not those of a {kind} task", _WHERE)
    if isinstance(predictions, TilePredictions):
        _check_counts(predictions, n, num_classes)
    else:
        _check_scores(predictions, n, num_classes, kind)
    if len(predictions.units) not in (0, n):
        raise ProtocolError(f"{len(predictions.units)} units for {n} samples", _WHERE)
    if predictions.places.shape not in ((0, 2), (n, 2)) or len(predictions.countries) not in (0, n):
        raise ProtocolError(f"places or countries are not those of {n} samples", _WHERE)
    keys = list(predictions.keys)
    folded = isinstance(predictions, ClassPredictions) and len(predictions.folds) > 0
    if len(set(zip(keys, predictions.repeats.tolist(), strict=True) if folded else keys)) != n:  # type: ignore[union-attr]
        raise ProtocolError("a key stands twice, so a sample would count twice", _WHERE)


def _kind_of(predictions: Predictions) -> Kind:
    if isinstance(predictions, TilePredictions):
        return "segmentation"
    return "multi-label" if predictions.labels.ndim == 2 else "single-label"


def _check_counts(predictions: TilePredictions, n: int, num_classes: int) -> None:
    if predictions.confusion.shape != (n, num_classes, num_classes):
        raise ProtocolError(f"confusion {predictions.confusion.shape} is not {(n, num_classes, num_classes)}", _WHERE)
    if len(predictions.tilewise) and predictions.tilewise.shape != predictions.confusion.shape:
        raise ProtocolError(f"tile-wise counts {predictions.tilewise.shape} do not fit the confusion", _WHERE)
    for counts in (predictions.confusion, predictions.tilewise):
        if (counts < 0).any():
            raise ProtocolError("a confusion count is negative", _WHERE)
        if counts.sum(dtype=np.float64) > _MOST_PIXELS:
            raise ProtocolError("confusion counts are of more pixels than there are", _WHERE)
    if not len(predictions.ids):
        return
    shapes = predictions.shapes
    sides = shapes.tolist() if shapes.shape == (n, 2) else []
    if not sides or min(map(min, sides)) < 0 or sum(h * w for h, w in sides) != len(predictions.ids):
        raise ProtocolError(f"{len(predictions.ids)} class ids do not fill the stated shapes", _WHERE)
    if predictions.ids.dtype != np.uint8:
        raise ProtocolError(f"class ids are {predictions.ids.dtype}", _WHERE)


def _check_scores(predictions: ClassPredictions, n: int, num_classes: int, kind: Kind) -> None:
    labels, scores = predictions.labels, predictions.scores
    if scores.shape != (n, num_classes):
        raise ProtocolError(f"scores {scores.shape} are not {(n, num_classes)}", _WHERE)
    bad = ~(np.abs(scores) <= np.finfo(np.float32).max).all(axis=1)  # as they are stored
    if bad.any():
        raise ProtocolError(
            f"{int(bad.sum())} of {n} samples have scores that are not finite, first {predictions.keys[bad][0]}",
            _WHERE,
            "The features or the head overflowed: look at the loss curve and the normalisation.",
        )
    if predictions.scale == "probabilities" and not -_ROUNDING <= scores.min() <= scores.max() <= 1 + _ROUNDING:
        raise ProtocolError(f"probabilities run from {scores.min():.4g} to {scores.max():.4g}", _WHERE)
    if labels.shape != ((n, num_classes) if kind == "multi-label" else (n,)):
        raise ProtocolError(f"labels {labels.shape} are not those of a {kind} task", _WHERE)
    top = num_classes - 1 if labels.ndim == 1 else 1
    if labels.min() < 0 or labels.max() > top:
        raise ProtocolError(f"labels run from {labels.min()} to {labels.max()}, outside 0..{top}", _WHERE)
    repeats, folds = predictions.repeats, predictions.folds
    if len(folds) not in (0, n) or len(repeats) != len(folds):
        raise ProtocolError("folds and repeats must both be given for every sample", _WHERE)
    lone = [repeat for repeat in np.unique(repeats) if len(np.unique(folds[repeats == repeat])) < 2]
    if lone:
        raise ProtocolError(f"repeat {lone[0]} has one fold, so nothing was left to train on", _WHERE)


def tile_confusion(truth: Ints, predicted: Ints, num_classes: int, *, ignore: int = 255) -> Ints:
    """Confusion counts (K, K), [true, predicted], of one image.

    Args:
        truth: (H, W) class ids; pixels equal to `ignore` count nowhere.
        predicted: (H, W) class ids, all inside 0..K-1 where the truth is not ignored.
        num_classes: K.
        ignore: The label space's ignore id (`seamo.sample.IGNORE`).

    Raises:
        ProtocolError: If a class id is outside 0..K-1 where the truth is not ignored.
    """
    there = truth != ignore
    pairs = truth[there].astype(np.int64) * num_classes + predicted[there]
    outside = there & ((truth >= num_classes) | (predicted >= num_classes))
    if outside.any():
        raise ProtocolError(f"a class id is outside 0..{num_classes - 1}", where="tile_confusion")
    return np.asarray(np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes))


def probabilities(predictions: ClassPredictions) -> Floats:
    """(N, K) float64 probabilities: softmax (single-label) or sigmoid (multi-label) of logits."""
    scores = predictions.scores.astype(np.float64)
    if predictions.scale == "probabilities":
        return scores
    if predictions.labels.ndim == 2:
        return np.asarray(0.5 * (1 + np.tanh(scores / 2)))  # a sigmoid that does not overflow
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def take(predictions: Predictions, rows: Ints) -> Predictions:
    """The predictions of some samples (an order, or a part, without class ids of pixels and without geography)."""
    units = predictions.units[rows] if len(predictions.units) else predictions.units
    if isinstance(predictions, TilePredictions):
        tilewise = predictions.tilewise[rows] if len(predictions.tilewise) else predictions.tilewise
        return TilePredictions(predictions.keys[rows], predictions.confusion[rows], units, tilewise=tilewise)
    return ClassPredictions(
        predictions.keys[rows], predictions.labels[rows], predictions.scores[rows], predictions.scale, units
    )


def fold_parts(predictions: ClassPredictions) -> list[ClassPredictions]:
    """The test predictions of each (repeat, fold), in that order."""
    parts = []
    for repeat in np.unique(predictions.repeats):
        for fold in np.unique(predictions.folds):
            rows = np.flatnonzero((predictions.repeats == repeat) & (predictions.folds == fold))
            if len(rows):
                parts.append(take(predictions, rows))
    return parts  # type: ignore[return-value]


def predictions_bytes(predictions: Predictions) -> bytes:
    """An .npz of the predictions, without pickles and equal for equal predictions (no clock in the zip)."""
    arrays: dict[str, NDArray[Any]]
    if isinstance(predictions, TilePredictions):
        arrays = {
            "keys": predictions.keys,
            "confusion": predictions.confusion.astype(np.int64),
            "units": predictions.units,
            "ids": predictions.ids,
            "shapes": predictions.shapes.astype(np.int32),
            "tilewise": predictions.tilewise.astype(np.int64),
        }
    else:
        arrays = {
            "keys": predictions.keys,
            "labels": predictions.labels.astype(np.uint8 if predictions.labels.ndim == 2 else np.int32),
            "scores": predictions.scores.astype(np.float32),
            "scale": np.array(predictions.scale),
            "units": predictions.units,
            "repeats": predictions.repeats.astype(np.int16),
            "folds": predictions.folds.astype(np.int16),
        }
    # Only where there is any, so that files without geography stay what they were before it was kept.
    if len(predictions.places):
        arrays["places"] = predictions.places.astype(np.float32)
    if len(predictions.countries):
        arrays["countries"] = predictions.countries
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            plain = io.BytesIO()
            np.lib.format.write_array(plain, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(member, plain.getvalue())
    return buffer.getvalue()


def predictions_from_bytes(data: bytes) -> Predictions:
    """What `predictions_bytes` wrote; pickles are refused.

    Raises:
        ProtocolError: If these bytes are no such file, or unpack to more than `LARGEST` bytes.
    """
    arrays = _arrays(data)
    kind = TilePredictions if "confusion" in arrays else ClassPredictions
    names = [one.name for one in fields(kind) if one.name in arrays or one.name not in ("places", "countries")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ProtocolError(f"have no array {missing[0]!r}", _WHERE)
    for name in names:
        kinds, dims = _SHAPES[name]
        if arrays[name].dtype.kind not in kinds or arrays[name].ndim not in dims:
            raise ProtocolError(f"array {name!r} is {arrays[name].dtype} of {arrays[name].ndim} dimensions", _WHERE)
    values: dict[str, Any] = {name: arrays[name] for name in names}
    if kind is TilePredictions:
        return TilePredictions(**values)
    scale = str(values["scale"])
    if scale not in ("logits", "probabilities"):
        raise ProtocolError(f"scale is {scale!r}", _WHERE)
    return ClassPredictions(**{**values, "scale": scale})


def promised_bytes(path: Path) -> int:
    """To how much a file of predictions unpacks by its own directory; no array is read, and none is ever larger.

    Raises:
        ProtocolError: If it is no .npz file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ProtocolError(f"are no .npz file that can be read ({error})", _WHERE) from error


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz whose directory, headers and bytes agree, so that nothing is larger than it says."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len({one.filename for one in members}) != len(members):
                raise ProtocolError("have an array twice", _WHERE)
            promised = sum(one.file_size for one in members)
            if promised > LARGEST:
                raise ProtocolError(f"unpack to {promised:,} bytes, more than the {LARGEST:,} of any", _WHERE)
            return {one.filename.removesuffix(".npy"): _array(archive, one) for one in members}
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError, RuntimeError, struct.error,
    ) as error:  # fmt: skip
        raise ProtocolError(f"are no .npz file that can be read ({error})", _WHERE) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        plain = file.read()
    if plain[: len(_NPY)] != _NPY:
        raise ProtocolError(f"array {member.filename} is of an unknown version", _WHERE)
    begin = len(_NPY) + 2 + int.from_bytes(plain[len(_NPY) : len(_NPY) + 2], "little")
    shape, fortran, dtype = _header(plain[len(_NPY) : begin])
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(plain) - begin:
        raise ProtocolError(f"array {member.filename} is not what its header says", _WHERE)
    flat = np.frombuffer(plain, dtype=dtype, offset=begin).copy()
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


@lru_cache(maxsize=256)
def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that a header says; those of many records are the same, and parsing one is slow."""
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(data))
    return shape, fortran, dtype
