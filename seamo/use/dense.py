"""Features of an image of any size: overlapping windows, blended so that no seam shows.

Windows lie on one grid of patches. Each is encoded whole; a patch seen by several windows gets their weighted mean,
with weights that fall to the window's edge (Hann: sin^2, next to nothing at the edge, and with half overlap adding up
to one everywhere). Only the pixels of one batch of windows, and the features of one row of windows, are in memory.

Images of several sensors on one grid are encoded together, as in pretraining (one sequence where the strategy is
multimodal); a patch's feature is the mean of its tokens, as the benchmark's dense features and `SeaMo.pool` have it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.data.normalise import check_range
from seamo.errors import UsageError
from seamo.manifest import Statistics
from seamo.model.seamo import SeaMo
from seamo.use.imagery import Imagery, check_same_grid, open_imagery, sensor_of
from seamo.use.inputs import Channels, Missing, Pretrained, plan_channels
from seamo.use.maps import MapSpec, check_ending, write_map
from seamo.use.parts import Meter, Parts

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
        missing: See `seamo.use.inputs.plan_channels`.
        statistics: Numbers to normalise with in place of the model's own.
    """

    path: Path
    unit: Unit
    sensor: str = ""
    bands: tuple[str, ...] = ()
    nodata: float | None = None
    missing: Missing = "refuse"
    statistics: Statistics | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Input:
    """An open image and how its pixels become the model's input."""

    imagery: Imagery
    channels: Channels

    def read(self, *, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """The bands that are used, (C, height, width), NaN where there is no measurement."""
        return self.imagery.read(self.channels.have, top=top, left=left, height=height, width=width)


@dataclass(frozen=True, slots=True)
class Windows:
    """Where windows lie on the grid of patches.

    Args:
        grid: Patches of the image, down and across.
        side: Patches of a window, down and across.
        tops, lefts: First row of each row of windows, first column of each window in it.
    """

    grid: tuple[int, int]
    side: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def weight(self) -> NDArray[np.float32]:
        """Weight of a window's patches (rows, columns)."""
        down, across = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in self.side)
        return np.outer(down, across).astype(np.float32)

    def rows_of(self, k: int) -> tuple[int, int]:
        """Rows of patches that are finished with the k-th row of windows."""
        stops = (*self.tops[1:], self.grid[0])
        return self.tops[k], stops[k]


def plan_windows(height: int, width: int, *, patch: int, size: int, overlap: float) -> Windows:
    """Windows of `size` pixels over an image; the last of a row or column is moved back to the edge.

    Args:
        height: Of the image in pixels; patches that hang over the edge belong to it.
        width: As `height`.
        patch: Side of a patch.
        size: Side of a window, a multiple of the patch; a smaller image is one window.
        overlap: Share of a window that the next one sees again.

    Raises:
        UsageError: For a size that is no multiple of the patch, or an overlap outside 0 to 0.9.

    Example:
        >>> plan_windows(100, 64, patch=8, size=64, overlap=0.5).tops
        (0, 4, 5)
    """
    if size < patch or size % patch:
        raise UsageError(f"size {size} is not a multiple of the patch", "windows", f"The patch is {patch}.")
    if not 0 <= overlap <= 0.9:
        raise UsageError(f"overlap {overlap} is outside 0 to 0.9", "windows")
    grid = (math.ceil(height / patch), math.ceil(width / patch))
    side = (min(size // patch, grid[0]), min(size // patch, grid[1]))
    firsts = []
    for n, m in zip(grid, side, strict=True):
        step = max(1, round(m * (1 - overlap)))
        firsts.append(tuple(dict.fromkeys([*range(0, n - m, step), n - m])))
    return Windows(grid, side, *firsts)


def embed_image(
    pretrained: Pretrained,
    source: Source,
    out: Path,
    *,
    others: Sequence[Source] = (),
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
    check_ending(out)
    sources = (source, *others)
    with ExitStack() as stack:
        model, inputs = _open_all(pretrained, sources, stack)
        config, first = pretrained.model.config, inputs[0].imagery
        windows = plan_windows(*first.shape, patch=config.patch, size=size or config.size, overlap=overlap)
        spec = _map_spec(first, windows, config.patch, config.dim, _about(pretrained, inputs, windows))
        stats = [one.path.stat() for one in sources]
        files = [[stat.st_size, stat.st_mtime_ns, str(one.nodata)] for stat, one in zip(stats, sources, strict=True)]
        parts = Parts(out, {"images": files, **spec.about}, len(windows.tops))
        if parts.first_missing == 0:
            for one in inputs:
                _check_unit(one, windows, config.patch)
        for k, rows in _blended(model, inputs, windows, parts.first_missing, batch=batch, progress=progress):
            parts.save(k, rows)
        strips = (parts.load(k) for k in range(parts.total))
        with parts.writing():
            write_map(parts.whole, spec, strips, as_zarr=out.suffix.lower() == ".zarr")
        parts.finish()
    return {"out": str(out), "cells": [spec.height, spec.width, spec.dim], **spec.about}


def _open_all(pretrained: Pretrained, sources: Sequence[Source], stack: ExitStack) -> tuple[SeaMo, list[_Input]]:
    """The model to use, and the images open until the stack is left; one image a sensor."""
    model, inputs = pretrained.model, list[_Input]()
    for source in sources:
        where = str(source.path)
        imagery = stack.enter_context(open_imagery(source.path, bands=source.bands, nodata=source.nodata))
        sensor = source.sensor or sensor_of(imagery.bands, dict(model.config.bands), where=where)
        if sensor in [one.channels.sensor for one in inputs]:
            raise UsageError(f"is a second image of {sensor}", where, "Embed every date by itself.")
        if inputs:
            check_same_grid(inputs[0].imagery, imagery)
        model, channels = plan_channels(
            model,
            pretrained.card["normalisation"],
            sensor,
            have=imagery.bands,
            unit=source.unit,
            missing=source.missing,
            statistics=source.statistics,
        )
        inputs.append(_Input(imagery, channels))
    return model, inputs


def _about(pretrained: Pretrained, inputs: Sequence[_Input], windows: Windows) -> dict[str, Any]:
    return {
        "weights_sha256": pretrained.identity,
        "patch": pretrained.model.config.patch,
        "windows": {"cells": list(windows.side), "tops": len(windows.tops), "lefts": len(windows.lefts)},
        "nodata_rule": f"NaN where less than {VALID_SHARE:g} of a patch is measured",
        "inputs": [one.channels.facts() for one in inputs],
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


def _check_unit(one: _Input, windows: Windows, patch: int) -> None:
    """Refuse pixels that cannot be in the unit stated: nine places of the image together."""
    found, channels = [], one.channels
    for top in {windows.tops[i * (len(windows.tops) - 1) // 2] for i in range(3)}:
        for left in {windows.lefts[i * (len(windows.lefts) - 1) // 2] for i in range(3)}:
            place = {"top": top * patch, "left": left * patch}
            extent = {"height": windows.side[0] * patch, "width": windows.side[1] * patch}
            found.append(torch.from_numpy(one.read(**place, **extent)).flatten(1))
    pixels = torch.cat(found, dim=1)[..., None] * channels.scale + channels.offset
    if bool(pixels.isnan().all()):
        return
    check_range(pixels, channels.numbers, valid=~pixels.isnan())


def _blended(
    model: SeaMo,
    inputs: Sequence[_Input],
    windows: Windows,
    first: int,
    *,
    batch: int,
    progress: TextIO | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(k, finished rows of patches (rows, width, D)) from the `first` row of windows that is asked for."""
    if first == len(windows.tops):
        return
    height, width = windows.side[0], windows.grid[1]
    dim, share = model.config.dim, windows.weight
    # Rows that are not finished yet also got a share from the rows of windows before.
    start = next(k for k in range(first + 1) if windows.tops[k] + height > windows.tops[first])
    meter = Meter(
        progress,
        "windows",
        len(windows.tops) * len(windows.lefts),
        done=start * len(windows.lefts),
    )
    total = np.zeros((height, width, dim), dtype=np.float32)
    weight = np.zeros((height, width), dtype=np.float32)
    moves = [0, *(after - before for before, after in pairwise(windows.tops[start:]))]
    for k, moved in zip(range(start, len(windows.tops)), moves, strict=True):
        total = np.concatenate([total[moved:], np.zeros((moved, width, dim), dtype=np.float32)])
        weight = np.concatenate([weight[moved:], np.zeros((moved, width), dtype=np.float32)])
        valid = np.zeros((height, width), dtype=np.bool_)
        for lefts, tokens, there in _encoded_row(model, inputs, windows, windows.tops[k], batch):
            for left, features, measured in zip(lefts, tokens, there, strict=True):
                span = slice(left, left + windows.side[1])
                total[:, span] += features * share[..., None]
                weight[:, span] += share
                valid[:, span] = measured
            meter.add(len(lefts))
        if k >= first:
            top, stop = windows.rows_of(k)
            rows: NDArray[np.float32] = total[: stop - top] / weight[: stop - top, :, None]
            rows[~valid[: stop - top]] = np.nan
            yield k, rows


def _encoded_row(
    model: SeaMo, inputs: Sequence[_Input], windows: Windows, top: int, batch: int
) -> Iterator[tuple[list[int], NDArray[np.float32], NDArray[np.bool_]]]:
    """Batches of one row of windows: first columns, features (n, rows, columns, D), which patches are measured."""
    patch, dim = model.config.patch, model.config.dim
    height, width = windows.side
    device = next(model.parameters()).device
    extent = {"top": top * patch, "height": height * patch, "width": width * patch}
    for at in range(0, len(windows.lefts), batch):
        lefts = list(windows.lefts[at : at + batch])
        pixels = [
            torch.from_numpy(np.stack([one.read(left=left * patch, **extent) for left in lefts])).to(device)
            for one in inputs
        ]
        measured = torch.stack([(~x.isnan()).all(dim=1) for x in pixels]).all(dim=0).float()
        share = measured.reshape(-1, height, patch, width, patch).mean(dim=(2, 4))
        there = share >= VALID_SHARE
        features = torch.zeros(len(lefts), height, width, dim)
        seen = there.flatten(1).any(dim=1)  # a window without any measurement is not worth encoding
        if bool(seen.any()):
            with torch.inference_mode():
                tokens = model.encode(
                    {one.channels.sensor: one.channels(x[seen]) for one, x in zip(inputs, pixels, strict=True)}
                )
            maps = tokens.float().reshape(-1, len(inputs), height, width, dim).mean(dim=1)
            features[seen.cpu()] = maps.cpu()
        yield lefts, features.numpy(), there.cpu().numpy()
