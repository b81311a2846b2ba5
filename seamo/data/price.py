"""What an order of blocks costs a store's batches."""

import numpy as np
from numpy.typing import NDArray

from seamo.store.plan import block_price
from seamo.store.samples import Samples

DEAR = 1.25
"""From where on it should be said: class shares of a batch vary a quarter more than in a full shuffle."""


def order_price(samples: Samples, rows: NDArray[np.int64], *, block: int, buffer: int, batch: int) -> float | None:
    """`seamo.store.plan.block_price` of a store's class labels; None where it has none (masks are not looked at).

    Args:
        samples: A store.
        rows: In the order that blocks are cut from.
        block: Neighbours that are shuffled as one.
        buffer: Samples in the window that mixes them.
        batch: Samples of a global batch.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> order_price(store, store.rows("all"), block=2, buffer=4, batch=2) > 1
        False
    """
    if samples.spec.task.kind not in ("single-label", "multi-label") or not samples.spec.task.label_space:
        return None
    hot = np.zeros((len(rows), len(samples.spec.label_space("").classes)))
    for n, row in enumerate(rows.tolist()):
        label = samples.read_label(row)
        if isinstance(label, int):
            hot[n, label] = 1.0
        elif isinstance(label, tuple):
            hot[n, list(label)] = 1.0
    return block_price(hot, block=block, buffer=buffer, batch=batch)
