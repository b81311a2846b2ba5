"""SegMunich: `TUM_128/{train,test}/{img,label}/<stem>.tif`, tiles of 128 x 128 as published, and their lists.

An image is (128, 128, 10), channels last, as tifffile and skimage read it. Such an array may be one page of ten
samples a pixel, or 128 pages of 128 x 10 (what `tifffile.imwrite` makes of it without further hints); both are taken.
Bands are those of the author's answer in SpectralGPT issue 31; the paper and GFM-Bench say otherwise (see the
manifest's traps). The type of the pixels is not published: the first image's is taken for all, held against each, and
noted in the ledger where it is not float32, which the store holds.

Labels are read as numbers, never as the colours of their palette. Each folder has a list, `dataset/<folder>.txt`; some
descriptions call the second folder `val`, and it is the test split under either name. Keys are `<folder>/<stem>`.
"""

import math
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from PIL import Image

from seamo.bands import positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LayerSpec
from seamo.sample import Sample
from seamo.testing.world import COVERS, World
from seamo_prep.archives._tiles import class_ids, key_part
from seamo_prep.outside import reading
from seamo_prep.rasters import check_pixels, read_tiff
from seamo_prep.unpack import Raw, declare_synthetic

TREE = "TUM_128"
SPLIT_OF = {"train": "train", "test": "test", "val": "test"}
# Author's answer in danfenghong/IEEE_TPAMI_SpectralGPT issue 31.
FILE_ORDER = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
_TYPES = ("float32", "float64", "uint8", "uint16", "int16", "uint32", "int32")


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Reads the lists, and the first image for its type."""
    folders = [name for name in SPLIT_OF if any(raw.list_dir(f"{TREE}/{name}"))]
    if not folders:
        raise raw.missing(f"tiles in {TREE}")
    if {"test", "val"} <= set(folders):
        raise ArchiveError("holds test and val, of which the archive has one", raw.where(TREE), "Take one of them out.")
    ledger: list[tuple[str, str]] = []
    found, absent = [], 0
    for folder in folders:
        stems = {kind: _stems(raw, f"{TREE}/{folder}/{kind}") for kind in ("img", "label")}
        alone = stems["img"] ^ stems["label"]
        if alone:
            stem = min(alone)
            kind = "label" if stem in stems["img"] else "img"
            name = f"{TREE}/{folder}/{kind}/{stem}.tif"
            raise ArchiveError(f"the file is not there, but its {'img' if kind == 'label' else 'label'} is",
                               raw.where(name), "Unpack the archive again.")  # fmt: skip
        listed = _listed(raw, folder, ledger)
        for stem in sorted(stems["img"]):
            if listed is None or stem in listed:
                key = f"{folder}/{key_part(stem)}"
                found.append({"key": key, "split": SPLIT_OF[folder], "_folder": folder, "_stem": stem})
            else:
                ledger.append((f"{TREE}/{folder}/img/{stem}.tif", f"not in dataset/{folder}.txt"))
        gone = sorted((listed or set()) - stems["img"])
        absent += len(gone)
        ledger += [(f"{TREE}/{folder}/img/{stem}.tif", f"in dataset/{folder}.txt, but not there") for stem in gone]
    if not found:
        raise raw.missing(f"listed tiles in {TREE}")
    frame = pd.DataFrame(found).sort_values("key", ignore_index=True)
    if frame["key"].duplicated().any():
        twice = frame["key"][frame["key"].duplicated()].iloc[0]
        raise ArchiveError(f"two tiles have the key {twice}", raw.where(TREE), "Rename one of them.")
    first = _image_file(frame.to_dict("records")[0])
    dtype = _channels_first(raw, first, len(spec.layer("s2").bands)).dtype.name
    if dtype != spec.layer("s2").dtype:
        ledger.append((f"{TREE}/*/img/*.tif", f"images are {dtype}; the store holds {spec.layer('s2').dtype}"))
    frame["_dtype"] = dtype
    frame.attrs["ledger"] = ledger
    if absent:
        frame.attrs["subset"] = f"{len(found):,} of {len(found) + absent:,} listed tiles"
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    layer = spec.layer("s2")
    order = positions(FILE_ORDER, layer.bands, where="SegMunich image")
    for row in rows.to_dict("records"):
        name = _image_file(row)
        pixels = _as_stored(raw, name, _channels_first(raw, name, len(FILE_ORDER)), layer, row["_dtype"])
        label = f"{TREE}/{row['_folder']}/label/{row['_stem']}.tif"
        values = read_tiff(raw, label).pixels
        if values.shape != (1, *pixels.shape[1:]) or values.dtype.kind not in "ui":
            raise ArchiveError(
                f"is {values.dtype} {values.shape} instead of whole numbers {(1, *pixels.shape[1:])}", raw.where(label),
                "A label is one band of class values, of its image's size.",
            )  # fmt: skip
        mask = class_ids(values[0], spec.label_space(), raw.where(label))
        yield Sample(key=row["key"], layers={"s2": pixels[None, order]}, label=mask)


def _image_file(row: dict[Any, Any]) -> str:
    return f"{TREE}/{row['_folder']}/img/{row['_stem']}.tif"


def _stems(raw: Raw, folder: str) -> set[str]:
    return {name.removesuffix(".tif") for name in raw.list_dir(folder)[1] if name.endswith(".tif")}


def _listed(raw: Raw, folder: str, ledger: list[tuple[str, str]]) -> set[str] | None:
    """Stems of a folder's list; None, and a note, if there is no list."""
    name = f"{TREE}/dataset/{folder}.txt"
    if not raw.exists(name):
        ledger.append((name, "not there; every tile of its folder is taken"))
        return None
    try:
        lines = raw.read(name).decode("ascii").split()
    except UnicodeDecodeError as error:
        raise ArchiveError(f"is not a list of names ({error})", raw.where(name), "Unpack the archive again.") from error
    stems = [re.sub(r"\.tif$", "", line.rpartition("/")[2]) for line in lines]
    if len(set(stems)) != len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ArchiveError(f"names {twice} twice", raw.where(name), "Unpack the archive again.")
    return set(stems)


def _channels_first(raw: Raw, name: str, bands: int) -> NDArray[Any]:
    """Pixels (C, H, W) of an image in either of the two forms."""
    pixels = read_tiff(raw, name).pixels  # of the first page
    if pixels.shape[0] == 1 and pixels.shape[2] == bands:
        pages = _pages(raw.read(name), raw.where(name))
        if pages.ndim == 3 and pages.shape[2] == bands:
            return np.ascontiguousarray(pages.transpose(2, 0, 1))
    return pixels


def _pages(data: bytes, where: str) -> NDArray[Any]:
    """All pages of a file as tifffile joins them, of which none may be packed: it inflates without a bound."""
    try:
        with reading(where, "cannot be decoded", "Unpack the archive again."), tifffile.TiffFile(BytesIO(data)) as file:
            pages = list(file.pages)
            if any(
                not isinstance(one, tifffile.TiffPage | tifffile.TiffFrame) or one.compression != 1 for one in pages
            ):
                raise ArchiveError("has many pages, and they are compressed", where, "This is another product.")
            if sum(math.prod(one.shape) * one.dtype.itemsize for one in pages if one.dtype is not None) > len(data):
                raise ArchiveError("promises more pages than it holds", where, "Unpack the archive again.")
            return np.asarray(file.asarray())
    except tifffile.TiffFileError as error:
        raise ArchiveError(f"cannot be decoded ({error})", where, "Unpack the archive again.") from error


def _as_stored(raw: Raw, name: str, pixels: NDArray[Any], layer: LayerSpec, dtype: str) -> NDArray[Any]:
    if pixels.dtype.name != dtype:
        raise ArchiveError(f"dtype {pixels.dtype} where the first image has {dtype}", raw.where(name),
                           "The archive mixes types; it cannot be read as one.")  # fmt: skip
    if dtype not in _TYPES:
        raise ArchiveError(f"dtype {dtype} is none of {', '.join(_TYPES)}", raw.where(name), "This is another product.")
    with np.errstate(over="ignore"):
        stored = pixels.astype(layer.dtype)
    is_exact = np.array_equal(stored, pixels) if pixels.dtype.kind in "ui" else True
    if not is_exact or (np.isinf(stored) & ~np.isinf(pixels.astype(np.float64))).any():
        raise ArchiveError(f"values of dtype {dtype} do not fit {layer.dtype}", raw.where(name), "Report this, please.")
    return check_pixels(raw, name, stored, layer, bands=len(FILE_ORDER))


# The demo: tiles a folder.
_DEMO = {"tiny": {"train": 9, "test": 4}, "small": {"train": 64, "test": 32}}
# What dominates the tiles, in turn: few in the tiny one, of whose strata val takes one tile each.
_FOCUS = {"tiny": ("annual-crop", "residential", "broad-leaved-forest"), "small": COVERS}
_PX, _SCENE_PX = 128, 132
# Published class value of each land cover of the synthetic world.
_VALUES = {
    "annual-crop": 21, "permanent-crop": 22, "pasture": 23, "herbaceous": 14, "broad-leaved-forest": 31,
    "coniferous-forest": 31, "river": 5, "sea": 5, "residential": 11, "industrial": 12, "road": 0, "wetland": 41,
    "bare": 33, "shrub": 32,
}  # fmt: skip


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`."""
    values = np.array([_VALUES[name] for name in COVERS], dtype=np.uint8)
    lists = raw / TREE / "dataset"
    lists.mkdir(parents=True)
    number = 0
    for folder, count in _DEMO[size].items():
        for kind in ("img", "label"):
            (raw / TREE / folder / kind).mkdir(parents=True)
        stems = []
        for position in range(count):
            number += 1
            stem = f"{number:05d}"
            stems.append(stem)
            scene = world.scene(f"segmunich/{stem}", _SCENE_PX, focus=_FOCUS[size][position % len(_FOCUS[size])])
            bands = scene.s2(np.datetime64("2019-06-20"), "L2A", clouds=False)
            fine = {name: np.kron(px, np.ones((_SCENE_PX // len(px),) * 2, px.dtype)) for name, px in bands.items()}
            image = np.stack([fine[name][:_PX, :_PX] for name in FILE_ORDER], axis=2).astype(np.float32)
            tifffile.imwrite(raw / TREE / folder / "img" / f"{stem}.tif", image, planarconfig="contig",
                             photometric="minisblack", metadata=None)  # fmt: skip
            values[COVERS.index("bare")] = (33, 13)[(number + number // len(COVERS)) % 2]  # open space, or a mine
            label = Image.fromarray(values[scene.cover[:_PX, :_PX]])
            label.putpalette([(37 * value + 60 * channel) % 256 for value in range(256) for channel in range(3)])
            label.save(raw / TREE / folder / "label" / f"{stem}.tif")
        (lists / f"{folder}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="ascii")
    declare_synthetic(raw, what=f"synthetic stand-in for SegMunich ({size}); nothing in it was measured")
