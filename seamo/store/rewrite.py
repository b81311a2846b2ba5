"""Stores written anew from decoded samples: in the other layout, smaller ones, and those of the format before."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seamo.errors import StoreError
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


def rewrite_previous(source: Path, root: Path, *, layout: fmt.Layout | None, progress: Progress) -> Path:
    """Bring a store of the format before to this one, after it was checked by its own rules.

    Args:
        source: Its folder.
        root: Folder of stores on this disk.
        layout: None keeps it.
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
    return _write_anew(store, root, layout or store.meta.layout, provenance={"was": was}, progress=progress)


def rewrite(store: Store, root: Path, *, layout: fmt.Layout, progress: Progress) -> Path:
    """Write a store and its views in another layout; the hashes come out the same.

    Args:
        store: The store, not a view.
        root: Folder of stores on this disk.
        layout: Of the copy.
        progress: See `seamo.store.transfer.Progress`; counts samples.

    Raises:
        StoreError: If a byte that is read is damaged.
    """
    path = _write_anew(store, root, layout, provenance={}, progress=progress)
    made = Store(path)
    if (made.pixels, made.content) != (store.pixels, store.content):
        what = f"came out with pixels {made.pixels[:12]} instead of {store.pixels[:12]}"
        raise StoreError(what, str(path), "Delete it: this is a fault of seamo, please report it.")
    for view in views_of(store):
        _write_anew(view, root, layout, provenance={}, progress=progress)
    return path


def shorten(store: Store, root: Path, *, layout: fmt.Layout, limit: int, progress: Progress) -> Path:
    """Write the first samples of a store and of its views: the store that a build with that limit makes.

    Args:
        store: The store, not a view.
        root: Folder of stores on this disk.
        layout: Of the copy.
        limit: How many; fewer than there are.
        progress: See `seamo.store.transfer.Progress`; counts samples.

    Raises:
        StoreError: If a byte that is read is damaged.
    """
    whole = {"content": store.content, "samples": len(store)}
    path = _write_anew(store, root, layout, provenance={"shortened": whole}, progress=progress, limit=limit)
    columns = ["key", "sha256"]
    if not Store(path).read_index(columns).equals(store.read_index(columns).iloc[:limit]):
        raise StoreError("came out with other samples", str(path), "Delete it: this is a fault of seamo, report it.")
    for view in views_of(store):
        _write_anew(view, root, layout, provenance={}, progress=progress, limit=limit)
    return path


def _write_anew(
    store: Store,
    root: Path,
    layout: fmt.Layout,
    *,
    provenance: dict[str, Any],
    progress: Progress,
    limit: int | None = None,
) -> Path:
    """Decode every sample and write it as this format has it; of a view of pixels that are there, the view alone."""
    meta = store.meta
    plan = BuildPlan(
        spec=meta.spec,
        split_scheme=meta.split_scheme,
        layout=layout,
        codec="lz4" if meta.layout == "webdataset" else meta.codec,
        limit=limit or meta.limit,
        relax=meta.relax,
        on_bad=meta.on_bad,
        archive=meta.archive,
        labels=meta.labels,
        synthetic=meta.synthetic,
    )
    frame = store.read_index(["key", "split", "readable"]).iloc[:limit]
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
            progress(done, len(keys), "samples")
        names = folds_of(list(store.index.columns))
        folds = store.read_index(names).to_numpy(dtype="int8") if names else None
        is_mask = fmt.label_kind(store.spec) == "mask"
        rows_of = {str(key) for key in store.read_index(["key"])["key"]}
        assigned = Assignment([str(split) for split in frame["split"]], folds)
        return writer.publish(
            splits=assigned if limit is None else _lists(plan, keys, assigned.splits),
            labels=None if is_mask else {key: store.class_of(i) for i, key in enumerate(keys)},
            ledger=[(name, reason) for name, reason in ledger if name not in rows_of],
            provenance={**meta.provenance, **provenance},
            subset=_said_by_the_archive(meta),
            countries=_countries(store, keys),
        )


def _lists(plan: BuildPlan, keys: list[str], splits: list[str]) -> dict[str, str] | None:
    """The published lists that a scheme asks for, from what was assigned by them; None where none are asked for."""
    scheme = plan.spec.splits.get(plan.split_scheme)
    if scheme is None:
        return None
    named = zip(keys, splits, strict=True)
    return {key: "train" if scheme.val_from_train and split == "val" else split for key, split in named}


def _countries(store: Store, keys: list[str]) -> dict[str, str] | None:
    if "country" not in store.index.columns:
        return None
    named = store.read_index(["country"])["country"].iloc[: len(keys)]
    return {key: str(name) for key, name in zip(keys, named, strict=True) if isinstance(name, str)}


def _said_by_the_archive(meta: StoreMeta) -> str:
    """Of the reasons why this is a subset, those that counts do not tell: they are counted again."""
    counted = re.compile(r"[\d,]+ of [\d,]+ samples|limited to [\d,]+ samples|[\d,]+ samples without \w+")
    return "; ".join(one for one in meta.subset.split("; ") if one and not counted.fullmatch(one))
