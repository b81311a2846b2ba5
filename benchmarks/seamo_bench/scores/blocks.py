"""Blocks of land as what intervals resample, and the difference of two scores with other test and training samples.

Scores under two splits of the same data share land, not test samples: a unit (block, or scene) is drawn for both sides
at once, so that what is hard there counts on both. Test units do not tell how a score moves with the training samples
that were drawn. Nadeau and Bengio (2003, "Inference for the generalization error", Machine Learning 52) put that part
at n_test / n_train of what the test samples do; it is added for each side.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from seamo.earth import blocks_of
from seamo.errors import ProtocolError
from seamo.store.spatial import parse_spatial
from seamo_bench.predictions import Predictions, Scoring, Strings, take
from seamo_bench.scores.intervals import LEVEL, Difference, Interval, by_t_test, difference_of, interval, mean_of
from seamo_bench.scores.metrics import prepare
from seamo_bench.scores.replicates import FEW, MANY, MANY_RESAMPLES, RESAMPLES, Replicates, replicate

_BLOCK = 4_000_000  # weights held at once (32 MB)
_FEWEST = 5  # units on a side without which there is no interval
Keep = Callable[[int, int, Callable[[], Replicates]], Replicates]


@dataclass(frozen=True, slots=True, eq=False)
class SplitSide:
    """Runs of one model under one split.

    Args:
        runs: Predictions of the same test samples, one a run.
        parents: The pretraining run each belongs to; empty: every run is its own.
        train: Training samples of a run (tiles, where whole scenes are tested); 0: unknown.
        test: Test samples of a run, counted likewise; 0: unknown.
        redrawn: Whether each run drew training samples of its own: their part is in the spread over runs then.
    """

    runs: Sequence[Predictions]
    parents: Sequence[str] = ()
    train: int = 0
    test: int = 0
    redrawn: bool = False


def _made(_side: int, _at: int, make: Callable[[], Replicates]) -> Replicates:
    return make()


def block_names(run: Predictions, side_km: float) -> Strings:
    """(N,) block of land in which each sample's centre lies; of a sample without a place, its key.

    Raises:
        ProtocolError: If the predictions hold no places at all.
    """
    if not len(run.places):
        raise ProtocolError(
            "hold no places, so no blocks of land",
            "predictions",
            "Run it again on a store that says where its samples lie.",
        )
    known = np.isfinite(run.places).all(axis=1)
    blocks = blocks_of(run.places.astype(np.float64), side_km)
    names = [f"block {row}/{column}" for row, column in blocks.tolist()]
    return np.where(known, np.array(names, dtype=np.str_), run.keys)


def in_blocks(run: Predictions, side_km: float) -> tuple[Predictions, str]:
    """The run with what its intervals should resample: blocks of land, or its scenes where these are fewer; which."""
    names = block_names(run, side_km)
    return (run, "scenes") if _scenes_are_fewer([run], [names]) else (replace(run, units=names), "blocks")


def scheme_km(scheme: str) -> int:
    """Side of the blocks of land that a split scheme is made of; 0 for a scheme of no blocks."""
    land = parse_spatial(scheme)
    return land.block_km if land else 0


def in_units(run: Predictions, side_km: int) -> tuple[Predictions, str]:
    """As `in_blocks`; with a side of 0, or where the run holds no places, the run as it is: of scenes, or samples."""
    return in_blocks(run, side_km) if side_km and len(run.places) else (run, "scenes")


def share_units(a: SplitSide, b: SplitSide, side_km: float) -> tuple[SplitSide, SplitSide, str]:
    """Both sides with the same kind of unit (see `in_blocks`), and what it is."""
    firsts = [a.runs[0], b.runs[0]]
    if _scenes_are_fewer(firsts, [block_names(run, side_km) for run in firsts]):
        return a, b, "scenes"

    def placed(side: SplitSide) -> SplitSide:
        return replace(side, runs=[replace(run, units=block_names(run, side_km)) for run in side.runs])

    return placed(a), placed(b), "blocks"


def land_interval(
    runs: Sequence[Predictions],
    name: str,
    scoring: Scoring,
    *,
    unit: str,
    parents: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean score of runs whose units are blocks or scenes (`in_blocks`), with an interval that names them rightly.

    Args:
        runs: Of the same test samples.
        name: Metric.
        scoring: The task.
        unit: What the units are, in the plural.
        parents: The pretraining run each belongs to; empty: every run is its own.
        resamples: Of the bootstrap.
    """
    made = [with_unit(replicate(run, name, scoring, resamples=resamples), unit) for run in runs]
    return interval(mean_of(made, parents=parents))


def with_unit(made: Replicates, unit: str) -> Replicates:
    """Replicates of a run whose units are blocks or scenes (`in_blocks`), under the name of those."""
    return replace(made, unit=unit) if made.unit == "scenes" else made


def split_difference(
    a: SplitSide,
    b: SplitSide,
    name: str,
    scoring: Scoring,
    *,
    unit: str = "blocks",
    resamples: int = RESAMPLES,
    keep: Keep = _made,
) -> Difference:
    """Mean score of one model under split `a` minus that under split `b`, with its interval.

    Args:
        a: Runs under one split, with units that mean the same on both sides (`share_units`).
        b: Under the other.
        name: Metric.
        scoring: The task.
        unit: What the units are, in the plural.
        resamples: Of the bootstrap.
        keep: Given side, position of a run and what makes its replicates: those, kept from before or made.

    Raises:
        ProtocolError: If the runs of a side do not hold the same samples.
    """
    sides = [[take(run, np.argsort(run.keys, kind="stable")) for run in side.runs] for side in (a, b)]
    for side in sides:
        if any(not np.array_equal(run.keys, side[0].keys) for run in side):
            raise ProtocolError("the runs were not tested on the same samples", where="predictions")
    drawn = _Drawing([side[0].units for side in sides], unit, resamples)
    made = [
        [keep(side, at, partial(drawn.replicates, run, side, name, scoring)) for at, run in enumerate(runs)]
        for side, runs in enumerate(sides)
    ]
    known = difference_of(made[0], made[1], parents=(a.parents, b.parents))
    named = unit if drawn.fewest > 1 else unit.removesuffix("s")
    few = f"only {drawn.fewest} {named} on one side" if drawn.fewest < FEW else ""
    if drawn.fewest < _FEWEST:
        return by_t_test(replace(known, error=math.nan, note=f"{few}: no interval"), level=LEVEL)
    lasting = [(side, runs) for side, runs in zip((a, b), made, strict=True) if not (side.redrawn and len(runs) > 1)]
    if not all(side.train and side.test for side, _ in lasting):
        note = "the records do not say how many samples trained and tested: no interval"
        return by_t_test(replace(known, error=math.nan, note=note), level=LEVEL)
    extra = sum(_variance(runs) * side.test / side.train for side, runs in lasting)
    method = f"{known.method}; with the draw of training samples (Nadeau and Bengio 2003)"
    note = "; ".join(part for part in (few, known.note) if part)
    error = math.hypot(known.error, math.sqrt(extra))
    return by_t_test(replace(known, error=error, method=method, note=note), level=LEVEL)


def _scenes_are_fewer(runs: Sequence[Predictions], names: Sequence[Strings]) -> bool:
    if not all(len(run.units) for run in runs):
        return False
    scenes = np.unique(np.concatenate([run.units for run in runs]))
    return len(scenes) <= len(np.unique(np.concatenate(names)))


def _variance(runs: Sequence[Replicates]) -> float:
    """What the test samples do to the mean of runs."""
    values = np.mean([run.values for run in runs], axis=0)
    values = values[~np.isnan(values)]
    return float(runs[0].factor * ((values - values.mean()) ** 2).sum()) if len(values) > 1 else 0.0


class _Drawing:
    """Resamples of units, the same for both sides.

    Units of the side that has fewer of them are drawn apart from all others, so that no resample is without that side.
    """

    def __init__(self, units: Sequence[Strings], unit: str, resamples: int) -> None:
        names, codes = np.unique(np.concatenate(units), return_inverse=True)
        self._codes, self._unit, self._total = np.split(codes, [len(units[0])]), unit, len(names)
        scarce = min((np.unique(one) for one in self._codes), key=len)
        self._strata = [scarce, np.setdiff1d(np.arange(self._total), scarce)]
        self._samples = max(map(len, units))
        self._count = min(resamples, MANY_RESAMPLES) if self._samples > MANY else resamples
        self.fewest = len(scarce)

    def replicates(self, run: Predictions, side: int, name: str, scoring: Scoring) -> Replicates:
        """One run, whose samples are sorted by their keys, under all weights."""
        weighted, codes = prepare(name, run, scoring), self._codes[side]
        value = float(weighted(np.ones((1, len(codes))))[0])
        if self.fewest < 2:  # nothing to resample, and no variance of it
            return Replicates(value, np.empty(0), "none", name, len(codes), 1, self._unit, 0, "both", "both")
        values = np.concatenate([weighted(weights[:, codes].astype(np.float64)) for weights in self._weights()])
        return Replicates(value, values, "bootstrap", name, len(codes), self.fewest, self._unit, 0, "both", "both")

    def _weights(self) -> Iterator[NDArray[np.int64]]:
        """(step, units) each: how often every unit is drawn."""
        rng = np.random.default_rng([self._total, self._samples])
        step = max(1, _BLOCK // self._samples)
        for start in range(0, self._count, step):
            weights = np.zeros((min(step, self._count - start), self._total), dtype=np.int64)
            for units in self._strata:
                if len(units):
                    even = np.full(len(units), 1 / len(units))
                    weights[:, units] = rng.multinomial(len(units), even, size=len(weights))
            yield weights
