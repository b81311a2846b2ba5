"""What killed builds left under a root: found, and swept where no builder is at work.

    ROOT/<id>/<build8>/.work/            of a kill right after publishing
    ROOT/<id>/<build8>/**/.*.part        of a file that was being written (`seamo.identity.write_atomically`)
    ROOT/<id>/<build8>/**/*.<32 hex digits>.partial      the same, of zarr-python
    ROOT/<id>/<build8>/views/.<view8>.partial/           a view that was being written
    ROOT/<id>/<build8>/                  what a killed `rm` left: no store.json, and the catalogue does not have it
    ROOT/<id>/.*.part                    a file that was being written beside the stores
    ROOT/<id>/.<build8>.partial/         an unfinished store: work that the next build of the same plan goes on with
    ROOT/<id>/.<build8>.partial/.work/parts/*            of it, shards that were being written
    ROOT/<id>/.<build8>-copy.partial/    an unfinished copy, which the next `copy` of the same store goes on with
    ROOT/<id>/.<build8>.lock             the lock of a builder that ended, where nothing unfinished needs it

Nothing that a manifest of a store names is touched, whatever it is called.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seamo.addresses import local_path
from seamo.errors import SeamoError, StoreError
from seamo.seal import parse_json
from seamo.store.format import CHECKSUMS_NAME, META_NAME, VIEWS_NAME, WORK_NAME
from seamo.store.keeping import REMAINS, WORK
from seamo.store.roots import Catalogue, read_catalogue

_BUILD = re.compile(r"\.?(?P<build>[0-9a-f]{8})(\.partial|-copy\.partial|\.lock)?")
_PART = re.compile(r"\..+\.part|.+\.[0-9a-f]{32}\.partial")


@dataclass(frozen=True, slots=True)
class Litter:
    """One file or folder that a killed build left.

    Args:
        path: Where it is.
        bytes: Of all that is in it.
        what: It is.
        goes: Whether it is removed; False for an unfinished store that a next build goes on with.
    """

    path: Path
    bytes: int
    what: str
    goes: bool


def clean(root: Path, *, unfinished: bool = False, dry_run: bool = False) -> list[Litter]:
    """Sweep what killed builds left under a root; stores that a builder is at work on are left alone.

    Args:
        root: Folder of stores.
        unfinished: Remove unfinished stores too, with the shards that a next build would go on with.
        dry_run: Remove nothing, only find it.

    Returns:
        What was found; unfinished stores that stay, too.

    Raises:
        StoreError: If the root is no folder, or something cannot be removed.
    """
    root = local_path(root)
    if not root.is_dir():
        raise StoreError("there is no such folder", str(root))
    found: list[Litter] = []
    catalogue = read_catalogue(root)
    try:
        for dataset in _folders(root):
            for build8 in _builds(dataset):
                begun, lock = dataset / f".{build8}.partial", dataset / f".{build8}.lock"
                with _locked(lock, make=begun.is_dir() and not dry_run) as is_ours:
                    for path, what in _litter(dataset, build8, unfinished=unfinished) if is_ours else ():
                        found.append(Litter(path, _bytes(path), what, goes=what != _UNFINISHED or unfinished))
                        if found[-1].goes and not dry_run:
                            _remove(path)
                    for path in _remains(dataset / build8, catalogue) if is_ours else ():
                        found.append(Litter(path, _bytes(path), REMAINS, goes=True))
                        if not dry_run:
                            _remove(path)
            # Beside the stores no lock says who is at work, and only small files are written there.
            for path in _parts(dataset, deep=False):
                if not _is_young(path):
                    found.append(Litter(path, _bytes(path), _WRITTEN, goes=True))
                    if not dry_run:
                        _remove(path)
    except OSError as error:
        raise StoreError(f"cannot be removed ({error.strerror})", str(error.filename or root)) from error
    return found


_WRITTEN = "a file that was being written"
_MOMENT_S = 600  # more than the writing of a small file takes anywhere
_UNFINISHED = "an unfinished store"


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())


def _builds(dataset: Path) -> list[str]:
    """The builds that left anything in a data set's folder."""
    found = (_BUILD.fullmatch(one.name) for one in dataset.iterdir())
    return sorted({match["build"] for match in found if match})


def _litter(dataset: Path, build8: str, *, unfinished: bool) -> Iterator[tuple[Path, str]]:
    store, begun, lock = dataset / build8, dataset / f".{build8}.partial", dataset / f".{build8}.lock"
    copied = dataset / f".{build8}-copy.partial"
    is_published = (store / META_NAME).is_file() and not store.is_symlink()
    if is_published:
        named = _named(store)
        if (store / WORK_NAME).is_dir() and not any(name.startswith(f"{WORK_NAME}/") for name in named):
            yield store / WORK_NAME, WORK
        views = [one for one in (store / VIEWS_NAME).glob(".*.partial") if one.is_dir() and not one.is_symlink()]
        yield from ((path, "a view that was being written") for path in sorted(views))
        apart = (store / WORK_NAME, *views)
        for path in _parts(store, deep=True):
            if path.relative_to(store).as_posix() not in named and not any(one in path.parents for one in apart):
                yield path, _WRITTEN
    if begun.is_dir() and not begun.is_symlink():
        if not unfinished:
            parts = begun / WORK_NAME / "parts"
            yield from ((path, "a shard that was being written") for path in _files(parts))
            yield from ((path, _WRITTEN) for path in _parts(begun, deep=True) if parts not in path.parents)
        yield begun, _UNFINISHED
    if copied.is_dir() and not copied.is_symlink():
        if not unfinished:
            yield from ((path, _WRITTEN) for path in _parts(copied, deep=True))
        yield copied, _UNFINISHED
    if lock.is_file() and (unfinished or not (begun.is_dir() or copied.is_dir())):
        yield lock, "the lock of a build that ended"


def _remains(store: Path, catalogue: Catalogue | None) -> list[Path]:
    """Folders that were a store or a view, as their manifest tells, and are none any more."""
    listed = catalogue.stores if catalogue is not None else {}
    found = []
    for path in (store, *sorted((store / VIEWS_NAME).glob("[!.]*"))):
        was = (path / CHECKSUMS_NAME).is_file() and not (path / META_NAME).exists() and not path.is_symlink()
        name = path.relative_to(store.parents[1]).as_posix()
        if was and catalogue is not None and name not in listed and store not in found:
            found.append(path)
    return found


def _named(store: Path) -> frozenset[str]:
    """The files that a store's manifest names, of any format; none if it cannot be read."""
    try:
        manifest = (store / CHECKSUMS_NAME).read_bytes()
        facts = parse_json(manifest, str(store / CHECKSUMS_NAME), error=StoreError, fix="")
    except (OSError, SeamoError):
        return frozenset()
    files = facts.get("files", facts)
    return frozenset(files) if isinstance(files, dict) else frozenset()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else []


def _parts(folder: Path, *, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(one for one in found if _PART.fullmatch(one.name) and one.is_file() and not one.is_symlink())


@contextmanager
def _locked(path: Path, *, make: bool) -> Generator[bool]:
    """Hold the lock of a build, if no builder does; `make` it where it is not there."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o666)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _is_young(path: Path) -> bool:
    """Whether a file may still be being written: small files are, for a moment."""
    return time.time() - path.lstat().st_mtime < _MOMENT_S


def _bytes(path: Path) -> int:
    return sum(one.lstat().st_size for one in _files(path)) if path.is_dir() else path.lstat().st_size


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
