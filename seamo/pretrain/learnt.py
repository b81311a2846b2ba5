"""Whether a run has learnt anything: its loss beside that of trivial predictors, from its curves, in words. No torch.

What the trivial predictors are says `seamo.pretrain.yardsticks`, which measures them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

YARDSTICKS = ("zero", "mean", "nearest", "oracle")
MARGIN = 0.02  # of a yardstick's error: a mean that is shrunk a little gains as much, and has learnt nothing
_LAST = 0.2  # share of a stage's steps that its end is
_FEWEST = 5  # measured steps, where a stage has so many
_IN_WORDS = {
    "zero": "answering zero",
    "mean": "the mean of what it saw",
    "nearest": "the nearest patch it saw",
}

Curves = Mapping[str, Sequence[float]]


def yardstick_column(name: str, sensor: str, season: int) -> str:
    """The column of curves.csv that holds a yardstick beside the term `<sensor>_t<season>`."""
    return f"{name}.{sensor}.{season}"


@dataclass(frozen=True, slots=True)
class SensorLearnt:
    """What a stage has learnt of a sensor at its end.

    Args:
        stage: 1 or 2.
        sensor: Of the model.
        loss: Mean squared error of the network, over the dates and the measured steps.
        yardsticks: The same of each of `YARDSTICKS`, on the same patches.
        beaten: Those of them that the network is better than.
        steps: Measured steps that these are means of.
    """

    stage: int
    sensor: str
    loss: float
    yardsticks: Mapping[str, float]
    beaten: tuple[str, ...]
    steps: int

    @property
    def something(self) -> bool:
        """Whether it is more than each image's own mean."""
        return "zero" in self.beaten and "mean" in self.beaten


def what_was_learnt(curves: Curves, stage: int) -> list[SensorLearnt]:
    """Hold the end of a stage against its yardsticks, a sensor each.

    The end are the measured steps among the last fifth of those that the stage has done, and no fewer than five where
    there are as many. The network is better than a yardstick if its mean error is lower by more than `MARGIN` of the
    yardstick's, and by more than two standard errors of the difference over these steps.

    Args:
        curves: Columns of curves.csv; one of a run without yardsticks gives an empty list.
        stage: 1 or 2.
    """
    found = []
    for sensor in dict.fromkeys(name.split(".")[1] for name in curves if name.startswith(f"{YARDSTICKS[0]}.")):
        table = _measured(curves, sensor, stage)
        if not len(table):
            continue
        ahead = {name: _is_better(table[:, 0], table[:, k]) for k, name in enumerate(YARDSTICKS, start=1)}
        beaten = tuple(name for name, better in ahead.items() if better)
        loss, *errors = (float(value) for value in table.mean(axis=0))
        numbers = dict(zip(YARDSTICKS, errors, strict=True))
        found.append(SensorLearnt(stage, sensor, loss, numbers, beaten, len(table)))
    return found


def in_words(one: SensorLearnt) -> str:
    """A sentence for people."""
    name, floor = one.sensor.upper(), f"; a patch's own band means would give {one.yardsticks['oracle']:.3f}"
    missed = next((known for known in _IN_WORDS if known not in one.beaten), "")
    if not missed:
        mean, nearest = one.yardsticks["mean"], one.yardsticks["nearest"]
        better = f"{_IN_WORDS['mean']} and {_IN_WORDS['nearest']}"
        return f"{name}: better than {better} ({one.loss:.3f} against {mean:.3f} and {nearest:.3f}{floor})"
    against = f"({one.loss:.3f} against {one.yardsticks[missed]:.3f}{floor if one.something else ''})"
    if one.something:
        return f"{name}: better than {_IN_WORDS['mean']}, no better than {_IN_WORDS[missed]} {against}"
    more = f": it has learnt nothing beyond {'that' if missed == 'mean' else 'it'}"
    return f"{name}: no better than {_IN_WORDS[missed]} {against}{more}"


def _measured(curves: Curves, sensor: str, stage: int) -> NDArray[np.float64]:
    """(steps, 1 + yardsticks) means over the dates, of the measured steps at a stage's end."""
    of_stage = np.asarray(curves["stage"]) == stage
    step = np.asarray(curves["step"])[of_stage]
    prefix = f"{YARDSTICKS[0]}.{sensor}."
    seasons = [int(name.removeprefix(prefix)) for name in curves if name.startswith(prefix)]
    terms = np.array(
        [
            [curves[f"{sensor}_t{t}"], *(curves[yardstick_column(name, sensor, t)] for name in YARDSTICKS)]
            for t in seasons
        ]
    )[:, :, of_stage]  # dates, numbers, steps
    there = ~np.isnan(terms).any(axis=1)  # of a date that no place of a batch has, nothing is measured
    sums = np.where(there[:, None], terms, 0.0).sum(axis=0)
    measured = there.any(axis=0)
    table: NDArray[np.float64] = (sums[:, measured] / there[:, measured].sum(axis=0)).T
    if not len(table):
        return table
    begin = step[-1] - _LAST * (step[-1] - step[0] + 1)
    return table[-max(_FEWEST, int((step[measured] > begin).sum())) :]


def _is_better(loss: NDArray[np.float64], yardstick: NDArray[np.float64]) -> bool:
    gain = yardstick - loss
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return float(gain.mean()) > max(MARGIN * float(yardstick.mean()), 2 * error)
