"""Subsets (1 %, 5 %, 10 %): the one rule by which every data set gets them, without a list.

Within each stratum the keys are sorted by sha256(`<dataset-id>:<salt>:<key>`) and the first ceil(p * n) are taken.
Stratum: the class; the label set (sets with fewer than 20 samples merged) for multi-label; the dominant class of a
mask; the scene for change. A smaller subset lies inside a larger one of the same salt.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.manifest import DatasetSpec, TaskKind

RARE_SET = 20  # label sets with fewer samples than this form one stratum


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Rows of a split, with the name and the digest that go into every record.

    Args:
        name: `train`, `train-10pct-salt0`, `train-10pct-seco`.
        rows: Rows of the store, ascending (drawn order, with repeats, for `seco`).
        sha256: Of the keys in the order of `rows`, joined by newlines.
    """

    name: str
    rows: NDArray[np.int64]
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class AboutRows:
    """What the rule asks about rows of a store, and only where it must.

    Args:
        keys: Rows -> their keys.
        label: Row -> class id, set of ids, or dominant class of the mask; None if unlabelled.
        scene: Row -> scene.
    """

    keys: Callable[[NDArray[np.int64]], Sequence[str]]
    label: Callable[[int], int | tuple[int, ...] | None]
    scene: Callable[[int], str]


def draw(
    spec: DatasetSpec, split: str, rows: NDArray[np.int64], *, fraction: float, salt: int | str, about: AboutRows
) -> Subset:
    """The subset of a split's rows by the rule above, or by SeCo's; `split` is its name, the rest as of `draw_rows`."""
    drawn = draw_rows(spec, rows, fraction=fraction, salt=salt, about=about)
    return Subset(subset_name(split, fraction, salt), drawn, keys_sha256(about.keys(drawn)))


def draw_rows(
    spec: DatasetSpec, rows: NDArray[np.int64], *, fraction: float, salt: int | str, about: AboutRows
) -> NDArray[np.int64]:
    """The rows of a subset, without the digest of its keys; of a whole split nothing is asked.

    Args:
        spec: Of the data set: its id goes into the hash, its task decides what a stratum is.
        rows: Of the whole split, ascending.
        fraction: Between 0 and 1; 1 takes all.
        salt: Another subset of the same size; `seco` for `take_seco`.
        about: What the rule asks.
    """
    if salt == "seco" and fraction != 1.0:
        rows = rows[take_seco(len(rows), fraction)]
    elif fraction != 1.0:
        some = [int(row) for row in rows]
        groups = strata(spec.task.kind, [about.label(row) for row in some], [about.scene(row) for row in some])
        rows = rows[take(spec.id, about.keys(rows), groups, fraction=fraction, salt=salt)]
    return rows.astype(np.int64)


def rank(dataset_id: str, salt: str | int, key: str) -> bytes:
    """The sha256 by which keys are sorted."""
    return hashlib.sha256(f"{dataset_id}:{salt}:{key}".encode()).digest()


def keys_sha256(keys: Sequence[str]) -> str:
    """Digest of a list of keys."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def strata(task: TaskKind, labels: Sequence[int | tuple[int, ...] | None], scenes: Sequence[str]) -> list[Hashable]:
    """The stratum of every sample.

    Args:
        task: Kind of the task; decides what a stratum is.
        labels: Class id, sorted set of ids, or the dominant class of the mask; None if unlabelled.
        scenes: Scene of every sample.
    """
    if task == "change":
        return list(scenes)
    if task != "multi-label":
        return list(labels)
    sizes = Counter(labels)
    return [label if sizes[label] >= RARE_SET else "rare" for label in labels]


def take(
    dataset_id: str, keys: Sequence[str], groups: Sequence[Hashable], *, fraction: float, salt: str | int = 0
) -> NDArray[np.int64]:
    """Positions (ascending) of the keys that the rule takes.

    Args:
        dataset_id: Goes into the hash.
        keys: The candidates (the training keys).
        groups: Stratum of each, from `strata` over the same candidates.
        fraction: Between 0 and 1.
        salt: 0 is the default, 1 to 4 serve as seeds.

    Raises:
        UsageError: For a fraction outside (0, 1].

    Example:
        >>> keys = [f"k{i}" for i in range(20)]
        >>> groups = ["water"] * 5 + ["forest"] * 15
        >>> small = take("toy", keys, groups, fraction=0.1)
        >>> len(small), set(small.tolist()) <= set(take("toy", keys, groups, fraction=0.5).tolist())
        (3, True)
    """
    if not 0.0 < fraction <= 1.0:
        raise UsageError(f"fraction {fraction} is not in (0, 1]", where="subset")
    share = Fraction(str(fraction))  # 0.1 * 30 is a little more than 3 in floating point, and ceil would take 4
    members: dict[Hashable, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    taken: list[int] = []
    for group_members in members.values():
        ordered = sorted(group_members, key=lambda position: rank(dataset_id, salt, keys[position]))
        taken += ordered[: math.ceil(share * len(ordered))]
    return np.sort(np.array(taken, dtype=np.int64))


def take_seco(num: int, fraction: float) -> NDArray[np.int64]:
    """The rule of SeCo, SSL4EO-S12 and FGMAE: numpy `default_rng(42)`, with replacement, in index order.

    About 9.5 % of the rows are distinct at 10 %. For comparison with published numbers only.

    Raises:
        UsageError: If the fraction is not in (0, 1].
    """
    if not 0.0 < fraction <= 1.0:
        raise UsageError(f"fraction {fraction} is not in (0, 1]", where="subset")
    return np.random.default_rng(42).choice(range(num), size=int(fraction * num)).astype(np.int64)


def subset_name(split: str, fraction: float, salt: int | str) -> str:
    """Name of a subset: `train`, `train-10pct-salt0`, `train-10pct-seco`.

    Example:
        >>> subset_name("train", 1.0, 0), subset_name("train", 0.1, 3), subset_name("train", 0.01, "seco")
        ('train', 'train-10pct-salt3', 'train-1pct-seco')
    """
    if fraction == 1.0:
        return split
    percent = f"{float(Fraction(str(fraction)) * 100):g}"
    return f"{split}-{percent}pct-seco" if salt == "seco" else f"{split}-{percent}pct-salt{salt}"
