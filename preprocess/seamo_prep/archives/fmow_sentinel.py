"""fMoW-Sentinel: `fmow-sentinel/<split>/<category>/<category>_<location>/<category>_<location>_<image>.tif`, by csv.

`train.csv`, `val.csv` and `test_gt.csv` beside the tree say which images there are; a file that none of them names goes
to the ledger (one reader counts 92,263 files in `val/` for 84,939 rows), a row without its file is an error. Location
numbers are unique within split and category only, so that a key is `<split>/<category>_<location>_<image>`, and the
scene is the location.

Images vary in size. They have 13 bands, B8A ninth. How a missing pixel is written is not published; here it is one that
is 0 in all bands, or NaN. The files are uint16 as far as is known; with `--relax dtype` float files are taken too,
rounded to whole digital numbers (an error of at most 0.00005 in reflectance).

Dates are those of the csv. Images from number 100 on are composites, dated at the middle of their half year. Where a
file has no georeference, the csv's box serves.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seamo.bands import S2_L1C, positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec, shipped_manifest
from seamo.sample import GeoRef, Sample
from seamo.testing.world import World
from seamo_prep.outside import reading
from seamo_prep.rasters import Raster, check_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

TREE = "fmow-sentinel"
FILE_ORDER = S2_L1C
# csv -> split. Published protocols report on val.csv; the images of test_gt.csv belong to no split.
_CSVS = {"train": "train", "val": "test", "test_gt": ""}
_COLUMNS = ("category", "location_id", "image_id", "timestamp", "polygon")
_FETCH_AGAIN = "Fetch it again."


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    class_ids = {name: number for number, name in enumerate(spec.label_space().names)}
    ledger: list[tuple[str, str]] = []
    tables = []
    for part, split in _CSVS.items():
        csv = next((name for name in _csv_names(part) if raw.exists(name)), None)
        folder = next((one for one in (part, part.removesuffix("_gt")) if any(raw.list_dir(f"{TREE}/{one}"))), part)
        if csv is None:
            if any(raw.list_dir(f"{TREE}/{folder}")):
                ledger.append((f"{TREE}/{folder}", f"{part}.csv is not there"))
            continue
        table = _table(raw, csv, class_ids)
        stem = table["category"] + "_" + table["location_id"].astype(str)
        name = stem + "_" + table["image_id"].astype(str)
        frame = pd.DataFrame(
            {"key": f"{part}/" + name, "scene": f"{part}/" + stem, "split": split,
             "label": [class_ids[one] for one in table["category"]],
             "_file": f"{TREE}/{folder}/" + table["category"] + "/" + stem + "/" + name + ".tif",
             "_time": _seconds(table["timestamp"], raw.where(csv)), "_polygon": table["polygon"].astype(str)}
        )  # fmt: skip
        twice = frame["key"][frame["key"].duplicated()]
        if len(twice):
            raise ArchiveError(f"names {twice.iloc[0]} twice", raw.where(csv), _FETCH_AGAIN)
        wanted = set(frame["_file"])
        ledger += [(one, f"not in {csv}") for one in raw.names(f"{TREE}/{folder}") if one not in wanted]
        tables.append(frame)
    if not tables:
        raise raw.missing("train.csv, val.csv or test_gt.csv")
    found = pd.concat(tables).sort_values("key", ignore_index=True)
    found.attrs["ledger"] = ledger
    return found


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    layer = spec.layer("s2")
    order = positions(FILE_ORDER, layer.bands, where="fMoW-Sentinel file")
    for row in rows.to_dict("records"):
        raster = read_tiff(raw, row["_file"])
        pixels = _pixels(raw, row["_file"], raster, layer)
        yield Sample(
            key=row["key"],
            layers={"s2": pixels[None, order]},
            time={"s2": np.array([row["_time"]], dtype="datetime64[s]")},
            geo=_georef(raster, str(row["_polygon"])),
            label=int(row["label"]),
            scene=row["scene"],
        )


def _csv_names(part: str) -> tuple[str, ...]:
    # One downstream script writes test-gt.csv.
    names = dict.fromkeys((f"{part}.csv", f"{part.replace('_', '-')}.csv"))
    return (*names, *(f"{TREE}/{one}" for one in names))


def _table(raw: Raw, csv: str, class_ids: dict[str, int]) -> pd.DataFrame:
    where = raw.where(csv)
    with reading(where, "is not a csv", _FETCH_AGAIN):
        table = pd.read_csv(BytesIO(raw.read(csv)), dtype={"category": str, "timestamp": str, "polygon": str})
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise ArchiveError(f"has no column {missing[0]!r}", where, f"Needed: {', '.join(_COLUMNS)}.")
    for name in ("location_id", "image_id"):
        if table[name].dtype.kind not in "iu":
            raise ArchiveError(f"column {name} holds something else than numbers", where, _FETCH_AGAIN)
    unknown = sorted(set(table["category"].astype(str)) - class_ids.keys())
    if unknown:
        raise ArchiveError(f"no category {unknown[0]!r}", where, "The manifest lists the 62 of fMoW-Sentinel.")
    return table


def _seconds(stamps: "pd.Series[Any]", where: str) -> NDArray[np.int64]:
    """Seconds since 1970; fractions, which a few have, are dropped."""
    try:
        dates = pd.to_datetime(stamps, utc=True, format="ISO8601")
    except ValueError as error:
        raise ArchiveError(f"has a time stamp that is none ({error})", where, _FETCH_AGAIN) from error
    if dates.isna().any():
        raise ArchiveError("has a row without a time stamp", where, _FETCH_AGAIN)
    return np.asarray(dates.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64))


def _pixels(raw: Raw, name: str, raster: Raster, layer: LayerSpec) -> NDArray[Any]:
    pixels = raster.pixels
    fill = layer.fill_value
    missing = (pixels == 0).all(axis=0)
    if pixels.dtype.kind == "f" and "dtype" in raw.relax:
        missing = missing | ~np.isfinite(pixels).all(axis=0)
        pixels = np.round(np.where(np.isfinite(pixels), pixels, 0))
    pixels = check_pixels(raw, name, pixels, layer, bands=len(FILE_ORDER))
    if fill is not None and (pixels == fill).any():
        raise ArchiveError(f"holds {fill}, which no measurement reaches", raw.where(name), _FETCH_AGAIN)
    if fill is not None and missing.any():
        pixels = np.where(missing, np.asarray(fill, dtype=pixels.dtype), pixels)
    return pixels


def _georef(raster: Raster, polygon: str) -> GeoRef | None:
    if raster.crs and raster.transform:
        return GeoRef(raster.crs, raster.transform)
    numbers = np.array(re.findall(r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?", polygon), dtype=np.float64)
    if not polygon.startswith("POLYGON") or len(numbers) < 6 or len(numbers) % 2:
        return None
    (west, south), (east, north) = numbers.reshape(-1, 2).min(axis=0), numbers.reshape(-1, 2).max(axis=0)
    height, width = raster.pixels.shape[1:]
    right, down = float(east - west) / width, float(north - south) / height
    return GeoRef("EPSG:4326", (right, 0.0, float(west), 0.0, -down, float(north)))


# The demo: categories, and locations of each in train, val and test_gt.
_DEMO = {"tiny": (6, (2, 1, 1)), "small": (62, (4, 2, 1))}

# Land covers of the demo by a word in the category; of what is left, every third is built, fields or grass.
_COVER_OF = {
    "lake": "sea", "port": "sea", "ship": "sea", "aqua": "sea", "lighthouse": "sea", "dam": "river",
    "flooded": "river", "bridge": "river", "crop": "annual-crop", "wind_farm": "annual-crop", "barn": "pasture",
    "park": "herbaceous", "golf": "pasture", "zoo": "broad-leaved-forest", "tunnel": "coniferous-forest",
    "archaeological": "shrub", "residential": "residential", "runway": "road", "road": "road", "interchange": "road",
    "mine": "bare", "construction": "bare", "debris": "bare",
}  # fmt: skip


def _cover(category: str) -> str:
    words = [cover for word, cover in _COVER_OF.items() if category.startswith(word) or f"_{word}" in category]
    return words[0] if words else ("industrial", "residential", "herbaceous")[len(category) % 3]


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; with one file that no csv names, as in the published tree."""
    categories, counts = _DEMO[size]
    known = shipped_manifest()["fmow-sentinel"].label_space().names
    names = known[:: len(known) // categories][:categories]
    for part, count in zip(_CSVS, counts, strict=True):
        lines = [",category,location_id,image_id,timestamp,polygon"]
        for category in names:
            for location in range(count):
                for image in (0, 101)[: 1 + location % 2]:
                    lines.append(f"{len(lines) - 1},{_demo_image(raw, world, part, (category, location, image))}")
        (raw / f"{part}.csv").write_text("\n".join(lines) + "\n", encoding="ascii")
    _demo_image(raw, world, "val", (names[0], 0, 3))
    declare_synthetic(raw, what=f"synthetic stand-in for fMoW-Sentinel ({size}); nothing in it was measured")


def _demo_image(raw: Path, world: World, part: str, named: tuple[str, int, int]) -> str:
    """Write one image; its row of the csv."""
    category, location, image = named
    place = f"fmow-sentinel/{part}/{category}/{location}"
    rng = np.random.default_rng([world.seed, *place.encode()])
    height, width = (int(one) for one in rng.integers(30, 71, size=2))
    scene = world.scene(place, 72, focus=_cover(category))
    day = np.datetime64("2016-10-01" if image >= 100 else "2017-06-05") + np.timedelta64(location, "D")
    bands = scene.s2(day, "L1C", clouds=False)
    fine = [np.kron(bands[name], np.ones((72 // len(bands[name]),) * 2, np.uint16)) for name in FILE_ORDER]
    folder = raw / TREE / part / category / f"{category}_{location}"
    folder.mkdir(parents=True, exist_ok=True)
    step = 10 / 111_320
    west, north = round(scene.longitude, 6), round(scene.latitude, 6)
    write_tiff(
        folder / f"{category}_{location}_{image}.tif", np.stack(fine).astype(np.uint16)[:, :height, :width],
        epsg=4326, transform=(step, 0.0, west, 0.0, -step, north),
    )  # fmt: skip
    east, south = west + step * width, north - step * height
    corners = ((west, north), (east, north), (east, south), (west, south), (west, north))
    fraction = ".500" if location == 1 else ""
    polygon = ", ".join(f"{x} {y}" for x, y in corners)
    return f'{category},{location},{image},{day}T10:31:22{fraction}Z,"POLYGON (({polygon}))"'
