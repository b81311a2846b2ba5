"""Statistics of a store without its outliers: what clouds, glint and snow do not inflate. No torch."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seamo.errors import StoreError
from seamo.inputs.statistics import pretraining_part
from seamo.manifest import Statistics
from seamo.sample import valid_pixels

if TYPE_CHECKING:
    from seamo.store.samples import Samples

SAMPLES = 64  # read for the numbers, evenly spaced in the store
FAR = 3.0  # robust standard deviations from the median
_TO_SIGMA = 1.4826  # of the median absolute deviation, where values are normal (Rousseeuw and Croux 1993)
_MOST = 1_000_000  # values a band that are looked at


def clipped_statistics(store: "Samples", stack: str) -> Statistics:
    """Mean and standard deviation of a stack's bands, outliers left out, in the layers' unit.

    A value counts if it lies within three robust standard deviations (1.4826 times the median absolute deviation) of
    its band's median. A few bright clouds multiply the plain standard deviation of the visible bands, and everything
    that is no cloud is then squeezed into a small part of the range; the median does not see them while they are
    few.

    Args:
        store: The store; its train split, or all samples where it has none.
        stack: The stack.

    Raises:
        StoreError: If a band has no valid value.
    """
    part = pretraining_part(store)
    rows = store.rows(part)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).astype(int))]
    mean: dict[str, float] = {}
    std: dict[str, float] = {}
    layers = store.spec.stack_layers(stack)
    for layer in layers:
        read = [store.read_layer(int(row), layer.id) for row in rows if store.is_valid(int(row), layer.id)]
        measured = [valid_pixels(one, layer) for one in read]
        for index, name in enumerate(layer.bands):
            parts = [one[:, index][known[:, index]] for one, known in zip(read, measured, strict=True)]
            values = np.concatenate(parts) if parts else np.empty(0)
            if not len(values):
                raise StoreError(f"has no valid pixel of {layer.id} {name}", store.title)
            mean[name], std[name] = _clipped(values[:: len(values) // _MOST + 1].astype(np.float64))
    source = f"{store.title}, {len(rows)} {part} samples without outliers, content {store.content[:12]}"
    return Statistics(source=source, unit=layers[0].unit, mean=mean, std=std)


def _clipped(values: NDArray[np.float64]) -> tuple[float, float]:
    middle = np.median(values)
    away = np.abs(values - middle)
    limit = FAR * _TO_SIGMA * float(np.median(away))
    kept = values[away <= limit] if limit > 0 else values
    return float(kept.mean()), float(kept.std())
