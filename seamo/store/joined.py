"""Several stores as one, joined by key: sensors of the same places that were published as separate data sets.

The first store decides: its row order, labels, splits and subset rule hold for the joined one, so that a joint row
uses the very samples of the first store's own rows. What only one of the stores has is left out, and said.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.identity import digest
from seamo.licences import joined_terms
from seamo.sample import GeoRef, Label, Sample
from seamo.store.faces import Faces
from seamo.store.format import LABEL, finest_layer
from seamo.store.meta import Counts, SaidByMeta, StoreMeta
from seamo.store.reader import Store
from seamo.store.subsets import AboutRows, Subset, draw

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


class JoinedStore(SaidByMeta, Faces):
    """Samples that all of the stores have, with the layers of all. No store itself: it has no folder, only parts.

    It has what `Samples` and `Faces` say; files, their checks and what is written about them are the parts'.

    Args:
        parts: Two stores or more. Every layer, stack and sensor may be in one of them alone.

    Raises:
        StoreError: If they share a layer, a stack or a sensor, no key, or if their labels disagree.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> optical, radar = tiny_store(layers=["s2"]), tiny_store(layers=["s1"])
        >>> joined = JoinedStore([optical, radar])
        >>> joined.spec.stacks, len(joined), joined[0].layers["s1"].shape
        (('s2', 's1'), 12, (2, 2, 24, 24))
    """

    def __init__(self, parts: Sequence[Store]) -> None:
        self.parts = tuple(parts)
        names = " + ".join(part.title for part in self.parts)
        layers = [layer for part in self.parts for layer in part.spec.layers]
        for what, values in (
            ("layer", [layer.id for layer in layers]),
            ("stack", [stack for part in self.parts for stack in part.spec.stacks]),
            ("sensor", [sensor for part in self.parts for sensor in {layer.sensor for layer in part.spec.layers}]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
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

    def __len__(self) -> int:
        return self.meta.counts.samples

    @cached_property
    def index(self) -> "pd.DataFrame":
        """The first store's index, of the common samples; readable where all of them are."""
        frame = self.parts[0].index.iloc[self._rows[0]].reset_index(drop=True)
        frame["readable"] = self._readable()
        return frame

    def read_index(self, columns: list[str]) -> "pd.DataFrame":
        """Columns of the first store's index, of the common samples."""
        return self.parts[0].read_index(columns).iloc[self._rows[0]].reset_index(drop=True)

    def read_columns(self, columns: list[str]) -> Any:
        """The same as an Arrow table."""
        return self.parts[0].read_columns(columns).take(self._rows[0])

    def row(self, key: str) -> int:
        """Row of a key.

        Raises:
            StoreError: If not all of the stores have it.
        """
        rows = np.flatnonzero(self._rows[0] == self.parts[0].row(key))
        if not len(rows):
            raise StoreError(f"no sample {key!r} in all of them", where=self.title)
        return int(rows[0])

    def rows(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> NDArray[np.int64]:
        """Rows of a split by the first store's scheme: see `Store.rows`."""
        return self.subset(split, fraction, salt).rows

    def subset(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> Subset:
        """Rows of a split by the first store's scheme and data set id.

        Raises:
            StoreError: If the scheme has no such split.
        """
        index = self.index
        inside = index["readable"] if split == "all" else (index["split"] == split) & index["readable"]
        rows = np.flatnonzero(inside.to_numpy(dtype=np.bool_))
        if split != "all" and (split not in self.meta.counts.splits or not split):
            raise StoreError(f"no split {split!r} in scheme {self.meta.split_scheme}", self.title)
        return draw(
            self.spec,
            split,
            rows,
            fraction=fraction,
            salt=salt,
            about=AboutRows(
                keys=lambda rows: [str(key) for key in index["key"].iloc[rows]],
                label=lambda row: self.parts[0].class_of(int(self._rows[0][row])),
                scene=lambda row: str(index["scene"].iloc[row]),
            ),
        )

    def rows_in(self, part: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of some samples in one of the stores."""
        return self._rows[part][rows]

    def with_parts(self, parts: Mapping[int, Store]) -> "JoinedStore":
        """The same samples, some of the stores exchanged for ones that hold the same."""
        other = copy.copy(self)
        other.parts = tuple(parts.get(n, part) for n, part in enumerate(self.parts))
        return other

    def shape(self, i: int, layer: str) -> tuple[int, ...]:
        """True shape of one sample's layer."""
        part, row = self._place(i, layer)
        return part.shape(row, layer)

    def is_valid(self, i: int, layer: str) -> bool:
        """Whether the sample has this layer."""
        part, row = self._place(i, layer)
        return part.is_valid(row, layer)

    def are_valid(self, rows: NDArray[np.int64], layer: str) -> NDArray[np.bool_]:
        """`is_valid` of several samples, (n,)."""
        home = self._home[layer]
        return self.parts[home].are_valid(self._rows[home][rows], layer)

    def dates_of(self, rows: NDArray[np.int64], stack: str) -> NDArray[np.datetime64]:
        """Dates of several samples, of the store that has the stack."""
        home = self._home[self.spec.stack_layers(stack)[0].id]
        return self.parts[home].dates_of(self._rows[home][rows], stack)

    def read_layer(self, i: int, layer: str, out: Array | None = None, *, date: int | None = None) -> Array:
        """One layer of one sample, from the store that has it; `label` from the first."""
        part, row = self._place(i, layer)
        return part.read_layer(row, layer, out, date=date)

    def read_label(self, i: int) -> Label:
        """The first store's label."""
        return self.parts[0].read_label(int(self._rows[0][i]))

    def read_times(self, i: int) -> dict[str, NDArray[np.datetime64]]:
        """Dates of the stacks of all stores."""
        times: dict[str, NDArray[np.datetime64]] = {}
        for part, rows in zip(self.parts, self._rows, strict=True):
            times |= part.read_times(int(rows[i]))
        return times

    def read_geo(self, i: int) -> GeoRef | None:
        """The georeference of the finest grid: the first store's, unless another one's pixels are smaller."""
        part, row = self._place(i, finest_layer(self.spec).id)
        return part.read_geo(row)

    def read_sample(self, i: int) -> Sample:
        """One whole sample, by its row."""
        samples = [part.read_sample(int(rows[i])) for part, rows in zip(self.parts, self._rows, strict=True)]
        layers = {layer: pixels for sample in samples for layer, pixels in sample.layers.items()}
        return replace(samples[0], layers=layers, time=self.read_times(i), geo=self.read_geo(i))

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
        ours = [first.class_of(int(row)) for row in self._rows[0]]
        for part, rows in zip(self.parts[1:], self._rows[1:], strict=True):
            theirs = part.spec.label_space().names if part.spec.task.label_space else ()
            if part.spec.task.kind != first.spec.task.kind or theirs != space:
                raise StoreError("have different tasks or classes", where=names)
            others = [part.class_of(int(row)) for row in rows]
            wrong = sum(mine != other for mine, other in zip(ours, others, strict=True))
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
                "spec": first.spec.model_copy(update={"layers": layers, **joined_terms([meta.spec for meta in metas])}),
                "synthetic": next((meta.synthetic for meta in metas if meta.synthetic is not None), None),
                "subset": "; ".join(subset),
                "counts": Counts(
                    samples=count,
                    bad=int((~self._readable()).sum()),
                    published=first.counts.published,
                    splits=sizes,
                    without={layer: n for meta in metas for layer, n in meta.counts.without.items()},
                ),
                "pixels": digest({"joined": [meta.pixels for meta in metas]}),
                "content": digest({"joined": [meta.content for meta in metas]}),
                "arrays": {layer: facts for meta in reversed(metas) for layer, facts in meta.arrays.items()},
                "bands": {layer: facts for meta in metas for layer, facts in meta.bands.items()},
                "statistics": statistics,
            }
        )
