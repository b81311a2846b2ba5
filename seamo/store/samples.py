"""What Loader, views and protocols need of a store: `Samples`, which `Store` and `JoinedStore` both satisfy."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import DatasetSpec
from seamo.sample import GeoRef, Label
from seamo.store.meta import StoreMeta
from seamo.store.subsets import Subset

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


class Images(Protocol):
    """What pictures and whole images are made of: the pixels and dates of one row."""

    @property
    def spec(self) -> DatasetSpec:
        """Layers, task and classes."""

    def shape(self, i: int, layer: str, /) -> tuple[int, ...]:
        """True shape of one sample's layer: (T, C, H, W), or (H, W) of `label`."""

    def is_valid(self, i: int, layer: str, /) -> bool:
        """Whether the sample has this layer; if not, reading it gives the fill value."""

    def read_layer(self, i: int, layer: str, /) -> Array:
        """One layer, (T, C, H, W) in the stored dtype, or the mask (H, W) of `label`."""

    def read_times(self, i: int, /) -> dict[str, NDArray[np.datetime64]]:
        """Stack -> (T,) datetime64[s], NaT where absent; stacks without any date are left out."""


class Samples(Images, Protocol):
    """Samples by row: what they are, which rows a split has, and the pixels, label and dates of one row.

    Whatever satisfies it can be loaded, shown and evaluated; nothing of it is inherited. Row `i` is the same sample in
    `index` and in every method. Implementations must be safe in threads, and pickle (they travel to worker processes).
    """

    @property
    def meta(self) -> StoreMeta:
        """Counts, statistics, split scheme and what else store.json says."""

    @property
    def title(self) -> str:
        """The name that every table shows."""

    @property
    def content(self) -> str:
        """The sha256 of what is inside."""

    @property
    def pixels(self) -> str:
        """The sha256 of the pixels alone, whatever labels and splits are."""

    @property
    def index(self) -> "pd.DataFrame":
        """One row a sample: key, split, label, scene, readable, ..."""

    def __len__(self) -> int:
        """Number of rows."""

    def read_index(self, columns: list[str]) -> "pd.DataFrame":
        """Some columns, also those that `index` leaves out (`footprint`, `bbox`, `transform`, `sha256`)."""

    def read_columns(self, columns: list[str]) -> Any:
        """The same as an Arrow table: of a million rows seconds faster where there are sets."""

    def row(self, key: str) -> int:
        """Row of a key; StoreError if there is none."""

    def rows(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> NDArray[np.int64]:
        """Rows of a split (`all`: every readable one), ascending; StoreError if there is no such split."""

    def subset(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> Subset:
        """Rows as `rows` gives them, with the subset's name and the digest of its keys."""

    def shape(self, i: int, layer: str) -> tuple[int, ...]:
        """True shape of one sample's layer: (T, C, H, W), or (H, W) of `label`."""

    def is_valid(self, i: int, layer: str) -> bool:
        """Whether the sample has this layer; if not, reading it gives the fill value."""

    def read_layer(self, i: int, layer: str, out: Array | None = None, *, date: int | None = None) -> Array:
        """One layer, (T, C, H, W) in the layer's dtype, or the mask (H, W) of `label`; see `Store.read_layer`."""

    def are_valid(self, rows: NDArray[np.int64], layer: str) -> NDArray[np.bool_]:
        """`is_valid` of several samples, (n,)."""

    def dates_of(self, rows: NDArray[np.int64], stack: str) -> NDArray[np.datetime64]:
        """Dates of several samples, (n, T) datetime64[s], NaT where absent; T is that of `spec`."""

    def read_label(self, i: int) -> Label:
        """The label as in `Sample.label`."""

    def read_times(self, i: int) -> dict[str, NDArray[np.datetime64]]:
        """Stack -> (T,) datetime64[s], NaT where absent; stacks without any date are left out."""

    def read_geo(self, i: int) -> GeoRef | None:
        """The georeference of the finest grid."""
