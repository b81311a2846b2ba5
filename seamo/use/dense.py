"""Features of an image of any size: overlapping windows, blended so that no seam shows.

Only the pixels of one batch of windows, and the features of one row of windows, are in memory.

Images of several sensors on one grid are encoded together, as in pretraining (one sequence where the strategy is
multimodal); a patch's feature is the mean of its tokens, as the benchmark's dense features and `SeaMo.pool` have it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray

from seamo.bands import SENSORS, Unit
from seamo.errors import UsageError
from seamo.inputs.adapter import Adapter
from seamo.inputs.check import check_unit, normalisation_in, refuse_unit
from seamo.inputs.images import image_batch, image_spec
from seamo.inputs.spec import MissingPolicy
from seamo.manifest import Statistics
from seamo.model.seamo import SeaMo
from seamo.use.imagery import Imagery, check_same_grid, open_imagery, sensor_of
from seamo.use.inputs import Pretrained, facts_of, fit, read_bands
from seamo.use.maps import MapSpec, write_map
from seamo.use.options import check_map
from seamo.use.parts import Parts
from seamo.use.windows import Encoded, Windows, blend, plan_windows

Pixels = NDArray[np.float32]
VALID_SHARE = 0.5  # a patch with fewer valid pixels has no feature


@dataclass(frozen=True, slots=True)
class Source:
    """Which pixels, and what they are.

    Args:
        path: A GeoTIFF, or another raster that GDAL reads.
        unit: Of its pixels.
        sensor: One of the model's; empty: the one that its bands belong to.
        bands: Names of its bands in order, `-` for one not to use; empty: its band descriptions.
        nodata: Value that is no measurement, beside what the raster itself declares.
        statistics: Numbers to normalise with in place of the model's own.
    """

    path: Path
    unit: Unit
    sensor: str = ""
    bands: tuple[str, ...] = ()
    nodata: float | None = None
    statistics: Statistics | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Images:
    """The open images of all sensors, and what is read of them."""

    by_sensor: Mapping[str, Imagery]
    bands: Mapping[str, tuple[str, ...]]
    units: Mapping[str, Unit]

    @property
    def first(self) -> Imagery:
        """The image whose grid is that of all."""
        return next(iter(self.by_sensor.values()))

    def read(self, *, tops: Sequence[int], lefts: Sequence[int], height: int, width: int) -> dict[str, Pixels]:
        """Windows by their upper left corners: sensor -> (n, C, height, width), NaN where there is no measurement."""
        return {
            sensor: np.stack(
                [
                    imagery.read(self.bands[sensor], top=top, left=left, height=height, width=width)
                    for top, left in zip(tops, lefts, strict=True)
                ]
            )
            for sensor, imagery in self.by_sensor.items()
        }


def embed_image(
    pretrained: Pretrained,
    source: Source,
    out: Path,
    *,
    others: Sequence[Source] = (),
    missing: MissingPolicy = "fail",
    size: int = 0,
    overlap: float = 0.5,
    batch: int = 16,
    progress: TextIO | None = None,
) -> dict[str, Any]:
    """Write a map of features, one vector a patch.

    A patch of which less than half is measured, in all bands of all images, is NaN. Rows of the map that are finished
    stay beside the output until it is whole: the same call goes on with them after a kill, with the same result.

    Args:
        pretrained: The model.
        source: The image.
        out: `.tif` or `.zarr`, which does not exist yet; it appears when it is whole.
        others: Images of other sensors, on the same grid: encoded together with the first.
        missing: For bands that the model takes and the images lack: see `seamo.inputs.spec.MissingPolicy`.
        size: Side of a window in pixels; that of pretraining without it.
        overlap: Share of a window that the next one sees again.
        batch: Windows encoded at once.
        progress: Where to show the way.

    Returns:
        What was done: sensor, bands, normalisation, cells, ... (also written into the output).

    Raises:
        UsageError, BandError: If the images cannot be read as asked, or lie on different grids.
        StoreError: If the disk is full; finished rows stay.
    """
    check_map(out)
    sources = (source, *others)
    with ExitStack() as stack:
        opened, statistics = _open_all(pretrained, sources, stack)
        config = pretrained.model.config
        windows = plan_windows(*opened.first.shape, patch=config.patch, size=size or config.size, overlap=overlap)
        side = (windows.side[0] * config.patch, windows.side[1] * config.patch)
        model, adapter = _fit(pretrained, opened, statistics, missing, side)
        opened = replace(opened, bands=read_bands(adapter))
        about = _about(pretrained, facts_of(adapter, statistics), windows)
        spec = _map_spec(opened.first, windows, config.patch, config.dim, about)
        stats = [one.path.stat() for one in sources]
        files = [[stat.st_size, stat.st_mtime_ns, str(one.nodata)] for stat, one in zip(stats, sources, strict=True)]
        parts = Parts(out, {"images": files, **spec.about}, len(windows.tops))
        if parts.first_missing == 0:
            _check_unit(adapter, opened, windows, config.patch)
        encoded = partial(_encoded_row, model, adapter, opened, windows, batch=batch)
        for k, rows in blend(windows, spec.dim, encoded, first=parts.first_missing, progress=progress):
            parts.save(k, rows)
        strips = (parts.load(k) for k in range(parts.total))
        with parts.writing():
            write_map(parts.whole, spec, strips, as_zarr=out.suffix.lower() == ".zarr")
        parts.finish()
    return {"out": str(out), "cells": [spec.height, spec.width, spec.dim], **spec.about}


def _open_all(
    pretrained: Pretrained, sources: Sequence[Source], stack: ExitStack
) -> tuple[_Images, dict[str, Statistics]]:
    """The images, open until the stack is left, one a sensor; and the numbers that were given for them."""
    sensors = {sensor: tuple(names) for sensor, names in pretrained.model.config.bands.items()}
    opened: dict[str, Imagery] = {}
    bands: dict[str, tuple[str, ...]] = {}
    units: dict[str, Unit] = {}
    statistics: dict[str, Statistics] = {}
    for source in sources:
        where = str(source.path)
        imagery = stack.enter_context(
            open_imagery(source.path, unit=source.unit, bands=source.bands, nodata=source.nodata)
        )
        sensor = source.sensor or sensor_of(imagery.bands, sensors, where=where)
        if sensor in opened:
            raise UsageError(f"is a second image of {sensor}", where, "Embed every date by itself.")
        if opened:
            check_same_grid(next(iter(opened.values())), imagery)
        known = [band.name for band in SENSORS.get(sensor, ())]
        opened[sensor], units[sensor] = imagery, source.unit
        bands[sensor] = tuple(name for name in imagery.bands if name in known)
        if source.statistics is not None:
            statistics[sensor] = source.statistics
    return _Images(opened, bands, units), statistics


def _fit(
    pretrained: Pretrained,
    images: _Images,
    statistics: Mapping[str, Statistics],
    missing: MissingPolicy,
    side: tuple[int, int],
) -> tuple[SeaMo, Adapter]:
    """The model to use and the adapter that feeds it, of the bands that it reads alone."""
    stacks = {sensor: sensor for sensor in pretrained.model.config.bands if sensor in images.bands}
    stacks |= {sensor: sensor for sensor in images.bands}  # a sensor that the model does not have is refused by name

    def fitted(bands: Mapping[str, Sequence[str]]) -> tuple[SeaMo, Adapter]:
        spec = image_spec(bands, images.units, side)
        return fit(pretrained, spec, stacks=stacks, statistics=statistics, missing=missing, size=0)

    return fitted(read_bands(fitted(images.bands)[1]))


def _about(pretrained: Pretrained, inputs: list[dict[str, Any]], windows: Windows) -> dict[str, Any]:
    return {
        "weights_sha256": pretrained.identity,
        "patch": pretrained.model.config.patch,
        "windows": {"cells": list(windows.side), "tops": len(windows.tops), "lefts": len(windows.lefts)},
        "nodata_rule": f"NaN where less than {VALID_SHARE:g} of a patch is measured",
        "inputs": inputs,
        "feature": "the token of a patch" if len(inputs) == 1 else "mean of the sensors' tokens of a patch",
    }


def _map_spec(imagery: Imagery, windows: Windows, patch: int, dim: int, about: dict[str, Any]) -> MapSpec:
    source = imagery.source
    rows = windows.rows_of(0)
    a, b, c, d, e, f = tuple(source.transform)[:6]
    return MapSpec(
        height=windows.grid[0],
        width=windows.grid[1],
        dim=dim,
        crs=source.crs.to_wkt() if source.crs else "",
        transform=Affine(a * patch, b * patch, c, d * patch, e * patch, f),
        rows=rows[1] - rows[0],
        about=about,
    )


def _check_unit(adapter: Adapter, images: _Images, windows: Windows, patch: int) -> None:
    """Refuse pixels that cannot be in the unit stated: nine places of the image together."""
    tops = sorted({windows.tops[i * (len(windows.tops) - 1) // 2] for i in range(3)})
    lefts = sorted({windows.lefts[i * (len(windows.lefts) - 1) // 2] for i in range(3)})
    places = [(top * patch, left * patch) for top in tops for left in lefts]
    found = images.read(
        tops=[top for top, _ in places],
        lefts=[left for _, left in places],
        height=windows.side[0] * patch,
        width=windows.side[1] * patch,
    )
    for name, raw in found.items():
        refuse_unit(images.units[name], raw, images.by_sensor[name].source.name)
    for sensor in adapter.wiring.sensors:
        numbers = normalisation_in(sensor)
        if numbers is None:
            continue
        names = images.bands[sensor.input.sensor]
        fed = {channel.band: channel for channel in sensor.channels}
        slots = [names.index(fed[band].source) for band in numbers.bands]
        pixels = torch.from_numpy(found[sensor.input.sensor][:, slots])
        if bool(pixels.isnan().all()):
            continue
        first = fed[numbers.bands[0]]
        check_unit(pixels * first.scale + first.offset, numbers, valid=~pixels.isnan())


def _encoded_row(
    model: SeaMo, adapter: Adapter, images: _Images, windows: Windows, top: int, *, batch: int
) -> Iterator[Encoded]:
    """Batches of one row of windows: first columns, features of patches, which patches are measured."""
    patch, dim = model.config.patch, model.config.dim
    height, width = windows.side
    device = next(model.parameters()).device
    spec = image_spec(images.bands, images.units, (height * patch, width * patch))
    for at in range(0, len(windows.lefts), batch):
        lefts = list(windows.lefts[at : at + batch])
        pixels = images.read(
            tops=[top * patch] * len(lefts),
            lefts=[left * patch for left in lefts],
            height=height * patch,
            width=width * patch,
        )
        measured = np.logical_and.reduce([~np.isnan(window).any(axis=1) for window in pixels.values()])
        share = measured.reshape(-1, height, patch, width, patch).mean(axis=(2, 4))
        there = share >= VALID_SHARE
        features = torch.zeros(len(lefts), height, width, dim)
        seen = there.any(axis=(1, 2))  # a window without any measurement is not worth encoding
        if seen.any():
            inputs = adapter(image_batch(spec, {sensor: window[seen] for sensor, window in pixels.items()}).to(device))
            with torch.inference_mode():
                tokens = model.encode(inputs)
            maps = tokens.float().reshape(-1, len(pixels), height, width, dim).mean(dim=1)
            features[torch.from_numpy(seen)] = maps.cpu()
        yield lefts, features.numpy(), there
