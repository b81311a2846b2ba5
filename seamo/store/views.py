"""Views: other splits, label spaces and labels of pixels that are published.

A view is a small folder `views/<view8>/` in the store that it is of: an index, checksums and a store.json of its own,
and no shard. It is immutable, opens like a store, and has the store's `pixels` and a `content` of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from seamo.files import open_files
from seamo.identity import write_atomically
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan, view8
from seamo.store.meaning import Meaning, read_moments
from seamo.store.moments import part_statistics
from seamo.store.publish import seal
from seamo.store.reader import Store
from seamo.store.splits import Assignment, SampleFacts, assign
from seamo.store.table import label_array, row_groups, table_bytes, with_meaning

ClassLabel = int | tuple[int, ...] | None


def find_view(store: str | Path, view: str) -> str | None:
    """The name, below a published store, of one of its views: empty for the store's own; None if there is none.

    Args:
        store: Its address.
        view: `view8` of what is looked for.
    """
    if Store(store).meta.view == view:
        return ""
    name = f"{fmt.VIEWS_NAME}/{view}"
    return name if open_files(store).exists(f"{name}/{fmt.META_NAME}") else None


def make_view(
    place: str | Path,
    folder: Path,
    plan: BuildPlan,
    *,
    splits: Mapping[str, str] | Assignment | None,
    labels: Mapping[str, ClassLabel] | None,
    provenance: Mapping[str, Any] | None,
) -> None:
    """Write other splits, label spaces or labels of the pixels of a store. No shard is read or written.

    Args:
        place: Address of the published store.
        folder: An empty one, for the view's files.
        plan: What is built; its pixels are the store's.
        splits: As for `StoreWriter.publish`.
        labels: key -> class id, sorted ids or None; None keeps the store's.
        provenance: Facts that the builder gave, beside the store's own. What the store was before it was copied is
            said of its own labels and splits: of a view it is the builder's to say.

    Raises:
        StoreError: If the store is damaged, or the scheme needs lists that are not there.
    """
    store = Store(place)
    spec = plan.spec
    table = store.read_table()
    meaning = _meaning(store, plan, splits, labels)
    kept = None if fmt.label_kind(spec) == "mask" else label_array(spec, meaning.labels)
    index = table_bytes(with_meaning(table, meaning.splits, meaning.folds, kept))
    write_atomically(folder / fmt.INDEX_NAME, index)
    moments = read_moments(store)
    by_layer = {layer.id: moments.layer(spec, layer.id) for layer in spec.layers}
    train = part_statistics(spec, by_layer, np.array([name == "train" for name in meaning.splits]))
    told = store.meta.provenance
    meta = store.meta.model_copy(
        update={
            "view": view8(plan),
            "labels": plan.labels,
            "pixels_in": "../..",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "title": fmt.title_of(
                spec,
                readable=store.meta.counts.samples - store.meta.counts.bad,
                synthetic=store.meta.synthetic is not None,
                subset=store.meta.subset != "",
            ),
            "spec": spec,
            "split_scheme": plan.split_scheme,
            "counts": store.meta.counts.model_copy(update={"splits": meaning.split_counts()}),
            "content": meaning.content(spec),
            "truth": meaning.truth(spec),
            "index": row_groups(index),
            "statistics": {"all": store.meta.statistics["all"], "train": train},
            "provenance": {name: one for name, one in told.items() if name != "was"} | dict(provenance or {}),
        }
    )
    seal(folder, meta, known={})


def _meaning(
    store: Store,
    plan: BuildPlan,
    splits: Mapping[str, str] | Assignment | None,
    labels: Mapping[str, ClassLabel] | None,
) -> Meaning:
    spec = plan.spec
    frame = store.read_index(["key", "sha256", "readable", "scene"])
    keys = [str(key) for key in frame["key"]]
    readable = frame["readable"].to_numpy(dtype=np.bool_)
    is_mask = fmt.label_kind(spec) == "mask"
    told = [store.class_of(i) for i in range(len(keys))] if is_mask or labels is None else [labels.get(k) for k in keys]
    facts = SampleFacts(keys, told, [str(scene) for scene in frame["scene"]])
    assigned, folds = assign(spec, plan.split_scheme, facts, published=splits)
    masks: Sequence[Mapping[int, int] | None] = read_moments(store).masks() if is_mask else [None] * len(keys)
    return Meaning(
        keys=keys,
        digests=list(frame["sha256"]),
        labels=[None] * len(keys) if is_mask else told,
        splits=[split if ok else "" for split, ok in zip(assigned, readable, strict=True)],
        folds=folds,
        readable=readable,
        masks=masks,
    )
