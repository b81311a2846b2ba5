"""Reading a store: samples, layers, stacks and rows of splits, by direct byte ranges."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import DatasetSpec
from seamo.sample import Sample

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Array = NDArray[Any]


def open_store(url: str | Path) -> "Store":
    """Open a published store.

    Args:
        url: The build's folder, its store.json, or `<root>/<dataset-id>` when that holds exactly one store.

    Raises:
        StoreError: If there is no store, only an unfinished one, or several.
    """
    raise NotImplementedError


class Store:
    """A published store. Opening reads store.json only; the index is read when first needed.

    Thread-safe; may be used after a fork and pickles as its path.
    """

    path: Path
    spec: DatasetSpec
    title: str  # "EuroSAT subset (202 of 27,000)"; every table shows it
    content: str  # sha256 of what is inside, whatever the layout

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, i: int) -> Sample:
        raise NotImplementedError

    @property
    def index(self) -> "pd.DataFrame":
        """One row a sample: key, split, label, scene, y0, x0, height, width, shard, <layer>.{offset,..}."""
        raise NotImplementedError

    def row(self, key: str) -> int:
        """Row of a key."""
        raise NotImplementedError

    def rows(self, split: str, fraction: float = 1.0, salt: int = 0) -> NDArray[np.int64]:
        """Rows of a split, ascending (`all`: every readable sample); a fraction by the subset rule."""
        raise NotImplementedError

    def shape(self, i: int, layer: str) -> tuple[int, int, int, int]:
        """True (T, C, H, W) of one sample's layer."""
        raise NotImplementedError

    def is_valid(self, i: int, layer: str) -> bool:
        """Whether the sample has this layer; if not, reading it gives the fill value."""
        raise NotImplementedError

    def read_layer(self, i: int, layer: str, out: Array | None = None) -> Array:
        """One layer of one sample, (T, C, H, W) in the stored dtype; `label` gives the mask (H, W).

        Args:
            i: Row.
            layer: Layer id, or `label`.
            out: Where to write, C-contiguous, of the stored dtype; if it is larger than the image (size
                buckets), the rest is padded with fill at the bottom and right. Allocated if None.

        Raises:
            StoreError: If the bytes are truncated or damaged: names shard, sample and layer.
        """
        raise NotImplementedError

    def read_label(self, i: int) -> int | tuple[int, ...] | NDArray[np.uint8] | None:
        """The label as in `Sample.label`."""
        raise NotImplementedError

    def read_times(self, i: int) -> dict[str, NDArray[np.datetime64]]:
        """Stack -> (T,) datetime64[s], NaT where absent."""
        raise NotImplementedError

    def stack_bands(self, stack: str) -> tuple[str, ...]:
        """Bands of `read_stack`, in canonical order."""
        raise NotImplementedError

    def read_stack(self, i: int, stack: str, *, kernel: str = "bilinear") -> NDArray[np.float32]:
        """A whole image, (T, C, H, W) on the finest grid, bands in canonical order, NaN where missing."""
        raise NotImplementedError

    def to_xarray(self, key: str, time: int | str | None = None) -> "xr.Dataset":
        """A rioxarray-ready Dataset: (band, y, x) with CRS and coordinates; all dates without `time`."""
        raise NotImplementedError
