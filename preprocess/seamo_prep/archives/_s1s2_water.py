"""S1S2-Water: 65 scenes, each with a Sentinel-1 and a Sentinel-2 image on grids of their own.

`data/<id>/sentinel12_{s1,s2}_<id>_{img,msk,valid}.tif` and `sentinel12_<id>_meta.json`, a STAC item that holds the
split and the dates. The six published parts are unpacked into one folder; what they hold around the numbered folders
is not known, so these are looked for in RAW and up to two folders down.

Each sensor is a data set: Sentinel-1 has its own pixel size (about 9 m at middle latitudes), origin and perhaps UTM
zone, its own mask and its own validity. Tiles are 256 x 256 side by side; what remains at the right and the bottom is
dropped, as in the official preparation. That preparation also drops every tile with an invalid pixel. Here such a tile
stays: its invalid pixels (cloud, shadow, no data) hold the fill value in the image and 255 (ignore) in the mask. A
tile without a valid pixel is left out.

Rasters are read in strips one tile high; a whole image would take 1.4 GB.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from seamo.bands import positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.rasterfacts import gdal_settings
from seamo.sample import IGNORE, Sample
from seamo.testing.world import COVERS, World
from seamo_prep.archives._tiles import (
    PartialRaster,
    RasterFacts,
    class_ids,
    declared_size,
    open_raster,
    starts,
    tile_geo,
    tile_name,
)
from seamo_prep.outside import reading
from seamo_prep.rasters import check_pixels
from seamo_prep.unpack import Raw, declare_synthetic

Sensor = Literal["s1", "s2"]
FILE_ORDER = {"s1": ("VV", "VH"), "s2": ("B02", "B03", "B04", "B08", "B11", "B12")}
_SCENES = 65
_TILE = 256
_S2_SIDE = 10_980
_SCENE = "scene"  # the name under which SYNTHETIC.json declares the size of Sentinel-2 scenes
_KINDS = ("img", "msk", "valid")
_FETCH_AGAIN = "Unpack or fetch it again."


def index(raw: Raw, spec: DatasetSpec, sensor: Sensor) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Reads the validity rasters, of which tiles hold nothing else."""
    layer = spec.layer(sensor)
    ledger: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    read_scenes = 0
    for scene, folder in sorted(_scenes(raw, ledger).items()):
        there = [kind for kind in _KINDS if raw.exists(_file(folder, scene, sensor, kind))]
        if not there:
            ledger.append((folder, f"no {sensor} rasters (release 1.0.0 lacks those of Sentinel-1 for 31 and 59)"))
            continue
        split, date = _stac(raw, f"{folder}/sentinel12_{scene}_meta.json", sensor)
        common = {"scene": scene, "split": split, "_folder": folder, "_date": date}
        with ExitStack() as stack:
            image, _, valid = _open(raw, stack, folder, scene, sensor=sensor)
            _check_image(raw, image, layer, sensor)
            height, width = image.facts.height, image.facts.width
            columns = starts(width, _TILE, _TILE)
            tiles = 0
            for y0 in starts(height, _TILE, _TILE):
                strip = _flags(valid, y0)
                kept = [x0 for x0 in columns if strip[:, x0 : x0 + _TILE].any()]
                rows += [{"key": f"{scene}/{tile_name(y0, x0)}", "y0": y0, "x0": x0, **common} for x0 in kept]
                tiles += len(kept)
            gone = len(columns) * len(starts(height, _TILE, _TILE)) - tiles
        read_scenes += tiles > 0
        if gone or not tiles:
            name = _file(folder, scene, sensor, "img")
            ledger.append((name, f"tiles without a valid pixel, left out: {gone}; with: {tiles}"))
    if not rows:
        raise raw.missing(f"tiles of {sensor} with valid pixels in data/<scene>")
    frame = pd.DataFrame(rows).sort_values("key", ignore_index=True)
    frame.attrs["ledger"] = ledger
    if read_scenes < _SCENES:
        frame.attrs["subset"] = f"{read_scenes} of {_SCENES} scenes"
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec, sensor: Sensor) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`. One strip of tiles is in memory at a time."""
    layer, space = spec.layer(sensor), spec.label_space()
    order = positions(FILE_ORDER[sensor], layer.bands, where="S1S2-Water image")
    records = rows.to_dict("records")
    for (scene, folder), of_scene in groupby(records, key=lambda row: (str(row["scene"]), str(row["_folder"]))):
        with ExitStack() as stack:
            image, mask, valid = _open(raw, stack, folder, scene, sensor=sensor)
            where = _file(folder, scene, sensor, "img")
            for y0, tiles in groupby(of_scene, key=lambda row: int(row["y0"])):
                is_valid = _flags(valid, y0)
                pixels = image.rows(y0, _TILE)[order]
                ids = class_ids(np.where(is_valid, mask.rows(y0, _TILE)[0], 0), space, mask.where)
                pixels[:, ~is_valid] = layer.fill_value or 0
                ids[~is_valid] = IGNORE
                for row in tiles:
                    x0 = int(row["x0"])
                    window = (..., slice(x0, x0 + _TILE))
                    tile = check_pixels(raw, where, pixels[window], layer, bands=len(order))
                    yield Sample(
                        key=row["key"],
                        layers={sensor: np.ascontiguousarray(tile[None])},
                        time=_time(sensor, str(row["_date"])),
                        geo=tile_geo(image.facts.crs, image.facts.transform, y0, x0),
                        label=np.ascontiguousarray(ids[window]),
                        scene=scene,
                        offset=(y0, x0),
                    )


def _file(folder: str, scene: str, sensor: str, kind: str) -> str:
    return f"{folder}/sentinel12_{sensor}_{scene}_{kind}.tif"


def _scenes(raw: Raw, ledger: list[tuple[str, str]]) -> dict[str, str]:
    """Scene -> its folder."""
    found: dict[str, str] = {}

    def look(around: str, depth: int) -> None:
        for name in raw.list_dir(around)[0]:
            folder = f"{around}/{name}" if around else name
            if not name.isdecimal():
                if depth < 2:
                    look(folder, depth + 1)
            elif name in found:
                ledger.append((folder, f"the same scene as {found[name]}, which is read"))
            else:
                found[name] = folder

    look("", 0)
    return found


def _stac(raw: Raw, name: str, sensor: Sensor) -> tuple[str, str]:
    """Split, and date (ISO 8601, or empty) of one sensor."""
    with reading(raw.where(name), "is not a STAC item with a split", _FETCH_AGAIN):
        properties = json.loads(raw.read(name))["properties"]
        split, date = properties["split"], properties.get(f"date_{sensor}") or ""
    if split not in ("train", "val", "test"):
        raise ArchiveError(f"split {split!r} is not train, val or test", raw.where(name), _FETCH_AGAIN)
    day = re.sub(r"^(\d{4})(\d\d)(\d\d)", r"\1-\2-\3", str(date)).removesuffix("Z")
    try:
        if day:
            np.datetime64(day, "s")
    except ValueError as error:
        raise ArchiveError(f"date_{sensor} {date!r} is no date", raw.where(name), _FETCH_AGAIN) from error
    return str(split), day


def _time(sensor: Sensor, date: str) -> dict[str, NDArray[np.datetime64]]:
    return {sensor: np.array([date], dtype="datetime64[s]")} if date else {}


def _open(
    raw: Raw, stack: ExitStack, folder: str, scene: str, *, sensor: Sensor
) -> tuple[PartialRaster, PartialRaster, PartialRaster]:
    """Image, mask and validity of one scene, on one grid."""
    image, mask, valid = (stack.enter_context(open_raster(raw, _file(folder, scene, sensor, kind))) for kind in _KINDS)
    for one in (mask, valid):
        if _grid(one.facts) != _grid(image.facts):
            raise ArchiveError("is on another grid than its image", one.where, _FETCH_AGAIN)
        if (one.facts.bands, one.facts.dtype) != (1, "uint8"):
            what = f"{one.facts.bands} bands of {one.facts.dtype} instead of 1 of uint8"
            raise ArchiveError(what, one.where, "This is another product.")
    return image, mask, valid


def _grid(facts: RasterFacts) -> tuple[object, ...]:
    return facts.height, facts.width, facts.crs, facts.transform


def _check_image(raw: Raw, image: PartialRaster, layer: LayerSpec, sensor: Sensor) -> None:
    facts = image.facts
    if facts.bands != len(FILE_ORDER[sensor]):
        what = f"{facts.bands} bands instead of {len(FILE_ORDER[sensor])}"
        raise ArchiveError(what, image.where, "This is another product.")
    if facts.dtype != layer.dtype and "dtype" not in raw.relax:
        what = f"dtype {facts.dtype} instead of {layer.dtype}"
        raise ArchiveError(what, image.where, "Another type whose values fit is taken with --relax dtype.")
    side = declared_size(raw, _SCENE) or (_S2_SIDE, _S2_SIDE)
    if sensor == "s2" and (facts.height, facts.width) != side and "shape" not in raw.relax:
        what = f"{facts.height} x {facts.width} pixels instead of {side[0]} x {side[1]}"
        raise ArchiveError(what, image.where, "Scenes of another size are taken with --relax shape.")


def _flags(valid: PartialRaster, y0: int) -> NDArray[np.bool_]:
    """Validity (tile height, width) from row `y0` on."""
    values = valid.rows(y0, _TILE)[0]
    if values.max() > 1:
        raise ArchiveError(f"holds {values.max()} instead of 0 and 1", valid.where, "This is another product.")
    return np.asarray(values == 1)


# The demo: published ids, by split.
_DEMO = {
    "tiny": {"train": (1, 5), "val": (6,), "test": (7,)},
    "small": {"train": (1, 5, 6, 7, 8, 9, 10, 11), "val": (12, 13), "test": (15, 16, 17)},
}
_COARSE_SIDE, _ZOOM = 276, 2
_S1_METRES = 9.0


def demo(raw: Path, world: World, size: str) -> None:
    """The archive of both data sets: Sentinel-1 on a grid of 9 m, scenes reduced to 552 pixels of 10 m.

    Every second scene has a cloud over a whole tile of Sentinel-2; Sentinel-1 lacks a strip at its left edge.
    """
    side = _COARSE_SIDE * _ZOOM
    links = []
    for split, scenes in _DEMO[size].items():
        for scene in scenes:
            folder = raw / "data" / str(scene)
            folder.mkdir(parents=True)
            links.append({"rel": "item", "href": f"./{scene}/sentinel12_{scene}_meta.json"})
            _demo_scene(folder, world, str(scene), split)
    catalog = {"id": "s1s2_water", "type": "Catalog", "stac_version": "1.0.0", "links": links}
    (raw / "data" / "catalog.json").write_text(json.dumps(catalog, indent=1), encoding="ascii")
    declare_synthetic(
        raw,
        what=f"synthetic stand-in for S1S2-Water ({size}); nothing in it was measured",
        sizes={_SCENE: (side, side)},
    )


def _demo_scene(folder: Path, world: World, scene: str, split: str) -> None:
    place = world.scene(f"s1s2-water/{scene}", _COARSE_SIDE, focus=("river", "sea", "wetland", "river")[int(scene) % 4])
    dates = {"s1": np.datetime64("2019-06-11"), "s2": np.datetime64("2019-06-13")}
    side = _COARSE_SIDE * _ZOOM
    is_water = np.isin(place.cover, [COVERS.index("river"), COVERS.index("sea")])
    bands = place.s2(dates["s2"], "L1C", clouds=False) | {k: 100 * v for k, v in place.s1(dates["s1"]).items()}
    fine = {name: px.repeat(side // len(px), 0).repeat(side // len(px), 1) for name, px in bands.items()}
    _, _, left, _, _, top = place.transform
    for sensor, metres, dtype in (("s1", _S1_METRES, np.int16), ("s2", 10.0, np.uint16)):
        count = int(side * 10 / metres)
        nearest = np.minimum(((np.arange(count) + 0.5) * metres / 10).astype(np.intp), side - 1)
        grid = np.ix_(nearest, nearest)
        image = np.stack([fine[name][grid] for name in FILE_ORDER[sensor]]).round().astype(dtype)
        water = is_water.repeat(_ZOOM, 0).repeat(_ZOOM, 1)[grid].astype(np.uint8)
        valid = np.ones((count, count), dtype=np.uint8)
        if sensor == "s1":
            valid[:, :12] = 0
        elif int(scene) % 2:
            valid[200:, :300] = 0  # the whole second tile of the first column, parts of others
        image[:, valid == 0] = 0
        transform = rasterio.Affine(metres, 0, left + (metres - 10), 0, -metres, top)
        for kind, pixels in zip(_KINDS, (image, water[None], valid[None]), strict=True):
            with gdal_settings(), rasterio.open(
                folder / f"sentinel12_{sensor}_{scene}_{kind}.tif", "w", driver="COG", compress="deflate",
                width=count, height=count, count=len(pixels), dtype=pixels.dtype, crs=f"EPSG:{place.epsg}",
                transform=transform, blocksize=256,
            ) as file:  # fmt: skip
                file.write(pixels)
    coarse = np.zeros((1, side // 3, side // 3))
    for kind, dtype in (("elevation", np.int16), ("slope", np.int16)):
        with gdal_settings(), rasterio.open(
            folder / f"sentinel12_copdem30_{scene}_{kind}.tif", "w", driver="COG", compress="deflate",
            width=side // 3, height=side // 3, count=1, dtype=dtype, crs=f"EPSG:{place.epsg}",
            transform=rasterio.Affine(30, 0, left, 0, -30, top),
        ) as file:  # fmt: skip
            file.write(coarse.astype(dtype))
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": f"sentinel12_{scene}_meta",
        "properties": {
            "datetime": "2020-01-01T00:00:00Z", "split": split, "flood": False, "landcover": "synthetic",
            "date_s1": str(dates["s1"]), "date_s2": str(dates["s2"]), "s1_srcids": [], "s2_srcids": [],
        },
        "assets": {},
    }  # fmt: skip
    (folder / f"sentinel12_{scene}_meta.json").write_text(json.dumps(item, indent=1), encoding="ascii")
