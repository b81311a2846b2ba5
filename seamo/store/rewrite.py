"""Stores written anew from decoded samples: another layout or codec, smaller ones, and those of the format before."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.identity import digest
from seamo.sample import Sample
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan
from seamo.store.meaning import read_ledger
from seamo.store.meta import BUILD_AGAIN, PREVIOUS, StoreMeta, folds_of
from seamo.store.previous import PreviousStore, damaged_files, previous_content
from seamo.store.reader import Store, views_of
from seamo.store.sidecar import BadSample
from seamo.store.splits import Assignment
from seamo.store.transfer import Progress
from seamo.store.writer import StoreWriter


def is_previous(source: Path) -> bool:
    """Whether a folder on this disk holds a store of the format before."""
    path = source.parent if source.name == fmt.META_NAME else source
    file = path / fmt.META_NAME
    return file.is_file() and f'"{PREVIOUS}"'.encode() in file.read_bytes()[:4096]


def rewrite_previous(
    source: Path, root: Path, *, layout: fmt.Layout | None, codec: fmt.CodecName | None = None, progress: Progress
) -> Path:
    """Bring a store of the format before to this one, after it was checked by its own rules.

    Args:
        source: Its folder.
        root: Folder of stores on this disk.
        layout: None keeps it.
        codec: None keeps it.
        progress: See `seamo.store.transfer.Progress`; counts samples.

    Raises:
        StoreError: If it is damaged.
    """
    store = PreviousStore(source)
    for name, what in damaged_files(store):
        raise StoreError(what, str(store.path / name), BUILD_AGAIN)
    found = previous_content(store)
    if found != store.content:
        raise StoreError(f"content is {found[:12]} instead of {store.content[:12]}", str(store.path), BUILD_AGAIN)
    was = {"format": PREVIOUS, "build": store.meta.build, "content": store.content}
    plan = _plan_of(store.meta, layout, codec)
    return _write_anew(store, root, plan, provenance={"was": was}, progress=progress)


def rewrite(
    store: Store, root: Path, *, layout: fmt.Layout | None, codec: fmt.CodecName | None, progress: Progress
) -> Path:
    """Write a store and its views in another layout or codec; the hashes come out the same.

    Args:
        store: The store, not a view.
        root: Folder of stores on this disk.
        layout: Of the copy; None keeps it.
        codec: Of the copy; None keeps it.
        progress: See `seamo.store.transfer.Progress`; counts samples.

    Raises:
        StoreError: If a byte that is read is damaged.
    """
    path = _write_anew(store, root, _plan_of(store.meta, layout, codec), progress=progress)
    made = Store(path)
    if (made.pixels, made.content) != (store.pixels, store.content):
        what = f"came out with pixels {made.pixels[:12]} instead of {store.pixels[:12]}"
        raise StoreError(what, str(path), "Delete it: this is a fault of seamo, please report it.")
    for view in views_of(store):
        _write_anew(view, root, _plan_of(view.meta, layout, codec), progress=progress)
    return path


def write_part(
    store: Store,
    root: Path,
    *,
    layout: fmt.Layout | None,
    codec: fmt.CodecName | None,
    split: str,
    limit: int | None,
    progress: Progress,
) -> Path:
    """Write some samples of a store, as a store of their own that is marked as a subset.

    The first samples are, with the views, what a build with that limit makes. Those of one split are named by their
    keys, keep their split, and come without the views.

    Args:
        store: The store; a view only with `split`.
        root: Folder of stores on this disk.
        layout: Of the copy; None keeps it.
        codec: Of the copy; None keeps it.
        split: Only its samples; empty for those of all.
        limit: Only the first so many of them; None for all.
        progress: See `seamo.store.transfer.Progress`; counts samples.

    Raises:
        StoreError: If there is no such split, or a byte that is read is damaged.
    """
    rows = (store.rows(split) if split else np.arange(len(store)))[:limit]
    plan = replace(_plan_of(store.meta, layout, codec), limit=limit or store.meta.limit)
    only = ""
    if split:
        keys = store.meta.truth[split].keys
        plan = replace(plan, archive=digest({"archive": store.meta.archive, "split": split, "keys": keys}))
        only = f"split {split} of {store.meta.split_scheme} alone"
    whole = {"content": store.content, "samples": len(store)}
    path = _write_anew(
        store, root, plan, rows=rows, is_build=not split, only=only, provenance={"part_of": whole}, progress=progress
    )
    columns = ["key", "sha256"]
    if not Store(path).read_index(columns).equals(store.read_index(columns).iloc[rows].reset_index(drop=True)):
        raise StoreError("came out with other samples", str(path), "Delete it: this is a fault of seamo, report it.")
    for view in () if split else views_of(store):
        asked = replace(_plan_of(view.meta, layout, codec), limit=plan.limit)
        _write_anew(view, root, asked, rows=rows, is_build=True, progress=progress)
    return path


def _plan_of(meta: StoreMeta, layout: fmt.Layout | None, codec: fmt.CodecName | None) -> BuildPlan:
    return BuildPlan(
        spec=meta.spec,
        split_scheme=meta.split_scheme,
        layout=layout or meta.layout,
        codec=codec or ("lz4" if meta.layout == "webdataset" else meta.codec),
        limit=meta.limit,
        relax=meta.relax,
        on_bad=meta.on_bad,
        archive=meta.archive,
        labels=meta.labels,
        synthetic=meta.synthetic,
        pack=tuple(name for name, facts in meta.arrays.items() if facts.scale is not None),
    )


def _write_anew(
    store: Store,
    root: Path,
    plan: BuildPlan,
    *,
    rows: NDArray[np.int64] | None = None,
    is_build: bool = False,
    only: str = "",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress,
) -> Path:
    """Decode samples and write them as this format has them; of a view of pixels that are there, the view alone.

    Args:
        store: Where they are.
        root: Folder of stores.
        plan: Of what is written.
        rows: Of the samples; None for all.
        is_build: Splits are made again from the published lists, as a build would; else they are kept.
        only: Why it is a subset, beside what the store and the counts say.
        provenance: Beside the store's own.
        progress: Counts samples.
    """
    meta = store.meta
    rows = np.arange(len(store)) if rows is None else rows
    frame = store.read_index(["key", "split", "readable"])
    everyone = [str(key) for key in frame["key"]]
    frame = frame.iloc[rows]
    keys = [everyone[row] for row in rows]
    readable = frame["readable"].to_numpy()
    ledger = read_ledger(store)
    reasons = dict(ledger)

    def samples(some: range) -> Iterator[Sample | BadSample]:
        for i in some:
            yield store[int(rows[i])] if readable[i] else BadSample(keys[i], reasons.get(keys[i], "could not be read"))

    with StoreWriter(root, plan, keys) as writer:
        done = 0
        for k in range(writer.num_shards):
            if not writer.is_done(k):
                writer.write_shard(k, samples(writer.rows_of(k)))
            done += len(writer.rows_of(k))
            progress(done, len(keys), "samples")
        names = folds_of(list(store.index.columns))
        folds = store.read_index(names).to_numpy(dtype="int8")[rows] if names else None
        is_mask = fmt.label_kind(store.spec) == "mask"
        rows_of = set(everyone)
        assigned = Assignment([str(split) for split in frame["split"]], folds)
        path = writer.publish(
            splits=_lists(plan, keys, assigned.splits) if is_build else assigned,
            labels=None if is_mask else {key: store.class_of(int(row)) for key, row in zip(keys, rows, strict=True)},
            ledger=[(name, reason) for name, reason in ledger if name not in rows_of],
            provenance={**meta.provenance, **(provenance or {})},
            subset="; ".join(one for one in (_said_by_the_archive(meta), only) if one),
            countries=_countries(store, keys, rows),
        )
        return Path(path)


def _lists(plan: BuildPlan, keys: list[str], splits: list[str]) -> dict[str, str] | None:
    """The published lists that a scheme asks for, from what was assigned by them; None where none are asked for."""
    scheme = plan.spec.splits.get(plan.split_scheme)
    if scheme is None:
        return None
    named = zip(keys, splits, strict=True)
    return {key: "train" if scheme.val_from_train and split == "val" else split for key, split in named}


def _countries(store: Store, keys: list[str], rows: NDArray[np.int64]) -> dict[str, str] | None:
    if "country" not in store.index.columns:
        return None
    named = store.read_index(["country"])["country"].iloc[rows]
    return {key: str(name) for key, name in zip(keys, named, strict=True) if isinstance(name, str)}


def _said_by_the_archive(meta: StoreMeta) -> str:
    """Of the reasons why this is a subset, those that counts do not tell: they are counted again."""
    counted = re.compile(r"[\d,]+ of [\d,]+ samples|limited to [\d,]+ samples|[\d,]+ samples without \w+")
    return "; ".join(one for one in meta.subset.split("; ") if one and not counted.fullmatch(one))
