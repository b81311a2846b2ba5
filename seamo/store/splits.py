"""Split schemes: which sample is train, val or test. Pure functions of keys, labels and scenes.

* Published lists (`official`, ...): a mapping key -> split; what is not in it, or excluded, belongs to no split.
  Where only train and test are published, 10 % of train becomes val (`SplitSpec.val_from_train`): whole scenes where
  the scene of every training sample is known, else by the subset rule with salt `val`.
* `hash-60-20-20`: by the hash of the key alone. Not by scene: a sample's split must not change when others come.
* `cv5x5`: five stratified folds, five times; `fold0`..`fold4` hold the fold (0 to 4) of each sample in each
  repetition. `split` holds repetition 0: fold 0 is test, fold 1 is val, the rest is train.
* `none`: every sample is train.
* `spatial-20km-2km`, and other sizes: blocks of land (`seamo.store.spatial`). They need the samples' places, which a
  store has when it is built, so they are made when it is evaluated, and no store is built with them.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seamo.earth import Floats
from seamo.errors import StoreError
from seamo.manifest import DatasetSpec
from seamo.store.spatial import SPATIAL_EXAMPLE, parse_spatial, spatial_splits
from seamo.store.subsets import rank, strata, take

HASH_SCHEME = "hash-60-20-20"
CV_SCHEME = "cv5x5"
NO_SPLIT_SCHEME = "none"
COMPUTED = (HASH_SCHEME, CV_SCHEME, NO_SPLIT_SCHEME)
SPATIAL_HOW = f"Build it with another one, and name this one in a row of a suite (`split: {SPATIAL_EXAMPLE}`)."
SPLITS = ("train", "val", "test")
NUM_FOLDS = 5
NUM_REPEATS = 5
_VAL_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class SampleFacts:
    """What splits are made from, one entry a sample.

    Args:
        keys: Unique keys.
        labels: Class id, sorted set, dominant class of the mask, or None.
        scenes: Empty where unknown.
        places: (N, 2) longitude and latitude of the centres in degrees, NaN where unknown; None where not asked for.
    """

    keys: Sequence[str]
    labels: Sequence[int | tuple[int, ...] | None]
    scenes: Sequence[str]
    places: Floats | None = None


class Assignment(NamedTuple):
    """Who is where.

    Args:
        splits: Of every sample, "" for none.
        folds: (N, 5) of a cross-validation, else None.
    """

    splits: list[str]
    folds: NDArray[np.int8] | None


def assign(
    spec: DatasetSpec, scheme: str, facts: SampleFacts, *, published: Mapping[str, str] | Assignment | None = None
) -> Assignment:
    """Assign every sample to `train`, `val`, `test` or "" (no split).

    Args:
        spec: The data set.
        scheme: `hash-60-20-20`, `cv5x5`, `none`, `spatial-<block>km-<guard>km` or one of `spec.splits`.
        facts: Of every sample.
        published: key -> split, for the schemes of `spec.splits`; or what was assigned before, to be kept as it is.

    Raises:
        StoreError: If the scheme is unknown, its lists or the samples' places are missing, or lists name another split.
    """
    if isinstance(published, Assignment):
        return published
    if scheme == HASH_SCHEME:
        return Assignment([hash_split(spec.id, key) for key in facts.keys], None)
    if scheme == NO_SPLIT_SCHEME:
        return Assignment(["train"] * len(facts.keys), None)
    if scheme == CV_SCHEME:
        folds = cv_folds(spec.id, facts.keys, strata(spec.task.kind, facts.labels, facts.scenes))
        names = ("test", "val", "train", "train", "train")
        return Assignment([names[fold] for fold in folds[:, 0]], folds)
    spatial = None if scheme in spec.splits else parse_spatial(scheme)
    if spatial is not None:
        if facts.places is None:
            raise StoreError(f"split scheme {scheme!r} is made when a store is evaluated", spec.id, SPATIAL_HOW)
        return Assignment(spatial_splits(spec.id, spatial, facts.places), None)
    if scheme not in spec.splits:
        known = ", ".join((*spec.splits, *COMPUTED))
        raise StoreError(f"no split scheme {scheme!r}", where=spec.id, fix=f"Schemes: {known}.")
    if published is None:
        raise StoreError(
            f"split scheme {scheme!r} needs its published lists", spec.id, "Fetch them, or ask for hash-60-20-20."
        )
    splits = [_published_split(published.get(key, ""), spec.id, key) for key in facts.keys]
    if spec.splits[scheme].val_from_train:
        splits = _val_from_train(spec, splits, facts)
    return Assignment(splits, None)


def is_computed(scheme: str) -> bool:
    """Whether a scheme follows from a store alone, without lists: of its keys, or of its samples' places.

    Example:
        >>> is_computed("cv5x5"), is_computed("spatial-20km-2km"), is_computed("official")
        (True, True, False)
    """
    return scheme in COMPUTED or parse_spatial(scheme) is not None


def hash_split(dataset_id: str, key: str) -> str:
    """Split of one key under `hash-60-20-20`.

    Example:
        >>> [hash_split("toy", f"k{i}") for i in range(4)]
        ['val', 'train', 'test', 'train']
    """
    share = int.from_bytes(rank(dataset_id, "split", key)[:8], "big") / 2**64
    return "train" if share < 0.6 else "val" if share < 0.8 else "test"


def cv_folds(dataset_id: str, keys: Sequence[str], groups: Sequence[Hashable]) -> NDArray[np.int8]:
    """Folds of `cv5x5`: (N, 5) with values 0 to 4, one column a repetition.

    In each repetition the keys of a stratum are sorted by hash and dealt out in turn; dealing goes on across
    strata, so that small strata do not all start with fold 0.

    Args:
        dataset_id: Goes into the hash.
        keys: Unique keys.
        groups: Stratum of each (`subsets.strata`).
    """
    folds = np.empty((len(keys), NUM_REPEATS), dtype=np.int8)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    for repeat in range(NUM_REPEATS):
        dealt = 0
        for group in sorted(members, key=repr):
            ordered = sorted(members[group], key=lambda p, r=repeat: rank(dataset_id, f"cv{r}", keys[p]))  # type: ignore[misc]
            folds[ordered, repeat] = (dealt + np.arange(len(ordered))) % NUM_FOLDS
            dealt += len(ordered)
    return folds


def _published_split(said: str, dataset_id: str, key: str) -> str:
    if said in ("", "exclude"):
        return ""
    if said not in SPLITS:
        raise StoreError(f"split {said!r} is not one of {', '.join(SPLITS)}", where=f"{dataset_id} {key}")
    return said


def _val_from_train(spec: DatasetSpec, splits: list[str], facts: SampleFacts) -> list[str]:
    train = [position for position, split in enumerate(splits) if split == "train"]
    keys = [facts.keys[p] for p in train]
    scenes = [facts.scenes[p] for p in train]
    if len(set(scenes)) > 1 and all(scenes):
        moved = _whole_scenes(spec.id, scenes)
    else:
        groups = strata(spec.task.kind, [facts.labels[p] for p in train], scenes)
        moved = [int(i) for i in take(spec.id, keys, groups, fraction=_VAL_SHARE, salt="val")] if train else []
    result = list(splits)
    for i in moved:
        result[train[i]] = "val"
    return result


def _whole_scenes(dataset_id: str, scenes: Sequence[str]) -> list[int]:
    # Scenes in hash order until a tenth of the samples is reached, always leaving one to train on.
    sizes = Counter(scenes)
    chosen: set[str] = set()
    count = 0
    for scene in sorted(sizes, key=lambda one: rank(dataset_id, "val", one))[:-1]:
        if count >= _VAL_SHARE * len(scenes):
            break
        chosen.add(scene)
        count += sizes[scene]
    return [i for i, scene in enumerate(scenes) if scene in chosen]
