"""Copying stores from root to root, disks and buckets alike; of the format before, too."""

import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from seamo.addresses import disk_path, join, last_name
from seamo.errors import StoreError, UsageError
from seamo.files import Files, open_files
from seamo.store import format as fmt
from seamo.store.keeping import enter, enter_if_missing
from seamo.store.meta import StoreMeta, read_meta
from seamo.store.publish import build_lock
from seamo.store.reader import Store, open_store, views_of
from seamo.store.rewrite import is_previous, rewrite, rewrite_previous, write_part
from seamo.store.roots import check_public, probe
from seamo.store.sidecar import disk_errors
from seamo.store.transfer import (
    THREADS,
    Cargo,
    Meter,
    Movers,
    Progress,
    download,
    large_files,
    move_here,
    upload,
)

logger = logging.getLogger(__name__)


def copy_store(
    source: str | Path,
    root: str | Path,
    *,
    layout: fmt.Layout | None,
    codec: fmt.CodecName | None = None,
    progress: Progress,
    split: str = "",
    limit: int | None = None,
    movers: Movers = move_here,
) -> str:
    """Copy a store, with its views, below another root; or bring one of the format before to this one.

    Files are copied as they are, and each is held against its sha256 as it is read and as it lies where it was
    written. Another layout or codec, and the format before, are written anew from decoded samples, for a bucket in a
    temporary folder first; the pixels' hash must come out the same.

    Args:
        source: The store; of a view, the store that it is of, with all its views.
        root: Folder of stores; the id and the build are kept.
        layout: Of the copy; None keeps it.
        codec: Of a copy in the zarr layout; None keeps it.
        progress: See `seamo.store.transfer.Progress`; samples are counted where they are written anew.
        split: Copy only the samples of this split (of a view: of its splits), as a store marked as a subset.
        limit: Copy only the first so many samples: the store that a build with this limit makes, marked as a subset.
        movers: Who copies files as they are; what is written anew is written here.

    Returns:
        The address of the store below `root`.

    Raises:
        StoreError: If a byte of the source is not what it must be, other bytes are at the target, the disk is full, or
            a server does not honour conditions.
        UsageError: If the layout has no codec.
    """
    folder, here = disk_path(source), disk_path(root)
    probe(root)
    if folder is not None and is_previous(folder):
        if split or limit is not None:
            raise UsageError("a store of the format before is copied whole", str(folder), "Copy it, then its copy.")
        before = partial(rewrite_previous, folder, layout=layout, codec=codec, progress=progress)
        return _anew(before, root, progress)
    asked = open_store(source)
    store = Store(asked.pixels_url) if asked.meta.pixels_in else asked
    meta = store.meta
    check_public(root, meta.spec)  # before anything is written anew
    if disk_path(store.url) is not None and here is not None:
        _check_apart(store.path, here)
    if codec is not None and (layout or meta.layout) == "webdataset":
        raise UsageError("the webdataset layout is not compressed", store.url, "Leave --codec out, or ask for zarr.")
    if split or (limit is not None and limit < len(store)):
        part = partial(write_part, asked if split else store, layout=layout, codec=codec, split=split, limit=limit)
        return _anew(partial(part, progress=progress), root, progress)
    if (layout or meta.layout, codec or meta.codec) != (meta.layout, meta.codec):
        return _anew(partial(rewrite, store, layout=layout, codec=codec, progress=progress), root, progress)
    name = f"{meta.id}/{meta.build}"
    if here is None:
        _put(store, root, progress, movers)
    else:
        _bring(store, here, progress, movers)
    return join(root, name)


def _anew(make: Callable[[Path], Path], root: str | Path, progress: Progress) -> str:
    """Stores are written on a disk; what goes into a bucket is put there afterwards."""
    here = disk_path(root)
    if here is not None:
        return str(make(here))
    with tempfile.TemporaryDirectory(prefix="seamo-copy-") as scratch:
        made = make(Path(scratch))
        # A view with labels inside its members is a store of its own in that layout.
        for meta in sorted(Path(scratch).glob(f"*/*/{fmt.META_NAME}")):
            _put(Store(meta.parent), root, progress)
        return join(root, made.relative_to(scratch).as_posix())


def _check_apart(store: Path, root: Path) -> None:
    if store.resolve() in (root.resolve(), *root.resolve().parents):
        raise StoreError("the copy would lie inside the store", str(root), "Name another root.")


def _cargoes(store: Store) -> list[Cargo]:
    """The store, and its views."""
    name = f"{store.meta.id}/{store.meta.build}"
    views = {f"{name}/{fmt.VIEWS_NAME}/{last_name(view.url)}": view for view in views_of(store)}
    return [Cargo(at, one.files, one.read_manifest()) for at, one in {name: store, **views}.items()]


def _bring(store: Store, root: Path, progress: Progress, movers: Movers) -> None:
    final = root / store.meta.id / store.meta.build
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = build_lock(final)
        try:
            todo = _missing(_cargoes(store), root)
            meter = Meter(progress, _bytes(todo))
            for cargo in todo:
                threads = 1 if disk_path(store.url) is not None else THREADS
                download(cargo, root / cargo.name, meter, threads=threads, movers=movers)
                enter(root, cargo.name)
        finally:
            os.close(lock)


def _put(store: Store, root: str | Path, progress: Progress, movers: Movers = move_here) -> None:
    todo = _missing(_cargoes(store), root)
    meter = Meter(progress, _bytes(todo))
    for cargo in todo:
        told = large_files(cargo.manifest)
        if told:
            logger.warning("%s: %s", cargo.name, told)
        upload(cargo, open_files(join(root, cargo.name)), meter, movers=movers)
        enter(root, cargo.name)


def _missing(cargoes: list[Cargo], root: str | Path) -> list[Cargo]:
    """Those that are not published below a root yet.

    Raises:
        StoreError: If a store of that name is, with other pixels.
    """
    todo = []
    for cargo in cargoes:
        there = open_files(join(root, cargo.name))
        data = there.find(fmt.META_NAME)
        if data is None:
            check_public(root, _meta(cargo.source.read(fmt.META_NAME), cargo.source).spec)
            todo.append(cargo)
        elif _meta(data, there).pixels != _meta(cargo.source.read(fmt.META_NAME), cargo.source).pixels:
            raise StoreError("is there already, with other pixels", there.url, "Name another root.")
        else:
            enter_if_missing(root, cargo.name)
    return todo


def _meta(data: bytes, files: Files) -> StoreMeta:
    return read_meta(data, files.where(fmt.META_NAME))


def _bytes(cargoes: list[Cargo]) -> int:
    return sum(one.bytes for cargo in cargoes for one in cargo.manifest.values())
