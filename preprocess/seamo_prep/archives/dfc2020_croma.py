"""DFC2020 as CROMA published it: `DFC_preprocessed.pt`, a torch file with four tensors.

    train_images (46152, 14, 96, 96), validation_images (8874, 14, 96, 96)    uint8: 12 Sentinel-2 bands, VV, VH
    train_labels (46152, 96, 96), validation_labels (8874, 96, 96)            classes 0 to 7

`train_*` is the contest's test folder and `validation_*` its validation folder, nine crops a patch. The file is
memory-mapped and never loaded; torch is not needed. A key is the tensor's split and the position in it.

Crops of one patch overlap by 16 pixels, so they must not be torn apart between train and val. The file does not say
which belong together; if, on patches spread over the tensor, nine consecutive crops share their overlaps, they are one
scene with known offsets. Otherwise the scene is unknown. No pixel is missing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seamo.bands import positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec
from seamo.sample import IGNORE, Array, Sample
from seamo.testing.world import World
from seamo_prep.archives.dfc2020 import CROP_PX, PATCH_PX, STRIDE_PX, demo_patch
from seamo_prep.rasters import check_pixels
from seamo_prep.torchfile import Rows, open_tensors, write_tensors
from seamo_prep.unpack import Raw, declare_synthetic

FILE = "DFC_preprocessed.pt"
S2_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
S1_ORDER = ("VV", "VH")
_SPLITS = {"train": "train", "validation": "test"}  # prefix of the tensors -> split
_GRID = len(range(0, PATCH_PX - CROP_PX + 1, STRIDE_PX))
_SHARED = CROP_PX - STRIDE_PX
_LOOKED_AT = 16  # patches


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Looks at the overlaps of a few crops."""
    del spec
    tensors = _tensors(raw)
    rows = []
    for prefix, split in _SPLITS.items():
        images = tensors[f"{prefix}_images"]
        order = _crop_order(images)
        for number in range(len(images)):
            row: dict[str, Any] = {"key": f"{prefix}/{number:05d}", "split": split, "_prefix": prefix, "_at": number}
            if order:
                first, second = divmod(number % _GRID**2, _GRID)
                y, x = (first, second) if order == "rows" else (second, first)
                patch = number // _GRID**2
                row |= {"scene": f"{prefix}/patch_{patch:04d}", "y0": y * STRIDE_PX, "x0": x * STRIDE_PX}
            rows.append(row)
    frame = pd.DataFrame(rows).sort_values("key", ignore_index=True)
    if "scene" in frame:
        frame = frame.fillna({"scene": "", "y0": 0, "x0": 0}).astype({"y0": int, "x0": int})
    frame.attrs["ledger"] = []
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    tensors = _tensors(raw)
    remap = spec.label_space().raw
    for row in rows.to_dict("records"):
        prefix, at = str(row["_prefix"]), int(row["_at"])
        image = tensors[f"{prefix}_images"][at]
        layers: dict[str, Array] = {}
        for layer in spec.layers:
            names, start = (S2_ORDER, 0) if layer.sensor == "s2" else (S1_ORDER, len(S2_ORDER))
            chosen = [start + i for i in positions(names, layer.bands, where=FILE)]
            pixels = np.ascontiguousarray(image[chosen])
            layers[layer.id] = check_pixels(raw, FILE, pixels, layer, bands=len(layer.bands))[None]
        label = _classes(tensors[f"{prefix}_labels"][at], remap, f"{raw.where(FILE)} {row['key']}")
        scene, y0, x0 = str(row.get("scene", "")), int(row.get("y0", 0)), int(row.get("x0", 0))
        yield Sample(key=str(row["key"]), layers=layers, label=label, scene=scene, offset=(y0, x0))


def _tensors(raw: Raw) -> dict[str, NDArray[Any] | Rows]:
    file = raw.file(FILE)
    if file is None:
        raise raw.missing(FILE)
    tensors = open_tensors(file)
    for prefix in _SPLITS:
        images, labels = tensors.get(f"{prefix}_images"), tensors.get(f"{prefix}_labels")
        if images is None or labels is None:
            raise ArchiveError(
                f"has no tensors {prefix}_images and {prefix}_labels", str(file), f"It has {list(tensors)}."
            )
        if images.ndim != 4 or images.shape[1] != 14 or labels.shape != (len(images), *images.shape[2:]):
            raise ArchiveError(
                f"{prefix}_images is {images.shape} and {prefix}_labels {labels.shape}", str(file),
                "Expected are (N, 14, 96, 96) and (N, 96, 96).",
            )  # fmt: skip
    return tensors


def _classes(mask: NDArray[Any], remap: dict[int, int], where: str) -> NDArray[np.uint8]:
    values = np.unique(mask)
    unknown = [one for one in values.tolist() if one not in remap]
    if unknown:
        raise ArchiveError(f"label {unknown[0]} is no class", where, f"Known: {', '.join(map(str, sorted(remap)))}.")
    result = np.full(mask.shape, IGNORE, dtype=np.uint8)
    for value in values.tolist():
        result[mask == value] = remap[int(value)]
    return result


def _crop_order(images: NDArray[Any] | Rows) -> str:
    """`rows` or `columns`, if nine consecutive crops are a patch in that order wherever one looks; else nothing."""
    patches = len(images) // _GRID**2
    if patches < 1 or len(images) % _GRID**2 or images.shape[2:] != (CROP_PX, CROP_PX):
        return ""
    looked_at = np.unique(np.linspace(0, patches - 1, _LOOKED_AT).astype(np.int64)) * _GRID**2
    for order in ("rows", "columns"):
        if all(_is_patch(images[at : at + _GRID**2], order) for at in looked_at):
            return order
    return ""


def _is_patch(crops: NDArray[Any], order: str) -> bool:
    grid = crops.reshape(_GRID, _GRID, *crops.shape[1:])
    if order == "columns":
        grid = grid.swapaxes(0, 1)
    beside = np.array_equal(grid[:, :-1, ..., -_SHARED:], grid[:, 1:, ..., :_SHARED])
    below = np.array_equal(grid[:-1, :, :, -_SHARED:, :], grid[1:, :, :, :_SHARED, :])
    return beside and below


# The demo: patches of train and of validation.
_DEMO = {"tiny": (3, 1), "small": (24, 8)}


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; scaled by mean -+ 2 standard deviations of each channel, as published."""
    raw.mkdir(parents=True, exist_ok=True)
    table = np.array([7, 0, 1, 7, 2, 3, 4, 5, 7, 6, 7], dtype=np.int64)  # label of the contest -> class
    tensors: dict[str, NDArray[Any]] = {}
    for prefix, part, count in zip(_SPLITS, ("test", "validation"), _DEMO[size], strict=True):
        images, labels = [], []
        for number in range(count):
            patch = {kind: pixels for kind, pixels, *_ in demo_patch(world, part, number)}
            stack = np.concatenate([np.delete(patch["s2"], 10, axis=0), patch["s1"]])  # B10 has index 10
            starts = [STRIDE_PX * i for i in range(_GRID)]
            for y, x in ((y, x) for y in starts for x in starts):
                images.append(stack[:, y : y + CROP_PX, x : x + CROP_PX])
                labels.append(patch["dfc"][0, y : y + CROP_PX, x : x + CROP_PX])
        values = np.stack(images).astype(np.float32)
        mean, std = (values.mean(axis=(0, 2, 3), keepdims=True), values.std(axis=(0, 2, 3), keepdims=True))
        scaled = np.clip((values - mean + 2 * std) / (4 * std) * 255, 0, 255)
        tensors[f"{prefix}_images"] = scaled.astype(np.uint8)
        # The strip without labels becomes water: how the published file marks it is not known.
        tensors[f"{prefix}_labels"] = table[np.stack(labels)]
    write_tensors(raw / FILE, tensors)
    declare_synthetic(raw, what=f"synthetic stand-in for DFC2020 as in CROMA ({size}); nothing in it was measured")
