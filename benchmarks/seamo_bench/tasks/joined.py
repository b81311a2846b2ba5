"""Several stores as one, joined by key: sensors of the same places that were published as separate data sets.

The first store decides: its row order, labels, splits and subset rule hold for the joined one, so that a joint row
uses the very samples of the first store's own rows. What only one of the stores has is left out, and said.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.identity import digest
from seamo.sample import Sample
from seamo.store.format import LABEL, Counts, StoreMeta, label_kind
from seamo.store.reader import Store
from seamo.store.subsets import Subset, keys_sha256, strata, subset_name, take, take_seco
from seamo_bench.facts import StoreFacts
from seamo_bench.tasks.trials import store_facts

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


class JoinedStore(Store):
    """Samples that all of the stores have, with the layers of all.

    Read through `index`, `rows`, `read_layer` and what builds on them; pictures and georeferences are the parts'.

    Args:
        parts: Two stores or more. Every layer and sensor may be in one of them alone.

    Raises:
        StoreError: If they share a layer or a sensor, no key, or if their labels disagree.
    """

    def __init__(self, parts: Sequence[Store]) -> None:
        # No super().__init__: there is no folder behind this store, only those of its parts.
        self.parts = tuple(parts)
        self.path = self.parts[0].path
        names = " + ".join(part.title for part in self.parts)
        layers = [layer for part in self.parts for layer in part.spec.layers]
        for what, values in (
            ("layer", [layer.id for layer in layers]),
            ("sensor", [sensor for part in self.parts for sensor in {one.sensor for one in part.spec.layers}]),
        ):
            twice = sorted({one for one in values if values.count(one) > 1})
            if twice:
                raise StoreError(f"{what} {twice[0]} is in more than one of them", where=names)
        frames = [part.index for part in self.parts]
        there = set.intersection(*(set(frame["key"]) for frame in frames))
        keys = [key for key in frames[0]["key"] if key in there]
        if not keys:
            raise StoreError("have no sample in common", where=names, fix="They are joined by key.")
        self._rows = [np.array([part.row(key) for key in keys], dtype=np.int64) for part in self.parts]
        self._home = {layer.id: n for n, part in enumerate(self.parts) for layer in part.spec.layers}
        self._home[LABEL] = 0
        self._check_labels(names)
        self.meta = self._join_meta(names, len(keys))

    def __reduce__(self) -> tuple[Any, ...]:
        return JoinedStore, (self.parts,)

    @cached_property
    def index(self) -> "pd.DataFrame":
        """The first store's index, of the common samples; readable where all of them are."""
        frame = self.parts[0].index.iloc[self._rows[0]].reset_index(drop=True)
        frame["readable"] = self._readable()
        return frame

    def read_index(self, columns: list[str]) -> "pd.DataFrame":
        """Columns of the first store's index, of the common samples."""
        return self.parts[0].read_index(columns).iloc[self._rows[0]].reset_index(drop=True)

    def row(self, key: str) -> int:
        """Row of a key."""
        found = np.flatnonzero(self._rows[0] == self.parts[0].row(key))
        if not len(found):
            raise StoreError(f"no sample {key!r} in all of them", where=self.title)
        return int(found[0])

    def subset(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> Subset:
        """Rows of a split by the first store's scheme and data set id."""
        index = self.index
        inside = index["readable"] if split == "all" else (index["split"] == split) & index["readable"]
        rows = np.flatnonzero(inside.to_numpy(dtype=np.bool_))
        if split != "all" and (split not in self.meta.counts.splits or not split):
            raise StoreError(f"no split {split!r} in scheme {self.meta.split_scheme}", self.title)
        keys = index["key"].to_numpy(dtype=np.str_)
        if salt == "seco" and fraction != 1.0:
            rows = rows[take_seco(len(rows), fraction)]
        elif fraction != 1.0:
            column = "dominant" if label_kind(self.spec) == "mask" else "label"
            groups = strata(
                self.spec.task.kind,
                [_plain(value) for value in index[column].iloc[rows].tolist()],
                [str(scene) for scene in index["scene"].iloc[rows]],
            )
            rows = rows[take(self.spec.id, keys[rows].tolist(), groups, fraction=fraction, salt=salt)]
        return Subset(subset_name(split, fraction, salt), rows.astype(np.int64), keys_sha256(keys[rows].tolist()))

    def shape(self, i: int, layer: str) -> tuple[int, ...]:
        """True shape of one sample's layer."""
        part, row = self._place(i, layer)
        return part.shape(row, layer)

    def is_valid(self, i: int, layer: str) -> bool:
        """Whether the sample has this layer."""
        part, row = self._place(i, layer)
        return part.is_valid(row, layer)

    def read_layer(self, i: int, layer: str, out: Array | None = None) -> Array:
        """One layer of one sample, from the store that has it; `label` from the first."""
        part, row = self._place(i, layer)
        return part.read_layer(row, layer, out)

    def read_label(self, i: int) -> int | tuple[int, ...] | NDArray[np.uint8] | None:
        """The first store's label."""
        return self.parts[0].read_label(int(self._rows[0][i]))

    def read_times(self, i: int) -> dict[str, NDArray[np.datetime64]]:
        """Dates of the stacks of all stores."""
        found: dict[str, NDArray[np.datetime64]] = {}
        for part, rows in zip(self.parts, self._rows, strict=True):
            found |= part.read_times(int(rows[i]))
        return found

    def __getitem__(self, i: int) -> Sample:
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        raise StoreError("samples are read from the stores that were joined", where=self.title)

    def _place(self, i: int, layer: str) -> tuple[Store, int]:
        home = self._home.get(layer)
        if home is None:
            raise StoreError(f"no layer {layer!r}", where=self.title, fix=f"Layers: {', '.join(self._home)}.")
        return self.parts[home], int(self._rows[home][i])

    def _readable(self) -> NDArray[np.bool_]:
        readable = np.ones(len(self._rows[0]), dtype=np.bool_)
        for part, rows in zip(self.parts, self._rows, strict=True):
            readable &= part.index["readable"].to_numpy(dtype=np.bool_)[rows]
        return readable

    def _check_labels(self, names: str) -> None:
        first = self.parts[0]
        space = first.spec.label_space().names if first.spec.task.label_space else ()
        column = "dominant" if label_kind(first.spec) == "mask" else "label"
        ours = [_plain(value) for value in first.index[column].iloc[self._rows[0]].tolist()]
        for part, rows in zip(self.parts[1:], self._rows[1:], strict=True):
            theirs = part.spec.label_space().names if part.spec.task.label_space else ()
            if part.spec.task.kind != first.spec.task.kind or theirs != space:
                raise StoreError("have different tasks or classes", where=names)
            values = [_plain(value) for value in part.index[column].iloc[rows].tolist()]
            wrong = sum(a != b for a, b in zip(ours, values, strict=True))
            if wrong:
                raise StoreError(f"disagree about the labels of {wrong} samples", names, "The keys do not fit.")

    def _join_meta(self, names: str, count: int) -> StoreMeta:
        first = self.parts[0].meta
        metas = [part.meta for part in self.parts]
        layers = tuple(layer for part in self.parts for layer in part.spec.layers)
        index = self.parts[0].index.iloc[self._rows[0]]
        sizes = {name: int((index["split"] == name).sum()) for name in first.counts.splits}
        most = max(len(part) for part in self.parts)
        subset = [f"{meta.id}: {meta.subset}" for meta in metas if meta.subset]
        subset += [f"{count:,} samples are in all of them, of at most {most:,}"] if count < most else []
        statistics: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        for meta in metas:
            for split, by_layer in meta.statistics.items():
                statistics[split] = {**statistics.get(split, {}), **by_layer}
        return first.model_copy(
            update={
                "title": names,
                "spec": first.spec.model_copy(update={"layers": layers}),
                "synthetic": next((meta.synthetic for meta in metas if meta.synthetic is not None), None),
                "subset": "; ".join(subset),
                "counts": Counts(
                    samples=count,
                    bad=int((~self._readable()).sum()),
                    published=first.counts.published,
                    splits=sizes,
                    without={layer: n for meta in metas for layer, n in meta.counts.without.items()},
                ),
                "content": digest({"joined": [meta.content for meta in metas]}),
                "statistics": statistics,
            }
        )


def parts_of(store: Store) -> tuple[Store, ...]:
    """The stores behind a store: itself, or those that were joined."""
    return store.parts if isinstance(store, JoinedStore) else (store,)


def titles_of(store: Store) -> tuple[str, ...]:
    """Titles of the stores behind a store."""
    return tuple(part.title for part in parts_of(store))


def stores_facts(store: Store) -> tuple[StoreFacts, ...]:
    """What a record says about the stores behind a store."""
    return tuple(store_facts(part) for part in parts_of(store))


def no_stores(datasets: Sequence[str]) -> tuple[StoreFacts, ...]:
    """What a record says about stores that are not there."""
    return tuple(StoreFacts(id=name, content="") for name in datasets)


def _plain(value: Any) -> int | tuple[int, ...] | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, int | float | np.number):
        return None if value < 0 else int(value)
    return tuple(int(one) for one in value)
