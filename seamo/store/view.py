"""One sample as an xarray Dataset that rioxarray understands."""

from typing import Any

import numpy as np
import rioxarray  # noqa: F401 - gives Datasets their `rio`
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.licences import terms_of
from seamo.resample import Kernel
from seamo.store import format as fmt
from seamo.store.samples import Samples
from seamo.store.stacks import read_stack, stack_bands


def to_dataset(
    samples: Samples, i: int, *, time: int | str | None = None, stack: str | None = None, kernel: Kernel = "bilinear"
) -> xr.Dataset:
    """One sample as a Dataset with a variable a stack, on the sample's finest grid.

    Dims are (band, y, x), or (time, band, y, x) without `time`. Where several stacks are asked for, each has its own
    `band_<stack>`, because their bands differ. Stacks of one layer keep their dtype and say their fill as `nodata`;
    the others are float32 with NaN, coarser layers resampled with `kernel` (named in the attributes). A mask is
    `label` (y, x).

    Args:
        samples: A store.
        i: Row.
        time: Slot number, or a date such as `2021-06-30` on which every stack asked for has an image.
        stack: One stack; all of them if None.
        kernel: Resampling of coarser layers.

    Raises:
        StoreError: If there is no image at `time`, or stacks lie on different grids.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> image = to_dataset(tiny_store(), 0, time="2021-01-05", stack="s2")
        >>> image["s2"].dims, image["band"].values.tolist()
        (('band', 'y', 'x'), ['B02', 'B03', 'B04', 'B08', 'B11'])
        >>> image.rio.crs.to_epsg(), image.rio.resolution()
        (32633, (10.0, -10.0))
    """
    stacks = samples.spec.stacks if stack is None else (stack,)
    own_band = len(stacks) > 1
    own_time = len({samples.spec.num_times(stack_id) for stack_id in stacks}) > 1
    times = samples.read_times(i)
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    height, width = _size(samples, i)
    for stack_id in stacks:
        pixels, attributes = _image(samples, i, stack_id, kernel)
        if pixels.shape[-2:] != (height, width):
            raise StoreError(
                f"stack {stack_id} is {pixels.shape[-2:]} pixels, the sample {(height, width)}",
                samples.title,
                "Name one stack.",
            )
        band = f"band_{stack_id}" if own_band else "band"
        slots = f"time_{stack_id}" if own_time else "time"
        coords[band] = np.array(stack_bands(samples.spec, stack_id), dtype=object)
        dates = times.get(stack_id, np.full(len(pixels), np.datetime64("NaT"), dtype="datetime64[s]"))
        acquired = dates.astype("datetime64[ns]")
        if time is None:
            variables[stack_id] = ((slots, band, "y", "x"), pixels, attributes)
            coords[f"acquired_{stack_id}" if own_band else "time"] = ((slots,), acquired)
        else:
            slot = _slot(dates, time, f"{samples.title} stack {stack_id}")
            variables[stack_id] = ((band, "y", "x"), pixels[slot], attributes)
            coords[f"acquired_{stack_id}" if own_band else "time"] = acquired[slot]
    if fmt.label_kind(samples.spec) == "mask" and samples.is_valid(i, fmt.LABEL):
        mask = samples.read_layer(i, fmt.LABEL)
        if mask.shape != (height, width):  # of stores that were joined: the masks are those of the first
            raise StoreError(
                f"masks are {mask.shape} pixels, the images {(height, width)}", samples.title, "Use read_layer."
            )
        variables["label"] = (("y", "x"), mask, {"nodata": fmt.IGNORE_FILL})
    dataset = xr.Dataset(variables, coords, {"key": _key(samples, i), "title": samples.title, **terms_of(samples.spec)})
    return _georeferenced(dataset, samples, i, height=height, width=width)


def _key(samples: Samples, i: int) -> str:
    return str(samples.read_index(["key"])["key"].iloc[i])


def _size(samples: Samples, i: int) -> tuple[int, int]:
    shape = samples.shape(i, fmt.finest_layer(samples.spec).id)
    return shape[-2], shape[-1]


def _image(samples: Samples, i: int, stack: str, kernel: Kernel) -> tuple[NDArray[Any], dict[str, Any]]:
    layers = samples.spec.stack_layers(stack)
    facts: dict[str, Any] = {"unit": str(layers[0].unit), "sensor": layers[0].sensor, "product": layers[0].product}
    if len(layers) > 1:
        return read_stack(samples, i, stack, kernel), facts | {"resampling": kernel, "nodata": np.nan}
    order = [layers[0].bands.index(name) for name in stack_bands(samples.spec, stack)]
    if layers[0].fill_value is not None:
        facts["nodata"] = layers[0].fill_value
    return samples.read_layer(i, layers[0].id)[:, order], facts


def _slot(dates: NDArray[np.datetime64], time: int | str, where: str) -> int:
    if isinstance(time, int):
        if not 0 <= time < len(dates):
            raise StoreError(f"no slot {time}", where, f"There are {len(dates)}.")
        return time
    slots = np.flatnonzero(dates.astype("datetime64[D]") == np.datetime64(time, "D"))
    if not len(slots):
        raise StoreError(f"no image on {time}", where, f"Dates: {', '.join(str(date)[:10] for date in dates)}.")
    return int(slots[0])


def _georeferenced(dataset: xr.Dataset, samples: Samples, i: int, *, height: int, width: int) -> xr.Dataset:
    geo = samples.read_geo(i)
    a, b, c, d, e, f = geo.transform if geo else (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    if not b and not d:  # a turned grid has no x of a column
        dataset = dataset.assign_coords(x=c + a * (np.arange(width) + 0.5), y=f + e * (np.arange(height) + 0.5))
    for name in dataset.data_vars:
        nodata = dataset[name].attrs.pop("nodata", None)
        if nodata is not None:
            dataset[name].rio.write_nodata(nodata, inplace=True)
    placed: xr.Dataset = dataset.rio.set_spatial_dims("x", "y")
    if geo is not None:
        placed = placed.rio.write_crs(geo.crs).rio.write_transform(Affine(a, b, c, d, e, f))
        placed = placed.rio.write_coordinate_system()
    return placed
