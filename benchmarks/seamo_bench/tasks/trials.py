"""What a store gives a protocol: task, labels, splits and statistics, as plain arrays. No torch, no pixels."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.identity import digest
from seamo.manifest import LabelSpace
from seamo.store.spatial import SPATIAL_EXAMPLE, parse_spatial
from seamo.store.splits import CV_SCHEME, SampleFacts, assign, cv_folds, is_computed
from seamo.store.subsets import rank, strata, take
from seamo_bench.facts import Budget, SplitFacts, TaskFacts, keys_sha256
from seamo_bench.predictions import Kind
from seamo_bench.protocol import Rows, Split
from seamo_bench.tasks.locate import centres_of

if TYPE_CHECKING:
    from seamo.store.samples import Samples

DENSE = ("segmentation", "change")  # kinds of task whose labels are masks
DEMO_SAMPLES = 64  # of each split, with `--budget demo`


def task_facts(store: "Samples", scheme: str, label_space: str = "") -> TaskFacts:
    """The task in one of its label spaces: the named one, the split scheme's own, or the default.

    A label space whose ids are pixels of a layer (`DatasetSpec.maps`) is a task of its own: segmentation.
    Of a dense task with two classes, the second one is positive (change, water); with more of them, a class called
    background is what the `_no_background` metrics leave out.

    Raises:
        ProtocolError: If the store has no labels.
        ManifestError: If it has no such label space, or lacks the layer with its ids.
    """
    spec = store.spec
    if spec.task.kind not in get_args(Kind):
        raise ProtocolError(f"has no labels to evaluate on (task {spec.task.kind})", spec.id)
    own = spec.splits[scheme].label_space if scheme in spec.splits else ""
    name = label_space or own or spec.task.label_space
    kind: Kind = spec.task.kind  # type: ignore[assignment]
    if spec.map_of(name):
        kind = "segmentation"
        spec.layer(spec.map_of(name))  # raises, where the store was built without it
    classes = spec.label_space(name).names
    background = positive = None
    if kind in DENSE:
        positive = 1 if len(classes) == 2 else None
        named = [position for position, one in enumerate(classes) if one.lower() == "background"]
        background = named[0] if named and positive is None else None
    return TaskFacts(kind=kind, classes=classes, label_space=name, background=background, positive=positive)


def labels_of(store: "Samples", task: TaskFacts) -> NDArray[Any]:
    """Labels of all rows: (N,) int64 class ids, -1 without one; or (N, K) uint8 multi-hot.

    Of masks it is the dominant class in the default label space, -1 where no pixel has a class; of masks that are a
    layer 0, -1 where the sample has none: enough to know which rows can be used.
    """
    layer = store.spec.map_of(task.label_space)
    if layer:
        return np.where(store.read_index([f"{layer}.valid"])[f"{layer}.valid"].to_numpy(), 0, -1).astype(np.int64)
    if task.kind in DENSE:
        return store.read_index(["dominant"])["dominant"].fillna(-1).to_numpy(dtype=np.int64)
    column = store.read_columns(["label"]).column("label").combine_chunks()
    space = store.spec.label_space(task.label_space)
    if task.kind == "single-label":
        return _mapped(np.nan_to_num(column.to_numpy(False), nan=-1).astype(np.int64), space)
    sizes = np.nan_to_num(pc.list_value_length(column).to_numpy(False)).astype(np.int64)  # NaN: no label
    rows = np.repeat(np.arange(len(column)), sizes)
    ids = _mapped(pc.list_flatten(column).to_numpy(False).astype(np.int64), space)
    hot = np.zeros((len(column), len(task.classes)), dtype=np.uint8)
    hot[rows[ids >= 0], ids[ids >= 0]] = 1
    return hot


def _mapped(ids: NDArray[np.int64], space: LabelSpace) -> NDArray[np.int64]:
    """Ids of a label space for those of the one that is stored; -1 where there is none."""
    if not space.source:
        return np.maximum(ids, -1)
    own = np.full(max(ids.max(initial=-1), -1) + 2, -1, dtype=np.int64)  # the last one is that of -1
    for one in range(len(own) - 1):
        own[one] = next(iter(space.map_from_source((one,))), -1)
    return own[np.maximum(ids, -1)]


def labelled(store: "Samples", labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows that count: those with a class, and those with an empty set of classes where the task says `negative`."""
    if labels.ndim == 1:
        return np.asarray(labels >= 0)
    some = labels.any(axis=1)
    if store.spec.task.no_class == "negative":
        some |= store.read_columns(["label"]).column("label").combine_chunks().is_valid().to_numpy(False)
    return np.asarray(some)


def left_out(store: "Samples", labels: NDArray[Any], scheme: str) -> dict[str, int]:
    """Split -> readable samples that belong to it and yet are in none, because they have no class in the label space.

    Of a cross-validation scheme it is the split `all`.
    """
    unused = ~labelled(store, labels)
    if not unused.any():
        return {}
    if scheme == CV_SCHEME:
        counts = {"all": int(unused[store.rows("all")].sum())}
    else:
        names = _split_names(store, scheme)
        counts = {name: int((unused & (names == name)).sum()) for name in ("train", "val", "test")}
    return {name: count for name, count in counts.items() if count}


def units_of(store: "Samples") -> NDArray[np.str_]:
    """Scene of every row, the unit that intervals resample; empty array if any is unknown."""
    if "scene" not in store.index:
        return np.empty(0, dtype=np.str_)
    scenes = store.index["scene"].fillna("").to_numpy(dtype=np.str_)
    return scenes if (scenes != "").all() else np.empty(0, dtype=np.str_)


def make_trials(
    store: "Samples", labels: NDArray[Any], *, scheme: str, fraction: float, salt: int, budget: Budget
) -> tuple[Split, ...]:
    """Rows of train, val and test of one seed; 25 trials for `cv5x5`.

    Args:
        store: The store.
        labels: From `labels_of`; rows that do not count (`labelled`) are in no split.
        scheme: Split scheme: the store's own, or one that follows from the keys or the places alone.
        fraction: Share of the training rows that is used.
        salt: Of the subset rule; the run's seed.
        budget: `demo` uses at most 64 samples of each split.

    Raises:
        ProtocolError: If the scheme is not the store's and cannot be computed, or a split is empty.
    """
    usable = labelled(store, labels)
    if scheme == CV_SCHEME:
        if fraction != 1.0:
            raise ProtocolError("cross-validation uses all labels; a fraction of them is not defined", scheme)
        return _cross_validation(store, usable, budget)
    names = _split_names(store, scheme)
    train = np.flatnonzero(names == "train").astype(np.int64)
    if fraction < 1.0 and len(train):
        own = scheme == store.meta.split_scheme
        train = store.rows("train", fraction, salt) if own else train[_subset(store, train, fraction, salt)]
    train = train[usable[train]]
    parts = [train, *(np.flatnonzero((names == name) & usable).astype(np.int64) for name in ("val", "test"))]
    for name, rows in zip(("train", "val", "test"), parts, strict=True):
        if not len(rows):
            raise ProtocolError(f"split {name} of {scheme} is empty", store.title, "Choose another split scheme.")
    if budget == "demo":
        parts = [_few(store, rows) for rows in parts]
    return (Split(parts[0], parts[1], parts[2]),)


def _split_names(store: "Samples", scheme: str) -> NDArray[Any]:
    own = store.meta.split_scheme
    if scheme == own:
        return _own_splits(store)
    if not is_computed(scheme):
        how = f"Build it with --splits {scheme}, or use {own}."
        if scheme.startswith("spatial"):
            how = f"Blocks and guard are whole km, the guard no more than a block: `split: {SPATIAL_EXAMPLE}`."
        raise ProtocolError(f"has split scheme {own}, not {scheme}", store.title, how)
    return _computed_splits(store, scheme)  # type: ignore[arg-type]  # stores are hashable


@lru_cache(maxsize=2)
def _computed_splits(store: "Samples", scheme: str) -> NDArray[np.str_]:
    """Kept for the cells that follow: distances between hundreds of thousands of samples take seconds."""
    facts = _facts(store, range(len(store)))
    readable = np.zeros(len(store), dtype=np.bool_)
    readable[store.rows("all")] = True
    if parse_spatial(scheme):
        facts = replace(facts, places=_places(store, readable, scheme))
    names, _ = assign(store.spec, scheme, facts)
    found = np.where(readable, np.array(names, dtype=np.str_), "")
    found.flags.writeable = False
    return found


def _places(store: "Samples", readable: NDArray[np.bool_], scheme: str) -> NDArray[np.float64]:
    """Centres of the samples that can be read: no other one guards a test sample."""
    places = np.where(readable[:, None], centres_of(store), np.nan)
    if not np.isfinite(places).all(axis=1).any():
        how = "Choose a split scheme that needs no places."
        raise ProtocolError(f"does not say where its samples lie, which split scheme {scheme} needs", store.title, how)
    return places


def _own_splits(store: "Samples") -> NDArray[np.str_]:
    column = store.read_columns(["split"]).column("split").combine_chunks().dictionary_encode()
    return np.asarray(np.array(column.dictionary.to_pylist(), dtype=np.str_)[column.indices.to_numpy()])


def _facts(store: "Samples", rows: Sequence[int] | Rows) -> SampleFacts:
    part = store.index.iloc[list(rows)]
    name = "dominant" if store.spec.task.kind in DENSE else "label"
    labels = [_hashable(label) for label in part[name].tolist()]
    scenes = part["scene"].fillna("").tolist() if "scene" in part else [""] * len(part)
    return SampleFacts(part["key"].tolist(), labels, scenes)


def _hashable(label: Any) -> int | tuple[int, ...] | None:
    if label is None or (isinstance(label, float) and np.isnan(label)):
        return None
    return int(label) if isinstance(label, int | float | np.number) else tuple(int(i) for i in label)


def _subset(store: "Samples", rows: Rows, fraction: float, salt: int) -> Rows:
    facts = _facts(store, rows)
    groups = strata(store.spec.task.kind, facts.labels, facts.scenes)
    return take(store.spec.id, facts.keys, groups, fraction=fraction, salt=salt)


def _few(store: "Samples", rows: Rows) -> Rows:
    if len(rows) <= DEMO_SAMPLES:
        return rows
    keys = store.index["key"].iloc[rows].tolist()
    order = sorted(range(len(rows)), key=lambda position: rank(store.spec.id, "demo", keys[position]))
    return np.sort(rows[order[:DEMO_SAMPLES]])


def _cross_validation(store: "Samples", usable: NDArray[np.bool_], budget: Budget) -> tuple[Split, ...]:
    rows = store.rows("all")
    rows = rows[usable[rows]]
    if "fold0" in store.index:
        folds = store.index.iloc[rows][[f"fold{repeat}" for repeat in range(5)]].to_numpy(dtype=np.int64)
    else:
        facts = _facts(store, rows)
        folds = cv_folds(store.spec.id, facts.keys, strata(store.spec.task.kind, facts.labels, facts.scenes))
    if budget == "demo":
        few = np.isin(rows, _few(store, rows))
        rows, folds = rows[few], folds[few]
    nothing = np.empty(0, dtype=np.int64)
    return tuple(
        Split(rows[folds[:, repeat] != fold], nothing, rows[folds[:, repeat] == fold], repeat, fold)
        for repeat in range(folds.shape[1])
        for fold in range(5)
    )


def sample_counts(trials: Sequence[Split]) -> dict[str, int]:
    """Split -> number of samples, as records say it; of a cross-validation scheme all of them."""
    if len(trials) == 1:
        return {"train": len(trials[0].train), "val": len(trials[0].val), "test": len(trials[0].test)}
    return {"all": len(trials[0].train) + len(trials[0].test)} if trials else {}


def tested_in_statistics(store: "Samples", trials: Sequence[Split]) -> float:
    """Share of the test samples, over all trials, that are in the train split on which the store's statistics rest.

    None, where the trials follow the store's own scheme. Folds of `cv5x5` and schemes computed from keys do not: 25
    folds would need features with 25 normalisations. Statistics know no labels, so this is said, not forbidden.
    """
    tested = np.concatenate([trial.test for trial in trials])
    return float((_own_splits(store)[tested] == "train").mean())


def split_facts(store: "Samples", trials: Sequence[Split], *, scheme: str, fraction: float, salt: int) -> SplitFacts:
    """What a record says about the samples that were used."""
    keys = store.read_columns(["key"]).column("key").combine_chunks()

    def sha256(rows: Rows) -> str:
        return keys_sha256(keys.take(rows).to_pylist())

    if len(trials) == 1:
        parts = {"train": trials[0].train, "val": trials[0].val, "test": trials[0].test}
        lists = {name: sha256(rows) for name, rows in parts.items()}
    else:
        folds = [[trial.repeat, trial.fold, sha256(trial.test)] for trial in trials]
        lists = {"all": sha256(np.union1d(trials[0].train, trials[0].test)), "folds": digest(folds)}
    # The salt changes nothing where all labels are used: the key must not either.
    return SplitFacts(scheme=scheme, lists=lists, fraction=fraction, salt=salt if fraction < 1.0 else 0)
