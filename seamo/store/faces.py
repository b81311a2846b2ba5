"""The faces of a store: what Python shows of it, and torch batches, a webdataset pipeline, xarray datasets, pictures.

Each imports its library when it is called, so that opening a store and reading samples need none of them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from seamo.errors import MissingRowError, UsageError
from seamo.extras import needing
from seamo.resample import Kernel
from seamo.sample import Sample
from seamo.store.samples import Samples
from seamo.store.stacks import read_stack, stack_bands
from seamo.summary import Summary, some

if TYPE_CHECKING:
    import webdataset as wds
    import xarray as xr
    from matplotlib.figure import Figure

    from seamo.data.loader import Loader
    from seamo.inputs.torchform import TorchBatches, TorchSamples, Transform


class WholeSamples(Samples, Protocol):
    """Samples that can be read whole."""

    def read_sample(self, i: int) -> Sample:
        """One whole sample, by its row."""


class Faces:
    """Methods that every kind of store gets from its `Samples`, by inheriting them; no state of its own."""

    def __repr__(self: WholeSamples) -> str:
        return _shown(self).text()

    def _repr_html_(self: WholeSamples) -> str:
        return _shown(self).html()

    @overload
    def __getitem__(self: WholeSamples, which: int | str) -> Sample: ...

    @overload
    def __getitem__(self: WholeSamples, which: slice) -> list[Sample]: ...

    def __getitem__(self: WholeSamples, which: int | str | slice) -> Sample | list[Sample]:
        """A sample by its row or key, or several by a slice of rows; all of it is read.

        Raises:
            MissingRowError: If there is no such row.
            StoreError: If there is no such key, or a sample cannot be read.
            UsageError: If it is none of these.

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> store = tiny_store()
            >>> store[0].key == store[store.index["key"][0]].key == store[0:3][0].key
            True
        """
        if isinstance(which, slice):
            return [self.read_sample(row) for row in range(*which.indices(len(self)))]
        return self.read_sample(_row(self, which))

    def plot(self: WholeSamples, *which: int | str, stack: str | None = None) -> "Figure":
        """Pictures of samples, a row each: every rendering and date of a stack, its stretch stated above it.

        Args:
            which: Rows or keys.
            stack: One stack; None = the first that shows colours.

        Raises:
            UsageError: If none is named, or nothing of the stack can be drawn.
            MissingRowError: If there is no such row.
            StoreError: If there is no such key.

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> tiny_store().plot(0, 1).axes[0].get_title().splitlines()[0]
            's2 L2A true colour, DN B04 B03 B02'
        """
        from seamo.store.plot import draw  # matplotlib takes half a second to import

        return draw(self, [_row(self, one) for one in which], stack)

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

    @overload
    def torch(
        self: Samples,
        split: str,
        *,
        stack: str | None = None,
        transform: "Transform | None" = None,
        fraction: float = 1.0,
        salt: int | str = 0,
        label_space: str = "",
    ) -> "TorchSamples": ...

    @overload
    def torch(
        self: Samples,
        split: str,
        *,
        batch: int,
        stack: str | None = None,
        transform: "Transform | None" = None,
        fraction: float = 1.0,
        salt: int | str = 0,
        label_space: str = "",
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 2,
    ) -> "TorchBatches": ...

    def torch(
        self: Samples,
        split: str,
        *,
        batch: int | None = None,
        stack: str | None = None,
        transform: "Transform | None" = None,
        fraction: float = 1.0,
        salt: int | str = 0,
        label_space: str = "",
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 2,
    ) -> "TorchSamples | TorchBatches":
        """A split as a `torch.utils.data` data set of dicts in torchgeo's form: `image`, `label` or `mask`, `bands`.

        Nothing is normalised: images are in the store's own unit, NaN where nothing was measured.

        Args:
            split: `train`, `val`, `test` or `all`.
            batch: Samples of a batch: then an iterable data set over the fast loader, else one by number.
            stack: Which stack the image is; None: the only one, else the first of Sentinel-2 or colours.
            transform: Called with each dict (of a batch with `batch`).
            fraction: A subset of the split, as in `rows`.
            salt: Which one.
            label_space: Label space of the labels; empty = the task's default.
            shuffle: With `batch`: in another order each time it is gone through.
            seed: Of that order.
            workers: With `batch`: threads that read.

        Raises:
            StoreError: If there is no such split.
            ManifestError: If there is no such stack.
            MissingLibraryError: If torch is not installed (extra `torch`).

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> store = tiny_store()
            >>> sample = store.torch("train", stack="s2")[0]
            >>> sample["bands"], tuple(sample["image"].shape), int(sample["label"])
            (('B02', 'B03', 'B04', 'B08', 'B11'), (2, 5, 24, 24), 0)
            >>> next(iter(store.torch("train", stack="s2", batch=4)))["label"].tolist()
            [0, 1, 2, 2]
        """
        with needing("store.torch"):
            from seamo.data.loader import Loader
            from seamo.inputs.torchform import TorchBatches, TorchSamples, default_stack

        rows, stack = self.rows(split, fraction, salt), stack or default_stack(self)
        if batch is None:
            return TorchSamples(self, rows, stack=stack, label_space=label_space, transform=transform)
        loader = Loader(
            self, rows, batch, layers=[stack], label_space=label_space, seed=seed, shuffle=shuffle, workers=workers
        )
        return TorchBatches(loader, stack=stack, transform=transform)

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


def _row(samples: Samples, which: int | str) -> int:
    if isinstance(which, str):
        return samples.row(which)
    if not isinstance(which, int | np.integer) or isinstance(which, bool):
        fix = "store[0], store['key'] or store[0:3]; `store.rows('train')` gives the rows of a split."
        raise UsageError(f"{type(which).__name__} is no row, key or slice of rows", samples.title, fix)
    if not -len(samples) <= which < len(samples):
        raise MissingRowError(f"there is no row {which} of {len(samples):,}", samples.title)
    return int(which) % len(samples)


def _shown(samples: Samples) -> Summary:
    spec, counts = samples.spec, samples.meta.counts
    splits = ", ".join(f"{name or 'none'} {count:,}" for name, count in counts.splits.items())
    scheme = samples.meta.split_scheme
    lines = [("splits", f"{splits} ({scheme})" if scheme else splits)]
    for layer in spec.layers:
        height, width = layer.size or ("h", "w")
        shape = f"({layer.times}, {len(layer.bands)}, {height}, {width})"
        lines.append((layer.id, f"{shape} {layer.dtype} {layer.unit}: {some(layer.bands, 13)}"))
    if spec.task.label_space:
        names = spec.label_space().names
        lines.append(("label", f"{spec.task.kind}, {len(names)} classes: {some(names, 4)}"))
    if samples.meta.synthetic is not None:
        lines.append(("note", "synthetic: no numbers of it are results"))
    url = getattr(samples, "url", "")
    if url:
        lines.append(("where", url))
    return Summary(f"{samples.title}: {len(samples):,} samples", tuple(lines))
