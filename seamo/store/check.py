"""Checking a store against itself: content, files, statistics recomputed from what is stored."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np

from seamo import stats
from seamo.errors import StoreError
from seamo.identity import file_sha256
from seamo.sample import valid_pixels
from seamo.store import format as fmt
from seamo.store.content import bad_digest, content_hash, sample_digest
from seamo.store.reader import Store

_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that is not as store.json says.

    Args:
        where: File or sample.
        what: What is wrong with it.
    """

    where: str
    what: str


def content_of(store: Store, *, deep: bool = True) -> str:
    """The content hash, recomputed; equal to `store.content` if the store is sound.

    Args:
        store: The store.
        deep: Decode every sample. Otherwise the digests in the index are trusted, and only keys, splits, folds
            and band names are covered anew.

    Raises:
        StoreError: If a sample cannot be read.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> content_of(store) == store.content
        True
    """
    table = store.read_index(["key", "split", "sha256", "readable"])
    keys = [str(key) for key in table["key"]]
    digests: Iterable[bytes] = list(table["sha256"])
    if deep:
        digests = (_digest(store, i, bool(ok)) for i, ok in enumerate(table["readable"]))
    folds = None
    if "fold0" in store.index.columns:
        names = [name for name in store.index.columns if name.startswith("fold")]
        folds = store.read_index(names).to_numpy(dtype=np.int8)
    return content_hash(store.spec, keys, digests, [str(split) for split in table["split"]], folds)


def differing_samples(store: Store) -> Iterator[Mismatch]:
    """Samples that cannot be read, or whose content differs from the digest that the index holds."""
    table = store.read_index(["key", "sha256", "readable"])
    for i, (key, said, ok) in enumerate(zip(table["key"], table["sha256"], table["readable"], strict=True)):
        try:
            found = _digest(store, i, bool(ok))
        except StoreError as error:
            yield Mismatch(str(key), str(error))
            continue
        if found != said:
            yield Mismatch(str(key), "its pixels, dates, georeference or label are not those that were built")


def differing_files(store: Store, *, deep: bool = False) -> Iterator[Mismatch]:
    """Files that are missing or differ from the recorded size and, with `deep`, checksum."""
    for name, said in store.meta.checksums.items():
        path = store.path / name
        if not path.is_file():
            yield Mismatch(name, "is missing")
        elif file_sha256(path) != said:
            yield Mismatch(name, "has another sha256 than store.json says")
    checksums = store.path / fmt.CHECKSUMS_NAME
    if not checksums.is_file():
        return
    for name, facts in json.loads(checksums.read_bytes()).items():
        path = store.path / name
        if not path.is_file():
            yield Mismatch(name, "is missing")
        elif path.stat().st_size != facts["bytes"]:
            yield Mismatch(name, f"has {path.stat().st_size} bytes instead of {facts['bytes']}")
        elif deep and _file_crc32c(store, name) != facts["crc32c"]:
            yield Mismatch(name, "has another crc32c than recorded")


def band_statistics(store: Store, layer: str, rows: Iterable[int]) -> dict[str, Mapping[str, Any]]:
    """Statistics of one layer over some rows, percentiles included: band -> numbers (`seamo.stats.describe`)."""
    spec = store.spec.layer(layer)
    counts = stats.new_histogram(len(spec.bands))
    pieces = []
    for row in rows:
        if store.is_valid(int(row), layer):
            pixels = store.read_layer(int(row), layer)
            pieces.append(stats.observe(pixels, valid_pixels(pixels, spec), counts))
    if not pieces:
        empty = np.empty((1, len(spec.bands), 0, 0), dtype=spec.dtype)
        pieces.append(stats.observe(empty, empty == empty, counts))
    return stats.describe(spec.bands, stats.merge(stats.stack(pieces)), counts, spec.dtype)


def _digest(store: Store, i: int, readable: bool) -> bytes:
    if not readable:
        return bad_digest(str(store.read_index(["key"])["key"].iloc[i]))
    return sample_digest(store[i], store.spec)


def _file_crc32c(store: Store, name: str) -> int:
    checksum = 0
    with (store.path / name).open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = int(google_crc32c.extend(checksum, block))
    return checksum
