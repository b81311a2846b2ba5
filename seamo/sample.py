"""What flows from an archive to a store and back: one sample, checked once, at the border."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import SampleError, UsageError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.summary import Summary, cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
Label = int | tuple[int, ...] | NDArray[np.uint8] | None
"""A class id, a sorted set of class ids, a mask of class ids (H, W), or nothing."""

_KEY = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
IGNORE = 255  # the class id of a mask pixel that counts nowhere


@dataclass(frozen=True, slots=True)
class GeoRef:
    """Where a sample lies.

    Args:
        crs: Coordinate reference system, as `EPSG:32633` or WKT.
        transform: Affine (a, b, c, d, e, f) of the sample's finest grid: x = a*col + b*row + c,
            y = d*col + e*row + f at the upper-left corner of pixel (row, col).
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample in the archive's own units, never normalised.

    Args:
        key: Parts of `[A-Za-z0-9_-]` joined by `/`; the last part is the archive's own sample name.
        layers: Layer id -> (T, C, H, W) in the layer's dtype, bands in the spec's order. A layer whose
            sensor is not there for this sample is left out (the store writes fill values, valid = false).
        time: Stack id -> (T,) datetime64[s], UTC, ascending, absent dates last as NaT. A stack without
            dates is left out.
        geo: Georeference of the finest grid, or None.
        label: See `Label`; ids of the task's default label space.
        scene: What the sample was cut from (a city, a tile, a product), the unit that intervals and
            leak checks resample; empty if unknown.
        offset: Row and column of the upper-left pixel within the scene, on the finest grid.
        spec: Of a sample that a store read: what its layers are. None as archives give it.
    """

    key: str
    layers: Mapping[str, Array]
    time: Mapping[str, NDArray[np.datetime64]] = field(default_factory=dict)
    geo: GeoRef | None = None
    label: Label = None
    scene: str = ""
    offset: tuple[int, int] = (0, 0)
    spec: DatasetSpec | None = None

    def plot(self, stack: str | None = None) -> "Figure":
        """Pictures of one stack, as `store.plot` draws them: every rendering and date.

        Args:
            stack: One stack; None = the first that shows colours.

        Raises:
            UsageError: If the sample was not read from a store, which knows bands and units, or nothing can be drawn.
            ManifestError: If there is no such stack.

        Example:
            >>> from seamo.testing.stores import tiny_store
            >>> tiny_store()[0].plot().axes[0].get_title().splitlines()[0]
            's2 L2A true colour, DN B04 B03 B02'
        """
        from seamo.store.plot import draw_sample  # a face of the store, whose matplotlib takes half a second to import

        if self.spec is None:
            fix = "Build a store of it: `store[key].plot()`; or set `spec` with `dataclasses.replace`."
            raise UsageError("has no spec, so its bands and units are not known", f"sample {self.key}", fix)
        return draw_sample(self, self.spec, stack)

    def __repr__(self) -> str:
        return self._shown().text()

    def _repr_html_(self) -> str:
        return self._shown().html()

    def _shown(self) -> Summary:
        lines = [(name, f"{pixels.shape} {pixels.dtype}") for name, pixels in self.layers.items()]
        for stack, dates in self.time.items():
            lines.append((f"{stack} dates", ", ".join("absent" if np.isnat(one) else str(one)[:10] for one in dates)))
        label = self.label
        lines.append(("label", f"mask {label.shape}" if isinstance(label, np.ndarray) else str(label)))
        if self.geo is not None:
            lines.append(("lies in", cut(self.geo.crs, 40)))
        if self.scene:
            lines.append(("scene", self.scene))
        return Summary(f"Sample {self.key}", tuple(lines))


def check_key(key: str) -> None:
    """Refuse a key that one of the layouts could not hold.

    Raises:
        SampleError: With the first character that is not allowed.

    Example:
        >>> check_key("tile 7")
        Traceback (most recent call last):
        seamo.errors.SampleError: sample: key 'tile 7' is not parts of [A-Za-z0-9_-] joined by '/'
    """
    if not _KEY.fullmatch(key):
        raise SampleError(f"key {key!r} is not parts of [A-Za-z0-9_-] joined by '/'", where="sample")


def check_sample(sample: Sample, spec: DatasetSpec) -> None:
    """Check a sample against its data set's spec: layers, shapes, dtypes, dates, label.

    Sizes are those of `spec`: a reader that relaxes them passes the spec with the relaxed sizes.

    Raises:
        SampleError: Naming the sample, the layer and both what is and what should be.
    """
    check_key(sample.key)
    known = {layer.id: layer for layer in spec.layers}
    for layer_id, pixels in sample.layers.items():
        where = f"{spec.id} {sample.key} layer {layer_id}"
        if layer_id not in known:
            raise SampleError("no such layer", where, f"Layers: {', '.join(known)}.")
        _check_pixels(pixels, known[layer_id], where)
    for stack, dates in sample.time.items():
        _check_dates(dates, f"{spec.id} {sample.key} dates of {stack}", spec.num_times(stack))
    _check_label(sample.label, spec, f"{spec.id} {sample.key} label")


def _check_pixels(pixels: Array, layer: LayerSpec, where: str) -> None:
    if pixels.ndim != 4:
        raise SampleError(f"shape {pixels.shape} is not (T, C, H, W)", where)
    if pixels.shape[:2] != (layer.times, len(layer.bands)):
        raise SampleError(f"{pixels.shape[:2]} dates and bands instead of {(layer.times, len(layer.bands))}", where)
    if layer.size is not None and pixels.shape[2:] != layer.size:
        raise SampleError(f"{pixels.shape[2:]} pixels instead of {layer.size}", where)
    if pixels.dtype != np.dtype(layer.dtype):
        raise SampleError(f"dtype {pixels.dtype} instead of {layer.dtype}", where)


def _check_dates(dates: NDArray[np.datetime64], where: str, times: int) -> None:
    if dates.shape != (times,) or dates.dtype != np.dtype("datetime64[s]"):
        raise SampleError(f"{dates.dtype} {dates.shape} instead of datetime64[s] ({times},)", where)
    there = ~np.isnat(dates)
    if not there[: int(there.sum())].all():
        raise SampleError("an absent date (NaT) stands before a date", where)
    if (np.diff(dates[there].astype(np.int64)) < 0).any():
        raise SampleError("dates are not in ascending order", where)


def _check_label(label: Label, spec: DatasetSpec, where: str) -> None:
    if label is None or spec.task.label_space == "":
        return
    num_classes = len(spec.label_space().classes)
    if isinstance(label, np.ndarray):
        if label.ndim != 2 or label.dtype != np.uint8:
            raise SampleError(f"mask is {label.dtype} {label.shape} instead of uint8 (H, W)", where)
        ids = np.unique(label)
        outside = [int(i) for i in ids if i >= num_classes and i != IGNORE]
    else:
        ids_given = label if isinstance(label, tuple) else (label,)
        outside = [i for i in ids_given if not 0 <= i < num_classes]
    if outside:
        raise SampleError(f"class ids {outside} are outside 0..{num_classes - 1}", where)


def valid_pixels(pixels: Array, layer: LayerSpec) -> NDArray[np.bool_]:
    """Mask of pixels that hold a measurement, the same shape as `pixels`.

    A pixel is invalid where it equals the layer's fill value, and in a float layer where it is not finite: the
    logarithm of 0 (-inf) measures as little as NaN. A layer of integers without a fill value (uint8 images) is valid
    everywhere.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> bool(valid_pixels(store.read_layer(0, "s2_10m"), store.spec.layer("s2_10m")).all())
        True
    """
    fill = layer.fill_value
    has_fill = fill is not None and not math.isnan(fill)
    if not layer.is_float:
        return np.asarray(pixels != fill) if has_fill else np.ones(pixels.shape, dtype=np.bool_)
    measured = np.isfinite(pixels)
    return np.asarray(measured & (pixels != fill)) if has_fill else measured


def settle_missing(pixels: Array, layer: LayerSpec) -> tuple[Array, NDArray[np.int64]]:
    """Write the layer's fill (NaN without one) where a float is not finite, so that every reader sees it missing.

    Returns:
        The pixels, the very same ones where nothing was to do; and how many of each band were infinite, (C,).

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> layer = tiny_store().spec.layer("s1")
        >>> pixels, infinite = settle_missing(np.array([-np.inf, -12.0, np.nan]).reshape(1, 1, 1, 3), layer)
        >>> pixels.ravel().tolist(), infinite.tolist()
        ([nan, -12.0, nan], [1])
    """
    if not layer.is_float or np.isfinite(pixels).all():
        return pixels, np.zeros(pixels.shape[1], dtype=np.int64)
    fill = math.nan if layer.fill_value is None else layer.fill_value
    infinite = np.isinf(pixels).sum(axis=(0, 2, 3), dtype=np.int64)
    return np.where(np.isfinite(pixels), pixels, pixels.dtype.type(fill)), infinite
