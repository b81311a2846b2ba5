"""Metrics as pure functions of stored predictions: numpy only, the definition in the name.

Every metric takes predictions of N samples and weights (R, N) and returns (R,) values; weight 2 counts a
sample twice. The plain score is the one with all weights 1 and a bootstrap resample is another row of
weights, so a score and its interval can never follow two definitions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Strings = NDArray[np.str_]
Scale = Literal["logits", "probabilities"]
ECE_BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class ClassPredictions:
    """Class scores of N samples.

    Args:
        keys: (N,) sample keys. With folds, a key stands once per repeat.
        labels: (N,) class ids (single-label) or (N, K) 0/1 (multi-label).
        scores: (N, K) float32, finite.
        scale: `logits` (softmax or sigmoid gives probabilities) or `probabilities`.
        units: (N,) scene or spatial block of each sample; empty array where unknown: samples are the units.
        repeats, folds: (N,) of a cross-validation scheme; empty arrays without.
    """

    keys: Strings
    labels: Ints
    scores: Floats
    scale: Scale = "logits"
    units: Strings = np.empty(0, dtype=np.str_)  # noqa: RUF009 - empty, nothing to share
    repeats: Ints = np.empty(0, dtype=np.int16)  # noqa: RUF009
    folds: Ints = np.empty(0, dtype=np.int16)  # noqa: RUF009


@dataclass(frozen=True, slots=True, eq=False)
class TilePredictions:
    """Confusion counts of N images (tiles, or stitched scenes), ignored pixels already left out.

    Args:
        keys: (N,) image keys.
        confusion: (N, K, K) pixel counts, [image, true class, predicted class].
        units: (N,) scene or spatial block; empty array where unknown: images are the units.
        ids: Predicted class ids (uint8) of all images one after another, row by row; empty if not kept.
        shapes: (N, 2) height and width of each image in `ids`.
    """

    keys: Strings
    confusion: Ints
    units: Strings = np.empty(0, dtype=np.str_)  # noqa: RUF009
    ids: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)  # noqa: RUF009
    shapes: Ints = np.empty((0, 2), dtype=np.int32)  # noqa: RUF009


Predictions = ClassPredictions | TilePredictions
Kind = Literal["single-label", "multi-label", "segmentation", "change"]


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
