"""Published archives, and layouts that others use: what they are recognised by, and what they document."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from seamo.bands import S1, S2_L1C, S2_L2A
from seamo.errors import SeamoError
from seamo.manifest import DatasetSpec
from seamo_prep.archives import archive_ids, known_specs, load_archive, sized_spec
from seamo_prep.archives.eurosat import COVERS_OF, FILE_ORDER
from seamo_prep.initial.guess import Hint
from seamo_prep.initial.paths import PRODUCTS, named
from seamo_prep.initial.peek import Peek
from seamo_prep.unpack import Raw

# Folders of TerraMesh, and the bands of its files, by its card (Hugging Face, ibm-esa-geospatial/TerraMesh): 13 of
# S2 L1C, 12 of S2 L2A, VV and VH of either Sentinel-1 product.
TERRAMESH = ("S2L1C", "S2L2A", "S2RGB", "S1GRD", "S1RTC", "NDVI", "DEM", "LULC")
_TERRAMESH_BANDS = {"s2l1c": S2_L1C, "s2l2a": S2_L2A, "s1grd": S1, "s1rtc": S1, "s2rgb": ("R", "G", "B")}
_UP = 8  # folders above the one that is named in which a published tree may begin
_PLAIN = re.compile(r"[a-z0-9]{1,5}")  # names that may be anybody's: looked at more closely


def published_as(folder: Path) -> tuple[str, Path] | None:
    """The published data set that a folder is, or is part of, and the RAW that `build` needs for it.

    Args:
        folder: An absolute path.
    """
    readable, specs = archive_ids(), known_specs()
    for dataset in readable:
        spec = specs[dataset]
        tops = {one.unpacks_to or re.sub(r"\.(tar|tar\.gz|tgz|tar\.zst|zip)$", "", one.name) for one in spec.archives}
        archives = {one.name for one in spec.archives}
        for above in [folder, *folder.parents][: _UP + 1]:
            inside = folder.relative_to(above).parts
            below = {inside[0]} if inside else {one.name for one in above.iterdir()}
            found = below & ((tops - {"."}) | (set() if inside else archives))
            if found and (not all(_PLAIN.fullmatch(one) for one in found) or _is_read(spec, above)):
                return dataset, above
    return None


def _is_read(spec: DatasetSpec, raw: Path) -> bool:
    """Whether the reader of a data set finds samples there, and can read the first."""
    archive = load_archive(spec.id)
    try:
        files = Raw(raw, spec, ("shape", "dtype", "seasons", "names"))
        rows = archive.index(files, spec)
        sized = sized_spec(archive, files, rows, spec=spec)
        return any(True for _ in archive.read(files, rows.iloc[:1], sized))
    except SeamoError:
        return False


def hint_of(part: str, paths: Sequence[str], labels: Iterable[str], peeks: Sequence[Peek]) -> Hint:
    """What the layout says of one part's files.

    Args:
        part: `image`, a product, or a band.
        paths: Of all images.
        labels: Of all samples.
        peeks: Of the part's files.
    """
    if is_eurosat(paths, labels, peeks):
        why = ("these are EuroSAT's names, classes and 13 bands, and EuroSAT's files have B8A last "
               "(phelber/EuroSAT issue 7)")  # fmt: skip
        return Hint("s2", "L1C", FILE_ORDER, why)
    sensor, _, band = part.partition("_")
    if band and sensor in ("s2", "s1"):
        return Hint(sensor, "", (band.upper(),), "the names of the files")
    product = next(((sensor, product) for one, sensor, product in PRODUCTS.values() if one == part), None)
    if product is None:
        return Hint()
    if is_terramesh(paths):
        return Hint(
            *product, _TERRAMESH_BANDS.get(part, ()), "the folders are those of TerraMesh, with its bands in its order"
        )
    return Hint(*product, why="the name of the folder")


def is_terramesh(names: Iterable[str]) -> bool:
    """Whether folders are called as in TerraMesh: two of its names, or more."""
    return len({folder for one in names for folder in one.split("/")[:-1] if folder in TERRAMESH}) > 1


def is_eurosat(paths: Sequence[str], labels: Iterable[str], peeks: Sequence[Peek]) -> bool:
    """Whether images are EuroSAT's with all bands, wherever they lie.

    They are called `<Class>_<n>` and have 13 bands of 64 x 64 pixels, which they do not describe.
    """
    classes = set(labels)
    if not classes or not classes <= set(COVERS_OF):
        return False
    if not all(re.fullmatch(rf"({'|'.join(classes)})_\d+", named(one).stem) for one in paths):
        return False
    return all(
        len(one.facts.measured) == len(FILE_ORDER)
        and (one.facts.grid.height, one.facts.grid.width) == (64, 64)
        and not any(one.facts.descriptions)
        for one in peeks
    )
