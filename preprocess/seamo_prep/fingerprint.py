"""What one's own imagery is: the bytes of every file that a build of it reads, by sha256.

Published archives are told apart by names and sizes (`Raw.fingerprint`), as nobody edits them. One's own files are
edited: a corrected label or pixel mostly keeps the size. So the table, the spec, the split lists and every image and
mask that the table names are read once, and their hashes are kept beside the stores, with what the disk says of the
file; a second look reads nothing that is as it was.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seamo.errors import ArchiveError, SeamoError, UsageError
from seamo.identity import digest, file_sha256, write_atomically
from seamo.manifest import DatasetSpec
from seamo.seal import open_document, seal_document
from seamo_prep.archives._folder_table import cell_label, is_mask
from seamo_prep.archives.folder import SPEC, TABLE
from seamo_prep.rasters import beside
from seamo_prep.unpack import Raw

if TYPE_CHECKING:
    import pandas as pd

# A file that changed so short a time before it was read may change again without another time of change: disks tell
# times apart by 2 s (FAT) to a few ms. Its hash is not kept, as git does not trust a file as young as its index.
_RECENT_NS = 3_000_000_000
_MEANING = ("split", "country")  # columns of the index that decide no pixel


class _Kept(NamedTuple):
    """What the disk said of a file when it was hashed, and its hash.

    Any write moves `ctime_ns`, even if the size stays and the time of modification is put back.
    """

    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


class OwnFingerprint(NamedTuple):
    """What one's own imagery is, in two digests.

    Args:
        pixels: Of the images and masks, and of what the table says of them: which is whose, dates, scenes.
        told: Of the table, the spec and the split lists as they are: labels and splits stand there.
    """

    pixels: str
    told: str


def own_fingerprint(raw: Raw, rows: "pd.DataFrame", spec: DatasetSpec, kept: Path) -> OwnFingerprint:
    """Sha256 over the names and hashes of every file that a build of one's own imagery reads.

    What lies beside an image and says more of it counts (`beside`), other files of the folder do not. A file that is
    named and not there counts as such: adding it is a change.

    Args:
        raw: One's own imagery.
        rows: Its index.
        spec: What is built of it.
        kept: Where the hashes are kept; a damaged or foreign file there is made anew.

    Raises:
        ArchiveError: If a file cannot be read.
    """
    known = _read_kept(kept)
    hashes: dict[str, str] = {}
    fresh: dict[str, _Kept] = {}
    told = {SPEC, TABLE, *(one.file for scheme in spec.splits.values() for one in scheme.files)}
    cells = rows[[name for name in rows.columns if name not in _MEANING and (name != "_label" or is_mask(spec))]]
    images = _images(rows, spec)
    said_beside = {one for name in images for one in beside(name) if raw.exists(one)}
    for name in sorted(told | images | said_beside):
        path = raw.path(name)
        if path is None:
            hashes[name] = "not there"
            continue
        now_ns = time.time_ns()
        try:
            before = _look(path, "")
            entry = known.get(name)
            same = entry is not None and entry._replace(sha256="") == before
            hashes[name] = entry.sha256 if entry is not None and same else file_sha256(path)
            is_settled = now_ns - max(before.mtime_ns, before.ctime_ns) > _RECENT_NS and _look(path, "") == before
        except OSError as error:
            raise ArchiveError(f"cannot be read ({error.strerror})", raw.where(name)) from error
        if is_settled:
            fresh[name] = before._replace(sha256=hashes[name])
    if fresh != known:
        with suppress(OSError):  # it only saves time; a root that cannot be written to may hold the store already
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, seal_document({"files": {name: list(one) for name, one in fresh.items()}}))
    about = {name: [str(cell) for cell in cells[name]] for name in sorted(cells.columns)}
    return OwnFingerprint(
        pixels=digest({"rows": about, "files": {name: one for name, one in hashes.items() if name not in told}}),
        told=digest({name: one for name, one in hashes.items() if name in told}),
    )


def own_labels(rows: "pd.DataFrame", spec: DatasetSpec, where: str) -> dict[str, int | tuple[int, ...] | None] | None:
    """Key -> class id or sorted ids by the table, for a view of pixels that are there; None where labels are masks.

    Raises:
        ArchiveError: For a class that the spec does not have, or two of them where one belongs.
    """
    if "_label" not in rows or is_mask(spec):
        return None
    cells = zip(rows["key"], rows["_label"], strict=True)
    return {str(key): cell_label(str(cell), spec, f"{where}, key {key}") for key, cell in cells}


def kept_hashes(root: Path, spec: DatasetSpec, raw: Raw) -> Path:
    """Where the hashes of this RAW's files are kept: beside the stores, one file for each folder of imagery."""
    place = hashlib.sha256(os.fsencode(raw.root.resolve())).hexdigest()[:8]  # a path would tell the user's name
    return root / spec.id / f".{place}.hashes"


def check_apart(root: Path, raw: Raw, spec: DatasetSpec) -> None:
    """Refuse stores inside RAW, where they would be read as imagery, and RAW inside a store.

    Raises:
        UsageError: If so.
    """
    stores, images = (root / spec.id).resolve(), raw.root.resolve()
    if images == stores or images in stores.parents:
        raise UsageError(
            "the store would lie inside RAW", str(root), f"Name a folder for stores that is not below {raw.root}."
        )
    if stores in images.parents:
        raise UsageError(
            "RAW lies inside the folder of its own stores",
            str(raw.root),
            f"Move it, or name another folder than {root}.",
        )


def _images(rows: "pd.DataFrame", spec: DatasetSpec) -> set[str]:
    """Every image and mask: of the index, the columns that start with `_` but dates and class names."""
    dates = tuple(f"_{stack}.date" for stack in spec.stacks)
    files: set[str] = set()
    for column in rows.columns:
        if column.startswith("_") and not column.startswith(dates) and (column != "_label" or is_mask(spec)):
            files |= {str(cell) for cell in rows[column] if cell}
    return files


def _look(path: Path, sha256: str) -> _Kept:
    found = path.stat()
    return _Kept(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, sha256)


def _read_kept(path: Path) -> Mapping[str, _Kept]:
    try:
        facts = open_document(path.read_bytes(), str(path), error=ArchiveError, fix="")
        return {
            str(name): _Kept(int(one[0]), int(one[1]), int(one[2]), int(one[3]), str(one[4]))
            for name, one in facts["files"].items()
        }
    except (OSError, SeamoError, KeyError, TypeError, ValueError, IndexError, AttributeError):
        return {}
