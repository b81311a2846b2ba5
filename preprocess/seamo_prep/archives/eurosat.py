"""EuroSAT, 13 bands: `<tree>/<Class>/<Class>_<n>.tif`, one file a sample, in either of its two published trees.

The files hold the bands in the order of `FILE_ORDER`, B8A last (phelber/EuroSAT issue 7); they are bound by name
here and handed on in the manifest's order. No nodata is declared, so every pixel counts.

`--relax names` takes a class folder's .tif files by any name.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from seamo.bands import positions
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec
from seamo.sample import GeoRef, Sample
from seamo.testing.world import World
from seamo_prep.rasters import Raster, check_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

FILE_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
TREES = ("ds/images/remote_sensing/otherDatasets/sentinel_2/tif", "EuroSAT_MS")

_EXTRA = re.compile(r"(Bombay|Jakarta)_.*")  # files that one mirror adds to SeaLake

# Land covers of the synthetic world that stand for each class, taken in turn.
COVERS_OF = {
    "AnnualCrop": ("annual-crop",),
    "Forest": ("broad-leaved-forest", "coniferous-forest"),
    "HerbaceousVegetation": ("herbaceous",),
    "Highway": ("road",),
    "Industrial": ("industrial",),
    "Pasture": ("pasture",),
    "PermanentCrop": ("permanent-crop",),
    "Residential": ("residential",),
    "River": ("river",),
    "SeaLake": ("sea",),
}
# Samples a class that go to train, val and test of the demo.
_DEMO_COUNTS = {"tiny": {"train": 3, "val": 1, "test": 2}, "small": {"train": 45, "val": 10, "test": 52}}
DEMO_PX = 64
_SCENE_PX = 66  # scenes come in multiples of 60 m


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    trees = [tree for tree in TREES if any(raw.list_dir(tree))]
    if not trees:
        raise raw.missing("EuroSAT class folders")
    ledger = [(tree, f"the same samples as {trees[0]}, which is read") for tree in trees[1:]]
    return index_class_folders(raw, spec, trees[0], ledger)


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    layer = spec.layer("s2")
    order = positions(FILE_ORDER, layer.bands, where="EuroSAT file")
    for row in rows.to_dict("records"):
        raster = read_tiff(raw, row["_file"])
        pixels = check_pixels(raw, row["_file"], raster.pixels, layer, bands=len(FILE_ORDER))
        yield Sample(key=row["key"], layers={"s2": pixels[None, order]}, geo=georef(raster), label=int(row["label"]))


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; the tree of EuroSATallBands.zip, with the lists of every published split."""
    names = demo_names(raw, size)
    _write_list(raw, "eurosat-spatial-{split}.txt", _shuffled(names))
    for name, label in names.items():
        scene = world.scene(name, _SCENE_PX, focus=demo_cover(name, label))
        bands = scene.s2(demo_date(name), "L1C", clouds=False)
        fine = {band: np.kron(px, np.ones((_SCENE_PX // len(px),) * 2, np.uint16)) for band, px in bands.items()}
        pixels = np.stack([fine[band][:DEMO_PX, :DEMO_PX] for band in FILE_ORDER])
        folder = raw / TREES[0] / label
        folder.mkdir(parents=True, exist_ok=True)
        write_tiff(folder / f"{name}.tif", pixels, epsg=scene.epsg, transform=scene.transform)
    declare_synthetic(raw, what=f"synthetic stand-in for EuroSAT ({size}); nothing in it was measured")


def index_class_folders(raw: Raw, spec: DatasetSpec, tree: str, ledger: list[tuple[str, str]]) -> pd.DataFrame:
    """Index of `<tree>/<Class>/<Class>_<n>.tif`; EuroSAT-SAR has the same names.

    Raises:
        ArchiveError: For a folder that is no class, or a .tif by another name.
    """
    class_ids = {name: number for number, name in enumerate(spec.label_space().names)}
    found = []
    for folder in raw.list_dir(tree)[0]:
        if folder not in class_ids:
            raise ArchiveError(
                f"no class {folder!r}", raw.where(f"{tree}/{folder}"), f"Classes: {', '.join(class_ids)}."
            )
        for file in raw.list_dir(f"{tree}/{folder}")[1]:
            stem, dot, ending = file.rpartition(".")
            name = f"{tree}/{folder}/{file}"
            if _EXTRA.fullmatch(stem):
                ledger.append((name, "added by a mirror, not part of the release"))
            elif dot + ending != ".tif":
                ledger.append((name, "not a .tif"))
            elif re.fullmatch(rf"{folder}_\d+", stem) or "names" in raw.relax:
                found.append({"key": stem, "label": class_ids[folder], "_file": name})
            else:
                raise ArchiveError(
                    f"is not called {folder}_<n>.tif", raw.where(name), "Take it out, or build with --relax names."
                )
    if not found:
        raise raw.missing(f".tif files in the class folders of {tree}")
    frame = pd.DataFrame(found).sort_values("key", ignore_index=True)
    frame.attrs["ledger"] = ledger
    return frame


def georef(raster: Raster) -> GeoRef | None:
    """Where a raster lies, if it says so."""
    return GeoRef(raster.crs, raster.transform) if raster.crs and raster.transform else None


def demo_names(raw: Path, size: str) -> Mapping[str, str]:
    """Sample name -> class of a demo, after writing the split lists that EuroSAT and EuroSAT-SAR share.

    As in the release, the second list of SpectralGPT is the validation list, and the test list stays unused there.
    """
    names: dict[str, str] = {}
    members: dict[str, list[str]] = {split: [] for split in _DEMO_COUNTS[size]}
    for label in COVERS_OF:
        number = 0
        for split, count in _DEMO_COUNTS[size].items():
            for _ in range(count):
                number += 1
                names[f"{label}_{number}"] = label
                members[split].append(f"{label}_{number}")
    raw.mkdir(parents=True, exist_ok=True)
    _write_list(raw, "eurosat-{split}.txt", members)
    class_ids = {label: position for position, label in enumerate(COVERS_OF)}
    for split in ("train", "val"):
        lines = (f"tif/{names[one]}/{one}.tif    {class_ids[names[one]]}\n" for one in members[split])
        (raw / f"{split}_euro_result.txt").write_text("".join(lines), encoding="ascii")
    return names


def _shuffled(names: Mapping[str, str]) -> dict[str, list[str]]:
    """60/20/20 of each class by hash. The published lists are by longitude, which the synthetic world does not need."""
    found: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label in COVERS_OF:
        own = [name for name in names if names[name] == label]
        own.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
        first, second = round(0.6 * len(own)), round(0.8 * len(own))
        for split, part in zip(found, (own[:first], own[first:second], own[second:]), strict=True):
            found[split] += part
    return found


def _write_list(raw: Path, file: str, members: Mapping[str, list[str]]) -> None:
    """Lines `<Class>_<n>.jpg`, as published."""
    for split, listed in members.items():
        text = "".join(f"{name}.jpg\n" for name in listed)
        (raw / file.format(split=split)).write_text(text, encoding="ascii")


def demo_cover(name: str, label: str) -> str:
    """The land cover in the middle of a demo scene."""
    covers = COVERS_OF[label]
    return covers[int(name.rpartition("_")[2]) % len(covers)]


def demo_date(name: str) -> np.datetime64:
    """A day in the growing season of 2016 or 2017, by the name."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return np.datetime64(f"{2016 + drawn % 2}-04-15") + np.timedelta64(drawn // 2 % 170, "D")
