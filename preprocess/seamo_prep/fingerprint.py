"""What one's own imagery is: the bytes of every file that a build of it reads, by sha256.

Published archives are told apart by names and sizes (`Raw.fingerprint`), as nobody edits them. One's own files are
edited: a corrected label or pixel mostly keeps the size. So the table, the spec, the split lists and every image and
mask that the table names are read once, and their hashes are kept beside the stores, with what the disk (or the
listing of an address) says of the file; a second look reads nothing that is as it was.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seamo.addresses import disk_path, join
from seamo.errors import ArchiveError, SeamoError, UsageError
from seamo.identity import digest, file_sha256, write_atomically
from seamo.manifest import DatasetSpec
from seamo.seal import open_document, seal_document
from seamo_prep.archives._folder_table import cell_label, is_mask
from seamo_prep.archives.folder import SPEC, TABLE
from seamo_prep.far import FarFile
from seamo_prep.rasters import beside
from seamo_prep.unpack import Raw

if TYPE_CHECKING:
    import pandas as pd

# A file that changed so short a time before it was read may change again without another time of change: disks tell
# times apart by 2 s (FAT) to a few ms. Its hash is not kept, as git does not trust a file as young as its index.
_RECENT_NS = 3_000_000_000
_READERS = 8  # files that are hashed at once; at an address each waits for its answer
_MEANING = ("split", "country")  # columns of the index that decide no pixel


class _Kept(NamedTuple):
    """What told one state of a file from another when it was hashed, and its hash.

    Args:
        state: On a disk size, times of modification and of change, and the inode: any write moves the time of change,
            even if the size stays and the other time is put back. At an address what the listing says.
        sha256: Of its bytes.
    """

    state: tuple[int | str, ...]
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
    names = sorted(told | images | said_beside)
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(partial(_hashed, raw, known), names)
        try:
            for name, (entry, is_settled) in zip(names, found, strict=True):
                hashes[name] = entry.sha256
                if is_settled:
                    fresh[name] = entry
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # who is stopped does not wait for the rest
            raise
    if fresh != known:
        with suppress(OSError):  # it only saves time; a root that cannot be written to may hold the store already
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(
                kept, seal_document({"files": {name: [*one.state, one.sha256] for name, one in fresh.items()}})
            )
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
    home = raw.root.resolve() if isinstance(raw.root, Path) else raw.root
    place = hashlib.sha256(os.fsencode(home)).hexdigest()[:8]  # a path would tell the user's name
    return root / spec.id / f".{place}.hashes"


def check_apart(root: str | Path, raw: Raw, spec: DatasetSpec) -> None:
    """Refuse stores inside RAW, where they would be read as imagery, and RAW inside a store.

    Raises:
        UsageError: If so.
    """
    here = disk_path(root)
    if here is None or not isinstance(raw.root, Path):
        if here is None and f"{join(root, spec.id)}/".startswith(f"{raw.root}/"):
            raise UsageError("the store would lie inside RAW", str(root), f"Name another root than {raw.root}.")
        return
    stores, images = (here / spec.id).resolve(), raw.root.resolve()
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


def _hashed(raw: Raw, known: Mapping[str, _Kept], name: str) -> tuple[_Kept, bool]:
    """The state and the hash of a file, and whether the hash may be kept."""
    file, now_ns = raw.file(name), time.time_ns()
    if file is None:
        return _Kept((), "not there"), False
    entry = known.get(name)
    try:
        before = _state(file)
        if entry is not None and entry.state == before:
            return entry, True
        if isinstance(file, FarFile):
            state = hashlib.sha256()
            for piece in file.shelf.pieces(file.at):
                state.update(piece)
            return _Kept(before, state.hexdigest()), True
        sha256 = file_sha256(file)
        is_settled = now_ns - max(int(one) for one in before[1:3]) > _RECENT_NS and _state(file) == before
    except OSError as error:
        raise ArchiveError(f"cannot be read ({error.strerror})", raw.where(name)) from error
    return _Kept(before, sha256), is_settled


def _state(file: Path | FarFile) -> tuple[int | str, ...]:
    if isinstance(file, FarFile):
        one = file.shelf.found[file.at]
        return one.bytes, one.mark
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _read_kept(path: Path) -> Mapping[str, _Kept]:
    try:
        facts = open_document(path.read_bytes(), str(path), error=ArchiveError, fix="")
        return {str(name): _Kept(tuple(one[:-1]), str(one[-1])) for name, one in facts["files"].items()}
    except (OSError, SeamoError, KeyError, TypeError, ValueError, IndexError, AttributeError):
        return {}
