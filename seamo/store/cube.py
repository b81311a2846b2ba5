"""Many samples as one lazy xarray Dataset: nothing of a layer is read before it is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.licences import terms_of
from seamo.manifest import LayerSpec
from seamo.store import format as fmt
from seamo.store.samples import Samples
from seamo.store.stacks import layer_ids

Array = NDArray[Any]
Rows = NDArray[np.int64]


def open_cube(samples: Samples, rows: Rows, *, layers: Sequence[str] | None = None, chunk: int = 16) -> xr.Dataset:
    """Rows of a store as a Dataset of dask arrays, in the dims of `data.zarr` whatever the layout of the store is.

    Variables:

    * `<layer>` (sample, time, band_<layer>, y_<layer>, x_<layer>): the stored dtype and unit (attribute `unit`), fill
      value (attribute `nodata`) where nothing is. Images of varying size are padded at the bottom and right to the
      largest one among `rows`.
    * `label`: (sample) int64 class id, -1 without one; (sample, class) uint8 multi-hot; or, read like a layer,
      (sample, y_label, x_label) uint8 class ids, 255 = ignore.

    Coordinates: `key` (sample), `band_<layer>`, `acquired_<stack>` (sample, time) datetime64, NaT where absent,
    `valid_<layer>` (sample): whether the sample has the layer, and `class` of multi-hot labels; where images vary,
    `height` and `width` (sample) in pixels of the finest grid. Where stacks differ in their number of dates, each has
    its own `time_<stack>` instead of `time`.

    Args:
        samples: A store.
        rows: In this order.
        layers: Layer or stack ids; None = all.
        chunk: Samples that are read together: one dask chunk of a layer.

    Raises:
        UsageError: If there are no rows, or the chunk is no positive number.
        ManifestError: If there is no such layer.
        StoreError: While computing: a sample cannot be read.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> cube = open_cube(store, store.rows("train"), layers=["s2_20m"])
        >>> cube["s2_20m"].dims
        ('sample', 'time', 'band_s2_20m', 'y_s2_20m', 'x_s2_20m')
        >>> float(cube["s2_20m"].sel(band_s2_20m="B11").isel(sample=0).mean()) > 0  # reads one chunk
        True
    """
    if not len(rows) or chunk < 1:
        raise UsageError(f"{len(rows)} rows in chunks of {chunk}", samples.title, "Both must be 1 or more.")
    rows = np.asarray(rows, dtype=np.int64)
    spec = samples.spec
    chosen = [spec.layer(name) for name in layer_ids(spec, layers)]
    times = fmt.time_dims(spec)
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {"key": ("sample", samples.read_columns(["key"]).column("key").to_numpy()[rows])}
    for layer in chosen:
        name = layer.id
        variables[name] = (
            ("sample", times[layer.stack], f"band_{name}", f"y_{name}", f"x_{name}"),
            _lazy(samples, rows, name, chunk),
            _attributes(layer),
        )
        coords[f"band_{name}"] = np.array(layer.bands, dtype=object)
        coords[f"valid_{name}"] = ("sample", np.array([samples.is_valid(int(row), name) for row in rows]))
    dates = [samples.read_times(int(row)) for row in rows]
    for stack in dict.fromkeys(layer.stack for layer in chosen):
        absent = np.full(spec.num_times(stack), np.datetime64("NaT"), dtype="datetime64[s]")
        acquired = np.stack([of_row.get(stack, absent) for of_row in dates]).astype("datetime64[ns]")
        coords[f"acquired_{stack}"] = (("sample", times[stack]), acquired)
    finest = fmt.finest_layer(spec)
    if any(layer.size is None for layer in chosen):
        sizes = np.array([samples.shape(int(row), finest.id)[-2:] for row in rows])
        coords |= {"height": ("sample", sizes[:, 0]), "width": ("sample", sizes[:, 1])}
    kind = fmt.label_kind(spec)
    if kind == "mask":
        attributes = {"nodata": fmt.IGNORE_FILL}
        variables["label"] = (("sample", "y_label", "x_label"), _lazy(samples, rows, fmt.LABEL, chunk), attributes)
    elif kind == "id":
        ids = [samples.read_label(int(row)) for row in rows]
        variables["label"] = ("sample", np.array([-1 if label is None else label for label in ids], dtype=np.int64))
    elif kind == "set":
        variables["label"] = (("sample", "class"), _multi_hot(samples, rows))
        coords["class"] = np.array(spec.label_space().names, dtype=object)
    return xr.Dataset(variables, coords, {"title": samples.title, "content": samples.content, **terms_of(spec)})


def _attributes(layer: LayerSpec) -> dict[str, Any]:
    facts = {"unit": str(layer.unit), "sensor": layer.sensor, "product": layer.product, "gsd_m": layer.gsd_m}
    return facts if layer.fill_value is None else facts | {"nodata": layer.fill_value}


def _multi_hot(samples: Samples, rows: Rows) -> NDArray[np.uint8]:
    hot = np.zeros((len(rows), len(samples.spec.label_space().classes)), dtype=np.uint8)
    for position, row in enumerate(rows):
        classes = samples.read_label(int(row))
        if isinstance(classes, tuple):
            hot[position, list(classes)] = 1
    return hot


def _lazy(samples: Samples, rows: Rows, layer: str, chunk: int) -> Any:
    """A layer, or the mask, as a dask array (N, ...): the largest shape among the rows."""
    shapes = [samples.shape(int(row), layer) for row in rows]
    shape = tuple(max(sides) for sides in zip(*shapes, strict=True))
    dtype = np.dtype("uint8" if layer == fmt.LABEL else samples.spec.layer(layer).dtype)
    numbers: Any = da.from_array(rows, chunks=chunk)  # type: ignore[no-untyped-call]
    axes = list(range(1, 1 + len(shape)))
    return numbers.map_blocks(
        _Read(samples, layer, shape, dtype),
        new_axis=axes,
        chunks=(numbers.chunks[0], *((side,) for side in shape)),
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype=dtype),  # so that dask need not call us to learn the type
    )


@dataclass(frozen=True, slots=True)
class _Read:
    samples: Samples
    layer: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __call__(self, rows: Rows) -> Array:
        block = np.empty((len(rows), *self.shape), dtype=self.dtype)
        for position, row in enumerate(rows):
            self.samples.read_layer(int(row), self.layer, block[position])
        return block
