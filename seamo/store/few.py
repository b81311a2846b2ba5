"""Some rows of a store as a store of their own: what looks at a few hundred of a million keeps no whole column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.store.reader import Store


class FewRows(Store):
    """Some samples of a store, numbered anew from 0: row `i` is row `rows[i]` of the store, in every method.

    `meta`, and all that is said by it, is that of the whole store. It pickles as the store and its rows.

    Args:
        store: The whole; what it has read, checked or fetched of its index is not checked again.
        rows: Ascending.

    Raises:
        UsageError: If rows do not ascend.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> some = FewRows(store, np.array([2, 7]))
        >>> len(some), some[1].key == store[7].key
        (2, True)
    """

    def __init__(self, store: Store, rows: NDArray[np.int64]) -> None:
        if (np.diff(rows, prepend=-1) <= 0).any():
            raise UsageError("the rows that are chosen do not ascend from 0 on", where=store.title)
        self.__dict__.update(store.__dict__)
        self.__dict__.pop("index", None)  # of all rows
        self._columns = store._columns.few(rows)
        self._whole, self._rows = store, rows

    def __reduce__(self) -> tuple[type[Store], tuple[Any, ...]]:
        return FewRows, (self._whole, self._rows)

    def __len__(self) -> int:
        return len(self._rows)
