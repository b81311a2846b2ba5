"""BigEarthNet v2.0 (reBEN): a folder a product, below it a folder a patch, and `metadata.parquet` beside them.

    BigEarthNet-S2/<S2 product>/<patch>/<patch>_B02.tif        patch = <product>_CC_RR, with leading zeros
    BigEarthNet-S1/<S1 product>/<s1 name>/<s1 name>_VV.tif     column and row without leading zeros
    Reference_Maps/<S2 product>/<patch>/<patch>_reference_map.tif

With `metadata.parquet`, it says which patches the data set has, their 19-class labels, split, country and Sentinel-1
partner; patches it does not list (those with snow, clouds or shadow are listed apart) go to the ledger. Without it, the
patches are those in the folders; they have no label, which the store says, and Sentinel-1 is the only patch of the same
tile, column and row within three days. A Sentinel-1 patch without its Sentinel-2 patch goes to the ledger.

A sample has one label, the set of classes that this data set is known for. The reference map is the layer
`reference_map`: class ids of the label space `clc-44`, 255 where it says nothing. Where a patch has none, only that
layer is missing. The same holds for Sentinel-1. NaN in Sentinel-1 is missing, nothing else.

The scene is the product: neighbouring patches share it. `--relax names` takes files by their ending (`*_B02.tif`),
and patches without the level of products above them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from seamo.bands import S1, S2_L2A
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import IGNORE, Array, GeoRef, Sample
from seamo.testing.world import COVERS, Scene, World
from seamo_prep.outside import is_too_much, reading
from seamo_prep.rasters import Raster, check_pixels, layer_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

S2_TREE, S1_TREE, MAP_TREE = "BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"
METADATA = "metadata.parquet"
MAP = "reference_map"
_S2_NAME = re.compile(
    r"(?P<product>S2[A-D]_MSIL2A_(?P<time>\d{8}T\d{6})_N\d{4}_R\d{3}_T(?P<tile>\w{5}))_(?P<col>\d+)_(?P<row>\d+)"
)
_S1_NAME = re.compile(r"S1[A-D]_IW_GRDH_1S\w\w_(?P<time>\d{8}T\d{6})_(?P<tile>\w{5})_(?P<col>\d+)_(?P<row>\d+)")
_SPLITS = {"train": "train", "validation": "val", "test": "test"}
_PATCH_PX = 120
_PAIR_DAYS = 3
_MOST_ROWS, _MOST_BYTES = 2_000_000, 512 << 20  # of metadata.parquet, decoded: 549,488 patches are published
_FETCH_AGAIN = "Fetch it again."


@dataclass(frozen=True, slots=True)
class _Patch:
    """What the metadata say about a patch: class ids, split, name of the Sentinel-1 patch, country."""

    labels: tuple[int, ...]
    split: str
    partner: str
    country: str


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    patches = _folders(raw, S2_TREE, _S2_NAME)
    if not patches:
        raise raw.missing(f"patches in {S2_TREE}/<product>")
    ledger: list[tuple[str, str]] = []
    about = _metadata(raw, spec)
    if about is not None:
        reason = f"not in {METADATA} (patches with snow, clouds or shadow are listed apart)"
        ledger += [(patches.pop(name), reason) for name in sorted(patches.keys() - about.keys())]
    if not patches:
        raise raw.missing(f"patches that are in {METADATA}")
    partners = _partners(raw, patches, about, ledger) if "s1" in spec.stacks else {}
    rows = []
    for name in sorted(patches):
        match = _S2_NAME.fullmatch(name)
        row: dict[str, Any] = {
            "key": name,
            "scene": match["product"] if match else "",
            "y0": int(match["row"]) * _PATCH_PX if match else 0,
            "x0": int(match["col"]) * _PATCH_PX if match else 0,
            "_s2": patches[name],
            "_s1": partners.get(name, ""),
            "_labels": "",
        }
        if about is not None:
            row["split"], row["country"] = about[name].split, about[name].country
            row["_labels"] = " ".join(str(one) for one in about[name].labels)
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs["ledger"] = ledger
    if about is None:
        frame.attrs["subset"] = f"no labels ({METADATA} is not there)"
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    for row in rows.to_dict("records"):
        key, rasters = str(row["key"]), list[tuple[str, Raster]]()
        layers: dict[str, Array] = {}
        time: dict[str, NDArray[np.datetime64]] = {}
        for stack, folder, pattern in (("s2", row["_s2"], _S2_NAME), ("s1", row["_s1"], _S1_NAME)):
            if stack not in spec.stacks or not folder:
                continue
            for layer in spec.stack_layers(stack):
                names = [_file(raw, folder, f"{band}.tif") for band in layer.bands]
                pixels, raster = layer_pixels(raw, names, layer)
                layers[layer.id] = pixels[None]
                rasters.append((names[0], raster))
            if match := pattern.fullmatch(folder.rpartition("/")[2]):
                time[stack] = np.array([_time(match["time"])], dtype="datetime64[s]")
        folder = f"{MAP_TREE}/{str(row['_s2']).removeprefix(S2_TREE + '/')}"
        if MAP in spec.stacks and any(raw.list_dir(folder)):
            name = _file(raw, folder, f"{MAP}.tif")
            layers[MAP], raster = _classes(raw, name, spec)
            rasters.append((name, raster))
        yield Sample(
            key=key,
            layers=layers,
            time=time,
            geo=_place(raw, rasters),
            label=tuple(int(one) for one in str(row["_labels"]).split()) or None,
            scene=str(row["scene"]),
            offset=(int(row["y0"]), int(row["x0"])),
        )


def _folders(raw: Raw, tree: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """Name -> folder of every patch in a tree."""
    found: dict[str, str] = {}
    for product in raw.list_dir(tree)[0]:
        inside, files = raw.list_dir(f"{tree}/{product}")
        is_patch = "names" in raw.relax and bool(files) and not inside  # without the level of products
        for name in [product] if is_patch else inside:
            folder = f"{tree}/{product}" if is_patch else f"{tree}/{product}/{name}"
            if not pattern.fullmatch(name) and "names" not in raw.relax:
                raise ArchiveError(
                    "is not the name of a patch", raw.where(folder), "Take it out, or build with --relax names."
                )
            if name in found:
                raise ArchiveError(f"is also in {found[name]}", raw.where(folder), "Take one of them out.")
            found[name] = folder
    return found


def _metadata(raw: Raw, spec: DatasetSpec) -> dict[str, _Patch] | None:
    """Patch -> what is said about it; None without the file."""
    if not raw.exists(METADATA):
        return None
    where = raw.where(METADATA)
    table = read_table(raw.read(METADATA), where)
    missing = [name for name in ("patch_id", "labels", "split") if name not in table]
    if missing:
        raise ArchiveError(f"has no column {missing[0]!r}, but {', '.join(map(str, table))}", where, _FETCH_AGAIN)
    for name in {"patch_id", "s1_name", "s2v1_name"} & set(table):
        twice = table[name][table[name].duplicated()]
        if len(twice):
            raise ArchiveError(f"{name} {twice.iloc[0]} stands twice", where, _FETCH_AGAIN)
    class_ids = {name: number for number, name in enumerate(spec.label_space().names)}
    nothing = [""] * len(table)
    partners, countries = table.get("s1_name", nothing), table.get("country", nothing)
    found = {}
    rows = zip(table["patch_id"], table["labels"], table["split"], partners, countries, strict=True)
    for name, labels, split, partner, country in rows:
        unknown = [str(one) for one in labels if one not in class_ids]
        if unknown or len(labels) == 0:
            near = get_close_matches((unknown or [""])[0], class_ids, n=1)
            hint = f"Did the file mean {near[0]!r}?" if near else "The labels are the 19 classes of the manifest."
            raise ArchiveError(f"no class {unknown[0]!r}" if unknown else "names no labels", f"{where} {name}", hint)
        if split not in _SPLITS:
            raise ArchiveError(f"no split {split!r}", f"{where} {name}", f"Splits: {', '.join(_SPLITS)}.")
        ids = tuple(sorted({class_ids[one] for one in labels}))
        found[str(name)] = _Patch(ids, _SPLITS[split], str(partner or ""), country if isinstance(country, str) else "")
    return found


def read_table(data: bytes, where: str) -> pd.DataFrame:
    """A parquet file that is no larger, decoded, than a list of all patches can be.

    Raises:
        ArchiveError: If it is larger, or no parquet file.
    """
    try:
        return _bounded_table(data, where)
    except pa.ArrowException as error:  # most of pyarrow's errors are Python's too, some are not
        raise ArchiveError(f"is not a parquet file ({error})", where, _FETCH_AGAIN) from error


def _bounded_table(data: bytes, where: str) -> pd.DataFrame:
    with reading(where, "is not a parquet file", _FETCH_AGAIN):
        file = pq.ParquetFile(BytesIO(data))
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        promised = sum(group.total_byte_size for group in groups)
        if file.metadata.num_rows > _MOST_ROWS or is_too_much(promised, len(data)):
            what = f"promises {file.metadata.num_rows:,} rows of {promised:,} bytes"
            raise ArchiveError(what, where, _FETCH_AGAIN)
        batches, found = [], 0
        for batch in file.iter_batches(batch_size=4096):
            found += batch.nbytes
            if found > _MOST_BYTES:
                raise ArchiveError(f"decodes to more than {_MOST_BYTES:,} bytes", where, _FETCH_AGAIN)
            batches.append(batch)
        frame: pd.DataFrame = pa.Table.from_batches(batches, file.schema_arrow).to_pandas()
        return frame


def _partners(
    raw: Raw,
    patches: dict[str, str],
    about: dict[str, _Patch] | None,
    ledger: list[tuple[str, str]],
) -> dict[str, str]:
    """Sentinel-2 patch -> folder of its Sentinel-1 patch."""
    there = _folders(raw, S1_TREE, _S1_NAME)
    said = {about[name].partner: name for name in patches if about[name].partner} if about else {}
    pairs = {said[name]: folder for name, folder in there.items() if name in said}
    rest = {name: folder for name, folder in there.items() if name not in said}
    if said:
        ledger += [(folder, "its Sentinel-2 patch is not there") for _, folder in sorted(rest.items())]
        return pairs
    ours = defaultdict[tuple[str, int, int], list[tuple[str, np.datetime64]]](list)
    for name in patches:
        if match := _S2_NAME.fullmatch(name):
            ours[match["tile"], int(match["col"]), int(match["row"])].append((name, _time(match["time"])))
    near: dict[str, list[str]] = {}
    for name in rest:
        match = _S1_NAME.fullmatch(name)
        same = ours[match["tile"], int(match["col"]), int(match["row"])] if match else []
        limit = np.timedelta64(_PAIR_DAYS, "D")
        near[name] = [one for one, date in same if match and abs(date - _time(match["time"])) <= limit]
    wanted = Counter(one for several in near.values() for one in several)
    for name in sorted(near):
        if len(near[name]) == 1 and wanted[near[name][0]] == 1:
            pairs[near[name][0]] = rest[name]
        else:
            reason = "fits several Sentinel-2 patches" if near[name] else "its Sentinel-2 patch is not there"
            ledger.append((rest[name], reason))
    return pairs


def _file(raw: Raw, folder: str, ending: str) -> str:
    published = f"{folder}/{folder.rpartition('/')[2]}_{ending}"
    if "names" in raw.relax and not raw.exists(published):
        alike = [file for file in raw.list_dir(folder)[1] if file.endswith(f"_{ending}")]
        return f"{folder}/{alike[0]}" if len(alike) == 1 else published
    return published


def _classes(raw: Raw, name: str, spec: DatasetSpec) -> tuple[Array, Raster]:
    """The reference map as (1, 1, H, W) class ids."""
    layer: LayerSpec = spec.layer(MAP)
    raster = read_tiff(raw, name)
    codes = check_pixels(raw, name, raster.pixels, layer.model_copy(update={"dtype": "uint16"}), bands=1)
    remap = spec.label_space("clc-44").raw
    unknown = sorted(set(np.unique(codes).tolist()) - remap.keys())
    if unknown:
        raise ArchiveError(f"holds {unknown[0]}, which is no CORINE class", raw.where(name), _FETCH_AGAIN)
    table = np.full(int(max(remap)) + 1, IGNORE, dtype=np.uint8)
    table[list(remap)] = list(remap.values())
    return table[codes][None], raster


def _place(raw: Raw, rasters: list[tuple[str, Raster]]) -> GeoRef | None:
    """The finest grid; refuses files that lie elsewhere."""
    placed = [(one.transform[0], name, one) for name, one in rasters if one.crs and one.transform]
    if not placed:
        return None
    finest = min(placed, key=lambda one: one[0])[2]
    ours = finest.transform or (0.0,) * 6
    for step, name, one in placed:
        theirs = one.transform or (0.0,) * 6
        is_other = one.crs != finest.crs and one.crs[:5] == finest.crs[:5] == "EPSG:"  # WKT has many spellings
        if is_other or max(abs(ours[2] - theirs[2]), abs(ours[5] - theirs[5])) > step / 100:
            raise ArchiveError("lies elsewhere than the patch's other files", raw.where(name), "The pair is wrong.")
    return GeoRef(finest.crs, finest.transform) if finest.transform else None


def _time(stamp: str) -> np.datetime64:
    day, clock = stamp.split("T")
    return np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}", "s")


# The demo: pairs a split.
_DEMO = {"tiny": {"train": 4, "validation": 2, "test": 2}, "small": {"train": 120, "validation": 40, "test": 80}}
_PRODUCTS = (
    ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", "S1A_IW_GRDH_1SDV_20170613T165043", "S2A_MSIL2A_20170613T101031"),
    ("S2B_MSIL2A_20170924T093020_N9999_R136_T33UVP", "S1A_IW_GRDH_1SDV_20170925T043256", "S2B_MSIL2A_20170924T93020"),
    ("S2A_MSIL2A_20171221T112501_N9999_R037_T33UWP", "S1A_IW_GRDH_1SDV_20171221T064238", "S2A_MSIL2A_20171221T112501"),
    ("S2B_MSIL2A_20180421T114349_N9999_R123_T33UXP", "S1A_IW_GRDH_1SDV_20180420T161303", "S2B_MSIL2A_20180421T114349"),
)
_OF_COVER = {  # land cover -> code of the reference map, 19-class label
    "annual-crop": (211, "Arable land"),
    "permanent-crop": (221, "Permanent crops"),
    "pasture": (231, "Pastures"),
    "herbaceous": (321, "Natural grassland and sparsely vegetated areas"),
    "broad-leaved-forest": (311, "Broad-leaved forest"),
    "coniferous-forest": (312, "Coniferous forest"),
    "river": (511, "Inland waters"),
    "sea": (523, "Marine waters"),
    "residential": (112, "Urban fabric"),
    "industrial": (121, "Industrial or commercial units"),
    "road": (122, ""),
    "wetland": (411, "Inland wetlands"),
    "bare": (333, "Natural grassland and sparsely vegetated areas"),
    "shrub": (324, "Transitional woodland, shrub"),
}


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; with `metadata.parquet` in the published columns."""
    rows, number = [], 0
    for split, count in _DEMO[size].items():
        for _ in range(count):
            product, s1_product, v1_product = _PRODUCTS[number % len(_PRODUCTS)]
            col, row = number // len(_PRODUCTS) % 90, number // len(_PRODUCTS) // 90
            scene = world.scene(f"bigearthnet-v2/{product}/{col}/{row}", _PATCH_PX)
            patch, s1 = f"{product}_{col:02d}_{row:02d}", f"{s1_product}_{product[-5:]}_{col}_{row}"
            shares = np.bincount(scene.cover.ravel(), minlength=len(COVERS)) / scene.cover.size
            labels = {_OF_COVER[COVERS[i]][1] for i in np.flatnonzero(shares >= 0.03)} - {""}
            rows.append(
                {
                    "patch_id": patch, "labels": sorted(labels) or ["Urban fabric"], "split": split,
                    "country": "Austria", "s1_name": s1, "s2v1_name": f"{v1_product}_{col}_{row}",
                    "contains_seasonal_snow": False, "contains_cloud_or_shadow": False,
                }
            )  # fmt: skip
            _demo_patch(raw, scene, (f"{product}/{patch}", f"{s1_product}/{s1}"), number % len(_PRODUCTS))
            number += 1
    pd.DataFrame(rows).to_parquet(raw / METADATA, index=False)
    declare_synthetic(raw, what=f"synthetic stand-in for BigEarthNet v2.0 ({size}); nothing in it was measured")


def _demo_patch(raw: Path, scene: Scene, folders: tuple[str, str], product: int) -> None:
    s2, s1 = folders
    col, row = (int(one) for one in s2.split("_")[-2:])
    left, top = float(300_000 + 109_800 * product + 1200 * col), float(5_400_000 - 1200 * row)
    dates = [_time(next(part for part in one.split("_") if re.fullmatch(r"\d{8}T\d{6}", part))) for one in folders]
    codes = np.array([_OF_COVER[name][0] for name in COVERS], dtype=np.uint16)[scene.cover]
    s2_pixels, s1_pixels = scene.s2(dates[0], "L2A", clouds=False), scene.s1(dates[1])
    files: dict[str, NDArray[Any]] = {f"{S2_TREE}/{s2}/{{}}_{band}.tif": s2_pixels[band] for band in S2_L2A}
    files |= {f"{S1_TREE}/{s1}/{{}}_{band}.tif": s1_pixels[band] for band in S1}
    files[f"{MAP_TREE}/{s2}/{{}}_{MAP}.tif"] = codes
    for name, pixels in files.items():
        path = raw / name.format(name.split("/")[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        step = 1200.0 / len(pixels)
        write_tiff(path, pixels[None], epsg=32633, transform=(step, 0.0, left, 0.0, -step, top))
