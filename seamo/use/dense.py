"""Features of an image of any size: overlapping windows, blended so that no seam shows.

Windows lie on one grid of patches. Each is encoded whole; a patch seen by several windows gets their weighted mean,
with weights that fall to the window's edge (Hann: sin^2, next to nothing at the edge, and with half overlap adding up
to one everywhere). Only the pixels of one batch of windows, and the features of one row of windows, are in memory.
"""

import math
from collections.abc import Iterator
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
from seamo.use.imagery import Imagery, open_imagery, sensor_of
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
    size: int = 0,
    overlap: float = 0.5,
    batch: int = 16,
    progress: TextIO | None = None,
) -> dict[str, Any]:
    """Write a map of features, one vector a patch.

    A patch of which less than half is measured is NaN. Rows of the map that are finished stay beside the output
    until it is whole: the same call goes on with them after a kill, with the same result.

    Args:
        pretrained: The model.
        source: The image.
        out: `.tif` or `.zarr`, which does not exist yet; it appears when it is whole.
        size: Side of a window in pixels; that of pretraining without it.
        overlap: Share of a window that the next one sees again.
        batch: Windows encoded at once.
        progress: Where to show the way.

    Returns:
        What was done: sensor, bands, normalisation, cells, ... (also written into the output).

    Raises:
        UsageError, BandError: If the image cannot be read as asked.
        StoreError: If the disk is full; finished rows stay.
    """
    check_ending(out)
    with open_imagery(source.path, bands=source.bands, nodata=source.nodata) as imagery:
        config = pretrained.model.config
        where = str(source.path)
        sensor = source.sensor or sensor_of(imagery.bands, dict(config.bands), where=where)
        model, channels = plan_channels(
            pretrained.model,
            pretrained.card["normalisation"],
            sensor,
            have=imagery.bands,
            unit=source.unit,
            missing=source.missing,
            statistics=source.statistics,
        )
        windows = plan_windows(*imagery.shape, patch=config.patch, size=size or config.size, overlap=overlap)
        spec = _map_spec(imagery, windows, config.patch, config.dim, _about(pretrained, channels, windows))
        stat = source.path.stat()
        made_from = {"image": [stat.st_size, stat.st_mtime_ns], "nodata": str(source.nodata), **spec.about}
        parts = Parts(out, made_from, len(windows.tops))
        if parts.first_missing == 0:
            _check_unit(imagery, channels, windows, config.patch)
        for k, rows in _blended(model, imagery, channels, windows, parts.first_missing, batch=batch, progress=progress):
            parts.save(k, rows)
        strips = (parts.load(k) for k in range(parts.total))
        with parts.writing():
            write_map(parts.whole, spec, strips, as_zarr=out.suffix.lower() == ".zarr")
        parts.finish()
    return {"out": str(out), "cells": [spec.height, spec.width, spec.dim], **spec.about}


def _about(pretrained: Pretrained, channels: Channels, windows: Windows) -> dict[str, Any]:
    return {
        "weights_sha256": pretrained.identity,
        "patch": pretrained.model.config.patch,
        "windows": {"cells": list(windows.side), "tops": len(windows.tops), "lefts": len(windows.lefts)},
        "nodata_rule": f"NaN where less than {VALID_SHARE:g} of a patch is measured",
        "inputs": [channels.facts()],
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


def _check_unit(imagery: Imagery, channels: Channels, windows: Windows, patch: int) -> None:
    """Refuse pixels that cannot be in the unit stated: nine places of the image together."""
    found = []
    for top in {windows.tops[i * (len(windows.tops) - 1) // 2] for i in range(3)}:
        for left in {windows.lefts[i * (len(windows.lefts) - 1) // 2] for i in range(3)}:
            place = {"top": top * patch, "left": left * patch}
            extent = {"height": windows.side[0] * patch, "width": windows.side[1] * patch}
            found.append(torch.from_numpy(imagery.read(channels.have, **place, **extent)).flatten(1))
    pixels = torch.cat(found, dim=1)[..., None] * channels.scale + channels.offset
    if bool(pixels.isnan().all()):
        return
    check_range(pixels, channels.numbers, valid=~pixels.isnan())


def _blended(
    model: SeaMo,
    imagery: Imagery,
    channels: Channels,
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
        for lefts, tokens, there in _encoded_row(model, imagery, channels, windows, windows.tops[k], batch):
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
    model: SeaMo, imagery: Imagery, channels: Channels, windows: Windows, top: int, batch: int
) -> Iterator[tuple[list[int], NDArray[np.float32], NDArray[np.bool_]]]:
    """Batches of one row of windows: first columns, features (n, rows, columns, D), which patches are measured."""
    patch = model.config.patch
    height, width = windows.side
    device = next(model.parameters()).device
    for at in range(0, len(windows.lefts), batch):
        lefts = list(windows.lefts[at : at + batch])
        read = [
            imagery.read(channels.have, top=top * patch, left=left * patch, height=height * patch, width=width * patch)
            for left in lefts
        ]
        pixels = torch.from_numpy(np.stack(read)).to(device)
        measured = (~pixels.isnan()).all(dim=1).float()
        share = measured.reshape(-1, height, patch, width, patch).mean(dim=(2, 4))
        there = share >= VALID_SHARE
        features = torch.zeros(len(lefts), height, width, model.config.dim)
        seen = there.flatten(1).any(dim=1)  # a window without any measurement is not worth encoding
        if bool(seen.any()):
            with torch.inference_mode():
                tokens = model.encode({channels.sensor: channels(pixels[seen])})
            features[seen.cpu()] = tokens.float().reshape(-1, height, width, model.config.dim).cpu()
        yield lefts, features.numpy(), there.cpu().numpy()
