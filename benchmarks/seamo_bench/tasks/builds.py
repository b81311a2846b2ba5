"""Which of several stores of one data set a row reads: the one that was built with its split scheme."""

from pathlib import Path

from seamo.errors import StoreError
from seamo.store.format import META_NAME
from seamo.store.reader import Store, open_store


def find_build(folder: Path, scheme: str = "") -> Store:
    """The store of a data set.

    Args:
        folder: `<root>/<dataset-id>`.
        scheme: Split scheme; empty = the data set's own default. Only asked where there are several stores.

    Raises:
        StoreError: If there is none, or several and not exactly one of them has the scheme.
    """
    builds = sorted(path.parent for path in folder.glob(f"[!.]*/{META_NAME}"))
    if len(builds) < 2:
        return open_store(folder)
    stores = [open_store(path) for path in builds]
    wanted = scheme or stores[0].spec.default_split
    fitting = [store for store in stores if store.meta.split_scheme == wanted]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{store.path.name} ({store.meta.split_scheme})" for store in stores)
    count = f"{len(fitting)} of them have" if fitting else "none of them has"
    raise StoreError(f"holds {len(stores)} stores, {listed}; {count} split scheme {wanted}", folder.name)
