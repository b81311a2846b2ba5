"""SSL4EO-S12 v1.1: `{train,val}/{S1GRD,S2L1C,S2L2A}/`, zarr of format 2, every band on the 10 m UTM grid.

Both published layouts, told apart file by file:
    A   `ssl4eos12_train_seasonal_data_000001.zarr.zip`: 64 places in one group (dimensions sample, time, band, y, x)
    B   `ssl4eos12_shard_000001.tar` with a member `<key>.zarr.zip` for each place (time, band, y, x)
Members that were taken out of their tar, and groups that were taken out of their zip (`*.zarr/`), are read too.

A sample is a place; its key is its id of 7 digits, the same as in v1.0. Images of the three products are joined by it.
Files of one name in two products must hold the same places in the same order (they are shuffled together).

Sentinel-2 numbers are digital numbers + 1000 in all scenes, whatever their baseline: the layers' unit says so. A pixel
without data is 0 in v1.0; here it is missing where all bands are 0 or all are 1000 (0, shifted). Sentinel-1 is missing
where it is NaN, infinite or exactly 0. `cloud_mask` is not read: clouds are data, and its "no data" shows in
the bands. S2RGB is a stretched picture of S2L2A and is not read.

Some time stamps are corrupt (0 or negative): a date before 2015 becomes NaT, and its image goes behind the dated ones.

`--relax seasons` takes fewer than four dates.
"""

import logging
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seamo.bands import S1, S2_L1C, S2_L2A, positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import Array, GeoRef, Sample
from seamo.testing.world import Scene, World
from seamo_prep.containers import Joined
from seamo_prep.far import FarFile
from seamo_prep.packed import open_container
from seamo_prep.rasters import check_pixels
from seamo_prep.tifftags import Transform
from seamo_prep.unpack import Raw, declare_synthetic
from seamo_prep.zarr2 import ZarrGroup, dates_of, open_zip, zip_group

MODALITIES = {"s1": "S1GRD", "s2a": "S2L2A", "s2c": "S2L1C"}
SHIFT = 1000  # added to Sentinel-2 by the publisher
_FIRST_DATE = np.datetime64("2015-01-01", "s")
_ID = re.compile(r"(?<!\d)\d{7}(?!\d)")
_MULTI = re.compile(r"ssl4eos12_\w+_seasonal_data_\d+")
_OPEN_FILES = 8
_TAKE_OUT = "Take one of them out."
_LOG = logging.getLogger(__name__)

Place = tuple[str, int, int]
"""File, position of the sample in it (or offset in the tar), bytes in the tar (0 without one)."""


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Opens every file of layout A and lists every tar of layout B."""
    ledger: list[tuple[str, str]] = []
    places: dict[str, dict[str, Place]] = {}
    split_of: dict[str, str] = {}
    for split in ("train", "val"):
        orders: dict[str, tuple[str, list[str]]] = {}
        for stack in spec.stacks:
            for file in _files(raw, f"{split}/{MODALITIES[stack]}", ledger):
                found = list(_places(raw, file, ledger))
                _check_order(raw, file, [key for key, _ in found], orders)
                for key, place in found:
                    if split_of.setdefault(key, split) != split:
                        raise ArchiveError(f"place {key} is in train and in val", raw.where(file), _TAKE_OUT)
                    mine = places.setdefault(key, {})
                    if stack in mine:
                        raise ArchiveError(f"place {key} is also in {mine[stack][0]}", raw.where(file), _TAKE_OUT)
                    mine[stack] = place
    if not places:
        raise raw.missing(f"zarr files in {{train,val}}/{{{','.join(MODALITIES.values())}}}")
    rows = []
    for key in sorted(places):
        row: dict[str, Any] = {"key": key, "split": split_of[key]}
        for stack in spec.stacks:
            row[f"_{stack}_file"], row[f"_{stack}_at"], row[f"_{stack}_bytes"] = places[key].get(stack, ("", 0, 0))
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs["ledger"] = ledger
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    files = _Files(raw)
    for row in rows.to_dict("records"):
        key = str(row["key"])
        layers: dict[str, Array] = {}
        time: dict[str, NDArray[np.datetime64]] = {}
        geo: GeoRef | None = None
        for stack in spec.stacks:
            place = (str(row[f"_{stack}_file"]), int(row[f"_{stack}_at"]), int(row[f"_{stack}_bytes"]))
            if not place[0]:
                continue  # the whole product is not there
            group, first = files.open(place)
            _check_id(group, first, key)
            (layer,) = spec.stack_layers(stack)
            layers[layer.id], time[stack] = _images(raw, group, first, layer=layer, key=key)
            here = _georef(group, first)
            if geo is not None and here is not None and here != geo:
                raise ArchiveError(
                    f"place {key} lies elsewhere than in another product", group.where, "Fetch it again."
                )
            geo = geo or here
        yield Sample(key=key, layers=layers, time=time, geo=geo)


def _files(raw: Raw, folder: str, ledger: list[tuple[str, str]]) -> Iterator[str]:
    """Groups, zips and tars below a folder, sorted; an unpacked group wins over its zip."""
    folders, files = raw.list_dir(folder)
    for name in folders:
        if name.endswith(".zarr"):
            yield f"{folder}/{name}"
        else:
            yield from _files(raw, f"{folder}/{name}", ledger)
    for name in files:
        if name.removesuffix(".zip") in folders:
            ledger.append((f"{folder}/{name}", "its unpacked group is read"))
        elif name.endswith((".zarr.zip", ".tar")):
            yield f"{folder}/{name}"
        else:
            ledger.append((f"{folder}/{name}", "neither a .zarr.zip nor a .tar"))


def _places(raw: Raw, file: str, ledger: list[tuple[str, str]]) -> Iterator[tuple[str, Place]]:
    """(id, place) of every sample of one file."""
    name = file.rpartition("/")[2].removesuffix(".zip").removesuffix(".zarr")
    if file.endswith(".tar"):
        tar = open_container(Joined((_by_itself(raw, file),)), file)
        ledger += tar.left_out()
        for member, (offset, size) in tar.members.items():
            if member.endswith(".zarr.zip"):
                inside = _ID.findall(member.rpartition("/")[2])
                place = (file, offset, size)
                yield (inside[0] if len(inside) == 1 else _said_id(_Files(raw).open(place)[0], None)), place
    elif not _MULTI.fullmatch(name) and len(_ID.findall(name)) == 1:
        yield _ID.findall(name)[0], (file, 0, 0)
    else:
        group, _ = _Files(raw).open((file, 0, 0))
        if len(group.array("bands").shape) == 5:
            for number in range(group.array("bands").shape[0]):
                yield _said_id(group, number), (file, number, 0)
        else:
            yield _said_id(group, None), (file, 0, 0)


def _check_order(raw: Raw, file: str, keys: list[str], orders: dict[str, tuple[str, list[str]]]) -> None:
    name = file.rpartition("/")[2].removesuffix(".zip")
    theirs, wanted = orders.setdefault(name, (file, keys))
    if keys != wanted:
        differs = next((i for i, pair in enumerate(zip(keys, wanted, strict=False)) if pair[0] != pair[1]), len(keys))
        raise ArchiveError(
            f"holds other places, or in another order, than {theirs} (from position {differs} on)", raw.where(file),
            "The files of one number belong together: fetch both again.",
        )  # fmt: skip


class _Files:
    """The last few files that were opened."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._groups: OrderedDict[str, ZarrGroup] = OrderedDict()

    def open(self, place: Place) -> tuple[ZarrGroup, int | None]:
        """The group, and the position in it; None where the group is one sample."""
        file, at, size = place
        where = self._raw.where(file)
        if size:
            with _by_itself(self._raw, file).open("rb") as tar:
                tar.seek(at)
                return open_zip(BytesIO(tar.read(size)), where), None
        if file not in self._groups:
            self._groups[file] = self._group(file, where)
        self._groups.move_to_end(file)
        if len(self._groups) > _OPEN_FILES:
            self._groups.popitem(last=False)
        group = self._groups[file]
        return group, at if len(group.array("bands").shape) == 5 else None

    def _group(self, file: str, where: str) -> ZarrGroup:
        raw = self._raw
        if file.endswith(".zarr"):
            return ZarrGroup(lambda name: raw.read(f"{file}/{name}") if raw.exists(f"{file}/{name}") else None, where)
        found = raw.file(file)
        opened = found.open() if isinstance(found, FarFile) else found
        return open_zip(BytesIO(raw.read(file)) if opened is None else opened, where)


def _by_itself(raw: Raw, file: str) -> Path | FarFile:
    found = raw.file(file)
    if found is None:
        raise ArchiveError("is a tar inside another archive", raw.where(file), "Unpack the outer archive.")
    return found


def _said_id(group: ZarrGroup, first: int | None) -> str:
    """The place's id as the group gives it (`0080717_0`, one for each date, or `0080717`)."""
    array = group.find("sample_id") or group.find("sample")
    if array is None:
        raise ArchiveError("names no sample_id", group.where, "This is another product.")
    found = {str(one).partition("_")[0] for one in np.asarray(array.read(first)).reshape(-1).tolist()}
    if len(found) != 1 or not _ID.fullmatch(min(found)):
        raise ArchiveError(f"sample_id {sorted(found)} is not one id of 7 digits", group.where, "Fetch it again.")
    return found.pop()


def _check_id(group: ZarrGroup, first: int | None, key: str) -> None:
    array = group.find("sample_id") or group.find("sample")
    if array is not None and array.dtype.kind in "UO" and _said_id(group, first) != key:
        raise ArchiveError(f"holds {_said_id(group, first)} where {key} belongs", group.where, "Fetch it again.")


def _images(
    raw: Raw, group: ZarrGroup, first: int | None, *, layer: LayerSpec, key: str
) -> tuple[Array, NDArray[np.datetime64]]:
    """Pixels (T, C, H, W) in order of time with missing ones at fill, and dates."""
    bands = group.array("bands")
    dims = bands.attrs.get("_ARRAY_DIMENSIONS")
    want = [*(["sample"] if first is not None else []), "time", "band", "y", "x"]
    if (dims is not None and list(dims) != want) or len(bands.shape) != len(want):
        raise ArchiveError(
            f"dimensions {dims or bands.shape} instead of {want}", bands.where, "This is another product."
        )
    if any(bands.attrs.get(name) is not None for name in ("scale_factor", "add_offset")):
        raise ArchiveError("values are scaled", bands.where, "This is another product.")
    names = [str(one).upper() for one in np.asarray(group.array("band").read()).tolist()]
    pixels = bands.read(first)
    if layer.sensor == "s1" and pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    dates = dates_of(group.find("time_") or group.array("time"), first)
    if len(pixels) != len(dates) or len(pixels) > layer.times or (
        len(pixels) < layer.times and "seasons" not in raw.relax
    ):  # fmt: skip
        raise ArchiveError(
            f"{len(pixels)} images and {len(dates)} dates instead of {layer.times}", f"{group.where}, place {key}",
            "Fewer dates are taken with --relax seasons.",
        )  # fmt: skip
    if corrupt := int((~(dates >= _FIRST_DATE)).sum()):
        _LOG.warning("place=%s layer=%s corrupt_dates=%d", key, layer.id, corrupt)
        dates[~(dates >= _FIRST_DATE)] = np.datetime64("NaT")
    order = np.lexsort((dates.astype(np.int64), np.isnat(dates)))
    chosen = positions(names, layer.bands, where=bands.where)
    checked = [check_pixels(raw, bands.where, pixels[slot], layer, bands=len(layer.bands))[chosen] for slot in order]
    result = np.full((layer.times, *checked[0].shape), layer.fill_value, dtype=layer.dtype)
    result[: len(checked)] = checked
    there = result[: len(checked)]
    if layer.sensor == "s1":
        there[(there == 0) | ~np.isfinite(there)] = np.nan
    else:
        low, high = there.min(axis=1, keepdims=True), there.max(axis=1, keepdims=True)
        missing = (low == high) & ((low == 0) | (low == SHIFT))
        np.copyto(there, np.asarray(layer.fill_value, dtype=there.dtype), where=missing)
    slots = np.full(layer.times, np.datetime64("NaT"), dtype="datetime64[s]")
    slots[: len(order)] = dates[order]
    return result, slots


def _georef(group: ZarrGroup, first: int | None) -> GeoRef | None:
    """From the EPSG code and the coordinates of pixel centres."""
    code, x, y = group.find("crs"), group.find("x_") or group.find("x"), group.find("y_") or group.find("y")
    if code is None or x is None or y is None:
        return None
    easting, northing = (one.read(first if len(one.shape) == 2 else None) for one in (x, y))
    number = re.sub(r"^EPSG:", "", str(np.asarray(code.read(first if code.shape else None)).reshape(-1)[0]))
    if len(easting) < 2 or len(northing) < 2 or not number.isdigit():
        return None
    right = float(easting[-1] - easting[0]) / (len(easting) - 1)
    down = float(northing[-1] - northing[0]) / (len(northing) - 1)
    transform: Transform = (right, 0.0, float(easting[0]) - right / 2, 0.0, down, float(northing[0]) - down / 2)
    return GeoRef(f"EPSG:{number}", transform)


# The demo: places in train and val, size in pixels.
_DEMO = {"tiny": ((6, 2), 48), "small": ((224, 32), 96)}
_VARIABLES = {  # of layout A, with the dimensions behind `sample`; B has no underscores, and `sample` for `sample_id`
    "bands": ("time", "band", "y", "x"), "cloud_mask": ("time", "y", "x"), "center_lat": (), "center_lon": (),
    "crs": (), "file_id": ("time",), "sample_id": ("time",), "time_": ("time",), "x_": ("x",), "y_": ("y",),
}  # fmt: skip


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; in layout B, which is what is published today."""
    demo_layout(raw, world, size, layout="B")


def demo_layout(raw: Path, world: World, size: str, *, layout: str) -> None:
    """The demo in layout `A` or `B`: the same places, in one shuffled order in every product."""
    counts, side = _DEMO[size]
    keys = [f"{200 + 7 * i:07d}" for i in np.random.default_rng(world.seed).permutation(sum(counts))]
    for split, mine in (("train", keys[: counts[0]]), ("val", keys[counts[0] :])):
        step = {"A": 64, "B": 512}[layout]
        for number, start in enumerate(range(0, len(mine), step), start=1):
            images = [_demo_place(world, key, side) for key in mine[start : start + step]]
            for stack, modality in MODALITIES.items():
                folder = raw / split / modality
                folder.mkdir(parents=True, exist_ok=True)
                places = dict(zip(mine[start : start + step], (one[stack] for one in images), strict=True))
                if layout == "A":
                    file = folder / f"ssl4eos12_{split}_seasonal_data_{number:06d}.zarr.zip"
                    file.write_bytes(_many(stack, list(places.values())))
                else:
                    _write_tar(folder / f"ssl4eos12_shard_{number:06d}.tar", stack, places)
    declare_synthetic(
        raw, what=f"synthetic stand-in for SSL4EO-S12 v1.1 ({size}); nothing in it was measured",
        sizes=dict.fromkeys(MODALITIES, (side, side)),
    )  # fmt: skip


def _demo_place(world: World, key: str, side: int) -> dict[str, dict[str, NDArray[Any]]]:
    """Stack -> variable (names of layout A, without the dimension `sample`) -> values."""
    scene = world.scene(f"ssl4eo-s12-v1.1/{key}", side)
    rng = np.random.default_rng([world.seed, int(key)])
    start = np.datetime64("2020-12-21T10:00:00") - np.timedelta64(int(rng.integers(0, 365)), "D")
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for stack in MODALITIES:
        days = 91 * np.arange(4) + rng.integers(-15, 16, size=4)
        dates = start + days.astype("timedelta64[D]")
        images = [_demo_image(scene, stack, date) for date in dates]
        a, _, c, _, e, f = scene.transform
        stamps = [re.sub("[-:]", "", str(date)) for date in dates]
        found[stack] = {
            "bands": np.stack(images),
            "center_lat": np.array(scene.latitude),
            "center_lon": np.array(scene.longitude),
            "crs": np.array(scene.epsg),
            "file_id": np.array([f"{stamp}_{stamp}_T32UQD" if stack != "s1" else f"S1A_IW_GRDH_1SDV_{stamp}"
                                 for stamp in stamps]),
            "sample_id": np.array([f"{key}_{slot}" for slot in range(4)]),
            "time_": dates.astype("datetime64[s]").astype(np.int64),
            "x_": c + a * (np.arange(side) + 0.5),
            "y_": f + e * (np.arange(side) + 0.5),
        }  # fmt: skip
        if stack != "s1":
            found[stack]["cloud_mask"] = np.zeros((4, side, side), np.uint8)
    return found


def _demo_image(scene: Scene, stack: str, date: np.datetime64) -> NDArray[Any]:
    if stack == "s1":
        return np.stack([scene.s1(date)[name] for name in S1]).astype(np.float16)
    bands = scene.s2(date, "L2A" if stack == "s2a" else "L1C")
    side = len(scene.cover)
    fine = [np.kron(one, np.ones((side // len(one),) * 2, np.uint16)) for one in bands.values()]
    return (np.stack(fine).astype(np.int32) + SHIFT).astype(np.int16)


def _described(stack: str, values: dict[str, NDArray[Any]], lead: tuple[str, ...]) -> dict[str, Any]:
    """Variables with their dimensions and attributes, and the names of the bands."""
    units = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    names = {"s1": ("vv", "vh"), "s2a": S2_L2A, "s2c": S2_L1C}[stack]
    found = {name: ((*lead, *_VARIABLES[name]), one, units if name == "time_" else {}) for name, one in values.items()}
    return {**found, "band": (("band",), np.array(names), {})}


def _many(stack: str, places: list[dict[str, NDArray[Any]]]) -> bytes:
    values = {name: np.stack([one[name] for one in places]) for name in places[0]}
    return zip_group(_described(stack, values, ("sample",)), split_first=True)


def _write_tar(path: Path, stack: str, places: dict[str, dict[str, NDArray[Any]]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, values in places.items():
            described = _described(stack, values, ())
            del described["sample_id"]
            renamed = {name.removesuffix("_"): one for name, one in described.items()}
            data = zip_group(renamed | {"sample": ((), np.array(key), {})}, split_first=False)
            info = tarfile.TarInfo(f"{key}.zarr.zip")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
