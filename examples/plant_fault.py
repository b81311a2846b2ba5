"""Spoils a copy of an EuroSAT archive or of a record: `python examples/plant_fault.py FAULT FROM TO [--store STORE]`.

What it leaves is well formed: GeoTIFFs that open, a record that parses. Only what they say is wrong, as after a mistake
in somebody's converter, and `seamo-prep verify` and `seamo-bench verify` are asked to find it. FROM stays as it is.

    bands    B08 and B11 exchanged in every tile
    shift    every pixel 1,000 higher
    copies   in every class a test image copied over a train image; STORE says which is which
    labels   a record's wrong predictions made right by changing the labels in its file
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

import seamo

# Bands of a file of EuroSAT, which stores B8A last (github.com/phelber/EuroSAT, issue 7).
FILE_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
SPLITS = ("train", "test")

Pixels = NDArray[np.uint16]


def exchange_bands(pixels: Pixels) -> Pixels:
    """(13, H, W) with the near infrared B08 and the short-wave infrared B11 in each other's place."""
    order = np.arange(len(pixels))
    first, second = FILE_ORDER.index("B08"), FILE_ORDER.index("B11")
    order[[first, second]] = second, first
    return pixels[order]


def shift_pixels(pixels: Pixels) -> Pixels:
    """Every number 1,000 higher: the offset of ESA's products since baseline 04.00, which nobody took away."""
    return pixels + np.uint16(1000)


def rewrite_tiles(folder: Path, change: Callable[[Pixels], Pixels]) -> None:
    """Change the pixels of every GeoTIFF below a folder; size, type and place stay."""
    for path in sorted(folder.rglob("*.tif")):
        with rasterio.open(path, "r+") as tile:
            tile.write(change(tile.read()))


def copy_tiles(source: Path, folder: Path, per_class: int) -> None:
    """Copy the archive's lists and the first tiles of each class; what a list names and is not copied leaves it."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    classes: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix == ".tif":
            classes.setdefault(path.parent, []).append(path)
    taken = {path for tiles in classes.values() for path in tiles[:per_class]}
    names = {path.stem for path in taken}
    for path in files:
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path in taken or path.suffix == ".json":
            shutil.copyfile(path, copy)
        elif path.suffix == ".txt":  # a split's list: Forest_1.jpg, a line each
            lines = path.read_text("ascii").splitlines()
            copy.write_text("".join(f"{line}\n" for line in lines if Path(line).stem in names), "ascii")


def copy_test_images(folder: Path, store: Path) -> list[tuple[str, str]]:
    """Copy the first test tile of each class over its first train tile; the pairs (test, train)."""
    index = seamo.open_store(store).index
    split = {key.rpartition("/")[2]: name for key, name in zip(index["key"], index["split"], strict=True)}
    pairs: list[tuple[str, str]] = []
    for parent in sorted({path.parent for path in folder.rglob("*.tif")}):
        tiles = {name: [one for one in sorted(parent.glob("*.tif")) if split[one.stem] == name] for name in SPLITS}
        if all(tiles.values()):
            shutil.copyfile(tiles["test"][0], tiles["train"][0])
            pairs.append((tiles["test"][0].stem, tiles["train"][0].stem))
    return pairs


def change_labels(record: Path, folder: Path) -> int:
    """Copy a record, its predictions now right wherever they were wrong; how many labels that took."""
    told = json.loads(record.read_text("utf-8"))
    with np.load(record.with_name(told["predictions"]["name"])) as stored:
        arrays = dict(stored)
    before, predicted = arrays["labels"], arrays["scores"].argmax(axis=1)
    arrays["labels"] = predicted.astype(before.dtype)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(record, folder / record.name)
    np.savez(folder / told["predictions"]["name"], **arrays)
    return int((before != predicted).sum())


def first_record(results: Path) -> Path:
    """The first record with predictions, in the order of names."""
    return next(path for path in sorted(results.glob("*.json")) if path.with_suffix(".npz").is_file())


def main() -> None:
    """Make the copy, whole or not at all."""
    parser = argparse.ArgumentParser(description="Spoil a copy of an EuroSAT archive or of a record.")
    parser.add_argument("fault", choices=("bands", "shift", "copies", "labels"))
    parser.add_argument("source", type=Path, help="the archive's folder, or a folder of records")
    parser.add_argument("to", type=Path, help="the copy's folder; kept, if it is there")
    parser.add_argument("--store", type=Path, help="copies: a store of the archive, which says what is in which split")
    parser.add_argument("--per-class", type=int, default=13, help="tiles a class that are copied")
    asked = parser.parse_args()
    if asked.to.exists():
        print(f"{asked.to} is there already, and is kept")
        return
    partial = asked.to.with_name(f".{asked.to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if asked.fault == "labels":
        record = first_record(asked.source)
        print(f"{change_labels(record, partial)} labels changed in a copy of {record.name}")
    else:
        copy_tiles(asked.source, partial, asked.per_class)
        count = len(list(partial.rglob("*.tif")))
        if asked.fault == "copies":
            if asked.store is None:
                parser.error("copies: --store says which image is in which split")
            pairs = copy_test_images(partial, asked.store)
            print(
                f"of {count} tiles, {len(pairs)} train tiles now hold a test image: {pairs[0][1]} that of {pairs[0][0]}"
            )
        else:
            rewrite_tiles(partial, exchange_bands if asked.fault == "bands" else shift_pixels)
            done = "B08 and B11 exchanged" if asked.fault == "bands" else "1,000 added to every pixel"
            print(f"{done} in {count} tiles")
    partial.rename(asked.to)


if __name__ == "__main__":
    main()
