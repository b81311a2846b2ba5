"""DFC2020 of the IEEE GRSS data fusion contest: four rasters a patch of 256 x 256 pixels, cut into nine of 96 x 96.

    ROIs0000_validation/{s1,s2,lc,dfc}_validation/ROIs0000_validation_{s1,s2,lc,dfc}_0_p<N>.tif      986 patches
    ROIs0000_test/{s1,s2,lc,dfc}_0/ROIs0000_test_{s1,s2,lc,dfc}_0_p<N>.tif                         5,128 patches
    ROIs0000_<season>/{s1,s2,lc,dfc}_<City>/ROIs0000_<season>_s2_<City>_p<N>.tif     the bundle DFC_Public_Dataset

Files are known by their own names, because the folders differ from copy to copy (`s2_validation` or `s2_0`, another
folder around everything). The folder ROIs0000_* is a part of every key: patch numbers 0 to 985 exist in both folders.

Peers train on the official *test* folder and report on the official *validation* folder, and so does `official`. Crops
start at 0, 80 and 160 and share 16 pixels; the nine of a patch are of one scene and never fall into two splits.

Sentinel-1 is float64 in the files and float32 here; NaN is missing. `dfc` rasters hold the contest's labels, 0 to 10;
`lc` rasters hold MODIS land cover in other numbers and are never read. A patch that lacks a raster which others of its
folder have is an error; in the bundle, which has a few of them, it goes to the ledger.

`--relax shape` takes patches of another size (that of the first); one smaller than a crop is one crop.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seamo.bands import S1, S2_L1C
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import IGNORE, Array, GeoRef, Sample
from seamo.testing.world import COVERS, World
from seamo_prep.rasters import Raster, check_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

PATCH_PX, CROP_PX, STRIDE_PX = 256, 96, 80
_NAME = re.compile(r"(?P<folder>ROIs\d{4}_(?P<part>[a-z]+))_(?P<kind>s1|s2|lc|dfc)_(?P<scene>\w+)_(?P<patch>p\d+)\.tif")
_SPLITS = {"test": "train", "validation": "test"}  # folder -> split


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    del spec
    ledger: list[tuple[str, str]] = []
    patches = _patches(raw, ledger)
    kinds = defaultdict[str, set[str]](set)
    for (folder, _), files in patches.items():
        kinds[folder] |= files.keys() - {"lc"}
    side, rows = 0, []
    for (folder, patch), files in patches.items():
        part = folder.partition("_")[2]
        if missing := sorted((kinds[folder] if part in _SPLITS else {"s1", "s2", "dfc"}) - files.keys()):
            reason = f"patch {patch} has no raster {' and '.join(missing)}"
            if part in _SPLITS:
                raise ArchiveError(reason, raw.where(min(files.values())), "Fetch or unpack it again.")
            ledger.append((min(files.values()), reason))
            continue
        if not {"s2", "dfc"} <= files.keys():
            ledger.append((folder, "has no rasters s2 and dfc"))
            continue
        if not side:
            side = read_tiff(raw, files["dfc"]).pixels.shape[1] if "shape" in raw.relax else PATCH_PX
        starts = range(0, max(side - CROP_PX, 0) + 1, STRIDE_PX)
        rows += [
            {"key": f"{folder}/{patch}_{y0}_{x0}", "scene": f"{folder}/{patch}", "y0": y0, "x0": x0,
             "split": _SPLITS.get(part, ""), "_side": side,
             **{f"_{kind}": files.get(kind, "") for kind in ("s1", "s2", "dfc")}}
            for y0 in starts for x0 in starts
        ]  # fmt: skip
    if not rows:
        raise raw.missing("patches with the rasters s2 and dfc")
    frame = pd.DataFrame(rows).sort_values("key", ignore_index=True)
    frame.attrs["ledger"] = ledger
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    opened: tuple[str, _Patch] | None = None
    for row in rows.to_dict("records"):
        if opened is None or opened[0] != row["scene"]:
            files = {kind: str(row[f"_{kind}"]) for kind in ("s1", "s2", "dfc")}
            opened = (str(row["scene"]), _Patch(raw, files, spec, int(row["_side"])))
        patch, y0, x0 = opened[1], int(row["y0"]), int(row["x0"])
        window = (slice(y0, y0 + CROP_PX), slice(x0, x0 + CROP_PX))
        yield Sample(
            key=str(row["key"]),
            layers={layer: pixels[None, :, *window].copy() for layer, pixels in patch.layers.items()},
            geo=_shifted(patch.geo, y0, x0),
            label=patch.label[window].copy(),
            scene=str(row["scene"]),
            offset=(y0, x0),
        )


def _patches(raw: Raw, ledger: list[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    """(folder, patch) -> raster -> file."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in raw.names():
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if match is None:
            if name.endswith(".tif"):
                raise ArchiveError(
                    "is not called ROIs0000_<part>_<raster>_<scene>_p<n>.tif", raw.where(name), "Take it out."
                )
            continue
        city = "" if match["part"] in _SPLITS else f"{match['scene']}_"
        files = found.setdefault((match["folder"], f"{city}{match['patch']}"), {})
        first = files.setdefault(match["kind"], name)
        if first != name:
            # The better copy is the extracted one.
            keep, drop = (first, name) if raw.file(first) is not None or raw.file(name) is None else (name, first)
            files[match["kind"]] = keep
            ledger.append((drop, f"a file of the same name, {keep}, is read"))
    return found


class _Patch:
    """One whole patch: layers (C, side, side), label (side, side), place."""

    def __init__(self, raw: Raw, files: dict[str, str], spec: DatasetSpec, side: int) -> None:
        self.layers: dict[str, Array] = {}
        rasters: dict[str, Raster] = {}
        for layer in spec.layers:
            if files[layer.id]:
                rasters[layer.id] = read_tiff(raw, files[layer.id])
                self.layers[layer.id] = _pixels(
                    raw, files[layer.id], rasters[layer.id], layer=layer.model_copy(update={"size": (side, side)})
                )
        rasters["dfc"] = read_tiff(raw, files["dfc"])
        self.label = _classes(raw, files["dfc"], rasters["dfc"], size=(side, side), spec=spec)
        placed = {kind: one for kind, one in rasters.items() if one.crs and one.transform}
        if len({(one.crs, one.transform) for one in placed.values()}) > 1:
            raise ArchiveError(f"{' and '.join(placed)} lie in different places", raw.where(files["dfc"]),
                               "The rasters of this patch do not belong together.")  # fmt: skip
        one = next(iter(placed.values()), None)
        self.geo = GeoRef(one.crs, one.transform) if one is not None and one.transform else None


def _pixels(raw: Raw, name: str, raster: Raster, *, layer: LayerSpec) -> Array:
    pixels = raster.pixels
    if layer.sensor == "s1" and pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    return check_pixels(raw, name, pixels, layer, bands=len(layer.bands))


def _classes(raw: Raw, name: str, raster: Raster, *, size: tuple[int, int], spec: DatasetSpec) -> NDArray[np.uint8]:
    """Ids of the 8 classes; savanna, snow and unlabelled pixels are ignored."""
    mask = raster.pixels
    if mask.shape != (1, *size) or mask.dtype.kind not in "iu":
        raise ArchiveError(f"is {mask.dtype} {mask.shape} instead of one band of classes", raw.where(name),
                           "Is this an `lc` raster?")  # fmt: skip
    remap = spec.label_space().raw
    unknown = sorted(set(np.unique(mask).tolist()) - remap.keys())
    if unknown:
        raise ArchiveError(
            f"holds {unknown[0]}, which is no label of the contest", raw.where(name), "Is this an `lc` raster?"
        )
    table = np.full(max(remap) + 1, IGNORE, dtype=np.uint8)
    table[list(remap)] = list(remap.values())
    return np.asarray(table[mask[0]])


def _shifted(geo: GeoRef | None, y0: int, x0: int) -> GeoRef | None:
    if geo is None:
        return None
    a, b, c, d, e, f = geo.transform
    return GeoRef(geo.crs, (a, b, c + a * x0 + b * y0, d, e, f + d * x0 + e * y0))


# The demo: patches of the official test and validation folders.
_DEMO = {"tiny": (3, 1), "small": (40, 12)}
# Land cover -> label of the contest, class of MODIS (IGBP).
_OF_COVER = {
    "annual-crop": (6, 12), "permanent-crop": (6, 12), "pasture": (4, 10), "herbaceous": (4, 10),
    "broad-leaved-forest": (1, 4), "coniferous-forest": (1, 1), "river": (10, 17), "sea": (10, 17),
    "residential": (7, 13), "industrial": (7, 13), "road": (7, 13), "wetland": (5, 11), "bare": (9, 16),
    "shrub": (2, 7),
}  # fmt: skip


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; every patch has a strip without labels."""
    for part, count in zip(("test", "validation"), _DEMO[size], strict=True):
        for number in range(count):
            for kind, pixels, epsg, transform in demo_patch(world, part, number):
                suffix = "validation" if part == "validation" else "0"
                folder = raw / f"ROIs0000_{part}" / f"{kind}_{suffix}"
                folder.mkdir(parents=True, exist_ok=True)
                file = folder / f"ROIs0000_{part}_{kind}_0_p{number}.tif"
                write_tiff(file, pixels, epsg=epsg, transform=transform)
    declare_synthetic(raw, what=f"synthetic stand-in for DFC2020 ({size}); nothing in it was measured")


def demo_patch(
    world: World, part: str, number: int
) -> Iterator[tuple[str, NDArray[Any], int, tuple[float, float, float, float, float, float]]]:
    """(raster, pixels, EPSG code, transform) of the four rasters."""
    scene = world.scene(f"dfc2020/{part}/{number}", PATCH_PX + 2)  # scenes come in multiples of 60 m
    date = np.datetime64("2019-07-15") + np.timedelta64(number % 60, "D")
    side = len(scene.cover)
    bands, radar = scene.s2(date, "L1C", clouds=False), scene.s1(date)
    fine = [np.kron(bands[name], np.ones((side // len(bands[name]),) * 2, np.uint16)) for name in S2_L1C]
    labels = np.array([_OF_COVER[name] for name in COVERS], dtype=np.uint8)[scene.cover]
    labels[:4, :, 0] = 0
    # The `lc` rasters are MODIS at 500 m: one value a block.
    coarse = np.repeat(np.repeat(labels[::50, ::50, 1], 50, axis=0), 50, axis=1)[:side, :side]
    found: dict[str, NDArray[Any]] = {
        "s1": np.stack([radar[name] for name in S1]).astype(np.float64),
        "s2": np.stack(fine).astype(np.uint16),
        "lc": np.stack([coarse] * 4).astype(np.uint16),
        "dfc": labels[None, :, :, 0],
    }
    for kind, pixels in found.items():
        yield kind, np.ascontiguousarray(pixels[:, :PATCH_PX, :PATCH_PX]), scene.epsg, scene.transform
