"""SSL4EO-S12 v1.0: `{s1,s2a,s2c}/<location>/<product>/<band>.tif`, four dates a location and stack.

Every band stays on its native grid (10, 20, 60 m). Dates are those of the product names, sorted; they are not
calendar seasons. s1, s2a and s2c are dated each by itself, because they are selected independently.

Missing pixels are 0 in the files. Sentinel-1: exactly 0 in a band is missing in that band. Sentinel-2: a pixel is
missing where all bands of its native grid are 0. Grids are judged one by one, because at the edge of a swath a 60 m
pixel may be measured while some of its 10 m pixels are not, and so that a layer does not depend on which others are
built.

`--relax seasons` takes fewer than four dates; `--relax names` takes `B01.tif` for `B1.tif` and location folders of
any name.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seamo.bands import S1, S2_L1C, S2_L2A
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import Array, GeoRef, Sample
from seamo.testing.world import Scene, World
from seamo_prep.rasters import Raster, layer_pixels
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

_S1_NAME = re.compile(r"S1[A-D]_IW_GRDH_1SDV_(\d{8}T\d{6})_\d{8}T\d{6}_\w+")
_S2_NAME = re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T\w{5}")


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Only the folders of the stacks in `spec` are looked at."""
    locations: set[str] = set()
    for stack in spec.stacks:
        for name in raw.list_dir(stack)[0]:
            if not re.fullmatch(r"\d{6,7}", name) and "names" not in raw.relax:
                where = raw.where(f"{stack}/{name}")
                raise ArchiveError(
                    "is not a location id of 6 or 7 digits", where, "Take it out, or build with --relax names."
                )
            locations.add(name)
    if not locations:
        raise raw.missing(f"locations under {', '.join(spec.stacks)}")
    frame = pd.DataFrame({"key": sorted(locations)})
    frame.attrs["ledger"] = []
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    for key in rows["key"]:
        layers: dict[str, Array] = {}
        time: dict[str, NDArray[np.datetime64]] = {}
        geo: GeoRef | None = None
        for stack in spec.stacks:
            dated = _seasons(raw, f"{stack}/{key}", spec.num_times(stack))
            if not dated:
                continue  # the whole sensor is not there
            slots = np.full(spec.num_times(stack), np.datetime64("NaT"), dtype="datetime64[s]")
            slots[: len(dated)] = [date for date, _ in dated]
            time[stack] = slots
            for layer in spec.stack_layers(stack):
                layers[layer.id], first = _layer(raw, [folder for _, folder in dated], layer)
                if geo is None and layer.gsd_m == min(one.gsd_m for one in spec.layers) and first.transform:
                    geo = GeoRef(first.crs, first.transform)
        yield Sample(key=key, layers=layers, time=time, geo=geo)


def _seasons(raw: Raw, location: str, times: int) -> list[tuple[np.datetime64, str]]:
    """(acquisition time, folder) of one location in one stack, in order of time."""
    pattern = _S1_NAME if location.startswith("s1/") else _S2_NAME
    names, files = raw.list_dir(location)
    if not names and not files:
        return []
    dated = []
    for name in names:
        match = pattern.fullmatch(name)
        if match is None:
            raise ArchiveError(
                "is not the name of a Sentinel product", raw.where(f"{location}/{name}"), "Take it out of the archive."
            )
        try:
            date = np.datetime64(datetime.strptime(match[1], "%Y%m%dT%H%M%S"), "s")
        except ValueError as error:
            raise ArchiveError(f"has no valid date ({error})", raw.where(f"{location}/{name}")) from error
        dated.append((date, f"{location}/{name}"))
    if len(dated) > times or (len(dated) < times and "seasons" not in raw.relax):
        raise ArchiveError(
            f"{len(dated)} dates instead of {times}", raw.where(location),
            "Fewer dates are taken with --relax seasons." if len(dated) < times else "Take the surplus out.",
        )  # fmt: skip
    return sorted(dated)


def _layer(raw: Raw, folders: list[str], layer: LayerSpec) -> tuple[Array, Raster]:
    """Pixels (T, C, H, W) of one layer, missing ones at fill, and the raster of the first file."""
    size = layer.size
    dates: Array = np.empty((layer.times, len(layer.bands), *(size or (0, 0))), dtype=layer.dtype)
    found = [
        layer_pixels(raw, [_band_file(raw, folder, band) for band in layer.bands], layer, out if size else None)
        for folder, out in zip(folders, dates[: len(folders)], strict=True)
    ]
    if size is None:
        shapes = {pixels.shape for pixels, _ in found}
        if len(shapes) != 1:
            raise ArchiveError(f"dates of {layer.id} differ in size: {sorted(shapes)}", raw.where(folders[0]))
        dates = np.stack([pixels for pixels, _ in found] + [found[0][0]] * (layer.times - len(found)))
    fill = 0 if layer.fill_value is None else layer.fill_value
    there = dates[: len(found)]
    dates[len(found) :] = fill
    if layer.sensor != "s2":
        missing = there == 0
    elif there.min() <= 0:
        missing = there.max(axis=1, keepdims=True) == 0
    else:  # most locations have no hole
        return dates, found[0][1]
    if missing.any():
        np.copyto(there, fill, where=missing)
    return dates, found[0][1]


def _band_file(raw: Raw, folder: str, band: str) -> str:
    published = f"{folder}/{band.replace('B0', 'B')}.tif"
    if "names" not in raw.relax:
        return published
    padded = f"{folder}/{band}.tif"
    return padded if not raw.exists(published) and raw.exists(padded) else published


# The demo: number of locations, size in pixels of 10 m.
_DEMO = {"tiny": (4, 48), "small": (256, 96)}


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`. Every eighth location has a corner without data, as at a swath's edge."""
    count, side = _DEMO[size]
    sizes = {
        f"{stack}{suffix}": (side // step, side // step)
        for stack in ("s1", "s2a", "s2c")
        for suffix, step in ((("", 1),) if stack == "s1" else (("_10m", 1), ("_20m", 2), ("_60m", 6)))
    }
    for number in range(count):
        location = f"{number:07d}"
        scene = world.scene(f"ssl4eo-s12/{location}", side)
        rng = np.random.default_rng([world.seed, number])
        start = np.datetime64("2020-12-21T10:00:00") - np.timedelta64(int(rng.integers(0, 365)), "D")
        for quarter in range(4):
            about = start + np.timedelta64(91 * quarter, "D")
            dates = [about + np.timedelta64(int(day), "D") for day in rng.integers(-15, 16, size=3)]
            if rng.random() < 0.8:
                dates[2] = dates[1]  # s2a and s2c usually show one acquisition
            _demo_date(raw, scene, location, dates=dates, has_gap=number % 8 == 7)
    declare_synthetic(
        raw, what=f"synthetic stand-in for SSL4EO-S12 v1.0 ({size}); nothing in it was measured", sizes=sizes
    )


def _demo_date(raw: Path, scene: Scene, location: str, *, dates: list[np.datetime64], has_gap: bool) -> None:
    stamps = [str(date).replace("-", "").replace(":", "") for date in dates]
    names = (
        f"S1A_IW_GRDH_1SDV_{stamps[0]}_{stamps[0][:-2]}25_031883_03AE27_9BAF",
        *(f"{stamp}_{stamp[:-2]}30_T32UQD" for stamp in stamps[1:]),
    )
    images: tuple[dict[str, NDArray[Any]], ...] = (
        scene.s1(dates[0]),
        scene.s2(dates[1], "L2A"),
        scene.s2(dates[2], "L1C"),
    )
    for stack, name, bands, expected in zip(("s1", "s2a", "s2c"), names, images, (S1, S2_L2A, S2_L1C), strict=True):
        folder = raw / stack / location / name
        folder.mkdir(parents=True)
        for band in expected:
            pixels = bands[band]
            if has_gap:
                gap = len(pixels) // 4
                pixels[:gap, :gap] = 0
            step = len(scene.cover) / len(pixels) * 10
            # Degrees a pixel; the published files are as approximate.
            down, right = step / 111_320, step / (111_320 * np.cos(np.radians(scene.latitude)))
            left, top = scene.longitude - right * len(pixels) / 2, scene.latitude + down * len(pixels) / 2
            write_tiff(
                folder / f"{re.sub('^B0', 'B', band)}.tif", pixels[None], epsg=4326,
                transform=(float(right), 0.0, float(left), 0.0, -down, float(top)),
            )  # fmt: skip
        (folder / "metadata.json").write_text(json.dumps({"id": name, "synthetic": True}), encoding="ascii")
