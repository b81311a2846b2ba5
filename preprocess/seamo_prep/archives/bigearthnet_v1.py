"""BigEarthNet-MM v1.0: `BigEarthNet-v1.0/<s2 patch>/` and `BigEarthNet-S1-v1.0/<s1 patch>/`, a file a band and a JSON.

A sample is a Sentinel-2 patch; its key is the patch's name as it stands (69,866 names lack the hour's leading zero,
and times in names can be seconds off, so names are never rebuilt). Its Sentinel-1 patch is the one whose JSON says
`corresponding_s2_patch`; without that, the only one with the same column and row within three days. A Sentinel-2
patch without Sentinel-1 is built without s1; a Sentinel-1 patch without its Sentinel-2 patch goes to the ledger.
Labels come from the Sentinel-2 JSON, as ids of the 43 classes, and must equal those of the Sentinel-1 JSON.
No nodata is published: NaN in Sentinel-1 is missing, nothing else.

The scene is the product that a patch was cut from (its name without column and row): neighbouring patches share it.

`--relax names` takes files by their ending (`*_B02.tif`), and folders of any name.
"""

import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.crs import CRS

from seamo.bands import S1, S2_L2A
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec
from seamo.sample import Array, GeoRef, Sample
from seamo.testing.world import COVERS, Scene, World
from seamo_prep.outside import reading
from seamo_prep.rasters import Raster, layer_pixels
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

S2_TREE = "BigEarthNet-v1.0"
S1_TREE = "BigEarthNet-S1-v1.0"
_S2_NAME = re.compile(r"S2[A-D]_MSIL2A_(?P<time>\d{8}T\d{5,6})_(?P<col>\d+)_(?P<row>\d+)")
_S1_NAME = re.compile(r"S1[A-D]_IW_GRDH_1SDV_(?P<time>\d{8}T\d{5,6})_\w{5}_(?P<col>\d+)_(?P<row>\d+)")
_PATCH_PX = 120
_PAIR_DAYS = 3
_RELAX_NAMES = "Take it out, or build with --relax names."


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Reads the Sentinel-1 JSONs, for the pairs, if `spec` has the layer s1."""
    patches = _patches(raw, S2_TREE, _S2_NAME)
    if not patches:
        raise raw.missing(f"patches in {S2_TREE}")
    ledger: list[tuple[str, str]] = []
    pairs = _pairs(raw, patches, ledger) if "s1" in spec.stacks else {}
    rows = []
    for name in patches:
        match = _S2_NAME.fullmatch(name)
        col, row = (int(match["col"]), int(match["row"])) if match else (0, 0)
        scene = name.removesuffix(f"_{col}_{row}") if match else ""
        rows.append(
            {"key": name, "scene": scene, "y0": row * _PATCH_PX, "x0": col * _PATCH_PX, "_s1": pairs.get(name, "")}
        )
    frame = pd.DataFrame(rows)
    frame.attrs["ledger"] = ledger
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    class_ids = {name: number for number, name in enumerate(spec.label_space().names)}
    for row in rows.to_dict("records"):
        s2 = _Patch(f"{S2_TREE}/{row['key']}")
        about = _read_json(raw, s2.json(raw))
        label = _label(raw, s2, about, class_ids)
        layers, time, rasters = _stack(raw, s2, spec, "s2", about.get("acquisition_date"))
        if row["_s1"]:
            s1 = _Patch(f"{S1_TREE}/{row['_s1']}")
            about_s1 = _read_json(raw, s1.json(raw)) if raw.exists(s1.json(raw)) else {}
            _compare(raw, s1, about_s1, about)
            more, dates, with_s1 = _stack(raw, s1, spec, "s1", about_s1.get("acquisition_time"))
            _compare_places(raw, s1, rasters, with_s1)
            layers, time, rasters = layers | more, time | dates, [*rasters, *with_s1]
        finest = [one for one in rasters if one.transform and one.crs]
        finest.sort(key=lambda one: one.transform[0] if one.transform else 0.0)
        geo = GeoRef(finest[0].crs, finest[0].transform) if finest and finest[0].transform else None
        yield Sample(
            key=row["key"],
            layers=layers,
            time=time,
            geo=geo,
            label=label,
            scene=row["scene"],
            offset=(int(row["y0"]), int(row["x0"])),
        )


@dataclass(frozen=True, slots=True)
class _Patch:
    """One patch folder, whose files start with its own name."""

    folder: str

    @property
    def name(self) -> str:
        return self.folder.rpartition("/")[2]

    def json(self, raw: Raw) -> str:
        return self._file(raw, "labels_metadata.json")

    def band(self, raw: Raw, band: str) -> str:
        return self._file(raw, f"{band}.tif")

    def _file(self, raw: Raw, ending: str) -> str:
        published = f"{self.folder}/{self.name}_{ending}"
        if "names" in raw.relax and not raw.exists(published):
            alike = [file for file in raw.list_dir(self.folder)[1] if file.endswith(f"_{ending}")]
            return f"{self.folder}/{alike[0]}" if len(alike) == 1 else published
        return published


def _patches(raw: Raw, tree: str, pattern: re.Pattern[str]) -> list[str]:
    names = raw.list_dir(tree)[0]
    for name in names:
        if not pattern.fullmatch(name) and "names" not in raw.relax:
            raise ArchiveError("is not the name of a patch", raw.where(f"{tree}/{name}"), _RELAX_NAMES)
    return names


def _pairs(raw: Raw, patches: list[str], ledger: list[tuple[str, str]]) -> dict[str, str]:
    """Sentinel-2 patch -> its Sentinel-1 patch."""
    known = set(patches)
    said = dict[str, str]()
    candidates = dict[str, list[str]]()
    ours = defaultdict[tuple[str, str], list[str]](list)
    for name in patches:
        if match := _S2_NAME.fullmatch(name):
            ours[match["col"], match["row"]].append(name)
    names = _patches(raw, S1_TREE, _S1_NAME)
    of_json = {_Patch(f"{S1_TREE}/{name}").json(raw): name for name in names}
    for file in raw.reading_order(of_json):
        name = of_json[file]
        partner = _read_json(raw, file).get("corresponding_s2_patch") if raw.exists(file) else None
        if partner is not None:
            said[name] = str(partner)
            continue
        match = _S1_NAME.fullmatch(name)
        near = ours[match["col"], match["row"]] if match else []
        day = _name_time(match["time"]) if match else np.datetime64("NaT")
        candidates[name] = [
            one for one in near
            if abs(_name_time(_S2_NAME.fullmatch(one)["time"]) - day) <= np.timedelta64(_PAIR_DAYS, "D")  # type: ignore[index]
        ]  # fmt: skip
    wanted = Counter(one for near in candidates.values() for one in near)
    for name, near in candidates.items():
        if len(near) == 1 and wanted[near[0]] == 1:
            said[name] = near[0]
        else:
            ledger.append((f"{S1_TREE}/{name}", "its JSON names no Sentinel-2 patch, and none fits alone"))
    pairs: dict[str, str] = {}
    for name, partner in sorted(said.items()):
        if partner not in known:
            ledger.append((f"{S1_TREE}/{name}", f"its Sentinel-2 patch {partner} is not there"))
        elif pairs.setdefault(partner, name) != name:
            raise ArchiveError(
                f"names {partner}, as {pairs[partner]} does", raw.where(f"{S1_TREE}/{name}"), "Take one of them out."
            )
    return pairs


def _stack(
    raw: Raw, patch: _Patch, spec: DatasetSpec, stack: str, acquired: object
) -> tuple[dict[str, Array], dict[str, NDArray[np.datetime64]], list[Raster]]:
    """Layers, date and rasters (one a layer) of one sensor, as far as `spec` has them."""
    if stack not in spec.stacks:
        return {}, {}, []
    layers, rasters = {}, []
    for layer in spec.stack_layers(stack):
        pixels, raster = layer_pixels(raw, [patch.band(raw, band) for band in layer.bands], layer)
        layers[layer.id] = pixels[None]
        rasters.append(raster)
    match = _S2_NAME.fullmatch(patch.name) or _S1_NAME.fullmatch(patch.name)
    if isinstance(acquired, str):
        try:
            date: np.datetime64 = np.datetime64(acquired.replace(" ", "T"), "s")
        except ValueError as error:
            raise ArchiveError(f"has no valid date {acquired!r}", raw.where(patch.json(raw))) from error
    else:
        date = _name_time(match["time"]) if match else np.datetime64("NaT", "s")
    return layers, {stack: np.array([date], dtype="datetime64[s]")}, rasters


def _name_time(stamp: str) -> np.datetime64:
    """Time of a name; the hour may lack its zero and the seconds may exceed 59 (`20180204T94161`)."""
    day, clock = stamp.split("T")
    clock = clock.zfill(6)
    seconds = 3600 * int(clock[:2]) + 60 * int(clock[2:4]) + int(clock[4:])
    return np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00", "s") + np.timedelta64(seconds, "s")


def _read_json(raw: Raw, name: str) -> dict[str, Any]:
    with reading(raw.where(name), "is not JSON", "Unpack the archive again."):
        found = json.loads(raw.read(name))
    if not isinstance(found, dict):
        raise ArchiveError("is not a JSON object", raw.where(name), "Unpack the archive again.")
    return found


def _label(raw: Raw, patch: _Patch, about: dict[str, Any], class_ids: dict[str, int]) -> tuple[int, ...]:
    names = about.get("labels")
    if not isinstance(names, list) or not names:
        raise ArchiveError("names no labels", raw.where(patch.json(raw)), "Unpack the archive again.")
    unknown = [str(name) for name in names if name not in class_ids]
    if unknown:
        near = get_close_matches(unknown[0], class_ids, n=1)
        hint = f"Did the archive mean {near[0]!r}?" if near else "The labels are the 43 CORINE classes of the manifest."
        raise ArchiveError(f"no class {unknown[0]!r}", raw.where(patch.json(raw)), hint)
    return tuple(sorted({class_ids[name] for name in names}))


def _compare(raw: Raw, s1: _Patch, about_s1: dict[str, Any], about_s2: dict[str, Any]) -> None:
    """Refuse a pair whose JSONs differ in labels or bounds, as far as both give them."""
    if "labels" in about_s1 and sorted(about_s1["labels"]) != sorted(about_s2["labels"]):
        raise ArchiveError(
            "labels differ from those of its Sentinel-2 patch", raw.where(s1.json(raw)), "The pair is wrong."
        )
    theirs, ours = about_s1.get("coordinates"), about_s2.get("coordinates")
    if isinstance(theirs, dict) and isinstance(ours, dict):
        # The published Sentinel-1 JSON spells the lower bound `lly`.
        bounds = [
            [one.get("ulx"), one.get("uly"), one.get("lrx"), one.get("lry", one.get("lly"))] for one in (theirs, ours)
        ]
        if bounds[0] != bounds[1]:
            raise ArchiveError(
                "bounds differ from its Sentinel-2 patch's", raw.where(s1.json(raw)), "The pair is wrong."
            )


def _compare_places(raw: Raw, s1: _Patch, s2_rasters: list[Raster], s1_rasters: list[Raster]) -> None:
    fine = [
        (one.crs, one.transform) for one in (*s2_rasters, *s1_rasters) if one.transform and one.transform[0] == 10.0
    ]
    if len(set(fine)) > 1:
        raise ArchiveError("lies elsewhere than its Sentinel-2 patch", raw.where(s1.folder), "The pair is wrong.")


# The demo: pairs a split. Products of one tile; the second lacks the zero of its hour.
_DEMO = {
    "tiny": {"train": 4, "val": 2, "test": 2},
    "small": {"train": 120, "val": 40, "test": 80},
}
_PRODUCTS = (
    ("S2A_MSIL2A_20170613T101031", "S1A_IW_GRDH_1SDV_20170613T165043_33UUP"),
    ("S2B_MSIL2A_20170924T93020", "S1A_IW_GRDH_1SDV_20170925T043256_33UVP"),
    ("S2A_MSIL2A_20171221T112501", "S1A_IW_GRDH_1SDV_20171221T064238_33UWP"),
    ("S2B_MSIL2A_20180421T114349", "S1A_IW_GRDH_1SDV_20180420T161303_33UXP"),
)
_IN_DOMAIN = ("bigearthnet-train.txt", "bigearthnet_val.txt", "bigearthnet-test.txt")  # arXiv 1911.06721: 60/20/20
_EXCLUDED = ("patches_with_seasonal_snow.csv.gz", "patches_with_cloud_and_shadow.csv.gz")
_LABELS = {
    "annual-crop": "Non-irrigated arable land",
    "permanent-crop": "Vineyards",
    "pasture": "Pastures",
    "herbaceous": "Natural grassland",
    "broad-leaved-forest": "Broad-leaved forest",
    "coniferous-forest": "Coniferous forest",
    "river": "Water courses",
    "sea": "Sea and ocean",
    "residential": "Discontinuous urban fabric",
    "industrial": "Industrial or commercial units",
    "road": "Road and rail networks and associated land",
    "wetland": "Inland marshes",
    "bare": "Sparsely vegetated areas",
    "shrub": "Transitional woodland/shrub",
}


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; with the lists of every published split.

    Lines of `official19` are `<s2>,<s1>`. The other lists are of optical names alone and, as in the release, cut the
    same patches anew: what is train here is partly test there.
    """
    number = 0
    every: list[str] = []
    raw.mkdir(parents=True, exist_ok=True)
    for split, count in _DEMO[size].items():
        lines = []
        for _ in range(count):
            product, s1_product = _PRODUCTS[number % len(_PRODUCTS)]
            col, row = number // len(_PRODUCTS) % 90, number // len(_PRODUCTS) // 90
            scene = world.scene(f"bigearthnet/{product}/{col}/{row}", _PATCH_PX)
            s2, s1 = f"{product}_{col}_{row}", f"{s1_product}_{col}_{row}"
            _demo_pair(raw, scene, s2, s1)
            lines.append(f"{s2},{s1}\n")
            every.append(s2)
            number += 1
        (raw / f"{split}.csv").write_text("".join(lines), encoding="ascii")
    every.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
    first, second = round(0.6 * len(every)), round(0.8 * len(every))
    for file, names in zip(_IN_DOMAIN, (every[:first], every[first:second], every[second:]), strict=True):
        (raw / file).write_text("\n".join(names), encoding="ascii")  # the published ones end without a line break
    for file, names in zip(_EXCLUDED, (every[1:3], every[:1]), strict=True):
        (raw / file).write_bytes(gzip.compress("\n".join(names).encode("ascii"), mtime=0))
    declare_synthetic(raw, what=f"synthetic stand-in for BigEarthNet-MM v1.0 ({size}); nothing in it was measured")


def _demo_pair(raw: Path, scene: Scene, s2: str, s1: str) -> None:
    product = _PRODUCTS.index(next(one for one in _PRODUCTS if s2.startswith(one[0])))
    match_s2, match_s1 = _S2_NAME.fullmatch(s2), _S1_NAME.fullmatch(s1)
    if match_s2 is None or match_s1 is None:
        raise ValueError(s2, s1)
    left = 300_000 + 109_800 * product + 1200 * int(match_s2["col"])
    top = 5_400_000 - 1200 * int(match_s2["row"])
    shares = np.bincount(scene.cover.ravel(), minlength=len(COVERS)) / scene.cover.size
    common: dict[str, Any] = {"labels": [_LABELS[COVERS[i]] for i in np.flatnonzero(shares >= 0.03)]}
    wkt = CRS.from_epsg(32633).to_wkt()
    bounds = {"ulx": left, "uly": top, "lrx": left + 1200}
    date_s2, date_s1 = _name_time(match_s2["time"]), _name_time(match_s1["time"])
    about_s2 = common | {"coordinates": bounds | {"lry": top - 1200}, "projection": wkt,
                         "acquisition_date": str(date_s2).replace("T", " ")}  # fmt: skip
    about_s1 = common | {"coordinates": bounds | {"lly": top - 1200}, "projection": wkt, "corresponding_s2_patch": s2,
                         "acquisition_time": str(date_s1)}  # fmt: skip
    images = ((S2_TREE, s2, about_s2, scene.s2(date_s2, "L2A", clouds=False), S2_L2A),
              (S1_TREE, s1, about_s1, scene.s1(date_s1), S1))  # fmt: skip
    for tree, name, about, image, bands in images:
        folder = raw / tree / name
        folder.mkdir(parents=True)
        (folder / f"{name}_labels_metadata.json").write_text(json.dumps(about), encoding="ascii")
        for band in bands:
            step = 1200.0 / len(image[band])
            transform = (step, 0.0, float(left), 0.0, -step, float(top))
            write_tiff(folder / f"{name}_{band}.tif", image[band][None], epsg=32633, transform=transform)
