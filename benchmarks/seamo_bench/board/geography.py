"""Where predictions are right and wrong: scores by map cell and by country. Numpy only.

Places and countries are stored with the predictions, so that maps and tables of countries are made from results
alone, like every score.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo_bench.board.compare import Runs
from seamo_bench.predictions import ClassPredictions, Floats, Ints, Predictions, Scoring, Strings, take
from seamo_bench.scores.intervals import Interval, interval, sampling
from seamo_bench.scores.metrics import compute

_STEPS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
MAX_CELLS = 300
COUNTRY_RESAMPLES = 200  # there are many countries x backbones, and none of them is the result
FEW_SAMPLES, FEW_SCENES = 30, 3  # with fewer there is no interval


@dataclass(frozen=True, slots=True, eq=False)
class Geography:
    """Where the test samples of a column lie.

    Args:
        keys: (N,) sorted, each once.
        places: (N, 2) longitude and latitude, NaN where unknown.
        countries: (N,), "" where unknown.
    """

    keys: Strings
    places: Floats
    countries: Strings


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Samples on a map, put together in cells of whole multiples of `step` degrees.

    Args:
        step: Size of a cell, in degrees of longitude and latitude.
        corners: (C, 2) west and south edge of each cell that has samples, in degrees.
        cell: (N,) which cell each key of the geography is in; -1 where its place is unknown.
    """

    step: float
    corners: Floats
    cell: Ints

    @property
    def counts(self) -> Ints:
        """(C,) samples in each cell."""
        return np.bincount(self.cell[self.cell >= 0], minlength=len(self.corners))


def geography_of(runs: Iterable[Predictions]) -> Geography | None:
    """From the first run that knows where its samples are (all of a column have the same ones); None if none does."""
    for run in runs:
        if len(run.places) or len(run.countries):
            keys, first = np.unique(run.keys, return_index=True)
            nowhere, nothing = np.full((len(keys), 2), np.nan), np.full(len(keys), "")
            return Geography(
                keys,
                run.places[first] if len(run.places) else nowhere,
                run.countries[first] if len(run.countries) else nothing,
            )
    return None


def make_grid(known: Geography, *, most: int = MAX_CELLS) -> Grid:
    """Cells for a map: the smallest size that needs at most `most` of them.

    Args:
        known: Where the samples lie.
        most: Number of cells.
    """
    there = np.isfinite(known.places).all(axis=1)
    spots = known.places[there].astype(np.float64)
    for step in _STEPS:
        corners, inverse = np.unique(np.floor(spots / step), axis=0, return_inverse=True)
        if len(corners) <= most:
            break
    cell = np.full(len(known.keys), -1, dtype=np.int64)
    cell[there] = inverse.ravel()
    return Grid(step, corners * step, cell)


def cell_scores(runs: Runs, known: Geography, grid: Grid, *, name: str, scoring: Scoring) -> Floats:
    """(C,) score of the samples in each cell, mean over runs; NaN where the metric is not defined there.

    Args:
        runs: Of one backbone.
        known: Where the samples lie.
        grid: Their cells.
        name: Metric.
        scoring: The task.
    """
    values = []
    for run in runs.predictions:
        groups = _groups(_of(known, grid.cell, run, -1), len(grid.corners))
        values.append([_score(take(run, rows), name, scoring) for rows in groups])
    return np.asarray(np.mean(values, axis=0))


def _score(part: Predictions, name: str, scoring: Scoring) -> float:
    return float(compute(name, part, scoring)[0]) if len(part.keys) else float("nan")


def _groups(codes: Ints, count: int) -> list[Ints]:
    """Positions of code 0, of code 1, ..."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(count + 1))
    return [order[a:b] for a, b in pairwise(ends)]


def _of(known: Geography, values: NDArray[Any], run: Predictions, nothing: Any) -> NDArray[Any]:
    """The geography's values for the samples of a run, by key."""
    at = np.searchsorted(known.keys, run.keys).clip(0, len(known.keys) - 1)
    return np.asarray(np.where(known.keys[at] == run.keys, values[at], nothing))


def count_countries(known: Geography) -> dict[str, int]:
    """Country -> number of samples, most first; empty where countries are unknown."""
    counted = Counter(name for name in known.countries.tolist() if name)
    return dict(sorted(counted.items(), key=lambda one: (-one[1], one[0])))


def country_score(runs: Runs, known: Geography, country: str, *, name: str, scoring: Scoring) -> Interval:
    """Score of one country's samples; without an interval where they are few or stand in folds (`note` says so).

    Args:
        runs: Of one backbone.
        known: Where the samples lie.
        country: One of `count_countries`.
        name: Metric.
        scoring: The task.
    """
    parts = [take(run, np.flatnonzero(_of(known, known.countries, run, "") == country)) for run in runs.predictions]
    folded = any(isinstance(run, ClassPredictions) and len(run.folds) > 0 for run in runs.predictions)
    return part_score(parts, runs.parents, name=name, scoring=scoring, folded=folded)


def part_score(
    parts: Sequence[Predictions], parents: Sequence[str], *, name: str, scoring: Scoring, folded: bool = False
) -> Interval:
    """Score of a part of the test samples; without an interval where they are few or stand in folds (`note` says so).

    Args:
        parts: Predictions of that part, one a run.
        parents: The pretraining run each belongs to.
        name: Metric.
        scoring: The task.
        folded: Whether the runs were cross-validated, which a part of their predictions does not tell.
    """
    one = interval(sampling(parts, name, scoring, parents=parents, resamples=COUNTRY_RESAMPLES))
    few = one.num_units < (FEW_SAMPLES if one.unit == "samples" else FEW_SCENES)
    if not (few or folded):
        return one
    why = f"n = {one.num_units}" if few else "cross-validation"
    return replace(one, low=None, high=None, note=f"{why}: no interval")
