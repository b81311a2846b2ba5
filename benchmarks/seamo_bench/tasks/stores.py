"""The stores behind a row of a suite: found, opened, joined by key; and what records say about them."""

from collections.abc import Sequence
from pathlib import Path

from seamo.errors import StoreError
from seamo.store.check import differing_files
from seamo.store.joined import JoinedStore
from seamo.store.reader import Store, open_store, store_folders
from seamo.store.samples import Samples
from seamo_bench.facts import StoreFacts


def open_row(*paths: Path, scheme: str = "") -> tuple[Samples | None, str]:
    """The store of a row, or why there is none; both where it is damaged. Reasons name no folder.

    Its index, ledger and file sizes are held against store.json here; pixels against their checksums when they are
    read.

    Args:
        paths: `<root>/<dataset-id>`; several are joined by key.
        scheme: Split scheme that is asked for; empty = the store's own.
    """
    stores: list[Store] = []
    damage = ""
    for path in paths:
        try:
            stores.append(find_build(path, scheme))
        except StoreError as error:
            how = f"`seamo-prep fetch {path.name}` and `seamo-prep build {path.name}` make one"
            return None, f"no store of {path.name}: {error.what}. {how}."
        wrong = next(differing_files(stores[-1]), None)
        if wrong is not None:
            how = "Copy it again, or build it anew"
            damage = f"the store of {path.name} is damaged: {wrong.where} {wrong.what}. {how}."
    try:
        return (stores[0] if len(stores) == 1 or damage else JoinedStore(stores)), damage
    except StoreError as error:
        return None, str(error)


def find_build(folder: Path, scheme: str = "") -> Store:
    """The store of a data set.

    Args:
        folder: `<root>/<dataset-id>`.
        scheme: Split scheme; empty = the data set's own default. Only asked where there are several stores.

    Raises:
        StoreError: If there is none, or several and not exactly one of them has the scheme.
    """
    found = store_folders(folder)
    if len(found) < 2:
        return open_store(folder)
    stores = [open_store(path) for path in found]
    wanted = scheme or stores[0].spec.default_split
    fitting = [store for store in stores if store.meta.split_scheme == wanted]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{store.path.relative_to(folder).as_posix()} ({store.meta.split_scheme})" for store in stores)
    count = f"{len(fitting)} of them have" if fitting else "none of them has"
    raise StoreError(f"holds {len(stores)} stores, {listed}; {count} split scheme {wanted}", folder.name)


def open_facts(root: Path, facts: Sequence[StoreFacts], scheme: str = "") -> Samples:
    """The very stores that a record names, by their content.

    Args:
        root: Folder of stores.
        facts: Of the record.
        scheme: Split scheme of the record: preferred among stores of one content.

    Raises:
        StoreError: If one is not there, or is damaged.
    """
    stores = [_of_content(root, one, scheme) for one in facts]
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def _of_content(root: Path, facts: StoreFacts, scheme: str) -> Store:
    inside = Path(facts.id).name == facts.id  # a record is from outside: its ids stay below the root
    stores, unread = [], ""
    for path in store_folders(root / facts.id) if inside else ():
        try:
            stores.append(open_store(path))
        except StoreError as error:
            unread = f", and {path.name} cannot be read: {error.what}"
    same = [store for store in stores if store.content == facts.content]
    chosen = next((store for store in same if store.meta.split_scheme == scheme), same[0] if same else None)
    if chosen is None:
        there = ", ".join(store.content[:12] for store in stores) or "none"
        raise StoreError(f"has no store of content {facts.content[:12]} (there: {there}{unread})", facts.id)
    wrong = next(differing_files(chosen), None)
    if wrong is not None:
        raise StoreError(f"is damaged: {wrong.where} {wrong.what}", facts.id, "Copy it again, or build it anew.")
    return chosen


def store_facts(store: Samples) -> StoreFacts:
    """What a record says about a store."""
    meta = store.meta
    return StoreFacts(
        id=store.spec.id, content=store.content, synthetic=meta.synthetic is not None, subset=bool(meta.subset)
    )


def parts_of(store: Samples) -> tuple[Samples, ...]:
    """The stores behind a store: itself, or those that were joined."""
    return store.parts if isinstance(store, JoinedStore) else (store,)


def titles_of(store: Samples) -> tuple[str, ...]:
    """Titles of the stores behind a store."""
    return tuple(part.title for part in parts_of(store))


def stores_facts(store: Samples) -> tuple[StoreFacts, ...]:
    """What a record says about the stores behind a store."""
    return tuple(store_facts(part) for part in parts_of(store))


def store_identity(store: Samples) -> tuple[dict[str, str], ...]:
    """What a record tells of the very stores that were read, beside its facts: build, view, and their hashes."""
    metas = [part.meta for part in parts_of(store)]
    return tuple({"build": one.build, "view": one.view, "pixels": one.pixels, "seal": one.seal} for one in metas)


def no_stores(datasets: Sequence[str]) -> tuple[StoreFacts, ...]:
    """What a record says about stores that are not there."""
    return tuple(StoreFacts(id=name, content="") for name in datasets)
