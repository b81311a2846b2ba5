"""Training curves of a run: its loss sensor by sensor among the trivial predictors, and what its probe found."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.pretrain.drawing import GREY, INK, OPTICAL, RADAR, SHARED, SOFT
from seamo.pretrain.fetched import run_on_disk
from seamo.pretrain.figures import save_figure
from seamo.pretrain.learnt import YARDSTICKS, Curves, yardstick_column
from seamo.pretrain.logs import read_curves
from seamo.pretrain.probed import HEADS, first_of, gains, read_probes

_LINES = {
    "zero": (GREY, "-", "zero"),
    "mean": (SOFT, "--", "mean of the visible"),
    "nearest": (SOFT, ":", "nearest visible patch"),
    "oracle": (GREY, "-.", "own band means (floor)"),
}
_WINDOW = 0.02  # share of the steps that the loss is smoothed over


def draw_curves(path: str | Path, out: Path) -> None:
    """Draw the loss of every sensor among the yardsticks, and the gains of the probe where there was one.

    Errors are means over the dates. The loss is smoothed over a fiftieth of the steps, yardsticks over five measured
    steps, each stage by itself.

    Args:
        path: A run, or its address.
        out: PNG (or another format that matplotlib knows by its ending).

    Raises:
        UsageError: If the run has no step yet, or the file's ending is no picture's.
    """
    with run_on_disk(path) as run:
        curves, probes = read_curves(run), read_probes(run)
    sensors = list(dict.fromkeys(name.rpartition("_t")[0] for name in curves if "_t" in name))
    if not curves.get("step"):
        raise UsageError("has no step yet", str(path), "Wait until it has.")
    start = first_of(probes)
    panels = len(sensors) + (start is not None)
    figure = Figure(figsize=(4.6 * panels, 3.6), layout="constrained")
    axes: NDArray[Any] = np.asarray(figure.subplots(1, panels, squeeze=False))[0]
    for axis, sensor in zip(axes, sensors, strict=False):
        _draw_sensor(axis, curves, sensor)
    if start is not None:
        axis, rows = axes[-1], [row for row in probes if row.step]
        for head, color in zip(HEADS, (SHARED, OPTICAL), strict=True):
            found = [gains(row, start)[head] for row in rows]
            steps = [row.step for row in rows]
            axis.fill_between(
                steps, [100 * one.low for one in found], [100 * one.high for one in found], color=color, alpha=0.15
            )
            axis.plot(steps, [100 * one.gain for one in found], color=color, marker="o", markersize=3, label=head)
        axis.axhline(0.0, color=INK, linewidth=0.8)
        axis.set_title(f"probe, {len(start.right[HEADS[0]]):,} images: gain over the first weights", fontsize=9)
        axis.set_ylabel("points, 95 % interval", fontsize=8)
        _finish(axis)
    save_figure(figure, out)


def _draw_sensor(axis: Axes, curves: Curves, sensor: str) -> None:
    step, stages = np.asarray(curves["step"]), np.asarray(curves["stage"])
    width = max(1, round(_WINDOW * len(step)))
    for stage in np.unique(stages):
        inside, first = stages == stage, stage == stages[0]
        for name in YARDSTICKS:
            error = _over_dates(curves, sensor, name)[inside]
            measured = ~np.isnan(error)
            color, style, label = _LINES[name]
            shown = _smooth(error[measured], 5)
            axis.plot(step[inside][measured], shown, color=color, linestyle=style, label=label if first else "")
        label = "the network" if first else ""
        color = RADAR if sensor.startswith("s1") else OPTICAL
        error = _over_dates(curves, sensor, "")[inside]
        there = ~np.isnan(error)
        axis.plot(step[inside][there], _smooth(error[there], width), color=color, label=label)
        if not first:
            axis.axvline(float(step[inside][0]), color=GREY, linewidth=0.8)
    axis.set_title(f"{sensor}: error of the hidden patches", fontsize=9)
    axis.set_ylabel("mean squared error, in target space", fontsize=8)
    _finish(axis)


def _over_dates(curves: Curves, sensor: str, name: str) -> NDArray[np.float64]:
    """A row a step: the mean over the dates that were there; of the loss (no name), or of a yardstick."""
    dates = [column.rpartition("_t")[2] for column in curves if column.startswith(f"{sensor}_t")]
    columns = [
        curves.get(yardstick_column(name, sensor, int(t)), [np.nan] * len(curves["step"]))
        if name
        else curves[f"{sensor}_t{t}"]
        for t in dates
    ]
    table = np.asarray(columns, dtype=np.float64)
    there = ~np.isnan(table)
    if not name:  # a date that no place of the batch has is written as a loss of 0
        there &= table != 0
    count = there.sum(axis=0)
    mean: NDArray[np.float64] = np.where(there, table, 0.0).sum(axis=0) / np.maximum(count, 1)
    mean[count == 0] = np.nan
    return mean


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean over a window around each value, of what of it is there."""
    sums, at, half = np.concatenate([[0.0], values.cumsum()]), np.arange(len(values)), width // 2
    begin, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    mean: NDArray[np.float64] = (sums[end] - sums[begin]) / (end - begin)
    return mean


def _finish(axis: Axes) -> None:
    axis.set_xlabel("optimiser step", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False)
