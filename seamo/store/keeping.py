"""Keeping a root of stores: entered into its catalogue, looked for again, found without an entry, removed."""

import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from seamo.addresses import disk_path, join
from seamo.errors import SeamoError, StoreError, UsageError
from seamo.files import open_files
from seamo.files.protocol import PROBE
from seamo.licences import terms_of
from seamo.store import format as fmt
from seamo.store.publish import build_lock
from seamo.store.reader import Store
from seamo.store.roots import (
    Catalogue,
    Listed,
    change_catalogue,
    is_store_name,
    not_listed,
    probe,
    read_catalogue,
    who,
)

logger = logging.getLogger(__name__)

UNLISTED = "a published store that is not in the catalogue (`ls --rebuild` puts it in)"
REMAINS = "what is left of a store that was removed"
UNFINISHED = "an unfinished store"
WORK = "the work folder of a build that was killed behind its last step"
TRIED = "a file by which the server was tried"  # of a process that was killed just then


@dataclass(frozen=True, slots=True)
class Orphan:
    """What lies under a root and is in no catalogue.

    Args:
        name: Below the root.
        bytes: Of all its files.
        what: It is.
    """

    name: str
    bytes: int
    what: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A store that is removed, or would be.

    Args:
        name: Of the store.
        bytes: That go.
        refers: What keeps it: names of stores, `latest`.
    """

    name: str
    bytes: int
    refers: tuple[str, ...]


def enter(root: str | Path, name: str) -> None:
    """Put a store that was published into its root's catalogue. What goes wrong is a warning: it is published.

    Args:
        root: Folder of stores.
        name: Of the store: `<id>/<build8>`, or `<id>/<build8>/views/<view8>`.
    """
    try:
        if read_catalogue(root) is None:
            rebuild(root)  # else the first entry would hide the stores that were there before
        told = _listed(root, name)

        def entered(there: Catalogue | None) -> Catalogue:
            there = there or Catalogue()
            return there.model_copy(update={"stores": {**there.stores, name: told}})

        change_catalogue(root, entered)
    except (SeamoError, OSError) as error:
        logger.warning("%s is published, but not in the catalogue (%s). `seamo-prep ls ROOT --rebuild`", name, error)


def enter_if_missing(root: str | Path, name: str) -> None:
    """`enter` a store that is published, where whoever published it was killed before he did."""
    try:
        catalogue = read_catalogue(root)
    except StoreError:  # damaged: `enter` says so
        catalogue = None
    if catalogue is None or name not in catalogue.stores:
        enter(root, name)


def rebuild(root: str | Path) -> Catalogue:
    """Make the catalogue anew from the stores that are there; who published them and `latest` are kept.

    Raises:
        StoreError: If the root cannot be read, or the catalogue not be written.
    """
    probe(root)
    try:
        before = read_catalogue(root) or Catalogue()
    except StoreError:  # damaged: that is why it is made anew
        before = Catalogue()
        logger.warning("%s: if it is public, say so again: `seamo-prep public ROOT --yes`", root)
    found: dict[str, Listed] = {}
    for name in _published(root):
        try:
            told = _listed(root, name)
        except StoreError as error:
            logger.warning("%s is left out: %s", name, error)
            continue
        was = before.stores.get(name)
        found[name] = told.model_copy(update={"who": was.who if was else ""})
    made = Catalogue()

    def renewed(there: Catalogue | None) -> Catalogue:
        nonlocal made
        there = there or Catalogue()
        gone = set(before.stores) - set(there.stores)  # others have entered and removed stores since we looked
        came = {name: one for name, one in there.stores.items() if name not in before.stores}
        stores = {name: one for name, one in found.items() if name not in gone} | came
        latest = {dataset: build for dataset, build in there.latest.items() if f"{dataset}/{build}" in stores}
        made = Catalogue(stores=stores, latest=latest, public=there.public)
        return made

    change_catalogue(root, renewed, anew=True)
    return made


def is_gone(root: str | Path, name: str) -> bool:
    """Whether a store that the catalogue has was taken from a disk by hand; in a bucket, nobody looks."""
    folder = disk_path(root)
    return folder is not None and not (folder / name / fmt.META_NAME).is_file()


def orphans(root: str | Path) -> list[Orphan]:
    """What lies under a root and is in no catalogue. This lists the root.

    Raises:
        StoreError: If the root cannot be read.
    """
    files = open_files(root)
    catalogue = read_catalogue(root) or Catalogue()
    found: dict[str, list[str]] = defaultdict(list)
    tried = []
    for name in files.names():
        parts = name.split("/")
        if name.startswith(PROBE):
            tried.append(name)
        if fmt.WORK_NAME in parts and "/".join(parts[: parts.index(fmt.WORK_NAME)]) in catalogue.stores:
            depth = parts.index(fmt.WORK_NAME) + 1
            found["/".join(parts[:depth])].append("/".join(parts[depth:]))
            continue
        depth = 4 if len(parts) > 4 and parts[2] == fmt.VIEWS_NAME and "/".join(parts[:2]) in catalogue.stores else 2
        group = "/".join(parts[:depth])
        if len(parts) > depth and group not in catalogue.stores:
            found[group].append("/".join(parts[depth:]))
    result = []
    for group, names in sorted(found.items()):
        what = _what_is(group, names)
        if what:
            size = sum(files.size(f"{group}/{name}") or 0 for name in names)
            result.append(Orphan(group, size, what))
    return [*result, *(Orphan(name, files.size(name) or 0, TRIED) for name in tried)]


def sweep_bucket(root: str | Path, *, unfinished: bool, dry_run: bool) -> list[Orphan]:
    """What lies in a bucket and is no store. What a published store does not need any more is removed.

    Of the rest, nothing tells whether somebody is putting it there just now, or will go on with it.

    Args:
        root: Address of stores.
        unfinished: Remove that, too.
        dry_run: Only find it.
    """
    files, found = open_files(root), [one for one in orphans(root) if one.what != UNLISTED]
    for one in found if not dry_run else ():
        if one.what == WORK or unfinished:
            names = [one.name] if one.what == TRIED else list(files.names(one.name))
            if one.what == UNFINISHED and f"{one.name}/{fmt.META_NAME}" in names:
                continue  # somebody has just finished it
            # What tells of shards goes before them, so that no builder counts on what is not there any more.
            files.delete(sorted(names, key=lambda name: f"/{fmt.WORK_NAME}/" not in name))
    return found


def remove_store(root: str | Path, name: str, *, dry_run: bool = False) -> Removal:
    """Remove a store or a view that nothing refers to. What a killed removal left is finished by the next one.

    The entry goes first, then store.json, so that nobody takes the rest for a store; checksums.json goes last.

    Args:
        root: Folder of stores.
        name: `<id>/<build8>`, or `<id>/<build8>/views/<view8>`: exactly.
        dry_run: Only say what would go, and what keeps it.

    Raises:
        UsageError: If this is no whole name.
        StoreError: If there is no such store, something refers to it, or it is being written.
    """
    if not is_store_name(name):
        fix = f"Name it exactly, ID/BUILD or ID/BUILD/{fmt.VIEWS_NAME}/VIEW: `seamo-prep ls ROOT` has the names."
        raise UsageError("is no whole name of a store", name, fix)
    if not dry_run:
        probe(root)
    there = read_catalogue(root) or (Catalogue() if dry_run else rebuild(root))
    files = open_files(root)
    names = sorted(files.names(name))
    folder = disk_path(join(root, name))
    is_left = bool(names) or (folder is not None and folder.is_dir())
    if not is_left and name not in there.stores:
        raise not_listed(there, name, str(root))
    size = sum(files.size(one) or 0 for one in names)
    views = sorted({"/".join(one.split("/")[:4]) for one in names if one.startswith(f"{name}/{fmt.VIEWS_NAME}/")})
    refers = tuple(dict.fromkeys((*there.who_refers(name), *views)))
    if dry_run:
        return Removal(name, size, refers)
    with _alone(root, name):

        def left(now: Catalogue | None) -> Catalogue:
            now = now or Catalogue()
            keep = tuple(dict.fromkeys((*now.who_refers(name), *views)))
            if keep:
                raise StoreError(
                    f"is referred to by {', '.join(keep)}",
                    name,
                    "Remove those views first; of `latest`, name another one: `seamo-prep latest`.",
                )
            return now.model_copy(update={"stores": {key: one for key, one in now.stores.items() if key != name}})

        change_catalogue(root, left)
        last = (f"{name}/{fmt.META_NAME}", f"{name}/{fmt.CHECKSUMS_NAME}")
        files.delete([last[0]])
        files.delete([one for one in names if one not in last])
        files.delete([last[1]])
        _remove_folders(root, name)
        if files.exists(last[0]):  # in a bucket nothing keeps others away
            fix = "Remove it again: files of it may be missing. Then copy or build it."
            raise StoreError("was put there again by somebody else while it was removed", files.where(name), fix)
    return Removal(name, size, refers)


def _listed(root: str | Path, name: str) -> Listed:
    store = Store(join(root, name))
    meta, manifest = store.meta, store.read_manifest()
    own = sum(store.files.size(one) or 0 for one in (fmt.META_NAME, fmt.CHECKSUMS_NAME))
    return Listed(
        title=meta.title,
        samples=meta.counts.samples,
        layout=meta.layout,
        splits=meta.split_scheme,
        bytes=own + sum(one.bytes for one in manifest.values()),
        created=meta.created,
        content=meta.content,
        pixels=meta.pixels,
        who=who(),
        refers=("/".join(name.split("/")[:2]),) if meta.pixels_in else (),
        **terms_of(meta.spec),
    )


def _published(root: str | Path) -> list[str]:
    """Names of all stores and views that have a store.json."""
    end = f"/{fmt.META_NAME}"
    names = (name.removesuffix(end) for name in open_files(root).names() if name.endswith(end))
    return [name for name in names if is_store_name(name)]


def _what_is(group: str, names: list[str]) -> str:
    last = group.rpartition("/")[2]
    if last == fmt.WORK_NAME:
        return WORK
    if last.startswith("."):
        return UNFINISHED if last.endswith(".partial") else ""
    if not is_store_name(group):
        return ""
    if fmt.META_NAME in names:
        return UNLISTED
    return REMAINS if fmt.CHECKSUMS_NAME in names else UNFINISHED


@contextmanager
def _alone(root: str | Path, name: str) -> Iterator[None]:
    """On a disk, hold the lock of a store, which keeps builders away."""
    folder = disk_path(root)
    final = (folder or Path()) / "/".join(name.split("/")[:2])
    if folder is None or not final.parent.is_dir():
        yield
        return
    lock = build_lock(final)
    try:
        yield
    finally:
        if not final.is_dir():
            (final.parent / f".{final.name}.lock").unlink(missing_ok=True)
            with suppress(OSError):
                final.parent.rmdir()  # if it was the last one
        os.close(lock)


def _remove_folders(root: str | Path, name: str) -> None:
    """On a disk, what else lies there goes with the store (folders without files, files of killed builders)."""
    folder = disk_path(root)
    if folder is not None:
        shutil.rmtree(folder / name, ignore_errors=True)
