"""What test samples on places of the pretraining do to a score. Numpy only.

The predictions are those that the score was made of; samples on places that were seen are left out of them, and what
is left is scored anew under the same replicate weights, so that the difference is paired. Samples may be easier for
every network where a corpus lies (cities, good weather): what floors, which have learnt nothing, gain on the same
samples is told beside it, and taken off.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from seamo_bench.board.compare import Runs
from seamo_bench.facts import Value
from seamo_bench.predictions import Predictions, Scoring, Strings, take
from seamo_bench.scores.intervals import (
    Difference,
    by_t_test,
    difference_of,
    interval,
    number_of,
    sampling,
)
from seamo_bench.scores.metrics import metrics
from seamo_bench.scores.replicates import RESAMPLES, Replicates, is_folded, replicate_gap

KIND, VERSION = "overlap", 3
LEVEL = 0.95
# Where the footprints come from; `photographs`: no images of the Earth from above; `unknown`: nobody here can say.
Origin = Literal["list", "store", "photographs", "unknown"]


class SeenData(Value):
    """One data set that a backbone was pretrained on.

    Args:
        id: Of the data set.
        origin: Of its footprints.
        footprints: How many there are.
        dated: How many of them have a day.
        unplaced: Its images whose place is not known: they may lie anywhere.
        touched: Test samples that share area with one of them.
        note: Where the list came from, or why there is none.
    """

    id: str
    origin: Origin
    footprints: int = Field(default=0, ge=0)
    dated: int = Field(default=0, ge=0)
    unplaced: int = Field(default=0, ge=0)
    touched: int = Field(default=0, ge=0)
    note: str = ""

    @property
    def is_partly_unknown(self) -> bool:
        """Whether a sample that none of its footprints touches may have been seen all the same."""
        return self.origin == "unknown" or self.unplaced > 0


class PartScore(Value):
    """The score of some test samples, with its interval."""

    samples: int
    value: float | None
    low: float | None = None
    high: float | None = None


class ScoreGap(Value):
    """A difference of two scores of the same predictions, with its interval and two-sided p value."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    note: str = ""


class TouchedSample(Value):
    """A test sample and one footprint of a corpus that it shares area with."""

    key: str
    corpus: str
    footprint: str
    longitude: float
    latitude: float


class OverlapCell(Value):
    """Test samples in a cell of the map, by its west and south edge in degrees."""

    west: float
    south: float
    touched: int = Field(ge=0)
    clean: int = Field(ge=0)
    unknown: int = Field(ge=0)

    @property
    def samples(self) -> int:
        """All of them."""
        return self.touched + self.clean + self.unknown


class OverlapRow(Value):
    """One backbone on one column of the leaderboard.

    Args:
        column: Its id.
        dataset, protocol, metric: Of the column.
        row: Id of the leaderboard's row.
        title: Of the backbone.
        synthetic, subset: Whether a store is.
        records: Keys of the records behind it.
        corpora: What it was pretrained on.
        samples: Test samples; `touched` share area with a footprint, `clean` with none of any corpus, of the rest it is
            `unknown` because they have no place, or a corpus has no list or one that lacks some of its images.
        whole, rest, part: Scores of all test samples, of those that are not touched, and of those that are.
        gap: Score of all minus that of those that are not touched: what the touched ones add to the number.
        beyond: `gap` minus the mean one of `floors` on the same samples.
        floors: Rows of the column that have learnt nothing from images.
        flag: What a reader must know, as a sentence; empty where every sample is clean.
        note: Why there is no gap.
        examples: Some touched samples, in the order of their keys.
        step: Size of `cells` in degrees.
        cells: For a map.
    """

    column: str
    dataset: str
    protocol: str
    metric: str
    row: str
    title: str
    synthetic: bool = False
    subset: bool = False
    records: tuple[str, ...]
    corpora: tuple[SeenData, ...] = ()
    samples: int = Field(ge=0)
    touched: int = Field(ge=0)
    clean: int = Field(ge=0)
    unknown: int = Field(ge=0)
    whole: PartScore | None = None
    rest: PartScore | None = None
    part: PartScore | None = None
    gap: ScoreGap | None = None
    beyond: ScoreGap | None = None
    floors: tuple[str, ...] = ()
    flag: str = ""
    note: str = ""
    examples: tuple[TouchedSample, ...] = ()
    step: float = Field(default=1.0, gt=0, le=360)
    cells: tuple[OverlapCell, ...] = ()

    @field_validator("metric")
    @classmethod
    def _is_metric(cls, name: str) -> str:
        if name not in metrics():
            raise ValueError(f"no metric {name!r}")
        return name

    def _holds(self, cell: OverlapCell) -> bool:
        return cell.west + self.step > -180 and cell.west <= 180 and cell.south + self.step > -90 and cell.south <= 90

    @model_validator(mode="after")
    def _adds_up(self) -> "OverlapRow":
        if self.touched + self.clean + self.unknown != self.samples:
            raise ValueError("touched, clean and unknown samples are not all samples")
        if sum(cell.samples for cell in self.cells) > self.samples:
            raise ValueError("the cells of the map hold more samples than there are")
        if any(not self._holds(cell) for cell in self.cells):
            raise ValueError("a cell of the map lies beside the globe")
        return self


def are_in(run: Predictions, keys: Strings) -> NDArray[np.bool_]:
    """(N,) whether the key of each sample is among some."""
    return np.isin(run.keys, keys)


def part_score(runs: Runs, keys: Strings, name: str, scoring: Scoring, *, resamples: int = RESAMPLES) -> PartScore:
    """Mean score over runs of some of their samples.

    Args:
        runs: Of one backbone.
        keys: Of the samples that count, at least one.
        name: Metric.
        scoring: The task.
        resamples: Of the bootstrap.
    """
    parts = [take(run, np.flatnonzero(are_in(run, keys))) for run in runs.predictions]
    one = interval(sampling(parts, name, scoring, parents=runs.parents, resamples=resamples), level=LEVEL)
    value = None if np.isnan(one.value) else one.value
    return PartScore(samples=len(parts[0].keys), value=value, low=one.low, high=one.high)


def gaps_of(
    runs: Runs, touched: Strings, name: str, scoring: Scoring, *, resamples: int = RESAMPLES
) -> tuple[Replicates, ...]:
    """Of each run the score of all samples minus that without the touched ones, under replicate weights."""
    return tuple(
        replicate_gap(run, ~are_in(run, touched), name, scoring, resamples=resamples) for run in runs.predictions
    )


def gap_of(gaps: Sequence[Replicates], parents: Sequence[str]) -> ScoreGap | None:
    """Mean gap over runs with its interval; None where it is undefined."""
    # On its own scale: a difference has no bounds, and no share of it is right.
    return _told(by_t_test(number_of(gaps, parents=parents), level=LEVEL))


def gap_beyond(
    gaps: Sequence[Replicates], parents: Sequence[str], floors: Sequence[Replicates], rows: Sequence[str]
) -> ScoreGap | None:
    """Mean gap of a backbone's runs minus the mean one of floors on the same samples; None where it is undefined.

    Args:
        gaps: Of the backbone's runs.
        parents: The pretraining run of each.
        floors: Gaps of the floors' runs.
        rows: The row of each of those.
    """
    return _told(by_t_test(difference_of(gaps, floors, parents=(parents, rows)), level=LEVEL))


def _told(found: Difference) -> ScoreGap | None:
    one = found.interval
    if np.isnan(one.value):
        return None
    return ScoreGap(value=one.value, low=one.low, high=one.high, p=found.p, note=one.note)


def are_folded(runs: Runs) -> bool:
    """Whether the runs were cross-validated, so that no part of their samples has a score of its own."""
    return any(is_folded(run) for run in runs.predictions)
