"""Digests of who is in a split and which label each has: by them a record is judged where the pixels are not at hand.

Keys: the sha256 of the sorted keys, joined by newlines. Labels, in one label space: the sha256 of the sorted lines
`key<TAB>label`, joined by newlines, where a label is a class id, the sorted ids of a set joined by commas, `-` where
there is none, or for masks the pixels of every class that occurs as `id:count`, sorted by id and joined by commas,
without pixels that are ignored.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import DatasetSpec, LabelSpace
from seamo.store.content import label_text
from seamo.store.meta import SplitTruth

EVERYTHING = "all"  # every readable sample, beside the splits
Labels = Sequence[int | tuple[int, ...] | Mapping[int, int] | None]


def keys_digest(keys: Iterable[str]) -> str:
    """Digest of a set of keys.

    Example:
        >>> keys_digest(["b", "a"]) == keys_digest(["a", "b"])
        True
    """
    return _digest(keys)


def labels_digest(keys: Sequence[str], labels: Labels) -> str:
    """Digest of the labels of some samples, in one label space.

    Args:
        keys: Of the samples.
        labels: Class id, set of ids, class id -> pixels of a mask, or None, of each.
    """
    return _digest(f"{key}\t{line_text(label)}" for key, label in zip(keys, labels, strict=True))


def line_text(label: int | tuple[int, ...] | Mapping[int, int] | None) -> str:
    """A label as its line has it.

    Example:
        >>> [line_text(one) for one in (3, (0, 2), None, {1: 20, 0: 4})]
        ['3', '0,2', '-', '0:4,1:20']
    """
    if isinstance(label, Mapping):
        return ",".join(f"{number}:{label[number]}" for number in sorted(label))
    return label_text(label)


def in_space(
    label: int | tuple[int, ...] | Mapping[int, int] | None, space: LabelSpace
) -> int | tuple[int, ...] | Mapping[int, int] | None:
    """A label of the stored space in one that derives from it; a class that has none there is no label, or ignored."""
    if label is None or not space.source:
        return label
    if isinstance(label, Mapping):
        counts = {own: sum(label.get(one, 0) for one in theirs) for own, theirs in space.derived.items()}
        return {own: count for own, count in counts.items() if count}
    ids = space.map_from_source(label if isinstance(label, tuple) else (label,))
    return ids if isinstance(label, tuple) else ids[0] if ids else None


def label_spaces(spec: DatasetSpec) -> tuple[str, ...]:
    """The label spaces in which a store's labels can be told: the stored one and what derives from it."""
    own = spec.task.label_space
    if not own:
        return ()
    derived = [name for name, space in spec.label_spaces.items() if space.source == own]
    return (own, *derived)


def truth_of(
    spec: DatasetSpec,
    keys: Sequence[str],
    *,
    labels: Labels,
    splits: Sequence[str],
    readable: NDArray[np.bool_],
) -> dict[str, SplitTruth]:
    """The truth of every split, and of `all`.

    Args:
        spec: Of the store.
        keys: Of every row.
        labels: In the stored space; of masks class id -> pixels.
        splits: Of every row; "" for none.
        readable: Whether a row's sample could be read.
    """
    named = {split: np.flatnonzero(np.asarray(splits) == split).tolist() for split in sorted(set(splits)) if split}
    named[EVERYTHING] = np.flatnonzero(readable).tolist()
    result = {}
    for split, rows in named.items():
        chosen = [keys[row] for row in rows]
        spaces = {}
        for name in label_spaces(spec):
            space = spec.label_space(name)
            told = [labels[row] for row in rows]
            mapped = [in_space(one, space) for one in told]
            spaces[name] = labels_digest(chosen, mapped)
        result[split] = SplitTruth(rows=len(rows), keys=keys_digest(chosen), labels=spaces)
    return result


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
