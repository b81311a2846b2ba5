"""What records say about the stores behind a row: one, or several that are joined by key."""

from collections.abc import Sequence

from seamo.store.joined import JoinedStore
from seamo.store.samples import Samples
from seamo_bench.facts import StoreFacts
from seamo_bench.trials import store_facts

__all__ = ["JoinedStore", "no_stores", "parts_of", "stores_facts", "titles_of"]


def parts_of(store: Samples) -> tuple[Samples, ...]:
    """The stores behind a store: itself, or those that were joined."""
    return store.parts if isinstance(store, JoinedStore) else (store,)


def titles_of(store: Samples) -> tuple[str, ...]:
    """Titles of the stores behind a store."""
    return tuple(part.title for part in parts_of(store))


def stores_facts(store: Samples) -> tuple[StoreFacts, ...]:
    """What a record says about the stores behind a store."""
    return tuple(store_facts(part) for part in parts_of(store))


def no_stores(datasets: Sequence[str]) -> tuple[StoreFacts, ...]:
    """What a record says about stores that are not there."""
    return tuple(StoreFacts(id=name, content="") for name in datasets)
