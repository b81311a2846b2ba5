"""OSCD: 24 cities, two dates each, `<Images>/<city>/imgs_{1,2}_rect/<band>.tif`, and a mask of what changed.

The `_rect` bands are co-registered on the 10 m grid already and are read as they are. (SpectralGPT's reader enlarges
eight of them once more, so that they show a magnified corner that does not match the mask.) Bands are bound by file
name. A city is cut into tiles of 128 x 128 at a stride of 64; the last row and column of tiles end at the far edge.
With `--relax shape` a side shorter than a tile is one tile of its own length.

Masks come in two encodings: `cm/<city>-cm.tif` (1 = no change, 2 = change) and `cm/cm.png` (0 and 255; some are RGB
or RGBA, whose alpha says nothing). The .tif is read if it is there; where both are and differ, the ledger says so. The
second date and the mask may differ from the first date by a few pixels: they are cut or padded at the bottom and right,
with fill and ignore, which the ledger says too.

Splits are those of train.txt and test.txt beside the cities, else of the folder of labels that a city is in. The scene
of a tile is its city.

`--relax names` takes bands by their ending (`*B02.tif`) and cities without dates.txt.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import IGNORE, Sample
from seamo.testing.world import COVERS, World
from seamo_prep.archives._tiles import (
    anchored_starts,
    class_ids,
    decode,
    key_part,
    open_picture,
    raster_facts,
    tile_geo,
    tile_name,
)
from seamo_prep.rasters import Raster, layer_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

IMAGES = "Onera Satellite Change Detection dataset - Images"
LABELS = {
    "train": "Onera Satellite Change Detection dataset - Train Labels",
    "test": "Onera Satellite Change Detection dataset - Test Labels",
}
_TILE, _STRIDE = 128, 64
_MOST_PADDING = 4  # pixels by which the second date or the mask may differ
_DATE = re.compile(r"date_([12])\s*:\s*(\d{8})\b")
_FETCH_AGAIN = "Unpack or fetch it again."


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Reads sizes from headers, and masks that are there in both encodings."""
    cities = raw.list_dir(IMAGES)[0]
    if not cities:
        raise raw.missing(f"cities in {IMAGES!r}")
    ledger: list[tuple[str, str]] = []
    listed = _lists(raw, ledger)
    splits = _splits(raw, cities, listed, ledger)
    rows: list[dict[str, Any]] = []
    for city, split in splits.items():
        mask = _mask_file(raw, city, split, ledger)
        size = _city_size(raw, city, mask, spec=spec, ledger=ledger)
        height, width = (min(side, _TILE) for side in size)
        if min(size) < _TILE and "shape" not in raw.relax:
            raise ArchiveError(
                f"{size[0]} x {size[1]} pixels, smaller than a tile of {_TILE}", raw.where(f"{IMAGES}/{city}"),
                "A small image is taken as one tile with --relax shape.",
            )  # fmt: skip
        rows += [
            {"key": f"{key_part(city)}/{tile_name(y0, x0)}", "scene": city, "y0": y0, "x0": x0, "height": height,
             "width": width, "split": split, "_mask": mask}
            for y0 in anchored_starts(size[0], height, _STRIDE)
            for x0 in anchored_starts(size[1], width, _STRIDE)
        ]  # fmt: skip
    if not rows:
        raise raw.missing("cities whose split is known")
    frame = pd.DataFrame(rows).sort_values("key", ignore_index=True)
    gone = sorted(set(listed) - set(cities))
    ledger += [(f"{IMAGES}/{city}", f"in {listed[city]}.txt, but not there") for city in gone]
    frame.attrs["ledger"] = ledger
    if gone:
        frame.attrs["subset"] = f"{len(splits)} of {len(splits) + len(gone)} cities"
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`. One city is in memory at a time."""
    for scene, tiles in groupby(rows.to_dict("records"), key=lambda row: str(row["scene"])):
        city: _City | None = None
        for row in tiles:
            city = city or _load(raw, scene, str(row["_mask"]), spec)
            y0, x0, height, width = (int(row[name]) for name in ("y0", "x0", "height", "width"))
            window = (..., slice(y0, y0 + height), slice(x0, x0 + width))
            yield Sample(
                key=row["key"],
                layers={"s2": np.ascontiguousarray(city.pixels[window])},
                time={} if city.dates is None else {"s2": city.dates},
                geo=tile_geo(city.first.crs, city.first.transform, y0, x0),
                label=None if city.mask is None else np.ascontiguousarray(city.mask[window]),
                scene=scene,
                offset=(y0, x0),
            )


@dataclass(frozen=True, slots=True, eq=False)
class _City:
    """One city: pixels (2, 13, H, W), dates (2,), class ids (H, W), and the first file's raster (where it lies)."""

    pixels: NDArray[np.uint16]
    dates: NDArray[np.datetime64] | None
    mask: NDArray[np.uint8] | None
    first: Raster


def _lists(raw: Raw, ledger: list[tuple[str, str]]) -> dict[str, str]:
    """City -> split, as the lists say; empty if they are not there."""
    found: dict[str, str] = {}
    for split in LABELS:
        name = f"{IMAGES}/{split}.txt"
        if not raw.exists(name):
            ledger.append((name, "not there; the folders of labels say the split"))
            continue
        for city in re.split(r"[,\s]+", raw.read(name).decode("utf-8", "replace").strip()):
            if city and found.setdefault(city, split) != split:
                raise ArchiveError(f"names {city}, which is in {found[city]}.txt", raw.where(name), _FETCH_AGAIN)
    return found


def _splits(raw: Raw, cities: list[str], listed: dict[str, str], ledger: list[tuple[str, str]]) -> dict[str, str]:
    """City -> split; lists and folders of labels must not contradict each other."""
    found: dict[str, str] = {}
    folders = {split: set(raw.list_dir(tree)[0]) for split, tree in LABELS.items()}
    for city in cities:
        of_labels = [split for split, labelled in folders.items() if city in labelled]
        if len(of_labels) > 1:
            raise ArchiveError("has train and test labels", raw.where(f"{IMAGES}/{city}"), _FETCH_AGAIN)
        if city in listed and of_labels and of_labels != [listed[city]]:
            what = f"is in {listed[city]}.txt, but has {of_labels[0]} labels"
            raise ArchiveError(what, raw.where(f"{IMAGES}/{city}"), _FETCH_AGAIN)
        if city in listed or of_labels:
            found[city] = listed.get(city) or of_labels[0]
        else:
            ledger.append((f"{IMAGES}/{city}", "in neither list, and without labels"))
    return found


def _mask_file(raw: Raw, city: str, split: str, ledger: list[tuple[str, str]]) -> str:
    """The mask that is read; empty if that split's labels are not there at all."""
    tree = LABELS[split]
    if not raw.list_dir(tree)[0]:
        return ""
    folder = f"{tree}/{city}/cm"
    tif, png = f"{folder}/{city}-cm.tif", f"{folder}/cm.png"
    there = [name for name in (tif, png) if raw.exists(name)]
    if not there:
        raise ArchiveError("has no mask", raw.where(folder), f"There must be {city}-cm.tif or cm.png.")
    if len(there) == 2:
        ours, theirs = ((_mask_values(raw, name) == changed) for name, changed in ((tif, 2), (png, 255)))
        what = "is of another size than" if ours.shape != theirs.shape else ""
        if not what and (differing := int((ours != theirs).sum())):
            what = f"differs in {differing:,} pixels from"
        if what:
            ledger.append((png, f"{what} {city}-cm.tif, which is read"))
    return there[0]


def _mask_values(raw: Raw, name: str) -> NDArray[Any]:
    """Published values (H, W): 1 and 2 of a .tif; 0, and 255 where anything is marked, of a .png."""
    if name.endswith(".tif"):
        values = read_tiff(raw, name).pixels
        if values.shape[0] != 1:
            raise ArchiveError(f"{values.shape[0]} bands instead of 1", raw.where(name), _FETCH_AGAIN)
        return np.asarray(values[0])
    with open_picture(raw, name, "PNG") as picture:
        grey = np.asarray(decode(raw, name, picture).convert("L"))  # drops the alpha, which is opaque everywhere
    if grey.all():
        raise ArchiveError("marks every pixel as changed", raw.where(name), "A mask of 0 and 255 is expected.")
    return np.where(grey != 0, 255, 0)


def _mask_size(raw: Raw, name: str) -> tuple[int, int]:
    if name.endswith(".tif"):
        facts = raster_facts(raw, name)
        return facts.height, facts.width
    with open_picture(raw, name, "PNG") as picture:
        return picture.height, picture.width


def _bands(raw: Raw, city: str, date: int, layer: LayerSpec) -> list[str]:
    """The files of one date, in the order of the layer's bands."""
    folder = f"{IMAGES}/{city}/imgs_{date}_rect"
    found = []
    for band in layer.bands:
        name = f"{folder}/{band}.tif"
        if "names" in raw.relax and not raw.exists(name):
            alike = [file for file in raw.list_dir(folder)[1] if file.endswith(f"{band}.tif")]
            name = f"{folder}/{alike[0]}" if len(alike) == 1 else name
        found.append(name)
    return found


def _city_size(raw: Raw, city: str, mask: str, *, spec: DatasetSpec, ledger: list[tuple[str, str]]) -> tuple[int, int]:
    """(H, W) of the first date; a second date or mask of another size is noted, or refused."""
    layer = spec.layer("s2")
    first, second = (raster_facts(raw, _bands(raw, city, date, layer)[0]) for date in (1, 2))
    size = (first.height, first.width)
    others = [(f"{IMAGES}/{city}/imgs_2_rect", (second.height, second.width))]
    if mask:
        others.append((mask, _mask_size(raw, mask)))
    for name, other in others:
        if other == size:
            continue
        what = f"{other[0]} x {other[1]} pixels where the first date has {size[0]} x {size[1]}"
        if max(abs(a - b) for a, b in zip(size, other, strict=True)) > _MOST_PADDING and "shape" not in raw.relax:
            raise ArchiveError(what, raw.where(name), "Images of another size are taken with --relax shape.")
        ledger.append((name, f"{what}; cut or padded at the bottom and right"))
    return size


def _load(raw: Raw, city: str, mask: str, spec: DatasetSpec) -> _City:
    layer = spec.layer("s2").model_copy(update={"size": None})  # all bands of a date must agree, whatever the size
    dates, order = _dates(raw, city)
    images = [layer_pixels(raw, _bands(raw, city, date, layer), layer) for date in (1, 2)]
    first = images[0][1]
    size = (int(images[0][0].shape[1]), int(images[0][0].shape[2]))
    pixels = np.stack([_fitted(images[number][0], size, layer.fill_value or 0) for number in order])
    labels = None
    if mask:
        values = _mask_values(raw, mask)
        space = spec.label_space()
        if mask.endswith(".png"):  # the manifest's raw values are those of the .tif
            values = np.where(values == 255, 2, 1)
        labels = _fitted(class_ids(values, space, raw.where(mask)), size, IGNORE)
    return _City(pixels, dates, labels, first)


def _fitted(image: NDArray[Any], size: tuple[int, int], fill: float) -> NDArray[Any]:
    """The image cut or padded at the bottom and right to a size."""
    if image.shape[-2:] == size:
        return image
    fitted = np.full((*image.shape[:-2], *size), fill, dtype=image.dtype)
    height, width = (min(a, b) for a, b in zip(image.shape[-2:], size, strict=True))
    fitted[..., :height, :width] = image[..., :height, :width]
    return fitted


def _dates(raw: Raw, city: str) -> tuple[NDArray[np.datetime64] | None, tuple[int, int]]:
    """Dates in ascending order, and the images in that order."""
    name = f"{IMAGES}/{city}/dates.txt"
    if not raw.exists(name) and "names" in raw.relax:
        return None, (0, 1)
    said = dict(_DATE.findall(raw.read(name).decode("utf-8", "replace")))
    if set(said) != {"1", "2"}:
        raise ArchiveError("does not say date_1 and date_2", raw.where(name), _FETCH_AGAIN)
    try:
        days = [np.datetime64(f"{said[n][:4]}-{said[n][4:6]}-{said[n][6:]}", "s") for n in "12"]
    except ValueError as error:
        raise ArchiveError(f"has no valid date ({error})", raw.where(name), _FETCH_AGAIN) from error
    order = (0, 1) if days[0] <= days[1] else (1, 0)
    return np.array([days[number] for number in order]), order


# The demo: cities a split, and their sides in pixels.
_DEMO_CITIES = {
    "train": ("aguasclaras", "bercy", "bordeaux", "nantes", "paris", "rennes", "saclay_e", "abudhabi", "cupertino",
              "pisa", "beihai", "hongkong", "beirut", "mumbai"),
    "test": ("brasilia", "montpellier", "norcia", "rio", "saclay_w", "valencia", "dubai", "lasvegas", "milano",
             "chongqing"),
}  # fmt: skip
_DEMO = {"tiny": (3, 2), "small": (14, 10)}
_BUILT = ("residential", "industrial")


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`.

    City 0 has a second date of one row less, city 1 an RGBA mask only, city 2 a mask of one column less. Change is
    what became built-up: the second date shows another scene there.
    """
    number = 0
    for split, count in zip(("train", "test"), _DEMO[size], strict=True):
        cities = _DEMO_CITIES[split][:count]
        (raw / LABELS[split]).mkdir(parents=True)
        for city in cities:
            _demo_city(raw, world, city, split, number)
            number += 1
        (raw / IMAGES / f"{split}.txt").write_text(",".join(cities) + "\n", encoding="ascii")
    declare_synthetic(raw, what=f"synthetic stand-in for OSCD ({size}); nothing in it was measured")


def _demo_city(raw: Path, world: World, city: str, split: str, number: int) -> None:
    height, width = 170 - 7 * (number % 3), 160 + 11 * (number % 4)
    before = world.scene(f"oscd/{city}", 216, focus="pasture")
    after = world.scene(f"oscd/{city}/new", 216, focus=_BUILT[number % 2])
    row, col = np.mgrid[0:216, 0:216]
    grown = np.isin(after.cover, [COVERS.index(one) for one in _BUILT])
    grown &= np.hypot(row - 40 - 17 * (number % 5), col - 60 - 9 * (number % 7)) < 30 + 4 * (number % 4)
    folder = raw / IMAGES / city
    days = ("2016-04-12", "2018-04-20")
    for date, day in enumerate(days, start=1):
        images = [one.s2(np.datetime64(day), "L1C", clouds=False) for one in (before, after)]
        rect = folder / f"imgs_{date}_rect"
        rect.mkdir(parents=True)
        rows = height - (date == 2 and number == 0)
        for band in images[0]:
            old, new = (np.kron(one[band], np.ones((216 // len(one[band]),) * 2, np.uint16)) for one in images)
            pixels = np.where(grown & (date == 2), new, old)[None, :rows, :width]
            write_tiff(rect / f"{band}.tif", pixels, epsg=before.epsg, transform=before.transform)
    (folder / "dates.txt").write_text(
        "".join(f"date_{i}: {day.replace('-', '')}\n" for i, day in enumerate(days, start=1)), encoding="ascii"
    )
    cm = raw / LABELS[split] / city / "cm"
    cm.mkdir(parents=True)
    changed = grown[:height, : width - (number == 2)]
    grey = Image.fromarray(np.where(changed, 255, 0).astype(np.uint8))
    (grey.convert("RGBA") if number == 1 else grey).save(cm / "cm.png")
    if number != 1:
        values = np.where(changed, 2, 1).astype(np.uint8)[None]
        write_tiff(cm / f"{city}-cm.tif", values, epsg=before.epsg, transform=before.transform)
