"""Samples as a figure of matplotlib, which a notebook shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seamo.errors import UsageError
from seamo.manifest import DatasetSpec
from seamo.sample import Sample
from seamo.store.pictures import ABSENT, Strip, stack_strips
from seamo.store.samples import Images, Samples

_INCHES = 2.6  # of a picture
_LETTERS = 40  # of a line above one


def draw(samples: Samples, rows: Sequence[int], stack: str | None) -> Figure:
    """A figure with a row for each sample, a column for each picture: see `Store.plot`.

    Raises:
        UsageError: If no sample is named.
    """
    if not rows:
        raise UsageError("no sample is named", "store.plot", "store.plot(0), store.plot('key', 'key').")
    keys = samples.read_columns(["key"]).column("key")
    return _figure([(str(keys[int(row)]), _strips(samples, row, stack, samples.title)) for row in rows])


def draw_sample(sample: Sample, spec: DatasetSpec, stack: str | None) -> Figure:
    """The same of one sample that is in memory: see `Sample.plot`."""
    return _figure([(sample.key, _strips(_Read(sample, spec), 0, stack, sample.key))])


@dataclass(frozen=True, slots=True)
class _Read:
    """A sample as the one row of what pictures are made of."""

    sample: Sample
    spec: DatasetSpec

    def shape(self, row: int, layer: str) -> tuple[int, ...]:
        return tuple(self.read_layer(row, layer).shape)

    def is_valid(self, _row: int, layer: str) -> bool:
        return layer in self.sample.layers

    def read_layer(self, _row: int, layer: str) -> NDArray[Any]:
        there = self.sample.layers.get(layer)
        if there is not None:
            return there
        one = self.spec.layer(layer)  # a sensor that is not there: some zeros, which `is_valid` says are no pixels
        return np.zeros((one.times, len(one.bands), *(one.size or (1, 1))), dtype=one.dtype)

    def read_times(self, _row: int) -> dict[str, NDArray[np.datetime64]]:
        return dict(self.sample.time)


def _figure(found: Sequence[tuple[str, list[Strip]]]) -> Figure:
    columns = max(sum(len(strip.panels) for strip in strips) for _, strips in found)
    figure = Figure(figsize=(_INCHES * columns, (_INCHES + 0.7) * len(found)), layout="constrained")
    axes = figure.subplots(len(found), columns, squeeze=False)
    for line, (key, strips) in zip(axes, found, strict=True):
        panels = [(strip.caption, panel) for strip in strips for panel in strip.panels]
        for axis in line:
            axis.set_axis_off()
        for axis, (caption, panel) in zip(line, panels, strict=False):
            axis.set_title("\n".join([*wrap(caption, _LETTERS), panel.title]).rstrip(), fontsize=7)
            if panel.picture is None:
                axis.set_facecolor([part / 255 for part in ABSENT])
                axis.text(0.5, 0.5, "not there", ha="center", transform=axis.transAxes, fontsize=7)
            else:
                axis.imshow(panel.picture, interpolation="nearest")
        line[0].text(0, -0.02, key, transform=line[0].transAxes, va="top", fontsize=7)
    return figure


def _strips(samples: Images, row: int, stack: str | None, title: str) -> list[Strip]:
    if stack is not None:
        strips = stack_strips(samples, row, stack)
    else:
        every = [stack_strips(samples, row, one)[:1] for one in samples.spec.stacks]
        strips = next((one for one in every if one and "colour" in one[0].caption), every[0] if every else [])
    if not strips:
        raise UsageError("nothing of it can be drawn", stack or title, "Name another stack.")
    return strips
