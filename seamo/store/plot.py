"""Samples as a figure of matplotlib, which a notebook shows."""

from collections.abc import Sequence
from textwrap import wrap

from matplotlib.figure import Figure

from seamo.errors import UsageError
from seamo.store.pictures import ABSENT, Strip, stack_strips
from seamo.store.samples import Samples

_INCHES = 2.6  # of a picture
_LETTERS = 40  # of a line above one


def draw(samples: Samples, rows: Sequence[int], stack: str | None) -> Figure:
    """A figure with a row for each sample, a column for each picture: see `Store.plot`."""
    if not rows:
        raise UsageError("no sample is named", "store.plot", "store.plot(0), store.plot('key', 'key').")
    found = [_strips(samples, row, stack) for row in rows]
    columns = max(sum(len(strip.panels) for strip in strips) for strips in found)
    figure = Figure(figsize=(_INCHES * columns, (_INCHES + 0.7) * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    keys = samples.read_columns(["key"]).column("key")
    for line, row, strips in zip(axes, rows, found, strict=True):
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
        line[0].text(0, -0.02, str(keys[int(row)]), transform=line[0].transAxes, va="top", fontsize=7)
    return figure


def _strips(samples: Samples, row: int, stack: str | None) -> list[Strip]:
    if stack is not None:
        strips = stack_strips(samples, row, stack)
    else:
        every = [stack_strips(samples, row, one)[:1] for one in samples.spec.stacks]
        strips = next((one for one in every if one and "colour" in one[0].caption), every[0] if every else [])
    if not strips:
        raise UsageError("nothing of it can be drawn", stack or samples.title, "Name another stack.")
    return strips
