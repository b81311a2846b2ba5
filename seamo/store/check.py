"""Checking a store against itself: content, files, statistics recomputed from what is stored."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from seamo import stats
from seamo.addresses import disk_path, is_web
from seamo.errors import StoreError
from seamo.seal import SealedFile, file_damage
from seamo.store import format as fmt
from seamo.store.ahead import in_order
from seamo.store.content import bad_digest, class_counts, pixel_digest
from seamo.store.meaning import Meaning, read_ledger, read_moments
from seamo.store.meta import folds_of
from seamo.store.publish import is_apart
from seamo.store.reader import Store

REQUIRED = (fmt.INDEX_NAME,)
_FILES = 64  # that are given to a worker at once
_READERS = 8  # files that are read at the same time: of a bucket each waits for its answer


Item = TypeVar("Item")
Found = TypeVar("Found")


class Spread(Protocol):
    """Who does a part of a check for many items: this process (`here`), or workers (`seamo.store.workers`)."""

    def __call__(
        self, store: Store, call: Callable[[Store, Sequence[Item]], Found], items: Sequence[Item], *, each: int
    ) -> Iterator[Found]:
        """What `call` finds for some items after the other.

        Args:
            store: Of all of them.
            call: A function of a module, or a `partial` of one.
            items: Small.
            each: How many are a part of the work, where it is divided.
        """


def here(
    store: Store, call: Callable[[Store, Sequence[Item]], Found], items: Sequence[Item], *, each: int
) -> Iterator[Found]:
    """See `Spread`: all at once."""
    del each
    if items:
        yield call(store, items)


def rows_each(store: Store) -> int:
    """Samples of a part of the work: about a shard's."""
    return max(1, -(-len(store) // store.meta.num_shards))


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
        deep: Decode every sample. Otherwise the digests in the index are trusted, and only keys, labels, splits, folds
            and band names are covered anew.

    Raises:
        StoreError: If a sample cannot be read.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> content_of(store) == store.content
        True
    """
    return read_meaning(store, deep=deep).content(store.spec)


def read_meaning(store: Store, *, deep: bool = False, spread: Spread = here) -> Meaning:
    """Keys, labels, splits and digests as the index has them; with `deep` the digests of what is decoded."""
    table = store.read_index(["key", "split", "sha256", "readable"])
    keys = [str(key) for key in table["key"]]
    readable = table["readable"].to_numpy(dtype=np.bool_)
    digests = list(table["sha256"])
    is_mask = fmt.label_kind(store.spec) == "mask"
    masks: list[Mapping[int, int] | None] = [None] * len(keys)
    if deep:
        parts = spread(store, _decoded, range(len(keys)), each=rows_each(store))
        for i, (found, counts) in enumerate(one for part in parts for one in part):
            digests[i], masks[i] = found, counts
    elif is_mask:
        masks = list(read_moments(store).masks())
    names = folds_of(list(store.index.columns))
    return Meaning(
        keys=keys,
        digests=digests,
        labels=[None] * len(keys) if is_mask else [store.class_of(i) for i in range(len(keys))],
        splits=[str(split) for split in table["split"]],
        folds=store.read_index(names).to_numpy(dtype=np.int8) if names else None,
        readable=readable,
        masks=masks,
    )


def _decoded(store: Store, rows: Sequence[int]) -> list[tuple[bytes, dict[int, int] | None]]:
    """Digest of the pixels of each row, and counts of its mask."""
    table = store.read_index(["key", "readable"])
    keys, readable = table["key"].to_numpy(), table["readable"].to_numpy()
    found: list[tuple[bytes, dict[int, int] | None]] = []
    for i, fetched in in_order(store, rows):
        if not readable[i]:
            found.append((bad_digest(str(keys[i])), None))
            continue
        sample = fetched[i]
        mask = sample.label if isinstance(sample.label, np.ndarray) else None
        found.append((pixel_digest(sample, store.spec), None if mask is None else dict(class_counts(mask))))
    return found


def differing_samples(store: Store, *, spread: Spread = here) -> Iterator[Mismatch]:
    """Samples that cannot be read, or whose content differs from the digest that the index holds."""
    for part in spread(store, _differing, range(len(store)), each=rows_each(store)):
        yield from part


def _differing(store: Store, rows: Sequence[int]) -> list[Mismatch]:
    table = store.read_index(["key", "sha256", "readable"])
    told = list(zip(table["key"], table["sha256"], table["readable"], strict=True))
    wrong = []
    for i, fetched in in_order(store, rows):
        key, said, ok = told[i]
        try:
            found = pixel_digest(fetched[i], store.spec) if ok else bad_digest(str(key))
        except StoreError as error:
            wrong.append(Mismatch(str(key), str(error)))
            continue
        if found != said:
            wrong.append(Mismatch(str(key), "its pixels, dates, georeference or mask are not those that were built"))
    return wrong


def differing_files(store: Store, *, deep: bool = False, spread: Spread = here) -> Iterator[Mismatch]:
    """Files that are missing, or are not what the manifest says.

    Args:
        store: The store; of a view, its own files and then those of the pixels.
        deep: Read the shards, too, and compare their sha256, not only their size; all other files are always read.
        spread: Who reads them.
    """
    homes = [store]
    if store.meta.pixels_in:
        try:
            homes.append(Store(store.pixels_url))
        except StoreError as error:
            yield Mismatch(fmt.META_NAME, f"of the store that holds the pixels: {error}")
        else:
            if homes[1].pixels != store.pixels:
                yield Mismatch(fmt.META_NAME, "is a view of other pixels than those of the store that it lies in")
    for home in homes:
        try:
            files = home.read_manifest()
        except StoreError as error:
            yield Mismatch(fmt.CHECKSUMS_NAME, error.what)
            continue
        for name in REQUIRED if home.meta.pixels_in else (*REQUIRED, fmt.MOMENTS_NAME):
            if name not in files:
                yield Mismatch(name, "is not in the manifest")
        for part in spread(home, partial(_damaged, deep=deep), sorted(files.items()), each=_FILES):
            yield from part


def _damaged(home: Store, files: Sequence[tuple[str, SealedFile]], *, deep: bool) -> list[Mismatch]:
    def problem(one: tuple[str, SealedFile]) -> str:
        is_shard = one[0].partition("/")[0] in (fmt.ZARR_NAME, fmt.TAR_FOLDER)
        return file_damage(home.files, one[0], one[1], deep=deep or not is_shard)

    if not deep and disk_path(home.url) is not None:  # sizes of files on a disk, where threads cost more than they save
        found = [problem(one) for one in files]
    else:
        found = _in_threads(problem, files, lambda one: one[1].bytes)
    return [Mismatch(name, what) for (name, _), what in zip(files, found, strict=True) if what]


def _in_threads(call: Callable[[Item], Found], items: Sequence[Item], size: Callable[[Item], int]) -> list[Found]:
    """What is found for each item, in their order; the largest are begun first, so that none is waited for alone.

    A few threads take one item after the other: a task an item costs more than to hash a small file.
    """
    todo = deque(sorted(range(len(items)), key=lambda i: -size(items[i])))
    found: dict[int, Found] = {}

    def work() -> None:
        while True:
            try:
                i = todo.popleft()
            except IndexError:  # another took the last one
                return
            found[i] = call(items[i])

    with ThreadPoolExecutor(_READERS) as pool:
        try:
            for one in [pool.submit(work) for _ in range(min(_READERS, len(items)))]:
                one.result()
        finally:
            todo.clear()  # an interrupt, or what one of them raised, ends all
    return [found[i] for i in range(len(items))]


def strange_files(store: Store) -> Iterator[str]:
    """Files in a store's folder that no manifest names: nobody vouches for them."""
    files = store.read_manifest()
    if not is_web(store.url):  # which lists no files
        yield from sorted(name for name in store.files.names() if name not in files and not is_apart(name))


def infinite_pixels(store: Store) -> Iterator[tuple[str, str]]:
    """(layer and band, what) of pixels that were infinite in the archive, as the ledger has them."""
    bands = {f"{layer.id} {name}" for layer in store.spec.layers for name in layer.bands}
    try:
        ledger = read_ledger(store)
    except StoreError:
        return  # the check of files names it
    yield from (entry for entry in ledger if entry[0] in bands)


def band_statistics(store: Store, layer: str, rows: Iterable[int]) -> dict[str, Mapping[str, Any]]:
    """Statistics of one layer over some rows, percentiles included: band -> numbers (`seamo.stats.describe`)."""
    spec = store.spec.layer(layer)
    counts = stats.new_histogram(len(spec.bands))
    pieces = []
    for row in rows:
        if store.is_valid(int(row), layer):
            pixels = store.read_layer(int(row), layer)
            pieces.append(stats.observe_layer(pixels, spec, counts))
    if not pieces:
        empty = np.empty((1, len(spec.bands), 0, 0), dtype=spec.dtype)
        pieces.append(stats.observe(empty, empty == empty, counts))
    return stats.describe(spec.bands, stats.merge(stats.stack(pieces)), counts, spec.dtype)
