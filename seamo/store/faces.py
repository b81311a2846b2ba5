"""The faces of a store in other libraries: torch batches, a webdataset pipeline, xarray datasets.

Each imports its library when it is called, so that opening a store and reading samples need none of them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.extras import needing
from seamo.resample import Kernel
from seamo.store.samples import Samples
from seamo.store.stacks import read_stack, stack_bands

if TYPE_CHECKING:
    import webdataset as wds
    import xarray as xr

    from seamo.data.loader import Loader


class Faces:
    """Methods that every kind of store gets from its `Samples`, by inheriting them; no state of its own."""

    def stack_bands(self: Samples, stack: str) -> tuple[str, ...]:
        """Bands of `read_stack`, in canonical order."""
        return stack_bands(self.spec, stack)

    def read_stack(self: Samples, i: int, stack: str, *, kernel: Kernel = "bilinear") -> NDArray[np.float32]:
        """A whole image, (T, C, H, W) float32: see `seamo.store.stacks.read_stack`."""
        return read_stack(self, i, stack, kernel)

    @overload
    def to_xarray(
        self: Samples, key: str, time: int | str | None = None, *, stack: str | None = None, kernel: Kernel = "bilinear"
    ) -> "xr.Dataset": ...

    @overload
    def to_xarray(
        self: Samples,
        *,
        split: str,
        fraction: float = 1.0,
        salt: int | str = 0,
        layers: Sequence[str] | None = None,
        chunk: int = 16,
    ) -> "xr.Dataset": ...

    def to_xarray(
        self: Samples,
        key: str | None = None,
        time: int | str | None = None,
        *,
        split: str | None = None,
        stack: str | None = None,
        kernel: Kernel = "bilinear",
        fraction: float = 1.0,
        salt: int | str = 0,
        layers: Sequence[str] | None = None,
        chunk: int = 16,
    ) -> "xr.Dataset":
        """One sample, ready for rioxarray, or lazily all samples of a split.

        Args:
            key: The sample; `time`, `stack` and `kernel` as in `seamo.store.view.to_dataset`.
            time: Slot number or date of its images; all of them if None.
            stack: One of its stacks; all of them if None.
            kernel: Resampling of its coarser layers.
            split: Instead of a key: `train`, `val`, `test` or `all`. Nothing of a layer is read before it is computed.
                Dims and coordinates stand in `seamo.store.cube.open_cube`.
            fraction: A subset of the split, as in `rows`.
            salt: Which one.
            layers: Layer or stack ids; None = all.
            chunk: Samples that are read together (one dask chunk of each layer).

        Raises:
            UsageError: Unless exactly one of `key` and `split` is given, or for `time` or `stack` of a split.
            StoreError: If there is no such sample, date or split.
            MissingLibraryError: If xarray, rioxarray or dask is not installed (extra `prep`).

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> store = tiny_store()
            >>> store.to_xarray(store.index["key"][0], time=0, stack="s2")["s2"].dims
            ('band', 'y', 'x')
            >>> store.to_xarray(split="train")["s2_10m"].sizes["sample"] == len(store.rows("train"))
            True
        """
        if (key is None) == (split is None):
            raise UsageError("takes a key (one sample) or split= (many)", "store.to_xarray", "Name one of them.")
        if key is not None:
            with needing("store.to_xarray"):
                from seamo.store.view import to_dataset  # xarray and rioxarray take a second to import

            return to_dataset(self, self.row(key), time=time, stack=stack, kernel=kernel)
        if time is not None or stack is not None:
            fix = "Select from the dataset (`isel(time=0)`), and name layers with layers=."
            raise UsageError("time and stack are for one sample", "store.to_xarray(split=...)", fix)
        with needing("store.to_xarray"):
            from seamo.store.cube import open_cube

        return open_cube(self, self.rows(str(split), fraction, salt), layers=layers, chunk=chunk)

    def webdataset(
        self: Samples,
        split: str,
        *,
        fraction: float = 1.0,
        salt: int | str = 0,
        layers: Sequence[str] | None = None,
        label_space: str = "",
    ) -> "wds.FluidWrapper":
        """The samples of a split as a plain webdataset pipeline: see `seamo.data.pipeline.make_pipeline`.

        Args:
            split: `train`, `val`, `test` or `all`.
            fraction: A subset of the split, as in `rows`.
            salt: Which one.
            layers: Layer or stack ids; None = all.
            label_space: Label space of the labels; empty = the task's default.

        Raises:
            UsageError: For a label space that does not fit.
            StoreError: If there is no such split.
            MissingLibraryError: If webdataset is not installed (extra `torch`).

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> batches = tiny_store().webdataset("train").batched(4)
            >>> next(iter(batches))["s2_10m"].shape
            (4, 2, 4, 24, 24)
        """
        with needing("store.webdataset"):
            from seamo.data.pipeline import make_pipeline

        return make_pipeline(self, self.rows(split, fraction, salt), layers=layers, label_space=label_space)

    def loader(
        self: Samples,
        split: str,
        batch: int,
        *,
        fraction: float = 1.0,
        salt: int | str = 0,
        layers: Sequence[str] | None = None,
        label_space: str = "",
        seed: int = 0,
        shuffle: bool = False,
        workers: int = 2,
    ) -> "Loader":
        """Batches of a split as torch tensors (`seamo.data.loader.Loader`, which has more options).

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> batch = next(iter(tiny_store().loader("train", 4)))
            >>> tuple(batch.layers["s2_10m"].shape), batch.label.tolist()
            ((4, 2, 4, 24, 24), [0, 1, 2, 2])
        """
        with needing("store.loader"):
            from seamo.data.loader import Loader

        rows = self.rows(split, fraction, salt)
        return Loader(
            self, rows, batch, layers=layers, label_space=label_space, seed=seed, shuffle=shuffle, workers=workers
        )
