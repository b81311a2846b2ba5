"""Several stores as one that holds the samples of all: what a mixture is drawn from.

Unlike `seamo.store.joined`, which has the same samples' layers from several stores, this has the samples of one store
behind those of another, all with the same layers. Labels are left out: what is learned from a mixture are pixels.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.identity import digest
from seamo.licences import joined_terms
from seamo.manifest import LayerSpec, TaskSpec
from seamo.sample import GeoRef, Label
from seamo.store.format import padding_value
from seamo.store.meta import Counts, SaidByMeta, StoreMeta
from seamo.store.reader import Store
from seamo.store.subsets import AboutRows, Subset, draw

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
_ALIKE = ("stack", "sensor", "product", "bands", "gsd_m", "dtype", "unit", "fill", "size")
_FIX = "Mix stores that were built alike, or pretrain on one of them."


class MixedStore(SaidByMeta):
    """The samples of several stores, one store behind the other, restricted to layers that all have alike.

    It has what `Samples` says, labels apart. Where stores differ in their number of dates, it has the most, and a
    sample that has fewer lacks the last ones.

    Args:
        parts: Two stores or more, no two with the same pixels.
        layers: Ids of layers, of every one of them.
        same_dates: Refuse stores that differ in their number of dates.

    Raises:
        StoreError: If two of them hold the same samples, or differ in a layer: names both, and the difference.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> one, other = tiny_store(), tiny_store(samples=6)
        >>> mixed = MixedStore([one, other], ["s1"])
        >>> len(mixed), mixed.read_layer(12, "s1").tolist() == other.read_layer(0, "s1").tolist()
        (18, True)
    """

    def __init__(self, parts: Sequence[Store], layers: Sequence[str], *, same_dates: bool = True) -> None:
        self.parts = tuple(parts)
        first = self.parts[0]
        for n, part in enumerate(self.parts):
            for other in self.parts[:n]:
                if part.pixels == other.pixels:
                    raise StoreError("hold the same samples", _both(other, part), "Name each store once.")
            _check_alike(first, part, layers, same_dates=same_dates)
        self._layers, self._same_dates = tuple(layers), same_dates
        self._begins = np.cumsum([0, *(len(part) for part in self.parts)])
        self.meta = self._mix_meta()

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.parts, self._layers, self._same_dates)

    def __repr__(self) -> str:
        return f"MixedStore({self.title!r})"

    def __len__(self) -> int:
        return int(self._begins[-1])

    @cached_property
    def index(self) -> "pd.DataFrame":
        """What all of them have in their index, one behind the other; a key may come more than once."""
        return self._behind_one_another([part.index for part in self.parts])

    def read_index(self, columns: list[str]) -> "pd.DataFrame":
        """Columns of the index, one store behind the other."""
        return self._behind_one_another([part.read_index(columns) for part in self.parts])

    def read_columns(self, columns: list[str]) -> Any:
        """The same as an Arrow table."""
        import pyarrow as pa

        return pa.concat_tables([part.read_columns(columns).replace_schema_metadata(None) for part in self.parts])

    def row(self, key: str) -> int:
        """Row of a key that one of the stores has; of several, the first's.

        Raises:
            StoreError: If none of them has it.
        """
        for part, begin in zip(self.parts, self._begins, strict=False):
            try:
                return int(begin) + part.row(key)
            except StoreError:
                continue
        raise StoreError(f"no sample {key!r} in any of them", where=self.title)

    def rows(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> NDArray[np.int64]:
        """Rows of a split of all stores, each by its own scheme."""
        return self.subset(split, fraction, salt).rows

    def subset(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> Subset:
        """Rows of a split of all stores, each by its own scheme; drawn from together."""
        found = [begin + part.rows(split) for part, begin in zip(self.parts, self._begins, strict=False)]
        index = self.index
        return draw(
            self.spec,
            split,
            np.concatenate(found),
            fraction=fraction,
            salt=salt,
            about=AboutRows(
                keys=lambda rows: [str(key) for key in index["key"].iloc[rows]],
                label=lambda _: None,
                scene=lambda row: str(index["scene"].iloc[row]),
            ),
        )

    def rows_in(self, part: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows in one of the stores, of those samples that it holds."""
        first, behind = self._begins[part : part + 2]
        return np.asarray(rows[(rows >= first) & (rows < behind)] - first)

    def with_parts(self, parts: Mapping[int, Store]) -> "MixedStore":
        """The same samples, some of the stores exchanged for ones that hold the same."""
        other = copy.copy(self)
        other.parts = tuple(parts.get(n, part) for n, part in enumerate(self.parts))
        return other

    def shape(self, i: int, layer: str) -> tuple[int, ...]:
        """True shape of one sample's layer; its own number of dates."""
        part, row = self._place(i)
        return part.shape(row, layer)

    def is_valid(self, i: int, layer: str) -> bool:
        """Whether the sample has this layer."""
        part, row = self._place(i)
        return part.is_valid(row, layer)

    def are_valid(self, rows: NDArray[np.int64], layer: str) -> NDArray[np.bool_]:
        """`is_valid` of several samples, (n,)."""
        found = np.empty(len(rows), dtype=np.bool_)
        for part, at, theirs in self._by_part(rows):
            found[at] = part.are_valid(theirs, layer)
        return found

    def dates_of(self, rows: NDArray[np.int64], stack: str) -> NDArray[np.datetime64]:
        """Dates of several samples, NaT where a sample's store has no such date."""
        found = np.full((len(rows), self.spec.num_times(stack)), np.datetime64("NaT"), dtype="datetime64[s]")
        for part, at, theirs in self._by_part(rows):
            dates = part.dates_of(theirs, stack)
            found[at, : dates.shape[1]] = dates
        return found

    def read_layer(self, i: int, layer: str, out: Array | None = None, *, date: int | None = None) -> Array:
        """One layer of one sample; dates that its store does not have are fill."""
        part, row = self._place(i)
        spec = self.spec.layer(layer)
        times = part.spec.layer(layer).times
        if times == spec.times or (date is not None and date < times):
            return part.read_layer(row, layer, out, date=date)
        if date is not None:
            target = np.empty((1, *part.shape(row, layer)[1:]), dtype=spec.dtype) if out is None else out
            target[...] = padding_value(spec)
            return target
        if out is None:
            out = np.empty((spec.times, *part.shape(row, layer)[1:]), dtype=spec.dtype)
        part.read_layer(row, layer, out[:times])
        out[times:] = padding_value(spec)
        return out

    def read_label(self, i: int) -> Label:  # noqa: ARG002 - as `Samples` has it
        """None: labels are left out."""
        return None

    def read_times(self, i: int) -> dict[str, NDArray[np.datetime64]]:
        """Dates of the stacks that are mixed, NaT where the sample's store has no such date."""
        part, row = self._place(i)
        found = {}
        for stack, dates in part.read_times(row).items():
            if stack in self.spec.stacks:
                found[stack] = np.full(self.spec.num_times(stack), np.datetime64("NaT"), dtype=dates.dtype)
                found[stack][: len(dates)] = dates
        return found

    def read_geo(self, i: int) -> GeoRef | None:
        """The georeference of the finest grid of the sample's store."""
        part, row = self._place(i)
        return part.read_geo(row)

    def _place(self, i: int) -> tuple[Store, int]:
        n = int(np.searchsorted(self._begins, i, side="right")) - 1
        return self.parts[n], i - int(self._begins[n])

    def _by_part(self, rows: NDArray[np.int64]) -> Iterator[tuple[Store, NDArray[np.int64], NDArray[np.int64]]]:
        """Every store of which there are samples, where they stand in `rows`, and their rows in it."""
        homes = np.searchsorted(self._begins, rows, side="right") - 1
        for n in np.unique(homes):
            at = np.flatnonzero(homes == n)
            yield self.parts[n], at, rows[at] - self._begins[n]

    def _behind_one_another(self, frames: "list[pd.DataFrame]") -> "pd.DataFrame":
        import pandas as pd

        return pd.concat(frames, join="inner", ignore_index=True)

    def _mix_meta(self) -> StoreMeta:
        metas = [part.meta for part in self.parts]
        first = metas[0]
        most = {name: max(meta.spec.layer(name).times for meta in metas) for name in self._layers}
        spec = first.spec.only_layers(self._layers)
        layers = tuple(layer.model_copy(update={"times": most[layer.id]}) for layer in spec.layers)
        plain = {"layers": layers, "task": TaskSpec(kind="pretrain"), "maps": {}}
        names = dict.fromkeys(split for meta in metas for split in meta.counts.splits)
        published = [meta.counts.published for meta in metas]
        return first.model_copy(
            update={
                "title": " + ".join(meta.title for meta in metas),
                "spec": spec.model_copy(update={**plain, **joined_terms([meta.spec for meta in metas])}),
                "synthetic": next((meta.synthetic for meta in metas if meta.synthetic is not None), None),
                "subset": "; ".join(f"{meta.id}: {meta.subset}" for meta in metas if meta.subset),
                "counts": Counts(
                    samples=len(self),
                    bad=sum(meta.counts.bad for meta in metas),
                    published=None if None in published else sum(one or 0 for one in published),
                    splits={name: sum(meta.counts.splits.get(name, 0) for meta in metas) for name in names},
                    without={name: sum(meta.counts.without.get(name, 0) for meta in metas) for name in self._layers},
                ),
                "pixels": digest({"mixed": [meta.pixels for meta in metas]}),
                "content": digest({"mixed": [meta.content for meta in metas]}),
                "statistics": {},  # of which mixture: `seamo.inputs.statistics.mixed_statistics`
                "truth": {},
            }
        )


def _made(parts: Sequence[Store], layers: Sequence[str], same_dates: bool) -> MixedStore:
    return MixedStore(parts, layers, same_dates=same_dates)


def _both(one: Store, other: Store) -> str:
    return f"{one.title} ({one.url}) and {other.title} ({other.url})"


def _check_alike(first: Store, other: Store, layers: Sequence[str], *, same_dates: bool) -> None:
    theirs = {layer.id: layer for layer in other.spec.layers}
    for name in layers:
        one = first.spec.layer(name)
        if name not in theirs:
            there = ", ".join(theirs)
            raise StoreError(f"only the first has layer {name}, the second has {there}", _both(first, other), _FIX)
        for field in (*_ALIKE, *(("times",) if same_dates else ())):
            if getattr(one, field) != getattr(theirs[name], field):
                what = f"layer {name} differs in {field}: {_told(one, field)} and {_told(theirs[name], field)}"
                raise StoreError(what, _both(first, other), _FIX)


def _told(layer: LayerSpec, field: str) -> str:
    value = getattr(layer, field)
    if field == "bands":
        return " ".join(value)
    return str(getattr(value, "value", value))
