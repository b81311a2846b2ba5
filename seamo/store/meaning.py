"""What is said about the samples of a store: labels, splits and folds, and the hashes and digests that follow."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.manifest import DatasetSpec
from seamo.seal import bytes_damage
from seamo.store import format as fmt
from seamo.store.content import content_hash
from seamo.store.meta import BUILD_AGAIN, SplitTruth
from seamo.store.moments import SampleMoments
from seamo.store.reader import Store
from seamo.store.truth import truth_of


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """What is said about the samples of a store, one entry a row.

    Args:
        keys: Of the samples.
        digests: Of their pixels.
        labels: Class id, sorted ids, or None (masks are pixels).
        splits: "" where a sample belongs to none.
        folds: (N, repeats) of a cross-validation, or None.
        readable: Whether the sample could be read.
        masks: Class id -> pixels of its mask, or None.
    """

    keys: Sequence[str]
    digests: Sequence[bytes]
    labels: Sequence[int | Sequence[int] | None]
    splits: Sequence[str]
    folds: NDArray[np.int8] | None
    readable: NDArray[np.bool_]
    masks: Sequence[Mapping[int, int] | None]

    def split_counts(self) -> dict[str, int]:
        """Samples of each split."""
        return dict(sorted(Counter(self.splits).items()))

    def content(self, spec: DatasetSpec) -> str:
        """The content hash."""
        return content_hash(spec, self.keys, self.digests, labels=self.labels, splits=self.splits, folds=self.folds)

    def truth(self, spec: DatasetSpec) -> dict[str, SplitTruth]:
        """Digests of keys and labels of every split."""
        told: list[Any] = [tuple(one) if isinstance(one, list) else one for one in self.labels]
        if fmt.label_kind(spec) == "mask":
            told = list(self.masks)
        return truth_of(spec, self.keys, labels=told, splits=self.splits, readable=self.readable)


def read_moments(store: Store) -> SampleMoments:
    """Statistics of every sample, after the file was checked.

    Raises:
        StoreError: If it is missing or damaged.
    """
    home = _home(store)
    where = home.files.where(fmt.MOMENTS_NAME)
    sealed = home.read_manifest().get(fmt.MOMENTS_NAME)
    if sealed is None:
        raise StoreError("is not in the manifest", where, BUILD_AGAIN)
    data = home.read_file(fmt.MOMENTS_NAME)
    problem = bytes_damage(data, sealed)
    if problem:
        raise StoreError(problem, where, BUILD_AGAIN)
    return SampleMoments(data, where)


def read_ledger(store: Store) -> list[tuple[str, str]]:
    """(name, reason) of what could not be read or was left out when the store was built.

    Raises:
        StoreError: If it is missing or no ledger.
    """
    home = _home(store)
    try:
        entries = json.loads(home.read_file(fmt.LEDGER_NAME))
        return [(str(one["name"]), str(one["reason"])) for one in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"is no ledger ({error})", home.files.where(fmt.LEDGER_NAME), BUILD_AGAIN) from error


def _home(store: Store) -> Store:
    """The store that holds the pixels: itself, or of a view the one that it is of."""
    return Store(store.pixels_url) if store.meta.pixels_in else store
