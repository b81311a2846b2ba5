"""What a metric is: one value, and the arithmetic that metrics share. Numpy only.

A metric takes the predictions of N samples and returns a function from weights (R, N) to values (R,), NaN where it is
not defined. Sorting and counting happen once, when it is prepared; weight 2 counts a sample twice. The plain score is
the one with all weights 1 and a bootstrap resample is another row of weights, so a score and its interval can never
follow two definitions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seamo_bench.predictions import Floats, Kind, Scoring

Weighted = Callable[[Floats], Floats]
SHARE = "share"  # the unit of what tables print in percent


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Args:
        id: Its name in records, on the command line and in `published/ranges.csv`; the definition in the name.
        title: As tables print it.
        definition: One sentence.
        kinds: Task kinds it is defined for.
        prepare: (predictions, scoring) -> weights (R, N) -> values (R,).
        higher_is_better: False for errors.
        needs: Field of `Scoring` that must be set.
        bounds: Smallest and largest possible value.
        unit: `share`: tables print percent; else the unit's name, and tables print the value as it is.
        hits: It is the share of samples that are right, each right or wrong by itself: where all are, the interval
            is Wilson's.
    """

    id: str
    title: str
    definition: str
    kinds: tuple[Kind, ...]
    prepare: Callable[[Any, Scoring], Weighted]
    higher_is_better: bool = True
    needs: Literal["", "background", "positive"] = ""
    bounds: tuple[float, float] = (0.0, 1.0)
    unit: str = SHARE
    hits: bool = False


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where below is 0."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out


def nanmean(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN if all is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))


def mean_of_known(values: Floats) -> Weighted:
    """Mean of (N,) values under weights; samples whose value is NaN count for nothing."""
    there = ~np.isnan(values)
    return lambda weights: ratio(weights[:, there] @ values[there], weights[:, there].sum(axis=1))


def weighted_mean(values: Floats) -> Weighted:
    """Mean of (N,) values under weights."""
    return lambda weights: ratio(weights @ values, weights.sum(axis=1))
