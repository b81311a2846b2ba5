"""GLH-Water: `{train,val,test}/img/<stem>.jpg` with `label/<stem>.png`, 12,800 x 12,800 pixels, cut into 512 x 512.

An image holds 164 million pixels (0.65 GB in Pillow's memory, and its mask 0.16 GB), so one is open at a time:
tiles come in the order of their images, and an image is decoded once for all tiles that follow one another. Nothing
is georeferenced. Masks are 0 (background) and 255 (water).

The names of the archive files are not known, nor what folders are around these: the three split folders are looked for
in RAW and in the folders in it.

`--relax shape` takes images of other sizes; what remains beside whole tiles is dropped.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec
from seamo.sample import Sample
from seamo.testing.world import COVERS, World
from seamo_prep.archives._tiles import class_ids, declared_size, decode, key_part, open_picture, starts, tile_name
from seamo_prep.unpack import Raw, declare_synthetic

SPLITS = ("train", "val", "test")
_SIDE, _TILE = 12_800, 512
_SCENE = "scene"  # the name under which SYNTHETIC.json declares the size of images


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`. Images are not opened, but for their size with `--relax shape`."""
    del spec
    ledger: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    for folder in _split_folders(raw):
        split = folder.rpartition("/")[2]
        labels = set(raw.list_dir(f"{folder}/label")[1])
        for file in raw.list_dir(f"{folder}/img")[1]:
            image, stem = f"{folder}/img/{file}", file.rpartition(".")[0]
            if not file.endswith(".jpg"):
                ledger.append((image, "not a .jpg"))
                continue
            if labels and f"{stem}.png" not in labels:
                raise ArchiveError("the file is not there, but its image is", raw.where(f"{folder}/label/{stem}.png"),
                                   "Unpack the archive again.")  # fmt: skip
            labels.discard(f"{stem}.png")
            scene = f"{split}/{key_part(stem)}"
            height, width = _size(raw, image)
            rows += [
                {"key": f"{scene}/{tile_name(y0, x0)}", "scene": scene, "y0": y0, "x0": x0, "split": split,
                 "_image": image, "_label": f"{folder}/label/{stem}.png"}
                for y0 in starts(height, _TILE, _TILE)
                for x0 in starts(width, _TILE, _TILE)
            ]  # fmt: skip
        ledger += [(f"{folder}/label/{name}", "without its image") for name in sorted(labels)]
    if not rows:
        raise raw.missing("images in train/img, val/img and test/img")
    frame = pd.DataFrame(rows).sort_values("key", ignore_index=True)
    if frame["key"].duplicated().any():
        twice = frame["scene"][frame["key"].duplicated()].iloc[0]
        raise ArchiveError(f"two images have the key {twice}", str(raw.root), "Rename one of them.")
    frame.attrs["ledger"] = ledger
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`. One image is in memory at a time."""
    space = spec.label_space()
    for image, tiles in groupby(rows.to_dict("records"), key=lambda row: str(row["_image"])):
        with ExitStack() as stack:
            picture = mask = None
            for row in tiles:
                y0, x0 = int(row["y0"]), int(row["x0"])
                if picture is None:
                    picture = stack.enter_context(open_picture(raw, image, "JPEG"))
                    _check(raw, image, picture, ("RGB",))
                    decode(raw, image, picture)
                    if raw.exists(row["_label"]):
                        mask = stack.enter_context(open_picture(raw, row["_label"], "PNG"))
                        _check(raw, row["_label"], mask, ("L", "1", "P", "RGB", "RGBA"))
                        decode(raw, row["_label"], mask)
                pixels = _crop(picture, y0, x0).transpose(2, 0, 1)
                label = None
                if mask is not None:
                    label = class_ids(_crop(mask, y0, x0, grey=True), space, raw.where(row["_label"]))
                yield Sample(
                    key=row["key"],
                    layers={"rgb": np.ascontiguousarray(pixels[None])},
                    label=label,
                    scene=row["scene"],
                    offset=(y0, x0),
                )


def _split_folders(raw: Raw) -> list[str]:
    """The folders `train`, `val` and `test`, in RAW or one folder down."""
    around = ["", *(f"{one}/" for one in raw.list_dir("")[0])]
    found = [f"{lead}{split}" for lead in around for split in SPLITS if raw.list_dir(f"{lead}{split}/img")[1]]
    names = [folder.rpartition("/")[2] for folder in found]
    for split in SPLITS:
        if names.count(split) > 1:
            both = " and ".join(folder for folder in found if folder.endswith(split))
            raise ArchiveError(f"the split {split} is there twice ({both})", str(raw.root), "Take one of them out.")
    return found


def _published_size(raw: Raw) -> tuple[int, int]:
    return declared_size(raw, _SCENE) or (_SIDE, _SIDE)


def _size(raw: Raw, image: str) -> tuple[int, int]:
    if "shape" not in raw.relax:
        return _published_size(raw)
    with open_picture(raw, image, "JPEG") as picture:
        return picture.height, picture.width


def _check(raw: Raw, name: str, picture: Image.Image, modes: tuple[str, ...]) -> None:
    """Refuse another size or mode, before anything is decoded."""
    if picture.mode not in modes:
        raise ArchiveError(f"mode {picture.mode} instead of {' or '.join(modes)}", raw.where(name),
                           "This is another product.")  # fmt: skip
    height, width = _published_size(raw)
    if (picture.height, picture.width) != (height, width) and "shape" not in raw.relax:
        raise ArchiveError(f"{picture.height} x {picture.width} pixels instead of {height} x {width}", raw.where(name),
                           "Images of another size are taken with --relax shape.")  # fmt: skip


def _crop(picture: Image.Image, y0: int, x0: int, *, grey: bool = False) -> NDArray[np.uint8]:
    """One tile, (H, W, 3), or (H, W) of its brightness."""
    tile = picture.crop((x0, y0, x0 + _TILE, y0 + _TILE))
    return np.asarray(tile.convert("L") if grey else tile)


# The demo: images a split, and their side.
_DEMO = {"tiny": {"train": 2, "val": 1, "test": 1}, "small": {"train": 8, "val": 3, "test": 4}}
_DEMO_SIDE = 1024
_COARSE = 4  # each pixel of the synthetic world becomes a block of 4 x 4
_BRIGHTEST = 2600.0  # reflectance x 10000 that is shown as 255


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`."""
    number = 0
    for split, count in _DEMO[size].items():
        for kind in ("img", "label"):
            (raw / split / kind).mkdir(parents=True)
        for _ in range(count):
            number += 1
            stem = f"Optical_{number:06d}"
            scene = world.scene(f"glh-water/{stem}", 258, focus=("sea", "river", "sea", "wetland")[number % 4])
            bands = scene.s2(np.datetime64("2021-07-01"), "L2A", clouds=False)
            image = np.stack([bands[band] for band in ("B04", "B03", "B02")], axis=2) / _BRIGHTEST
            fine = np.kron(np.clip(255 * image, 0, 255).astype(np.uint8), np.ones((_COARSE, _COARSE, 1), np.uint8))
            is_water = np.isin(scene.cover, [COVERS.index("river"), COVERS.index("sea")])
            mask = np.kron(np.where(is_water, 255, 0).astype(np.uint8), np.ones((_COARSE, _COARSE), np.uint8))
            Image.fromarray(fine[:_DEMO_SIDE, :_DEMO_SIDE]).save(raw / split / "img" / f"{stem}.jpg", quality=90)
            Image.fromarray(mask[:_DEMO_SIDE, :_DEMO_SIDE]).save(raw / split / "label" / f"{stem}.png")
    declare_synthetic(
        raw,
        what=f"synthetic stand-in for GLH-Water ({size}); nothing in it was measured",
        sizes={_SCENE: (_DEMO_SIDE, _DEMO_SIDE)},
    )
