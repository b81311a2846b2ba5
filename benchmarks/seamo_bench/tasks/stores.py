"""The stores behind a row of a suite: found, opened, joined by key; and what records say about them."""

from collections.abc import Sequence
from pathlib import Path

from seamo.addresses import address_of, disk_path, is_web, join, last_name, parent
from seamo.errors import StoreError
from seamo.store.check import differing_files
from seamo.store.joined import JoinedStore
from seamo.store.meta import StoreMeta
from seamo.store.reader import Store, open_store
from seamo.store.roots import dataset_ids, latest_of, read_catalogue, store_urls
from seamo.store.samples import Samples
from seamo_bench.facts import Facts, StoreFacts


def check_root(root: str | Path) -> None:
    """Refuse a root without any store, before anything is planned on it. Web servers list nothing: they are believed.

    Args:
        root: Address of a folder of stores.

    Raises:
        StoreError: If there is none; says what to give instead where a store itself was given.
    """
    if is_web(root) or any(store_urls(join(root, name)) for name in sorted(dataset_ids(root))):
        return
    try:
        store = open_store(root)
    except StoreError:
        how = "Give the folder that `seamo-prep build --store` wrote to; `seamo-prep ls FOLDER` shows what is in it."
        raise StoreError("holds no store", address_of(root), how) from None
    above = parent(parent(store.url))
    raise StoreError("is a store, not a folder of stores", address_of(root), f"Give the folder above: {above}.")


def open_row(*paths: str | Path, scheme: str = "", label_space: str = "", view: str = "") -> tuple[Samples | None, str]:
    """The store of a row, or why there is none; both where it is damaged. Reasons name no folder.

    Its index, ledger and file sizes are held against store.json here; pixels against their checksums when they are
    read.

    Args:
        paths: Addresses, `<root>/<dataset-id>`; several are joined by key.
        scheme: Split scheme that is asked for; empty = the store's own.
        label_space: Label space that is asked for; empty = any.
        view: Which one of several stores (of the first path): see `find_build`.
    """
    stores: list[Store] = []
    damage = ""
    for path in paths:
        name = last_name(path)
        try:
            stores.append(find_build(path, scheme, label_space=label_space, view="" if stores else view))
        except StoreError as error:
            how = f"`seamo-prep fetch {name}` and `seamo-prep build {name}` make one."
            is_local = disk_path(path) is not None
            return None, f"no store of {name}: {error.what}. {how if is_local and not store_urls(path) else error.fix}"
        wrong = next(differing_files(stores[-1]), None)
        if wrong is not None:
            how = "Copy it again, or build it anew"
            damage = f"the store of {name} is damaged: {wrong.where} {wrong.what}. {how}."
    try:
        return (stores[0] if len(stores) == 1 or damage else JoinedStore(stores)), damage
    except StoreError as error:
        return None, str(error)


def find_build(folder: str | Path, scheme: str = "", *, label_space: str = "", view: str = "") -> Store:
    """The store of a data set.

    Args:
        folder: Its address, `<root>/<dataset-id>`.
        scheme: Split scheme; empty = the data set's own default. Only asked where there are several stores.
        label_space: Label space; empty = any. Likewise.
        view: The one that is meant where several have both: its view, or the first digits of it; or its build.

    Raises:
        StoreError: If there is none, or several and not exactly one of them fits. Views that hold the very same
            samples, labels and splits are one. Of several, the one that the root's catalogue names as the latest comes
            first, if it has what is asked for.
    """
    is_unlisted = is_web(folder) and read_catalogue(parent(folder)) is None
    found = [] if is_unlisted else store_urls(folder)
    if len(found) < 2 and not view:
        return open_store(folder)
    stores = [open_store(path) for path in found]
    wanted = scheme or (stores[0].spec.default_split if stores else "")
    latest = "" if view else latest_of(folder)
    meant = [store for store in stores if latest and store.url == join(folder, latest)]
    if meant and scheme in ("", meant[0].meta.split_scheme) and label_space in ("", *meant[0].spec.label_spaces):
        return meant[0]
    if view:
        fitting = [store for store in stores if view in (store.meta.view[: len(view)], store.meta.build)]
    else:
        fitting = [store for store in stores if store.meta.split_scheme == wanted]
        fitting = [store for store in fitting if not label_space or label_space in store.spec.label_spaces]
    if fitting and len({(store.content, label_space or store.spec.task.label_space) for store in fitting}) == 1:
        return fitting[0]
    listed = ", ".join(
        f"{store.url.removeprefix(address_of(folder) + '/')} ({store.meta.split_scheme}, view {store.meta.view})"
        for store in stores
    )
    asked = f"split scheme {wanted}" + (f" and label space {label_space}" if label_space else "")
    asked = f"a view {view}" if view else asked
    count = f"{len(fitting)} of them have" if fitting else "none of them has"
    raise StoreError(
        f"holds {len(stores)} stores, {listed}; {count} {asked}",
        last_name(folder),
        "Say in the row of the suite which one is meant (`view: ...`), or for all: seamo-prep latest ROOT ID/BUILD.",
    )


def open_facts(root: str | Path, facts: Facts) -> Samples:
    """The very stores that a record names, by their content, with every file as it was written.

    Args:
        root: Address of a folder of stores.
        facts: Of the record.

    Raises:
        StoreError: If one is not there, or is damaged.
    """
    stores = []
    for chosen, _ in stores_of_facts(root, facts):
        wrong = next(differing_files(chosen), None)
        if wrong is not None:
            raise StoreError(
                f"is damaged: {wrong.where} {wrong.what}", chosen.spec.id, "Copy it again, or build it anew."
            )
        stores.append(chosen)
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def stores_of_facts(root: str | Path, facts: Facts) -> list[tuple[Store, list[Store]]]:
    """Each store that a record names, by its content, and all builds that stand beside it, itself among them.

    Raises:
        StoreError: If one is not there.
    """
    if not facts.stores:
        raise StoreError("names no store", "record")
    datasets = dataset_ids(root)  # a record is from outside: its ids are looked up, not opened
    found = []
    for one in facts.stores:
        there, unread = list[Store](), ""
        for path in store_urls(join(root, one.id)) if one.id in datasets else ():
            try:
                there.append(open_store(path))
            except StoreError as error:
                unread = f", and {last_name(path)} cannot be read: {error.what}"
        chosen = store_of_facts(there, one, facts)
        if chosen is None:
            known = ", ".join(store.content[:12] for store in there) or "none"
            raise StoreError(f"has no store of content {one.content[:12]} (there: {known}{unread})", one.id)
        found.append((chosen, there))
    return found


def store_of_facts(stores: Sequence[Store], one: StoreFacts, facts: Facts) -> Store | None:
    """The store that a record names, by its content; None if it is not among them.

    A store of the format before had another content hash of the same samples: of its copy, that one counts, too.
    Of several with one content (views in other label spaces), one that has the record's split scheme and label space.

    Args:
        stores: To choose from.
        one: What the record says about the store.
        facts: Of the record.
    """
    same = [store for store in stores if store.content == one.content]
    same += [store for store in stores if content_before(store.meta) == one.content]

    def fits(store: Store) -> int:
        return 2 * (facts.task.label_space in store.spec.label_spaces) + (store.meta.split_scheme == facts.split.scheme)

    return max(same, key=fits, default=None)


def content_before(meta: StoreMeta) -> str:
    """Content hash of the store of the format before that this one was copied from; empty for any other."""
    was = meta.provenance.get("was")
    return str(was.get("content", "")) if isinstance(was, dict) else ""


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
