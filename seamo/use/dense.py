"""Features of an image of any size: overlapping windows, blended so that no seam shows.

Only the pixels of one batch of windows, and the features of one row of windows, are in memory.

Images of several sensors on one grid are encoded together, as in pretraining (one sequence where the strategy is
multimodal); a patch's feature is the mean of its tokens, as the benchmark's dense features and `SeaMo.pool` have it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
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
from seamo.use.inputs import Channels, Pretrained, plan_channels
from seamo.use.maps import MapSpec, write_map
from seamo.use.options import Missing, check_map
from seamo.use.parts import Parts
from seamo.use.windows import Encoded, Windows, blend, plan_windows

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
    check_map(out)
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
        encoded = partial(_encoded_row, model, inputs, windows, batch=batch)
        for k, rows in blend(windows, spec.dim, encoded, first=parts.first_missing, progress=progress):
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


def _encoded_row(
    model: SeaMo, inputs: Sequence[_Input], windows: Windows, top: int, *, batch: int
) -> Iterator[Encoded]:
    """Batches of one row of windows: first columns, features of patches, which patches are measured."""
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
