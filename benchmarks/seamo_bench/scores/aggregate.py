"""Over several tasks: interquartile mean of scores normalised to frozen ranges, and mean rank, with intervals.

A task is a data set. Its columns (protocols, label fractions) are averaged first, so that a data set counts once
however many columns it has. Draws of where the truth may lie are made task by task; backbones, and columns of one
data set, share the test samples and so the draws of their common error.
"""

import csv
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from seamo.errors import ProtocolError
from seamo_bench.predictions import Floats
from seamo_bench.scores.distributions import t_quantile
from seamo_bench.scores.intervals import LEVEL, Interval, Sampling

RANGES = Path(__file__).parent.parent / "suites" / "published" / "ranges.csv"
RANGES_VERSION = "ranges version 1"
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Range:
    """What 0 and 1 of a normalised score are, with their sources; frozen under `RANGES_VERSION`."""

    low: float
    high: float
    low_source: str
    high_source: str


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One column of a table: its task, the range of its metric, row -> score."""

    task: str
    scale: Range
    scores: Mapping[str, Sampling]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One backbone over all tasks that the backbones compared have."""

    iqm: Interval
    mean_rank: Interval
    tasks: tuple[str, ...]


@lru_cache(maxsize=1)
def ranges() -> Mapping[tuple[str, str], Range]:
    """(data set, metric) -> range, from `published/ranges.csv`.

    Raises:
        ProtocolError: If a line of the file is not what it must be.
    """
    found = {}
    with RANGES.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), 2):
            low, high = float(line["low"]), float(line["high"])
            place = line["dataset"], line["metric"]
            if not 0 <= low < high <= 1 or place in found:
                raise ProtocolError("is no range of a metric, or stands twice", f"{RANGES.name}:{number}")
            found[place] = Range(low, high, line["low_source"], line["high_source"])
    return found


def interquartile_mean(values: Floats) -> Floats:
    """Mean of the middle half along the last axis; a value cut by a quartile counts by its part."""
    ordered = np.sort(values, axis=-1)
    n = values.shape[-1]
    edges = np.arange(n + 1) / n
    part = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return np.asarray(ordered @ part / 0.5)


def rows_and_columns(columns: Sequence[Scored]) -> tuple[tuple[str, ...], tuple[Scored, ...]]:
    """What is aggregated: the columns that at least half of the rows have, and the rows that have all of these."""
    rows = sorted({row for column in columns for row in column.scores})
    kept = tuple(column for column in columns if 2 * len(column.scores) >= len(rows))
    return tuple(row for row in rows if all(row in column.scores for column in kept)), kept


def aggregate(columns: Sequence[Scored], *, level: float = LEVEL) -> dict[str, Aggregate]:
    """Interquartile mean over tasks of normalised scores, and mean rank, with percentile intervals of the draws.

    Args:
        columns: Of higher-is-better metrics.
        level: Of the intervals.

    Returns:
        Row -> aggregate, for `rows_and_columns`. Empty with fewer than two tasks or rows.
    """
    names, kept = rows_and_columns(columns)
    tasks = tuple(sorted({column.task for column in kept}))
    if len(tasks) < 2 or len(names) < 2:
        return {}
    scores = np.empty((DRAWS + 1, len(names), len(tasks)))  # row 0: the estimates
    for j, task in enumerate(tasks):
        mine = [column for column in kept if column.task == task]
        for i, name in enumerate(names):
            parts = [
                (_draws(column.scores[name]) - column.scale.low) / (column.scale.high - column.scale.low)
                for column in mine
            ]
            scores[:, i, j] = np.mean(parts, axis=0)
    better = (scores[:, None, :, :] > scores[:, :, None, :]).sum(axis=2)
    tied = (scores[:, None, :, :] == scores[:, :, None, :]).sum(axis=2)
    ranks = (better + (tied + 1) / 2).mean(axis=-1)
    iqm = interquartile_mean(scores)
    method = f"over {len(tasks)} data sets, draw by draw; {RANGES_VERSION}"

    def summary(column: Floats) -> Interval:
        low, high = np.quantile(column[1:], [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(column[0]), float(low), float(high), level, method, len(tasks), "data sets", 0, None, "")

    return {name: Aggregate(summary(iqm[:, i]), summary(ranks[:, i]), tasks) for i, name in enumerate(names)}


@lru_cache(maxsize=16)
def _normals(samples: str, count: int) -> Floats:
    """(DRAWS, count) normal numbers that all scores on the same samples share."""
    made = np.random.default_rng(int(samples[:12], 16)).standard_normal((DRAWS, count))
    made.setflags(write=False)
    return made


def _draws(known: Sampling) -> Floats:
    """(1 + DRAWS,) the estimate, then where the truth may lie: normal draws stretched to the t quantile."""
    shared = _normals(known.samples, len(known.shared)) @ known.shared
    # What is the runs' own is drawn anew for every cell: two backbones, or two protocols, do not share it.
    own = np.random.default_rng(zlib.crc32(known.shared.tobytes())).standard_normal(DRAWS) * known.own
    stretch = t_quantile(0.975, known.df) / t_quantile(0.975, float("inf"))
    return np.append(known.value, known.value + stretch * (shared + own))
