"""What a Loader can make of samples while they are in a reading thread: finished images instead of stored layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seamo.native.scratch import Scratch

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class BatchSamples:
    """The samples of a batch before their pixels are read.

    Args:
        rows: (B,) int64 in the store.
        turns: (B,) int64: see `seamo.data.batch.Batch`.
        epoch: Of the loader.
        valid: Layer id -> (B, T) bool: this date of this layer is there.
    """

    rows: NDArray[np.int64]
    turns: NDArray[np.int64]
    epoch: int
    valid: Mapping[str, NDArray[np.bool_]]


class Making(Protocol):
    """How the images of one batch are made; used by several threads."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> shape of a sample's image, float32."""

    @property
    def date(self) -> NDArray[np.int64] | None:
        """(B,) the only date of each sample that is needed: its layers are read as (1, C, h, w). None: all are."""

    def make(
        self, i: int, layer: str, pixels: Array, out: Mapping[str, NDArray[np.float32]], scratch: Scratch
    ) -> Mapping[str, NDArray[np.bool_]]:
        """Make what one layer gives.

        Args:
            i: Sample of the batch.
            layer: Its layer.
            pixels: (T, C, h, w) as stored; used again when this returns.
            out: Name -> the sample's image, of which this layer's channels are to be written.
            scratch: Memory of this thread.

        Returns:
            Name -> which numbers of the image are measurements, True for the channels of other layers; nothing where
            all are.
        """


class DateChoice(Protocol):
    """Which date of each sample is needed, where only one is."""

    def __call__(self, drawn: BatchSamples) -> NDArray[np.int64] | None:
        """(B,) the only date of each sample that its layers are read for; None: all dates are."""


class ImageMaker(Protocol):
    """Makes images of the layers that it names; a Loader then hands out these images and not the layers."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Ids of the layers that are used up."""

    def draw(self, drawn: BatchSamples) -> Making:
        """What is to be made of a batch; in the thread that asks for batches."""
