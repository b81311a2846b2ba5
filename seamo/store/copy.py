"""Copying stores from root to root: every byte checked on the way, resumable, of the format before too."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seamo.addresses import local_path
from seamo.disk import sync_tree
from seamo.errors import StoreError
from seamo.identity import write_atomically
from seamo.sample import Sample
from seamo.seal import SealedFile, damage
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan
from seamo.store.meaning import read_ledger
from seamo.store.meta import BUILD_AGAIN, PREVIOUS, StoreMeta, folds_of
from seamo.store.previous import PreviousStore, damaged_files, previous_content
from seamo.store.publish import build_lock, put_in_place
from seamo.store.reader import Store, open_store
from seamo.store.sidecar import BadSample, disk_errors
from seamo.store.splits import Assignment
from seamo.store.writer import StoreWriter

Progress = Callable[[int, int], None]
_BLOCK = 4 * 2**20


def copy_store(source: Path, root: Path, *, layout: fmt.Layout | None, progress: Progress) -> Path:
    """Copy a store, with its views, below another root; or bring one of the format before to this one.

    Files are copied as they are, and each is held against its sha256 as it is read and as it was written. Another
    layout, and the format before, are written anew from decoded samples; the pixels' hash must come out the same.

    Args:
        source: The store; of a view, the store that it is of, with all its views.
        root: Folder of stores; the id and the build are kept.
        layout: Of the copy; None keeps it.
        progress: Called with (bytes done, in all), or of samples where they are written anew.

    Returns:
        The store below `root`.

    Raises:
        StoreError: If a byte of the source is not what it must be, or the disk is full.
    """
    source, root = local_path(source), local_path(root)
    if _is_previous(source):
        return _rewrite_previous(PreviousStore(source), root, layout, progress)
    store = open_store(source)
    if store.meta.pixels_in:
        store = Store(store.pixels_url)
    if store.path.resolve() in (root.resolve(), *root.resolve().parents):
        raise StoreError("the copy would lie inside the store", str(root), "Name another root.")
    if layout is not None and layout != store.meta.layout:
        return _rewrite(store, root, layout, progress)
    final = root / store.meta.id / store.meta.build
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = build_lock(final)
        try:
            if not (final / fmt.META_NAME).is_file():
                _copy_files(store, final, progress)
            elif Store(final).pixels != store.pixels:
                raise StoreError("is there already, with other pixels", str(final), "Name another root.")
            for view in sorted((store.path / fmt.VIEWS_NAME).glob(f"[!.]*/{fmt.META_NAME}")):
                there = final / fmt.VIEWS_NAME / view.parent.name
                if not (there / fmt.META_NAME).is_file():
                    _copy_files(Store(view.parent), there, None)
        finally:
            os.close(lock)
    return final


def _is_previous(source: Path) -> bool:
    path = source.parent if source.name == fmt.META_NAME else source
    file = path / fmt.META_NAME
    return file.is_file() and f'"{PREVIOUS}"'.encode() in file.read_bytes()[:4096]


def _copy_files(store: Store, final: Path, progress: Progress | None) -> None:
    """The files of one store or view into a hidden folder, which is renamed when all are there and right."""
    part = final.with_name(f".{final.name}-copy.partial")
    part.mkdir(parents=True, exist_ok=True)
    files = store.read_manifest()
    total, done = sum(one.bytes for one in files.values()), 0
    if progress:
        progress(0, total)
    for name, sealed in sorted(files.items()):
        target = part / name
        if damage(target, sealed, deep=True):  # not there yet, or only in part
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_file(store.path / name, target, sealed)
        done += sealed.bytes
        if progress:
            progress(done, total)
    write_atomically(part / fmt.CHECKSUMS_NAME, store.read_file(fmt.CHECKSUMS_NAME))
    sync_tree(part)
    write_atomically(part / fmt.META_NAME, store.read_file(fmt.META_NAME))
    put_in_place(part, final)


def _copy_file(source: Path, target: Path, sealed: SealedFile) -> None:
    state, size = hashlib.sha256(), 0
    try:
        have = source.open("rb")
    except OSError as cause:  # else it would be said of the target
        raise StoreError(f"cannot be read ({cause.strerror})", str(source), BUILD_AGAIN) from cause
    with have, target.open("wb") as out:
        while block := have.read(_BLOCK):
            state.update(block)
            size += len(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if (size, state.hexdigest()) != sealed:
        raise StoreError("is not what its manifest says", str(source), BUILD_AGAIN)
    found = damage(target, sealed, deep=True)
    if found:
        raise StoreError(f"was written and reads back otherwise: {found}", str(target), "Check the disk, copy again.")


def _rewrite_previous(store: PreviousStore, root: Path, layout: fmt.Layout | None, progress: Progress) -> Path:
    for name, what in damaged_files(store):
        raise StoreError(what, str(store.path / name), BUILD_AGAIN)
    found = previous_content(store)
    if found != store.content:
        raise StoreError(f"content is {found[:12]} instead of {store.content[:12]}", str(store.path), BUILD_AGAIN)
    was = {"format": PREVIOUS, "build": store.meta.build, "content": store.content}
    return _write_anew(store, root, layout or store.meta.layout, provenance={"was": was}, progress=progress)


def _rewrite(store: Store, root: Path, layout: fmt.Layout, progress: Progress) -> Path:
    path = _write_anew(store, root, layout, provenance={}, progress=progress)
    made = Store(path)
    if (made.pixels, made.content) != (store.pixels, store.content):
        what = f"came out with pixels {made.pixels[:12]} instead of {store.pixels[:12]}"
        raise StoreError(what, str(path), "Delete it: this is a fault of seamo, please report it.")
    for view in sorted((store.path / fmt.VIEWS_NAME).glob(f"[!.]*/{fmt.META_NAME}")):
        _write_anew(Store(view.parent), root, layout, provenance={}, progress=progress)
    return path


def _write_anew(
    store: Store, root: Path, layout: fmt.Layout, *, provenance: dict[str, Any], progress: Progress
) -> Path:
    """Decode every sample and write it as this format has it; of a view of pixels that are there, the view alone."""
    meta = store.meta
    plan = BuildPlan(
        spec=meta.spec,
        split_scheme=meta.split_scheme,
        layout=layout,
        codec="lz4" if meta.layout == "webdataset" else meta.codec,
        limit=meta.limit,
        relax=meta.relax,
        on_bad=meta.on_bad,
        archive=meta.archive,
        labels=meta.labels,
        synthetic=meta.synthetic,
    )
    frame = store.read_index(["key", "split", "readable"])
    keys = [str(key) for key in frame["key"]]
    readable = frame["readable"].to_numpy()
    ledger = read_ledger(store)
    reasons = dict(ledger)

    def samples(rows: range) -> Iterator[Sample | BadSample]:
        for row in rows:
            yield store[row] if readable[row] else BadSample(keys[row], reasons.get(keys[row], "could not be read"))

    with StoreWriter(root, plan, keys) as writer:
        done = 0
        for k in range(writer.num_shards):
            if not writer.is_done(k):
                writer.write_shard(k, samples(writer.rows_of(k)))
            done += len(writer.rows_of(k))
            progress(done, len(keys))
        names = folds_of(list(store.index.columns))
        folds = store.read_index(names).to_numpy(dtype="int8") if names else None
        is_mask = fmt.label_kind(store.spec) == "mask"
        rows_of = set(keys)
        return writer.publish(
            splits=Assignment([str(split) for split in frame["split"]], folds),
            labels=None if is_mask else {key: store.class_of(i) for i, key in enumerate(keys)},
            ledger=[(name, reason) for name, reason in ledger if name not in rows_of],
            provenance={**meta.provenance, **provenance},
            subset=_said_by_the_archive(meta),
            countries=_countries(store, keys),
        )


def _countries(store: Store, keys: list[str]) -> dict[str, str] | None:
    if "country" not in store.index.columns:
        return None
    named = store.read_index(["country"])["country"]
    return {key: str(name) for key, name in zip(keys, named, strict=True) if isinstance(name, str)}


def _said_by_the_archive(meta: StoreMeta) -> str:
    """Of the reasons why this is a subset, those that counts do not tell: they are counted again."""
    counted = re.compile(r"[\d,]+ of [\d,]+ samples|limited to [\d,]+ samples|[\d,]+ samples without \w+")
    return "; ".join(one for one in meta.subset.split("; ") if one and not counted.fullmatch(one))
